// What classes are called in outputs.
#pragma once

#include <cstdint>
#include <string>

#include "odtk.h"

namespace odtk {

// Returns the name of a class; where the model has no names `class 17`, of its category id, or of
// its index where it has no ids either.
std::string class_name(const PlanInfo& info, std::int32_t label);

}  // namespace odtk
