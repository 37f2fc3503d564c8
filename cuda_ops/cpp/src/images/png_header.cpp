#include "images/png_header.h"

#include <algorithm>
#include <string>

#include "images/unsupported.h"
#include "odtk.h"

namespace odtk {
namespace {

constexpr const char* kFailed = "the image header cannot be read: ";
constexpr std::size_t kSignature = 8;  // bytes

bool is_known(int depth, int colour) {
  const bool byte_samples = depth == 8 || depth == 16;
  switch (colour) {
    case 0:
      return byte_samples || depth == 1 || depth == 2 || depth == 4;
    case 3:
      return depth == 1 || depth == 2 || depth == 4 || depth == 8;
    case 2:
    case 4:
    case 6:
      return byte_samples;
    default:
      return false;
  }
}

void take_header(std::string_view body, PngHeader& header) {
  if (body.size() < 13) throw ImageError(std::string(kFailed) + "Truncated IHDR chunk");
  const int depth = static_cast<std::uint8_t>(body[8]);
  const int colour = static_cast<std::uint8_t>(body[9]);
  // Only one filter method is defined.
  if (!is_known(depth, colour) || body[11] != 0) throw ImageError(kDamaged);
  header.width = big_endian_32(body.data());
  header.height = big_endian_32(body.data() + 4);
  header.depth = depth;
  header.colour = static_cast<PngColour>(colour);
  header.interlaced = header.interlaced || body[12] != 0;
}

void take_palette(std::string_view body, PngHeader& header) {
  if (header.colour != PngColour::palette) return;
  if (body.size() / 3 > 256) throw ImageError("the image cannot be decoded: invalid palette size");
  header.palette.fill(0);
  std::copy_n(body.begin(), body.size() / 3 * 3, header.palette.begin());
}

void take(const PngChunk& chunk, std::string_view body, PngHeader& header) {
  if (chunk.kind == "IHDR") {
    take_header(body, header);
  } else if (chunk.kind == "PLTE") {
    take_palette(body, header);
  } else if (chunk.kind == "tRNS") {
    check_transparency(header, chunk, kFailed);
  } else {
    take_metadata(chunk.kind, body, header.metadata);
  }
}

}  // namespace

int PngHeader::pixel_bits() const {
  switch (colour) {
    case PngColour::rgb:
      return 3 * depth;
    case PngColour::gray_alpha:
      return 2 * depth;
    case PngColour::rgb_alpha:
      return 4 * depth;
    default:
      return depth;
  }
}

PngHeader read_png_header(const std::uint8_t* data, std::size_t size) {
  PngChunks chunks({reinterpret_cast<const char*>(data), size}, kSignature);
  PngHeader header;
  bool ended = false;
  while (!header.has_pixels && !ended) {
    if (!chunks.has_next()) throw ImageError(kDamaged);
    const PngChunk chunk = chunks.next();
    if (!is_kind(chunk.kind)) throw ImageError(kDamaged);
    if (chunk.kind == "IDAT") {
      header.has_pixels = true;
      header.first = chunk;
    } else if (chunk.kind == "IEND") {
      ended = true;
    } else {
      const std::string_view body = chunks.body(chunk, kFailed);
      const bool intact = chunks.is_intact(chunk);
      if (!intact && !is_metadata(chunk.kind)) throw ImageError(kDamaged);
      if (intact) take(chunk, body, header);
    }
  }
  if (header.width == 0 || header.height == 0) throw ImageError(kDamaged);
  return header;
}

void check_transparency(const PngHeader& header, const PngChunk& chunk, const char* failed) {
  const bool gray = header.colour == PngColour::gray && header.depth > 0;
  const std::uint32_t least = gray ? 2 : header.colour == PngColour::rgb ? 6 : 0;
  if (chunk.length < least) throw ImageError(std::string(failed) + "Truncated tRNS chunk");
}

}  // namespace odtk
