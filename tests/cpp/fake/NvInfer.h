// As much of TensorRT's interface as cuda_ops/cpp uses, of 8.5 or, with FAKE_TENSORRT_MAJOR=11, of
// 11.1; fake_tensorrt.cpp has plans that are text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cuda_runtime_api.h"

#ifndef FAKE_TENSORRT_MAJOR
#define FAKE_TENSORRT_MAJOR 8
#endif
#define NV_TENSORRT_MAJOR FAKE_TENSORRT_MAJOR
#define NV_TENSORRT_MINOR (FAKE_TENSORRT_MAJOR == 8 ? 5 : 1)

extern "C" int getInferLibVersion() noexcept;

namespace nvinfer1 {

using AsciiChar = char;

class ILogger {
 public:
  enum class Severity : int { kINTERNAL_ERROR = 0, kERROR = 1, kWARNING = 2, kINFO = 3 };
  virtual void log(Severity severity, AsciiChar const* message) noexcept = 0;
  virtual ~ILogger() = default;
};

enum class DataType : int { kFLOAT = 0, kHALF = 1, kINT8 = 2, kINT32 = 3 };
enum class DeviceType : int { kGPU = 0, kDLA = 1 };
enum class LayerType : int { kRESIZE = 0, kQUANTIZE = 1, kDEQUANTIZE = 2, kCONVOLUTION = 3 };
enum class MemoryPoolType : int { kWORKSPACE = 0 };
enum class OptProfileSelector : int { kMIN = 0, kOPT = 1, kMAX = 2 };
enum class ProfilingVerbosity : int { kDETAILED = 2 };
#if FAKE_TENSORRT_MAJOR < 11
enum class BuilderFlag : int { kFP16 = 0, kINT8 = 1, kTF32 = 2, kGPU_FALLBACK = 3 };
enum class NetworkDefinitionCreationFlag : int { kEXPLICIT_BATCH = 0 };
enum class TacticSource : int { kCUBLAS = 0, kCUBLAS_LT = 1, kCUDNN = 2 };
#else
enum class BuilderFlag : int { kTF32 = 2, kGPU_FALLBACK = 3 };

class IProgressMonitor {
 public:
  virtual ~IProgressMonitor() = default;
  virtual void phaseStart(char const* phase, char const* parent, int32_t steps) noexcept = 0;
  virtual bool stepComplete(char const* phase, int32_t step) noexcept = 0;
  virtual void phaseFinish(char const* phase) noexcept = 0;
};
#endif

struct Dims4 {
  Dims4(int64_t d0, int64_t d1, int64_t d2, int64_t d3) : d{d0, d1, d2, d3} {}
  int64_t d[4];
};

class IHostMemory {
 public:
  explicit IHostMemory(std::string content) : content_(std::move(content)) {}
  void const* data() const noexcept { return content_.data(); }
  std::size_t size() const noexcept { return content_.size(); }

 private:
  std::string content_;
};

class ITensor {};

class ILayer {
 public:
  ILayer(LayerType type, ITensor* input) : type_(type), input_(input) {}
  LayerType getType() const noexcept { return type_; }
  ITensor* getInput(int32_t) const noexcept { return input_; }
  ITensor* getOutput(int32_t) noexcept { return &output_; }
  int32_t getNbOutputs() const noexcept { return 1; }
  void setInput(int32_t, ITensor& tensor) noexcept { input_ = &tensor; }

 private:
  LayerType type_;
  ITensor* input_;
  ITensor output_;
};

class INetworkDefinition {
 public:
  explicit INetworkDefinition(uint32_t flags) : flags(flags) {}
  void setName(char const* text) noexcept { name = text; }
  int32_t getNbLayers() const noexcept { return static_cast<int32_t>(layers.size()); }
  ILayer* getLayer(int32_t i) const noexcept { return layers[i].get(); }

  uint32_t flags;
  std::string name, onnx;
  ITensor image;
  std::vector<std::unique_ptr<ILayer>> layers;
};

class ITimingCache {
 public:
  explicit ITimingCache(std::string content) : content(std::move(content)) {}
  IHostMemory* serialize() const noexcept { return new IHostMemory(content + "timed\n"); }

  std::string content;
};

class IOptimizationProfile {
 public:
  bool setDimensions(char const*, OptProfileSelector which, Dims4 const& shape) noexcept {
    batches[static_cast<int>(which)] = shape.d[0];
    return true;
  }

