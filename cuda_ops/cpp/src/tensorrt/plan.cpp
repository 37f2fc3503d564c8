#include "tensorrt/plan.h"

#include <set>

#include "odtk.h"

namespace odtk {

Plan::Plan(const std::string& path, const std::string& content, const Sidecar& about,
           const std::optional<int>& dla_core)
    : height_(about.model.height), width_(about.model.width) {
  runtime_.reset(nvinfer1::createInferRuntime(log_));
  if (runtime_ == nullptr) throw Error("TensorRT does not start", log_.errors());
  if (dla_core) {
    check_dla_core(*dla_core, runtime_->getNbDLACores());
    runtime_->setDLACore(*dla_core);
  }
  engine_.reset(runtime_->deserializeCudaEngine(content.data(), content.size()));
  const std::string hint = "build it here: " + rebuild_command(path, about);
  if (engine_ == nullptr) throw Error("TensorRT cannot run " + path, log_.errors(), hint);
  check_engine(path, about);
  context_.reset(engine_->createExecutionContext());
  if (context_ == nullptr) throw Error("TensorRT cannot run " + path, log_.errors(), hint);
}

void Plan::check_engine(const std::string& path, const Sidecar& about) const {
  std::set<std::string> names;
  bool floats = true;
  for (int i = 0; i < engine_->getNbIOTensors(); i++) {
    const char* name = engine_->getIOTensorName(i);
    names.insert(name);
    floats = floats && engine_->getTensorDataType(name) == nvinfer1::DataType::kFLOAT;
  }
  std::set<std::string> wanted = {kInputName};
  for (const std::string& name : about.model.output_names()) wanted.insert(name);
  if (engine_->getName() != about.identity() || names != wanted || !floats) {
    throw UsageError("cannot use model " + path, "it is not the plan that its sidecar describes",
                     rebuild_command(path, about));
  }
}

void Plan::bind(int batch, const std::map<std::string, gpu::DevicePointer>& addresses) {
  if (!context_->setInputShape(kInputName, nvinfer1::Dims4(batch, 3, height_, width_))) {
    throw Error("the plan does not take a batch of " + std::to_string(batch), log_.errors());
  }
  for (const auto& [name, address] : addresses) {
    context_->setTensorAddress(name.c_str(), reinterpret_cast<void*>(address));
  }
}

std::int64_t Plan::working_bytes() const {
#if TRT_AT_LEAST(10, 1)
  return engine_->getDeviceMemorySizeV2();
#else
  return static_cast<std::int64_t>(engine_->getDeviceMemorySize());
#endif
}

void Plan::queue(const gpu::Stream& stream) {
  if (!context_->enqueueV3(stream.handle())) {
    throw Error("TensorRT could not queue the plan", log_.errors());
  }
}

}  // namespace odtk
