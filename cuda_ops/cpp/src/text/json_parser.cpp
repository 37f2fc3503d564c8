// parse_json.
#include <algorithm>
#include <unordered_map>

#include "text/json.h"
#include "text/utf8.h"

namespace odtk {
namespace {

// Values within each other: deeper ones could exhaust the stack.
constexpr int kDeepest = 500;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Json parse() {
    skip_space();
    Json json = parse_value();
    skip_space();
    if (at_ < text_.size()) fail("Extra data", at_);
    return json;
  }

 private:
  // The next byte; 0 at the end, which is in no JSON.
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  bool take(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }

  void skip_space() {
    while (at_ < text_.size() && std::string_view(" \t\n\r").find(text_[at_]) != text_.npos) at_++;
  }

  [[noreturn]] void fail(const std::string& what, std::size_t at) const {
    const std::string_view before = text_.substr(0, at);
    const std::size_t line_start = before.rfind('\n') + 1;  // 0 in the first line
    const auto characters = [](std::string_view part) {
      return std::count_if(part.begin(), part.end(), [](char c) { return (c & 0xc0) != 0x80; });
    };
    throw WrongJson("it is not JSON: " + what + ": line " +
                    std::to_string(std::count(before.begin(), before.end(), '\n') + 1) +
                    " column " + std::to_string(characters(before.substr(line_start)) + 1) +
                    " (char " + std::to_string(characters(before)) + ")");
  }

  Json parse_value() {
    switch (peek()) {
      case '{':
        return nested([this] { return parse_object(); });
      case '[':
        return nested([this] { return parse_array(); });
      case '"':
        return {parse_string()};
      default:
        return parse_word();
    }
  }

  template <typename Parse>
  Json nested(const Parse& parse) {
    if (++depth_ > kDeepest) {
      throw WrongJson("it is not JSON of odtk-ray: it is nested too deeply");
    }
    at_++;
    skip_space();
    Json json = parse();
    depth_--;
    return json;
  }

  Json parse_array() {
    JsonArray array;
    if (take("]")) return {std::move(array)};
    while (true) {
      array.push_back(parse_value());
      if (!go_on("]")) return {std::move(array)};
    }
  }

  Json parse_object() {
    JsonObject object;
    std::unordered_map<std::string, std::size_t> places;
    if (take("}")) return {std::move(object)};
    while (true) {
      if (peek() != '"') fail("Expecting property name enclosed in double quotes", at_);
      std::string name = parse_string();
      skip_space();
      if (!take(":")) fail("Expecting ':' delimiter", at_);
      skip_space();
      Json value = parse_value();
      const auto [place, is_new] = places.emplace(name, object.size());
      if (is_new) {
        object.emplace_back(std::move(name), std::move(value));
      } else {
        object[place->second].second = std::move(value);
      }
      if (!go_on("}")) return {std::move(object)};
    }
  }

  // Returns whether a comma follows, and no end of the list.
  bool go_on(std::string_view end) {
    skip_space();
    if (take(end)) return false;
    if (!take(",")) fail("Expecting ',' delimiter", at_);
    skip_space();
    return true;
  }

  Json parse_word() {
    if (take("null")) return {nullptr};
    if (take("true")) return {true};
    if (take("false")) return {false};
    for (std::string_view number : {"NaN", "Infinity", "-Infinity"}) {
      if (take(number)) return {JsonNumber{std::string(number)}};
    }
    return {parse_number_token()};
  }

  JsonNumber parse_number_token() {
    std::size_t end = at_ + (peek() == '-');
    const auto digits_from = [this](std::size_t at) {
      while (at < text_.size() && is_digit(text_[at])) at++;
      return at;
    };
    const std::size_t whole = digits_from(end);
    if (whole == end) fail("Expecting value", at_);
    end = text_[end] == '0' ? end + 1 : whole;
    if (end < text_.size() && text_[end] == '.') {
      const std::size_t fraction = digits_from(end + 1);
      if (fraction > end + 1) end = fraction;
    }
    if (end < text_.size() && (text_[end] == 'e' || text_[end] == 'E')) {
      const bool has_sign =
          end + 1 < text_.size() && (text_[end + 1] == '+' || text_[end + 1] == '-');
      const std::size_t start = end + 1 + has_sign, power = digits_from(start);
      if (power > start) end = power;
    }
    JsonNumber number{std::string(text_.substr(at_, end - at_))};
    at_ = end;
    return number;
  }

  std::string parse_string() {
    const std::size_t start = at_++;
    std::string text;
    while (true) {
      std::size_t end = at_;
      while (end < text_.size() && text_[end] != '"' && text_[end] != '\\' && !is_control(end))
        end++;
      text += text_.substr(at_, end - at_);
      at_ = end;
      if (at_ == text_.size()) fail("Unterminated string starting at", start);
      if (take("\"")) return text;
      if (text_[at_] != '\\') fail("Invalid control character at", at_);
      parse_escape(text, start);
    }
  }

  bool is_control(std::size_t at) const { return static_cast<unsigned char>(text_[at]) < ' '; }

  void parse_escape(std::string& text, std::size_t start) {
    static constexpr std::string_view kNames = "\"\\/bfnrt", kCharacters = "\"\\/\b\f\n\r\t";
    const std::size_t escape = at_++;
    if (at_ == text_.size()) fail("Unterminated string starting at", start);
    const char name = text_[at_++];
    if (name != 'u') {
      const std::size_t known = kNames.find(name);
      if (known == kNames.npos) fail("Invalid \\escape", escape);
      text += kCharacters[known];
      return;
    }
    char32_t unit = parse_unit();
    const std::size_t next = at_;
    if (unit >= 0xd800 && unit < 0xdc00 && take("\\u")) {
      const char32_t low = parse_unit();
      if (low >= 0xdc00 && low < 0xe000) {
        unit = 0x10000 + ((unit - 0xd800) << 10 | (low - 0xdc00));
      } else {
        at_ = next;  // it stands for itself
      }
    }
    append_character(text, unit);
  }

  char32_t parse_unit() {
    char32_t unit = 0;
    for (std::size_t i = 0; i < 4; i++) {
      static constexpr std::string_view kDigits = "0123456789abcdef";
      const char c = at_ + i < text_.size() ? text_[at_ + i] : '\0';
      const std::size_t digit = kDigits.find(c >= 'A' && c <= 'F' ? static_cast<char>(c + 32) : c);
      if (digit == kDigits.npos) fail("Invalid \\uXXXX escape", at_ - 1);
      unit = unit << 4 | static_cast<char32_t>(digit);
    }
    at_ += 4;
    return unit;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

Json parse_json(std::string_view bytes) {
  const std::size_t valid = valid_utf8(bytes, Surrogates::kept);
  if (valid < bytes.size()) {
    throw WrongJson("it is not JSON: not UTF-8 (byte " + std::to_string(valid) + ")");
  }
  constexpr std::string_view kMark = "\xef\xbb\xbf";
  if (bytes.substr(0, kMark.size()) == kMark) bytes.remove_prefix(kMark.size());
  return Parser(bytes).parse();
}

}  // namespace odtk
