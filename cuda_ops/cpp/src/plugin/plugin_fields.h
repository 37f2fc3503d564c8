// The attributes of the ONNX node, as TensorRT hands them over and as plans store them.
#pragma once

#include <NvInferRuntime.h>

#include <string>
#include <string_view>
#include <vector>

#include "gpu/detection_kernels.h"

namespace odtk {

// What odtk_ray/exports/onnx/plugin.py writes.
struct PluginFields {
  std::vector<std::int32_t> strides;  // of each level, pixels of the network input to a cell
  std::vector<float> anchors;         // [levels, A, 4], xyxy, of the cell at the origin
  std::int32_t classes = 0;
  float threshold = 0;
  std::int32_t top_n = 0;
  float nms = 0;
  std::int32_t detections = 0;
  std::int32_t rotated = 0;  // 0: axis-aligned boxes; 1: own angles; 2: ODTK's

  int box_values() const { return rotated == 0 ? 4 : 6; }
  int anchors_of_a_cell() const;
  gpu::PostprocessSettings settings() const;
};

// The names that TensorRT looks for in a node.
const nvinfer1::PluginFieldCollection& field_names();

// Both throw Error where a field is missing or cannot be right.
PluginFields read_fields(const nvinfer1::PluginFieldCollection& given);
PluginFields deserialize(std::string_view stored);

std::string serialize(const PluginFields& fields);

}  // namespace odtk
