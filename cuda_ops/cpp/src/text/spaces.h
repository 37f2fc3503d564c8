// Space in text, as Python's `str.strip` and `str.split` know it.
#pragma once

#include <string>
#include <string_view>

namespace odtk {

// Returns a text without space around it, and with single blanks for space inside. The text must
// be valid UTF-8.
std::string collapse_spaces(std::string_view text);

// Returns a text without space around it. The text must be valid UTF-8.
std::string_view strip(std::string_view text);

}  // namespace odtk
