#include "text/typed_json.h"

#include <algorithm>
#include <cmath>

#include "text/numbers.h"
#include "text/shown_json.h"
#include "text/utf8.h"

namespace odtk {
namespace {

constexpr std::size_t kLongestKey = 60;  // characters

std::string limit_text(double limit) {
  if (std::isinf(limit)) return limit < 0 ? "-inf" : "inf";
  return with_commas(static_cast<long long>(limit));
}

bool is_printable(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < ' ' || byte == 0x7f;
  });
}

std::string joined(const std::string& name, const std::string& key) {
  const bool plain = is_printable(key) && first_characters(key, kLongestKey) == key;
  const std::string part = plain ? key : shown(json_text(key));
  return name.empty() ? part : name + "." + part;
}

// Whether a whole number is one that odtk-ray takes for infinite.
bool exceeds_64_bits(std::string_view token) {
  constexpr std::string_view kGreatest = "18446744073709551615";
  const std::string_view digits = token.substr(token[0] == '-');
  return digits.size() > kGreatest.size() ||
         (digits.size() == kGreatest.size() && digits > kGreatest);
}

}  // namespace

WrongJson TypedJson::wrong(const std::string& meaning) const {
  return WrongJson((name_.empty() ? "it" : name_) + " is " + shown(*json_) + ", not " + meaning);
}

const std::string& TypedJson::text() const {
  if (const auto* text = json_->get<std::string>()) return *text;
  throw wrong("text");
}

const std::string& TypedJson::one_of(std::initializer_list<const char*> choices) const {
  const auto* text = json_->get<std::string>();
  if (text != nullptr && std::count(choices.begin(), choices.end(), *text) > 0) return *text;
  std::string meaning = "one of ";
  for (const char* choice : choices) meaning += std::string(choice) + ", ";
  throw wrong(meaning.substr(0, meaning.size() - 2));
}

long long TypedJson::whole(const Range& range) const {
  const auto* number = json_->get<JsonNumber>();
  if (number == nullptr || !number->is_whole()) throw wrong("a whole number");
  constexpr double kMost = 1LL << 62;
  return static_cast<long long>(std::clamp(within(range, number->value()), -kMost, kMost));
}

double TypedJson::number(const Range& range) const {
  const auto* number = json_->get<JsonNumber>();
  const double value = number == nullptr ? NAN : number->value();
  if (!std::isfinite(value) || (number->is_whole() && exceeds_64_bits(number->token))) {
    throw wrong("a finite number");
  }
  return within(range, value);
}

double TypedJson::within(const Range& range, double value) const {
  if (!(range.minimum <= value && value <= range.maximum)) {
    throw wrong("a number from " + limit_text(range.minimum) + " to " + limit_text(range.maximum));
  }
  if (!(value > range.above)) throw wrong("a number above " + limit_text(range.above));
  return value;
}

std::vector<TypedJson> TypedJson::items(std::optional<std::size_t> count) const {
  const auto* array = json_->get<JsonArray>();
  if (array == nullptr) throw wrong("a list");
  if (count && array->size() != *count) throw wrong("a list of " + std::to_string(*count));
  std::vector<TypedJson> items;
  for (const Json& item : *array) {
    items.emplace_back(item, name_ + "[" + std::to_string(items.size()) + "]");
  }
  return items;
}

const JsonObject& TypedJson::table() const {
  if (const auto* object = json_->get<JsonObject>()) return *object;
  throw wrong("a table");
}

void TypedJson::members(const std::map<std::string, Reader>& readers) const {
  const JsonObject& given = table();
  for (const auto& [key, reader] : readers) {
    if (find(given, key) == nullptr) throw WrongJson("it has no " + joined(name_, key));
  }
  const std::string* unknown = nullptr;
  for (const auto& [key, value] : given) {
    if (readers.count(key) == 0 && (unknown == nullptr || key < *unknown)) unknown = &key;
  }
  if (unknown != nullptr) {
    throw WrongJson("it has an unknown " + shown(json_text(joined(name_, *unknown))));
  }
  for (const auto& [key, value] : given) readers.at(key)(TypedJson(value, joined(name_, key)));
}

JsonObject without_format(const Json& json, int version) {
  JsonObject rest(TypedJson(json).table());
  const auto format = std::find_if(rest.begin(), rest.end(),
                                   [](const auto& member) { return member.first == "format"; });
  if (format == rest.end()) throw WrongJson("it has no format");
  const auto* number = format->second.get<JsonNumber>();
  if (number == nullptr || number->value() != version) {
    throw OtherFormat("its format is " + shown(format->second) + ", and this version reads " +
                      std::to_string(version));
  }
  rest.erase(format);
  return rest;
}

}  // namespace odtk
