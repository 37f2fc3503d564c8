// Counted nouns for messages: "1 image", "1,234 images".
#pragma once

#include <cstddef>
#include <string>

namespace odtk {

// Returns a number with its thousands separated by commas.
std::string with_commas(std::size_t number);

// Returns a count with its noun; where `many` is empty, the plural appends an s to `one`.
std::string counted(std::size_t count, const std::string& one, const std::string& many = "");

}  // namespace odtk
