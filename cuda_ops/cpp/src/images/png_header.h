// Reads a PNG file up to its pixels.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "images/png_chunks.h"
#include "images/png_metadata.h"

namespace odtk {

// Colour types of the PNG specification.
enum class PngColour { gray = 0, rgb = 2, palette = 3, gray_alpha = 4, rgb_alpha = 6 };

struct PngHeader {
  std::uint32_t width = 0, height = 0;
  int depth = 0;  // bits of a sample
  PngColour colour = PngColour::gray;
  bool interlaced = false;
  std::array<std::uint8_t, 768> palette{};  // RGB; black beyond the colours of the file
  bool has_pixels = false;
  PngChunk first;  // of the pixels
  PngMetadata metadata;

  // Returns the bits of a pixel.
  int pixel_bits() const;
};

// Reads the header; throws ImageError where it is damaged. Damage of metadata does not matter.
PngHeader read_png_header(const std::uint8_t* data, std::size_t size);

// Checks the transparency, which is not used: a damaged one means a damaged file. Throws
// ImageError, which begins with the given words.
void check_transparency(const PngHeader& header, const PngChunk& chunk, const char* failed);

}  // namespace odtk
