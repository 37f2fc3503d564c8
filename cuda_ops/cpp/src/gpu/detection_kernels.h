// The kernels of decode.cu and nms.cu behind a network's raw outputs, and the memory they need.
#pragma once

#include <cstddef>
#include <vector>

#include "gpu/kernels.h"
#include "odtk.h"

namespace odtk::gpu {

// The thresholds behind a network's raw outputs.
struct PostprocessSettings {
  float threshold;
  int top_n;
  float nms;
  int detections;
  RotatedNms rotated_nms;
};

// What the kernels have to know of a network's raw outputs.
struct Heads {
  struct Size {
    int height, width, stride;  // cells, and pixels of the network input to one
  };

  std::vector<Size> levels;
  int anchors;  // of a cell
  int classes;
  bool rotated;

  int box_values() const { return rotated ? 6 : 4; }
  std::size_t anchor_bytes() const { return sizeof(float) * 4 * anchors * levels.size(); }
};

// Throws UsageError where the kernels cannot decode such outputs: there are too many levels, or too
// many scores for 31 bits.
void check_heads(const Heads& heads);

// Memory that a launch of the kernels works in: parts of one block, by their offsets in bytes.
struct Scratch {
  Scratch(const Heads& heads, int batch, const PostprocessSettings& settings);

  std::size_t counts, lists, keys, scores, boxes, classes;
  std::size_t counts_bytes;  // zero before the first launch; launches leave them zero
  std::size_t bytes;
  std::uint32_t capacity;  // keys in a list
  unsigned shared;         // bytes of shared memory to sort in; `keys` has none then
};

// Device memory of a launch.
struct DetectionMemory {
  std::vector<DevicePointer> outputs;  // the network's: scores of all levels, then boxes
  DevicePointer anchors;               // float32 [levels, anchors, 4]
  DevicePointer scratch;
  DevicePointer scores, boxes, classes;  // the results
};

class DetectionKernels {
 public:
  // `heads` have passed `check_heads`.
  DetectionKernels(const Kernels& kernels, Heads heads, const PostprocessSettings& settings);

  // Queues both halves; can be captured in a graph.
  void launch(cudaStream_t stream, int batch, const DetectionMemory& memory) const;

 private:
  unsigned describe_levels(const DetectionMemory& memory, DecodeArgs& arguments) const;

  const Kernel scan_, select_, suppress_;
  const Heads heads_;
  const PostprocessSettings settings_;
};

}  // namespace odtk::gpu
