// Reads the header of a JPEG file as Pillow does, which is more lenient than libjpeg.
#pragma once

#include <cstddef>
#include <cstdint>

namespace odtk {

struct JpegHeader {
  std::uint32_t width = 0, height = 0;  // pixels, before any turning
  int components = 0;                   // 1 gray, 3 colour, 4 CMYK
  bool has_scan = false;                // whether any pixels follow
  bool lossless = false;                // lossless or hierarchical
  int orientation = 1;                  // EXIF's
};

// Reads the header; throws ImageError where it is damaged, or of a kind that is not decoded.
JpegHeader read_jpeg_header(const std::uint8_t* data, std::size_t size);

}  // namespace odtk
