#include "text/shown_json.h"

#include <algorithm>
#include <cstdio>

#include "text/numbers.h"
#include "text/utf8.h"

namespace odtk {
namespace {

// reprlib's limits.
constexpr int kLevels = 6;
constexpr std::size_t kItems = 6, kMembers = 4, kText = 30, kDigits = 40, kAll = 60;

std::u32string characters_of(std::string_view text) {
  std::u32string characters;
  for (std::size_t at = 0; at < text.size();) characters += next_character(text, at);
  return characters;
}

std::string text_of(const std::u32string& characters) {
  std::string text;
  for (char32_t character : characters) append_character(text, character);
  return text;
}

void append_shown(std::u32string& out, char32_t c, char32_t quote) {
  static constexpr std::string_view kNamed = "\n\r\t", kNames = "nrt";
  const std::size_t named = c < ' ' ? kNamed.find(static_cast<char>(c)) : kNamed.npos;
  if (named != kNamed.npos) {
    out += {U'\\', static_cast<char32_t>(kNames[named])};
  } else if (c == quote || c == '\\') {
    out += {U'\\', c};
  } else if (c < ' ' || (c >= 0x7f && c <= 0xa0) || c == 0xad || (c >= 0xd800 && c < 0xe000)) {
    char escape[16];
    std::snprintf(escape, sizeof escape, c < 0x100 ? "\\x%02x" : "\\u%04x",
                  static_cast<unsigned>(c));
    for (const char* at = escape; *at; at++) out += static_cast<char32_t>(*at);
  } else {
    out += c;
  }
}

// Returns Python's repr of a text. Of the characters that it escapes, the rare ones are kept.
std::u32string in_quotes(const std::u32string& characters) {
  const bool single = characters.find(U'\'') == characters.npos;
  const char32_t quote = single || characters.find(U'"') != characters.npos ? U'\'' : U'"';
  std::u32string out(1, quote);
  for (char32_t character : characters) append_shown(out, character, quote);
  return out + quote;
}

constexpr std::size_t head_of(std::size_t limit) { return (limit - 3) / 2; }
constexpr std::size_t tail_of(std::size_t limit) { return limit - 3 - head_of(limit); }

// Leaves so many characters of the ends, with three dots between them.
std::u32string without_middle(const std::u32string& whole, std::size_t limit) {
  return whole.substr(0, head_of(limit)) + U"..." + whole.substr(whole.size() - tail_of(limit));
}

std::u32string short_text(const std::u32string& whole) {
  const std::u32string start = in_quotes(whole.substr(0, kText));
  if (start.size() <= kText) return start;
  const std::size_t tail = whole.size() - std::min(whole.size(), tail_of(kText));
  const std::u32string ends = whole.substr(0, head_of(kText)) + whole.substr(tail);
  return without_middle(in_quotes(ends), kText);
}

std::u32string short_number(const std::u32string& digits) {
  return digits.size() <= kDigits ? digits : without_middle(digits, kDigits);
}

struct Show {
  int levels;

  std::u32string of(const Json& json) const {
    return std::visit([this](const auto& value) { return value_of(value); }, json.value);
  }

  std::u32string value_of(std::nullptr_t) const { return U"None"; }
  std::u32string value_of(bool value) const { return value ? U"True" : U"False"; }
  std::u32string value_of(const std::string& text) const { return short_text(characters_of(text)); }

  std::u32string value_of(const JsonNumber& number) const {
    const double value = number.value();
    if (number.is_whole()) return short_number(characters_of(dump({number})));
    if (value != value) return U"nan";
    if (value - value != 0) return value > 0 ? U"inf" : U"-inf";
    return characters_of(number_text(value));
  }

  std::u32string value_of(const JsonArray& array) const {
    if (levels <= 0 && !array.empty()) return U"[...]";
    std::u32string out = U"[";
    for (std::size_t i = 0; i < std::min(array.size(), kItems); i++) {
      out += (i > 0 ? U", " : U"") + Show{levels - 1}.of(array[i]);
    }
    return out + (array.size() > kItems ? U", ...]" : U"]");
  }

  std::u32string value_of(const JsonObject& object) const {
    if (levels <= 0 && !object.empty()) return U"{...}";
    JsonObject sorted(object);
    std::sort(sorted.begin(), sorted.end(),
              [](const auto& one, const auto& other) { return one.first < other.first; });
    std::u32string out = U"{";
    for (std::size_t i = 0; i < std::min(sorted.size(), kMembers); i++) {
      out += (i > 0 ? U", " : U"") + short_text(characters_of(sorted[i].first)) + U": " +
             Show{levels - 1}.of(sorted[i].second);
    }
    return out + (sorted.size() > kMembers ? U", ...}" : U"}");
  }
};

}  // namespace

std::string shown(const Json& json) {
  const std::u32string whole = Show{kLevels}.of(json);
  return text_of(whole.size() <= kAll ? whole : whole.substr(0, kAll - 3) + U"...");
}

std::string first_characters(std::string_view text, std::size_t count) {
  return text_of(characters_of(text).substr(0, count));
}

}  // namespace odtk