  int64_t batches[3];
};

class IBuilderConfig {
 public:
  void setFlag(BuilderFlag flag) noexcept { flags |= 1U << static_cast<int>(flag); }
  void clearFlag(BuilderFlag flag) noexcept { flags &= ~(1U << static_cast<int>(flag)); }
#if FAKE_TENSORRT_MAJOR < 11
  uint32_t getTacticSources() const noexcept { return tactics; }
  bool setTacticSources(uint32_t sources) noexcept {
    tactics = sources;
    return true;
  }
#else
  void setProgressMonitor(IProgressMonitor* given) noexcept { monitor = given; }
  IProgressMonitor* monitor = nullptr;
#endif
  void setProfilingVerbosity(ProfilingVerbosity) noexcept {}
  void setMemoryPoolLimit(MemoryPoolType, std::size_t bytes) noexcept { workspace = bytes; }
  void setDefaultDeviceType(DeviceType type) noexcept { device = type; }
  void setDLACore(int32_t core) noexcept { dla = core; }
  int32_t addOptimizationProfile(IOptimizationProfile const* given) noexcept {
    profile = given;
    return 0;
  }
  ITimingCache* createTimingCache(void const* data, std::size_t size) const noexcept {
    return new ITimingCache(std::string(static_cast<char const*>(data), size));
  }
  // A cache that is not empty must begin like one.
  bool setTimingCache(ITimingCache const& given, bool) noexcept {
    if (!given.content.empty() && given.content.rfind("timed", 0) != 0) return false;
    cache = &given;
    return true;
  }
  ITimingCache const* getTimingCache() const noexcept { return cache; }

  uint32_t flags = 1U << static_cast<int>(BuilderFlag::kTF32), tactics = 15;
  std::size_t workspace = 0;
  DeviceType device = DeviceType::kGPU;
  int32_t dla = -1;
  IOptimizationProfile const* profile = nullptr;
  ITimingCache const* cache = nullptr;
};

class IBuilder {
 public:
  explicit IBuilder(ILogger& log) : log_(log) {}
  INetworkDefinition* createNetworkV2(uint32_t flags) noexcept {
    return new INetworkDefinition(flags);
  }
  IBuilderConfig* createBuilderConfig() noexcept { return new IBuilderConfig; }
  IOptimizationProfile* createOptimizationProfile() noexcept { return &profile_; }
  bool platformHasFastFp16() const noexcept { return true; }
  bool platformHasFastInt8() const noexcept { return true; }
  int32_t getNbDLACores() const noexcept { return 2; }
  IHostMemory* buildSerializedNetwork(INetworkDefinition& network, IBuilderConfig& config) noexcept;

 private:
  ILogger& log_;
  IOptimizationProfile profile_;
};

class IExecutionContext {
 public:
  explicit IExecutionContext(int64_t greatest) : greatest_(greatest) {}
  bool setInputShape(char const*, Dims4 const& shape) noexcept { return shape.d[0] <= greatest_; }
  bool setTensorAddress(char const*, void*) noexcept { return true; }
  bool enqueueV3(cudaStream_t) noexcept { return true; }

 private:
  int64_t greatest_;
};

class ICudaEngine {
 public:
  ICudaEngine(std::string name, std::vector<std::string> tensors, int64_t greatest)
      : name_(std::move(name)), tensors_(std::move(tensors)), greatest_(greatest) {}
  char const* getName() const noexcept { return name_.c_str(); }
  int32_t getNbIOTensors() const noexcept { return static_cast<int32_t>(tensors_.size()); }
  char const* getIOTensorName(int32_t i) const noexcept { return tensors_[i].c_str(); }
  DataType getTensorDataType(char const*) const noexcept { return DataType::kFLOAT; }
#if FAKE_TENSORRT_MAJOR < 11
  std::size_t getDeviceMemorySize() const noexcept { return 1 << 20; }
#else
  int64_t getDeviceMemorySizeV2() const noexcept { return 1 << 20; }
#endif
  IExecutionContext* createExecutionContext() noexcept { return new IExecutionContext(greatest_); }

 private:
  std::string name_;
  std::vector<std::string> tensors_;
  int64_t greatest_;
};

class IRuntime {
 public:
  explicit IRuntime(ILogger& log) : log_(log) {}
  int32_t getNbDLACores() const noexcept { return 2; }
  void setDLACore(int32_t core) noexcept { dla_ = core; }
  ICudaEngine* deserializeCudaEngine(void const* data, std::size_t size) noexcept;

 private:
  ILogger& log_;
  int32_t dla_ = -1;
};

inline IBuilder* createInferBuilder(ILogger& log) { return new IBuilder(log); }
inline IRuntime* createInferRuntime(ILogger& log) { return new IRuntime(log); }

}  // namespace nvinfer1
