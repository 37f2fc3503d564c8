// The command line of a program: declared options, checked values, help.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace odtk {

struct Option {
  std::string name;     // such as "--json"
  std::string metavar;  // one word for each value, such as "MIN OPT MAX"; empty for a flag
  std::string help;
};

class CommandLine {
 public:
  // Splits the arguments into options and the others; of an option that is repeated the last one
  // counts. `usage` is the first line of the help. Throws UsageError where an option is unknown or
  // its values are missing; one that begins with -- is only taken after a = sign.
  CommandLine(const std::string& usage, const std::string& about, std::vector<Option> options,
              int count, char** values);

  // Whether --help was asked for; it has been printed then.
  bool helped() const { return helped_; }

  const std::vector<std::string>& others() const { return others_; }
  bool has(const std::string& option) const { return given_.count(option) != 0; }
  // The option's first value; empty where it was not given.
  std::string text(const std::string& option) const;
  // Values as numbers. Throw UsageError where one is no number within the limits.
  std::vector<long> integers(const std::string& option, long least, long most) const;
  long integer(const std::string& option, long least, long most) const;
  double number(const std::string& option, double least, double most) const;
  // Whether an option is the second of the two words that it takes. Throws UsageError where it is
  // neither.
  bool second_word(const std::string& option, const std::string& first,
                   const std::string& second) const;

 private:
  void print_help(const std::string& usage, const std::string& about) const;
  const Option& find(const std::string& name) const;

  const std::vector<Option> options_;
  std::map<std::string, std::vector<std::string>> given_;
  std::vector<std::string> others_;
  bool helped_ = false;
};

}  // namespace odtk
