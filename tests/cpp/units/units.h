// Host code of cuda_ops/cpp on the command line, so that Python can compare what it computes.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

using Arguments = std::vector<std::string>;

// Functions by the name of the subcommand; each prints its result to standard output.
std::map<std::string, std::function<void(const Arguments&)>>& units();

// Registers one when the program starts.
struct Unit {
  Unit(const std::string& name, std::function<void(const Arguments&)> run) { units()[name] = run; }
};
