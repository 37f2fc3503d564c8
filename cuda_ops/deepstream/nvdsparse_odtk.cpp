// Gives DeepStream's nvinfer the detections of a model that ends in scores, boxes and classes.
//
// g++ -shared -fPIC -O2 -std=c++14 -o libnvdsparse_odtk.so nvdsparse_odtk.cpp
//     -I/opt/nvidia/deepstream/deepstream/sources/includes -I/usr/local/cuda/include
// config_infer_odtk.txt names the library; docs/serve.md has the rest.

#include <nvdsinfer_custom_impl.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

namespace {

constexpr int kBoxValues = 4;  // x1, y1, x2, y2: pixels of the network input, both ends inclusive

const NvDsInferLayerInfo* find(const std::vector<NvDsInferLayerInfo>& layers, const char* name,
                               NvDsInferDataType type) {
  for (const NvDsInferLayerInfo& layer : layers) {
    if (std::strcmp(layer.layerName, name) == 0 && layer.dataType == type) return &layer;
  }
  std::fprintf(stderr, "odtk: the model has no output %s: export it with --with-postprocess\n",
               name);
  return nullptr;
}

}  // namespace

// `boxes` of an image are appended to `found`, best first. Returns false, with a message, where the
// model or the configuration is another one.
extern "C" bool NvDsInferParseCustomOdtk(const std::vector<NvDsInferLayerInfo>& layers,
                                         const NvDsInferNetworkInfo& network,
                                         const NvDsInferParseDetectionParams& wanted,
                                         std::vector<NvDsInferObjectDetectionInfo>& found) {
  const NvDsInferLayerInfo* scores = find(layers, "scores", FLOAT);
  const NvDsInferLayerInfo* boxes = find(layers, "boxes", FLOAT);
  const NvDsInferLayerInfo* classes = find(layers, "classes", INT32);
  if (scores == nullptr || boxes == nullptr || classes == nullptr) return false;
  const unsigned count = scores->inferDims.numElements;
  if (boxes->inferDims.numElements != kBoxValues * count) {
    std::fprintf(stderr, "odtk: the model has rotated boxes, which DeepStream does not draw\n");
    return false;
  }
  for (unsigned i = 0; i < count; i++) {
    const float score = static_cast<const float*>(scores->buffer)[i];
    if (!(score > 0)) break;  // the rest is unused
    const std::int32_t label = static_cast<const std::int32_t*>(classes->buffer)[i];
    if (label < 0 || static_cast<unsigned>(label) >= wanted.numClassesConfigured) {
      std::fprintf(stderr, "odtk: class %d was found: set num-detected-classes\n", label);
      return false;
    }
    if (score < wanted.perClassPreclusterThreshold[label]) continue;
    const float* box = static_cast<const float*>(boxes->buffer) + kBoxValues * i;
    NvDsInferObjectDetectionInfo object{};
    object.classId = static_cast<unsigned>(label);
    object.detectionConfidence = score;
    object.left = std::max(box[0], 0.0F);
    object.top = std::max(box[1], 0.0F);
    object.width = std::min(box[2] + 1, static_cast<float>(network.width)) - object.left;
    object.height = std::min(box[3] + 1, static_cast<float>(network.height)) - object.top;
    if (object.width > 0 && object.height > 0) found.push_back(object);
  }
  return true;
}

CHECK_CUSTOM_PARSE_FUNC_PROTOTYPE(NvDsInferParseCustomOdtk);
