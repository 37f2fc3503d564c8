#include "answers.h"
#include "text/json.h"
#include "text/numbers.h"
#include "units.h"

namespace {

// json [INDENT] [sorted]: answers each JSON text with what is written of it.
void rewrite(const Arguments& arguments) {
  std::optional<int> indent;
  bool sort_keys = false;
  for (const std::string& argument : arguments) {
    if (argument == "sorted") {
      sort_keys = true;
    } else {
      indent = std::stoi(argument);
    }
  }
  answer_lines([&](const std::string& text) {
    return odtk::dump(odtk::parse_json(text), indent, sort_keys);
  });
}

// numbers: answers each list of numbers with the texts of its doubles, one a line.
void write_numbers(const Arguments&) {
  answer_lines([](const std::string& text) {
    const odtk::Json list = odtk::parse_json(text);
    std::string texts;
    for (const odtk::Json& item : *list.get<odtk::JsonArray>()) {
      texts += odtk::number_text(item.get<odtk::JsonNumber>()->value()) + "\n";
    }
    return texts;
  });
}

const Unit json("json", rewrite);
const Unit numbers("numbers", write_numbers);

}  // namespace
