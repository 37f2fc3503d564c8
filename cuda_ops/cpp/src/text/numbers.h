#pragma once

#include <string>
#include <string_view>

namespace odtk {

// Returns the shortest decimal number that a double is nearest to, as Python's repr writes it and
// json.dumps too: 0.1, 12.0, 1e-05, 1e+16, NaN, -Infinity. The process's locale has no effect.
std::string number_text(double value);

// Returns the double nearest to a JSON number, NaN, Infinity or -Infinity; numbers beyond all
// doubles give an infinity.
double parse_number(std::string_view token);

// Returns a whole number with commas between thousands, as error messages have it.
std::string with_commas(long long value);

}  // namespace odtk
