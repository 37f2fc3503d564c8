// Walks over the chunks of a PNG file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace odtk {

struct PngChunk {
  std::string_view kind;     // four letters
  std::size_t body = 0;      // offset of the data
  std::uint32_t length = 0;  // bytes of the data, as it is claimed
};

// Reads a big-endian number of four bytes.
std::uint32_t big_endian_32(const char* bytes);

class PngChunks {
 public:
  // at: offset of the first chunk.
  PngChunks(std::string_view file, std::size_t at) : file_(file), at_(at) {}

  // Returns whether there is another chunk's head; the next call of `next` reads it.
  bool has_next() const { return at_ + 8 <= file_.size(); }

  // Reads the next chunk's head. Its kind has other characters than letters, digits and _ where
  // the file is damaged.
  PngChunk next();

  // Returns the data of a chunk; throws ImageError, which begins with the given words, where the
  // file ends before.
  std::string_view body(const PngChunk& chunk, const char* failed) const;

  // Returns whether a chunk's checksum is there and right.
  bool is_intact(const PngChunk& chunk) const;

  // The file's bytes.
  std::string_view file() const { return file_; }

 private:
  std::string_view file_;
  std::size_t at_;
};

// Returns whether nothing depends on a kind of chunk, neither pixels, nor transparency, nor
// orientation: it is passed over where it is damaged.
bool is_metadata(std::string_view kind);

// Returns whether four characters can be a kind of chunk.
bool is_kind(std::string_view kind);

}  // namespace odtk
