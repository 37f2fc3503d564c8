// Says why a file is no image that is read here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace odtk {

// What is said of files that begin like no format, or whose header makes no sense.
extern const char* const kDamaged;

// Bytes from which the functions of this file know a format.
constexpr std::size_t kImageHead = 32;

bool is_jpeg(const std::uint8_t* data, std::size_t size);
bool is_png(const std::uint8_t* data, std::size_t size);

// Returns in one clause why a file that is neither JPEG nor PNG cannot be decoded.
std::string why_unsupported(const std::uint8_t* data, std::size_t size);

}  // namespace odtk
