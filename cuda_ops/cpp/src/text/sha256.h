#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace odtk {

// The hash SHA-256 of FIPS 180-4.
class Sha256 {
 public:
  Sha256();

  // Adds bytes to what is hashed.
  void add(std::string_view bytes);

  // Ends the hashing, and returns the hash as 64 lower-case hexadecimal digits. Call it once.
  std::string hex();

 private:
  static constexpr std::size_t kBlock = 64;  // bytes that are hashed at once

  void hash_block(const unsigned char* block);

  std::array<std::uint32_t, 8> state_;
  std::array<unsigned char, kBlock> pending_{};
  std::size_t pending_size_ = 0;
  std::uint64_t total_ = 0;  // bytes
};

// Returns the hash of bytes as 64 lower-case hexadecimal digits.
std::string sha256(std::string_view bytes);

}  // namespace odtk
