#include <cstdio>
#include <exception>

#include "odtk.h"
#include "units.h"

std::map<std::string, std::function<void(const Arguments&)>>& units() {
  static std::map<std::string, std::function<void(const Arguments&)>> all;
  return all;
}

// Exit codes: 0; 1 for an exception, whose message goes to standard error; 2 for an unknown unit.
int main(int count, char** values) {
  const Arguments arguments(values + 1, values + count);
  const auto found = arguments.empty() ? units().end() : units().find(arguments[0]);
  if (found == units().end()) return 2;
  try {
    found->second({arguments.begin() + 1, arguments.end()});
  } catch (const odtk::Error& error) {
    std::fprintf(stderr, "%s: %s\n  hint: %s\n", error.what(), error.why().c_str(),
                 error.hint().c_str());
    return 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
