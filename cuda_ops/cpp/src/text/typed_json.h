#pragma once

#include <functional>
#include <initializer_list>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "text/json.h"

namespace odtk {

// The numbers that a value may have.
struct Range {
  double minimum = -std::numeric_limits<double>::infinity();
  double maximum = std::numeric_limits<double>::infinity();
  double above = -std::numeric_limits<double>::infinity();  // what it must be greater than
};

// More classes, pixels or images at once than there are anywhere.
constexpr Range kCount{1, 1e6};

// Reads JSON that others may have edited: every function throws WrongJson where the value is not of
// the type or in the range that is asked for. The JSON must live as long.
class TypedJson {
 public:
  using Reader = std::function<void(const TypedJson&)>;

  // `name`: of the value, for the errors.
  explicit TypedJson(const Json& json, std::string name = "")
      : json_(&json), name_(std::move(name)) {}

  const Json& json() const { return *json_; }
  const std::string& name() const { return name_; }
  bool is_null() const { return json_->get<std::nullptr_t>() != nullptr; }

  const std::string& text() const;
  const std::string& one_of(std::initializer_list<const char*> choices) const;
  // Beyond 2^53 it is not exact, and beyond 2^62 that.
  long long whole(const Range& range = {}) const;
  double number(const Range& range = {}) const;

  // `count`: how many there must be, if that is known.
  std::vector<TypedJson> items(std::optional<std::size_t> count = {}) const;

  const JsonObject& table() const;

  // Calls the reader of each member, in the order of the file; exactly those that have readers must
  // be there.
  void members(const std::map<std::string, Reader>& readers) const;

  // Returns the error that says what the value is, and what it should be.
  WrongJson wrong(const std::string& meaning) const;

 private:
  // Returns the value if it is in the range.
  double within(const Range& range, double value) const;

  const Json* json_;
  std::string name_;
};

// Returns a table's members without `format`. Throws WrongJson where there is none, and
// OtherFormat.
JsonObject without_format(const Json& json, int version);

// JSON of another version's format.
class OtherFormat : public WrongJson {
 public:
  using WrongJson::WrongJson;
};

}  // namespace odtk
