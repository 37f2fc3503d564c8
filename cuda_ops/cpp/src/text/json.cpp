#include "text/json.h"

#include <algorithm>
#include <cstdio>

#include "text/numbers.h"
#include "text/utf8.h"

namespace odtk {
namespace {

void append_escape(std::string& out, char32_t unit) {
  char escape[16];
  std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(unit));
  out += escape;
}

void append_quoted(std::string& out, std::string_view text) {
  static constexpr std::string_view kNamed = "\"\\\n\r\t\f\b", kNames = "\"\\nrtfb";
  out += '"';
  for (std::size_t at = 0; at < text.size();) {
    const char32_t character = next_character(text, at);
    const std::size_t named =
        character < 0x80 ? kNamed.find(static_cast<char>(character)) : std::string_view::npos;
    if (named != std::string_view::npos) {
      out += '\\';
      out += kNames[named];
    } else if (character >= ' ' && character <= '~') {
      out += static_cast<char>(character);
    } else if (character < 0x10000) {
      append_escape(out, character);
    } else {
      append_escape(out, 0xd800 + ((character - 0x10000) >> 10));
      append_escape(out, 0xdc00 + ((character - 0x10000) & 0x3ff));
    }
  }
  out += '"';
}

class Writer {
 public:
  Writer(std::optional<int> indent, bool sort_keys) : indent_(indent), sort_keys_(sort_keys) {}

  void write(const Json& json) {
    std::visit([this](const auto& value) { write_value(value); }, json.value);
  }

  std::string take() { return std::move(out_); }

 private:
  void write_value(std::nullptr_t) { out_ += "null"; }
  void write_value(bool value) { out_ += value ? "true" : "false"; }
  void write_value(const std::string& value) { append_quoted(out_, value); }

  void write_value(const JsonNumber& number) {
    if (!number.is_whole()) {
      out_ += number_text(number.value());
    } else {
      out_ += number.token == "-0" ? "0" : number.token;
    }
  }

  void write_value(const JsonArray& array) {
    write_list('[', array, ']', [this](const Json& item) { write(item); });
  }

  void write_value(const JsonObject& object) {
    std::vector<const JsonObject::value_type*> members;
    for (const auto& member : object) members.push_back(&member);
    if (sort_keys_) {
      std::sort(members.begin(), members.end(),
                [](const auto* one, const auto* other) { return one->first < other->first; });
    }
    write_list('{', members, '}', [this](const JsonObject::value_type* member) {
      append_quoted(out_, member->first);
      out_ += ": ";
      write(member->second);
    });
  }

  template <typename List, typename WriteItem>
  void write_list(char open, const List& list, char close, const WriteItem& write_item) {
    out_ += open;
    level_++;
    const char* separator = "";
    for (const auto& item : list) {
      out_ += separator;
      start_line();
      write_item(item);
      separator = indent_ ? "," : ", ";
    }
    level_--;
    if (!list.empty()) start_line();
    out_ += close;
  }

  void start_line() {
    if (!indent_) return;
    out_ += '\n';
    out_.append(static_cast<std::size_t>(*indent_) * level_, ' ');
  }

  const std::optional<int> indent_;
  const bool sort_keys_;
  std::size_t level_ = 0;
  std::string out_;
};

}  // namespace

bool JsonNumber::is_whole() const { return token.find_first_of(".eENI") == std::string::npos; }

double JsonNumber::value() const { return parse_number(token); }

Json json_text(std::string_view text) { return {std::string(text)}; }

Json json_number(long long number) { return {JsonNumber{std::to_string(number)}}; }

Json json_number(double number) { return {JsonNumber{number_text(number)}}; }

const Json* find(const JsonObject& object, std::string_view name) {
  for (const auto& [key, value] : object) {
    if (key == name) return &value;
  }
  return nullptr;
}

std::string dump(const Json& json, std::optional<int> indent, bool sort_keys) {
  Writer writer(indent, sort_keys);
  writer.write(json);
  return writer.take();
}

std::string quoted(std::string_view text) {
  std::string out;
  append_quoted(out, text);
  return out;
}

}  // namespace odtk
