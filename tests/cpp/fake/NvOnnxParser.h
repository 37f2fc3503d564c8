// As much of TensorRT's ONNX parser as cuda_ops/cpp uses.
#pragma once

#include "NvInfer.h"

namespace nvonnxparser {

class IParserError {
 public:
  char const* desc() const { return "an operator is not known"; }
};

class IParser {
 public:
  explicit IParser(nvinfer1::INetworkDefinition& network) : network_(network) {}
  // Makes a convolution, Quantize, Dequantize and a resize behind each other.
  bool parse(void const* data, std::size_t size) noexcept;
  int32_t getNbErrors() const noexcept { return 1; }
  IParserError const* getError(int32_t) const noexcept { return &error_; }

 private:
  nvinfer1::INetworkDefinition& network_;
  IParserError error_;
};

inline IParser* createParser(nvinfer1::INetworkDefinition& network, nvinfer1::ILogger&) {
  return new IParser(network);
}

}  // namespace nvonnxparser
