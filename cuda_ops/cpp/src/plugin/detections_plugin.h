// A TensorRT plugin that ends a network in detections, by the kernels of decode.cu and nms.cu.
//
// IPluginV2DynamicExt is the interface that TensorRT 8.5 to 11 share.
#pragma once

#include <NvInferRuntime.h>

#include <memory>
#include <string>

#include "gpu/kernels.h"
#include "plugin/plugin_fields.h"

namespace odtk {

// Inputs: float32 [N, A * C, h, w] of each level, probabilities; then float32 [N, A * 4 or 6, h,
// w]. Outputs: float32 [N, D], best first, unused slots last and 0; float32 [N, D, 4 or 6]; int32
// [N, D].
class DetectionsPlugin : public nvinfer1::IPluginV2DynamicExt {
 public:
  using Tensor = nvinfer1::PluginTensorDesc;
  using DynamicTensor = nvinfer1::DynamicPluginTensorDesc;

  explicit DetectionsPlugin(PluginFields fields);

  nvinfer1::DimsExprs getOutputDimensions(int32_t index, nvinfer1::DimsExprs const* inputs,
                                          int32_t count,
                                          nvinfer1::IExprBuilder& builder) noexcept override;
  bool supportsFormatCombination(int32_t position, Tensor const* tensors, int32_t inputs,
                                 int32_t outputs) noexcept override;
  void configurePlugin(DynamicTensor const* inputs, int32_t input_count,
                       DynamicTensor const* outputs, int32_t output_count) noexcept override;
  size_t getWorkspaceSize(Tensor const* inputs, int32_t input_count, Tensor const* outputs,
                          int32_t output_count) const noexcept override;
  int32_t enqueue(Tensor const* inputs, Tensor const* outputs, void const* const* sources,
                  void* const* targets, void* workspace, cudaStream_t stream) noexcept override;
  nvinfer1::DataType getOutputDataType(int32_t index, nvinfer1::DataType const* inputs,
                                       int32_t count) const noexcept override;

  nvinfer1::AsciiChar const* getPluginType() const noexcept override;
  nvinfer1::AsciiChar const* getPluginVersion() const noexcept override;
  int32_t getNbOutputs() const noexcept override;
  int32_t initialize() noexcept override;
  void terminate() noexcept override;
  size_t getSerializationSize() const noexcept override;
  void serialize(void* buffer) const noexcept override;
  void destroy() noexcept override;
  nvinfer1::IPluginV2DynamicExt* clone() const noexcept override;
  void setPluginNamespace(nvinfer1::AsciiChar const* name) noexcept override;
  nvinfer1::AsciiChar const* getPluginNamespace() const noexcept override;

 private:
  struct OnDevice;

  gpu::Heads heads_of(Tensor const* inputs) const;

  const PluginFields fields_;
  std::string namespace_;
  std::shared_ptr<OnDevice> on_device_;  // that clones share
};

// Makes the plugin from the attributes of a node, or from a plan.
class DetectionsPluginCreator : public nvinfer1::IPluginCreator {
 public:
  nvinfer1::AsciiChar const* getPluginName() const noexcept override;
  nvinfer1::AsciiChar const* getPluginVersion() const noexcept override;
  nvinfer1::PluginFieldCollection const* getFieldNames() noexcept override;
  nvinfer1::IPluginV2* createPlugin(
      nvinfer1::AsciiChar const* name,
      nvinfer1::PluginFieldCollection const* fields) noexcept override;
  nvinfer1::IPluginV2* deserializePlugin(nvinfer1::AsciiChar const* name, void const* data,
                                         size_t size) noexcept override;
  void setPluginNamespace(nvinfer1::AsciiChar const* name) noexcept override;
  nvinfer1::AsciiChar const* getPluginNamespace() const noexcept override;

 private:
  std::string namespace_;
};

}  // namespace odtk
