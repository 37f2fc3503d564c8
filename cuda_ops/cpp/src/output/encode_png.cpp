#include <zlib.h>

#include <string_view>

#include "output/encode_image.h"

namespace odtk {
namespace {

// Filters a row by what is above it, which suits drawn lines as well as photographs.
constexpr std::uint8_t kUp = 2;
// Faster than zlib's usual level, and hardly larger on photographs.
constexpr int kLevel = 3;

void add_number(std::uint32_t number, std::string& bytes) {
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(number >> shift & 0xFF);
}

void add_chunk(const char* kind, std::string_view body, std::string& file) {
  add_number(static_cast<std::uint32_t>(body.size()), file);
  const std::size_t start = file.size();
  file.append(kind).append(body);
  const auto* covered = reinterpret_cast<const Bytef*>(file.data() + start);
  add_number(static_cast<std::uint32_t>(crc32_z(0, covered, file.size() - start)), file);
}

std::string header_of(const Image& image) {
  std::string header;
  add_number(static_cast<std::uint32_t>(image.width), header);
  add_number(static_cast<std::uint32_t>(image.height), header);
  return header + std::string("\x08\x02\0\0\0", 5);  // 8 bits, RGB, not interlaced
}

std::string filtered_rows(const Image& image) {
  const std::size_t length = std::size_t{3} * image.width;
  const std::uint8_t* pixels = image.rgb.get();
  std::string rows;
  rows.reserve((length + 1) * image.height);
  for (int y = 0; y < image.height; ++y, pixels += length) {
    rows += static_cast<char>(kUp);
    for (std::size_t i = 0; i < length; ++i) {
      const std::uint8_t above = y > 0 ? *(pixels + i - length) : 0;
      rows += static_cast<char>(pixels[i] - above);
    }
  }
  return rows;
}

}  // namespace

std::string encode_png(const Image& image) {
  const std::string rows = filtered_rows(image);
  uLongf size = compressBound(rows.size());
  std::string packed(size, '\0');
  const int state = compress2(reinterpret_cast<Bytef*>(&packed[0]), &size,
                              reinterpret_cast<const Bytef*>(rows.data()), rows.size(), kLevel);
  // A chunk's length has 31 bits.
  if (state != Z_OK || size > INT32_MAX)
    throw Error("a picture cannot be written as PNG", "too large");
  packed.resize(size);
  std::string file("\x89PNG\r\n\x1A\n", 8);
  add_chunk("IHDR", header_of(image), file);
  add_chunk("IDAT", packed, file);
  add_chunk("IEND", "", file);
  return file;
}

}  // namespace odtk
