// As much of TensorRT's interface for plugins as cuda_ops/cpp uses.
#pragma once

#include "NvInfer.h"

namespace nvinfer1 {

enum class TensorFormat : int { kLINEAR = 0, kCHW4 = 2 };

struct Dims {
  int32_t nbDims;
#if FAKE_TENSORRT_MAJOR < 10
  int32_t d[8];
#else
  int64_t d[8];
#endif
};

class IDimensionExpr {
 public:
  explicit IDimensionExpr(int64_t value) : value(value) {}
  int64_t value;
};

struct DimsExprs {
  int32_t nbDims;
  IDimensionExpr const* d[8];
};

class IExprBuilder {
 public:
  IDimensionExpr const* constant(int64_t value) {
    made_.push_back(std::make_unique<IDimensionExpr>(value));
    return made_.back().get();
  }

 private:
  std::vector<std::unique_ptr<IDimensionExpr>> made_;
};

struct PluginTensorDesc {
  Dims dims;
  DataType type;
  TensorFormat format;
  float scale;
};

struct DynamicPluginTensorDesc {
  PluginTensorDesc desc;
  Dims min, max;
};

enum class PluginFieldType : int { kFLOAT32 = 1, kINT32 = 5, kCHAR = 6 };

class PluginField {
 public:
  PluginField(char const* name, void const* data, PluginFieldType type, int32_t length)
      : name(name), data(data), type(type), length(length) {}
  char const* name;
  void const* data;
  PluginFieldType type;
  int32_t length;
};

struct PluginFieldCollection {
  int32_t nbFields;
  PluginField const* fields;
};

class IPluginV2 {
 public:
  virtual ~IPluginV2() = default;
  virtual AsciiChar const* getPluginType() const noexcept = 0;
  virtual AsciiChar const* getPluginVersion() const noexcept = 0;
  virtual int32_t getNbOutputs() const noexcept = 0;
  virtual int32_t initialize() noexcept = 0;
  virtual void terminate() noexcept = 0;
  virtual size_t getSerializationSize() const noexcept = 0;
  virtual void serialize(void* buffer) const noexcept = 0;
  virtual void destroy() noexcept = 0;
  virtual IPluginV2* clone() const noexcept = 0;
  virtual void setPluginNamespace(AsciiChar const* name) noexcept = 0;
  virtual AsciiChar const* getPluginNamespace() const noexcept = 0;
};

class IPluginV2DynamicExt : public IPluginV2 {
 public:
  IPluginV2DynamicExt* clone() const noexcept override = 0;
  virtual DimsExprs getOutputDimensions(int32_t index, DimsExprs const* inputs, int32_t count,
                                        IExprBuilder& builder) noexcept = 0;
  virtual bool supportsFormatCombination(int32_t position, PluginTensorDesc const* tensors,
                                         int32_t inputs, int32_t outputs) noexcept = 0;
  virtual void configurePlugin(DynamicPluginTensorDesc const* inputs, int32_t input_count,
                               DynamicPluginTensorDesc const* outputs,
                               int32_t output_count) noexcept = 0;
  virtual size_t getWorkspaceSize(PluginTensorDesc const* inputs, int32_t input_count,
                                  PluginTensorDesc const* outputs,
                                  int32_t output_count) const noexcept = 0;
  virtual int32_t enqueue(PluginTensorDesc const* inputs, PluginTensorDesc const* outputs,
                          void const* const* sources, void* const* targets, void* workspace,
                          cudaStream_t stream) noexcept = 0;
  virtual DataType getOutputDataType(int32_t index, DataType const* inputs,
                                     int32_t count) const noexcept = 0;
};

class IPluginCreator {
 public:
  virtual ~IPluginCreator() = default;
  virtual AsciiChar const* getPluginName() const noexcept = 0;
  virtual AsciiChar const* getPluginVersion() const noexcept = 0;
  virtual PluginFieldCollection const* getFieldNames() noexcept = 0;
  virtual IPluginV2* createPlugin(AsciiChar const* name,
                                  PluginFieldCollection const* fields) noexcept = 0;
  virtual IPluginV2* deserializePlugin(AsciiChar const* name, void const* data,
                                       size_t size) noexcept = 0;
  virtual void setPluginNamespace(AsciiChar const* name) noexcept = 0;
  virtual AsciiChar const* getPluginNamespace() const noexcept = 0;
};

class IPluginRegistry {
 public:
  bool registerCreator(IPluginCreator& creator, AsciiChar const*) noexcept {
    creators_.push_back(&creator);
    return true;
  }
  IPluginCreator* getPluginCreator(AsciiChar const* name, AsciiChar const* version) noexcept {
    for (IPluginCreator* creator : creators_) {
      if (std::string(name) == creator->getPluginName() &&
          std::string(version) == creator->getPluginVersion()) {
        return creator;
      }
    }
    return nullptr;
  }

 private:
  std::vector<IPluginCreator*> creators_;
};

}  // namespace nvinfer1

extern "C" nvinfer1::IPluginRegistry* getPluginRegistry() noexcept;
extern "C" nvinfer1::ILogger* getLogger() noexcept;

namespace nvinfer1 {

template <typename T>
class PluginRegistrar {
 public:
  PluginRegistrar() { getPluginRegistry()->registerCreator(instance_, ""); }

 private:
  T instance_;
};

}  // namespace nvinfer1

#define REGISTER_TENSORRT_PLUGIN(name) \
  static nvinfer1::PluginRegistrar<name> registrar_of_##name {}
