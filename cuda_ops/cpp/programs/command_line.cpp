#include "command_line.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <sstream>

#include "odtk.h"

namespace odtk {

namespace {

std::size_t count_words(const std::string& text) {
  std::istringstream words(text);
  std::size_t count = 0;
  for (std::string word; words >> word;) count++;
  return count;
}

// Letters to add, drop or replace to get from one word to the other.
std::size_t distance(const std::string& from, const std::string& to) {
  std::vector<std::size_t> row(to.size() + 1);
  for (std::size_t k = 0; k < row.size(); k++) row[k] = k;
  for (std::size_t i = 0; i < from.size(); i++) {
    std::size_t diagonal = row[0]++;
    for (std::size_t k = 0; k < to.size(); k++) {
      const std::size_t same = diagonal + (from[i] != to[k]);
      diagonal = row[k + 1];
      row[k + 1] = std::min({row[k] + 1, row[k + 1] + 1, same});
    }
  }
  return row.back();
}

std::string did_you_mean(const std::string& name, const std::vector<Option>& options) {
  const auto nearest =
      std::min_element(options.begin(), options.end(), [&name](const Option& a, const Option& b) {
        return distance(name, a.name) < distance(name, b.name);
      });
  const bool near = nearest != options.end() && distance(name, nearest->name) <= 3;
  return near ? "did you mean " + nearest->name + "?" : "--help lists the options";
}

bool is_option(const std::string& argument) { return argument.compare(0, 2, "--") == 0; }

[[noreturn]] void refuse(const Option& option, const std::string& value, const std::string& why) {
  throw UsageError(option.name + " " + value + " is not valid", why);
}

}  // namespace

CommandLine::CommandLine(const std::string& usage, const std::string& about,
                         std::vector<Option> options, int count, char** values)
    : options_(std::move(options)) {
  bool only_others = false;
  for (int i = 1; i < count; i++) {
    std::string argument = values[i];
    if (only_others || argument.size() < 2 || argument[0] != '-') {
      others_.push_back(argument);
      continue;
    }
    if (argument == "--") {
      only_others = true;
      continue;
    }
    if (argument == "--help" || argument == "-h") {
      print_help(usage, about);
      helped_ = true;
      return;
    }
    std::vector<std::string> found;
    const std::size_t equals = argument.find('=');
    if (equals != std::string::npos) {
      found.push_back(argument.substr(equals + 1));
      argument.resize(equals);
    }
    const Option& option = find(argument);
    const std::size_t wanted = count_words(option.metavar);
    while (found.size() < wanted && i + 1 < count && !is_option(values[i + 1])) {
      found.push_back(values[++i]);
    }
    const bool empty = std::count(found.begin(), found.end(), "") != 0;
    if (found.size() != wanted || empty) {
      throw UsageError(argument + (wanted == 0 ? " takes no value" : " needs " + option.metavar));
    }
    given_[argument] = found;
  }
}

const Option& CommandLine::find(const std::string& name) const {
  for (const Option& option : options_) {
    if (option.name == name) return option;
  }
  throw UsageError("there is no option " + name, "", did_you_mean(name, options_));
}

void CommandLine::print_help(const std::string& usage, const std::string& about) const {
  std::printf("usage: %s\n\n%s\n\n", usage.c_str(), about.c_str());
  std::size_t width = 0;
  const auto shown = [](const Option& option) {
    return option.metavar.empty() ? option.name : option.name + " " + option.metavar;
  };
  for (const Option& option : options_) width = std::max(width, shown(option).size());
  for (const Option& option : options_) {
    std::printf("  %-*s  %s\n", static_cast<int>(width), shown(option).c_str(),
                option.help.c_str());
  }
}

std::string CommandLine::text(const std::string& option) const {
  const auto found = given_.find(option);
  return found == given_.end() ? "" : found->second[0];
}

std::vector<long> CommandLine::integers(const std::string& name, long least, long most) const {
  std::vector<long> numbers;
  const Option& option = find(name);
  for (const std::string& text : given_.at(name)) {
    char* end = nullptr;
    errno = 0;
    const long number = std::strtol(text.c_str(), &end, 10);
    if (text.empty() || *end != '\0' || errno != 0 || number < least || number > most) {
      refuse(option, text,
             "it must be a whole number from " + std::to_string(least) + " to " +
                 std::to_string(most));
    }
    numbers.push_back(number);
  }
  return numbers;
}

long CommandLine::integer(const std::string& option, long least, long most) const {
  return integers(option, least, most)[0];
}

double CommandLine::number(const std::string& name, double least, double most) const {
  const std::string& value = given_.at(name)[0];
  char* end = nullptr;
  const double number = std::strtod(value.c_str(), &end);
  if (value.empty() || *end != '\0' || !(number >= least && number <= most)) {
    std::ostringstream limits;
    limits << "it must be a number from " << least << " to " << most;
    refuse(find(name), value, limits.str());
  }
  return number;
}

bool CommandLine::second_word(const std::string& option, const std::string& first,
                              const std::string& second) const {
  const std::string word = text(option);
  if (word != first && word != second) {
    refuse(find(option), word, "it is " + first + " or " + second);
  }
  return word == second;
}

}  // namespace odtk
