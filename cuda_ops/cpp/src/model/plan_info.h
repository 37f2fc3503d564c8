// What a sidecar says, for users of the library.
#pragma once

#include "model/sidecar.h"
#include "odtk.h"

namespace odtk {

PlanInfo plan_info(const Sidecar& about);

}  // namespace odtk
