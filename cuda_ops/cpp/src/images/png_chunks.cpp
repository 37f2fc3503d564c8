#include "images/png_chunks.h"

#include <zlib.h>

#include <algorithm>
#include <string>

#include "odtk.h"

namespace odtk {
namespace {

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

}  // namespace

std::uint32_t big_endian_32(const char* bytes) {
  std::uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value = value << 8 | static_cast<std::uint8_t>(bytes[i]);
  return value;
}

PngChunk PngChunks::next() {
  PngChunk chunk;
  chunk.length = big_endian_32(file_.data() + at_);
  chunk.kind = file_.substr(at_ + 4, 4);
  chunk.body = at_ + 8;
  at_ = chunk.body + std::size_t{chunk.length} + 4;
  return chunk;
}

std::string_view PngChunks::body(const PngChunk& chunk, const char* failed) const {
  if (chunk.length > file_.size() - chunk.body) {
    throw ImageError(std::string(failed) + "Truncated File Read");
  }
  return file_.substr(chunk.body, chunk.length);
}

bool PngChunks::is_intact(const PngChunk& chunk) const {
  const std::size_t end = chunk.body + std::size_t{chunk.length};
  if (end + 4 > file_.size()) return false;
  // The sum covers the kind too.
  const auto* covered = reinterpret_cast<const Bytef*>(file_.data() + chunk.body - 4);
  return crc32_z(0, covered, std::size_t{chunk.length} + 4) == big_endian_32(file_.data() + end);
}

bool is_metadata(std::string_view kind) {
  constexpr std::string_view needed[] = {"IHDR", "PLTE", "IDAT", "IEND", "tRNS", "eXIf"};
  return std::all_of(kind.begin(), kind.end(), is_letter) &&
         std::find(std::begin(needed), std::end(needed), kind) == std::end(needed);
}

bool is_kind(std::string_view kind) {
  // Pillow takes digits too.
  const auto is_word = [](char c) { return is_letter(c) || (c >= '0' && c <= '9') || c == '_'; };
  return std::all_of(kind.begin(), kind.end(), is_word);
}

}  // namespace odtk
