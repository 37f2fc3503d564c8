#include "text/spaces.h"

#include <cstddef>

#include "text/utf8.h"

namespace odtk {
namespace {

// Unicode's White_Space, and the separators of ASCII, as `str.isspace` has it.
bool is_space(char32_t character) {
  switch (character) {
    case 0x20:
    case 0x85:
    case 0xA0:
    case 0x1680:
    case 0x2028:
    case 0x2029:
    case 0x202F:
    case 0x205F:
    case 0x3000:
      return true;
    default:
      return (character >= 0x09 && character <= 0x0D) || (character >= 0x1C && character <= 0x1F) ||
             (character >= 0x2000 && character <= 0x200A);
  }
}

}  // namespace

std::string collapse_spaces(std::string_view text) {
  std::string result;
  bool pending = false;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t start = at;
    if (is_space(next_character(text, at))) {
      pending = !result.empty();
      continue;
    }
    if (pending) result += ' ';
    pending = false;
    result += text.substr(start, at - start);
  }
  return result;
}

std::string_view strip(std::string_view text) {
  std::size_t first = text.size(), last = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t start = at;
    if (is_space(next_character(text, at))) continue;
    if (first > start) first = start;
    last = at;
  }
  return first < last ? text.substr(first, last - first) : std::string_view();
}

}  // namespace odtk
