#pragma once

#include <string>

#include "text/json.h"

namespace odtk {

// Returns a value for an error message, shortened to 60 characters: what Python's reprlib.repr
// shows of it, such as `'abc'`, `[1, 2.0, None]`.
std::string shown(const Json& json);

// Returns the first so many characters of a text.
std::string first_characters(std::string_view text, std::size_t count);

}  // namespace odtk
