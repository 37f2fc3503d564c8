// As much of DeepStream's interface for parsers as nvdsparse_odtk.cpp uses.
#pragma once

#include <vector>

enum NvDsInferDataType { FLOAT = 0, HALF = 1, INT8 = 2, INT32 = 3 };

struct NvDsInferDims {
  unsigned numDims, d[8], numElements;
};

struct NvDsInferLayerInfo {
  NvDsInferDataType dataType;
  NvDsInferDims inferDims;
  int bindingIndex;
  const char* layerName;
  void* buffer;
  int isInput;
};

struct NvDsInferNetworkInfo {
  unsigned width, height, channels;
};

struct NvDsInferParseDetectionParams {
  unsigned numClassesConfigured;
  std::vector<float> perClassPreclusterThreshold, perClassPostclusterThreshold;
};

struct NvDsInferObjectDetectionInfo {
  unsigned classId;
  float left, top, width, height, detectionConfidence;
};

using Parser = bool (*)(const std::vector<NvDsInferLayerInfo>&, const NvDsInferNetworkInfo&,
                        const NvDsInferParseDetectionParams&,
                        std::vector<NvDsInferObjectDetectionInfo>&);

#define CHECK_CUSTOM_PARSE_FUNC_PROTOTYPE(function) \
  static Parser const check_##function __attribute__((unused)) = function
