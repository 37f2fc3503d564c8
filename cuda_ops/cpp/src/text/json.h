#pragma once

#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace odtk {

// JSON that is not what is expected; the message is a clause, such as `std[1] is 0, not > 0`.
class WrongJson : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A number as it was written. Python's NaN, Infinity and -Infinity are numbers too.
struct JsonNumber {
  std::string token;

  // Whether it is written without a point and an exponent: Python's int.
  bool is_whole() const;
  double value() const;
};

struct Json;
using JsonArray = std::vector<Json>;
// In the order of the file; no key occurs twice.
using JsonObject = std::vector<std::pair<std::string, Json>>;

// A value. Texts are UTF-8, in which surrogates that stand alone are kept as three bytes each.
struct Json {
  std::variant<std::nullptr_t, bool, JsonNumber, std::string, JsonArray, JsonObject> value;

  // Returns the value if it is of this type, otherwise null.
  template <typename T>
  const T* get() const {
    return std::get_if<T>(&value);
  }
};

Json json_text(std::string_view text);
Json json_number(long long number);
Json json_number(double number);

// Returns the member of this name; null if there is none.
const Json* find(const JsonObject& object, std::string_view name);

// Parses JSON as Python's json.loads does: NaN and infinities are numbers, of members of one name
// the last one's value counts, a byte order mark is passed over. Unlike it, UTF-8 alone is read,
// and at most 500 values lie within each other. Throws WrongJson.
Json parse_json(std::string_view bytes);

// Writes JSON as Python's json.dumps does, without other characters than ASCII. Numbers are written
// as Python would write the ones that it had read.
// `indent`: spaces for each level; without it all is on one line. `sort_keys`: by characters.
std::string dump(const Json& json, std::optional<int> indent = {}, bool sort_keys = false);

// Writes a text in quotes, as `dump` does.
std::string quoted(std::string_view text);

}  // namespace odtk
