#pragma once

#include <string>

namespace odtk {

// Returns a text as a shell takes it for one argument: in quotes where it needs them.
std::string shell_quote(const std::string& text);

}  // namespace odtk
