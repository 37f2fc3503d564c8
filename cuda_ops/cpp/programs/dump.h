// The network's tensors in NumPy's files.
#pragma once

#include <string>
#include <vector>

#include "odtk.h"

namespace odtk {

// Writes DIR/NUMBER-NAME.npy for each tensor of the last launch, float32; the folder must exist.
// `number` is the index of the launch's first image.
void dump_tensors(const std::string& folder, std::size_t number,
                  const std::vector<Detector::Tensor>& tensors);

}  // namespace odtk
