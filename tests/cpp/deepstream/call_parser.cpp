// Calls the parser of cuda_ops/deepstream as nvinfer does, with tensors from standard input.
//
// call_parser WIDTH HEIGHT CLASSES THRESHOLD: reads name, type, count and values of each output,
// and prints a line for each object.

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <list>
#include <string>

#include "nvdsinfer_custom_impl.h"

extern "C" bool NvDsInferParseCustomOdtk(const std::vector<NvDsInferLayerInfo>& layers,
                                         const NvDsInferNetworkInfo& network,
                                         const NvDsInferParseDetectionParams& wanted,
                                         std::vector<NvDsInferObjectDetectionInfo>& found);

int main(int, char** values) {
  const NvDsInferNetworkInfo network{static_cast<unsigned>(std::atoi(values[1])),
                                     static_cast<unsigned>(std::atoi(values[2])), 3};
  const auto classes = static_cast<unsigned>(std::atoi(values[3]));
  const float threshold = std::strtof(values[4], nullptr);
  std::list<std::string> names;
  std::list<std::vector<float>> reals;
  std::list<std::vector<std::int32_t>> integers;
  std::vector<NvDsInferLayerInfo> layers;
  std::string name, type;
  for (unsigned count; std::cin >> name >> type >> count;) {
    names.push_back(name);
    NvDsInferLayerInfo layer{type == "int32" ? INT32 : FLOAT,
                             {1, {count}, count},
                             static_cast<int>(layers.size()),
                             names.back().c_str(),
                             nullptr,
                             0};
    if (type == "int32") {
      integers.emplace_back(count);
      for (std::int32_t& value : integers.back()) std::cin >> value;
      layer.buffer = integers.back().data();
    } else {
      reals.emplace_back(count);
      for (float& value : reals.back()) std::cin >> value;
      layer.buffer = reals.back().data();
    }
    layers.push_back(layer);
  }
  const std::vector<float> thresholds(classes, threshold);
  std::vector<NvDsInferObjectDetectionInfo> found;
  const bool parsed =
      NvDsInferParseCustomOdtk(layers, network, {classes, thresholds, thresholds}, found);
  std::cout.precision(9);
  for (const auto& object : found) {
    std::cout << object.classId << " " << object.detectionConfidence << " " << object.left << " "
              << object.top << " " << object.width << " " << object.height << "\n";
  }
  return parsed ? 0 : 1;
}
