#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace odtk {

// Whether UTF-8 may hold single surrogates, as JSON's escapes can write them; Python's
// `surrogatepass`.
enum class Surrogates { refused, kept };

// Returns how many of the bytes, from the first on, are whole characters of UTF-8.
std::size_t valid_utf8(std::string_view bytes, Surrogates surrogates);

// Returns the character that begins at an index, and moves the index behind it. A byte that begins
// no character of UTF-8 gives 0xdc00 plus its value, as Python's `surrogateescape` does.
char32_t next_character(std::string_view text, std::size_t& at);

// Appends a character, or a single surrogate, as UTF-8.
void append_character(std::string& text, char32_t character);

}  // namespace odtk
