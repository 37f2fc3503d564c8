#include "text/utf8.h"

namespace odtk {
namespace {

unsigned byte_at(std::string_view bytes, std::size_t at) {
  return static_cast<unsigned char>(bytes[at]);
}

// Returns the bytes of the character that a byte begins; 0 for one that begins none.
std::size_t length_of(unsigned first) {
  if (first < 0x80) return 1;
  if (first < 0xc2 || first > 0xf4) return 0;
  return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

// Whether the second byte makes a character that is not written longer than it must be, is none
// beyond the last, and no surrogate unless those are kept.
bool fits(unsigned first, unsigned second, Surrogates surrogates) {
  switch (first) {
    case 0xe0:
      return second >= 0xa0;
    case 0xed:
      return second < 0xa0 || surrogates == Surrogates::kept;
    case 0xf0:
      return second >= 0x90;
    case 0xf4:
      return second < 0x90;
    default:
      return true;
  }
}

// Returns the bytes of the character that begins at an index; 0 where none does.
std::size_t valid_length(std::string_view bytes, std::size_t at, Surrogates surrogates) {
  const unsigned first = byte_at(bytes, at);
  const std::size_t length = length_of(first);
  if (at + length > bytes.size()) return 0;
  for (std::size_t i = 1; i < length; i++) {
    if ((byte_at(bytes, at + i) & 0xc0) != 0x80) return 0;
  }
  return length < 2 || fits(first, byte_at(bytes, at + 1), surrogates) ? length : 0;
}

}  // namespace

std::size_t valid_utf8(std::string_view bytes, Surrogates surrogates) {
  std::size_t at = 0;
  while (at < bytes.size()) {
    const std::size_t length = valid_length(bytes, at, surrogates);
    if (length == 0) break;
    at += length;
  }
  return at;
}

char32_t next_character(std::string_view text, std::size_t& at) {
  const unsigned first = byte_at(text, at);
  const std::size_t length = valid_length(text, at, Surrogates::kept);
  if (length == 0) {
    at++;
    return 0xdc00 + first;
  }
  char32_t character = length == 1 ? first : first & (0x7f >> length);
  for (std::size_t i = 1; i < length; i++) {
    character = character << 6 | (byte_at(text, at + i) & 0x3f);
  }
  at += length;
  return character;
}

void append_character(std::string& text, char32_t character) {
  if (character < 0x80) {
    text += static_cast<char>(character);
    return;
  }
  const int more = character < 0x800 ? 1 : character < 0x10000 ? 2 : 3;
  constexpr int kFirst[] = {0, 0xc0, 0xe0, 0xf0};
  text += static_cast<char>(kFirst[more] | character >> (6 * more));
  for (int shift = 6 * (more - 1); shift >= 0; shift -= 6) {
    text += static_cast<char>(0x80 | (character >> shift & 0x3f));
  }
}

}  // namespace odtk
