// The options that all programs have which run a plan.
#pragma once

#include <vector>

#include "command_line.h"
#include "odtk.h"

namespace odtk {

// Returns a program's own options, and behind them those of the detector.
std::vector<Option> with_detector_options(std::vector<Option> own);

// Reads the latter. Throws UsageError where a value is not valid.
DetectorOptions detector_options(const CommandLine& line);

}  // namespace odtk
