// A TensorRT plan in GPU memory, checked against its sidecar.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "gpu/device.h"
#include "model/sidecar.h"
#include "tensorrt/library.h"

namespace odtk {

class Plan {
 public:
  // `path` is for the errors; `content` is the plan's, already checked against the sidecar.
  // `dla_core` runs what was built for a DLA. Throws UsageError where the plan is not what the
  // sidecar describes, or there is no such core, and Error where TensorRT refuses it.
  Plan(const std::string& path, const std::string& content, const Sidecar& about,
       const std::optional<int>& dla_core);

  // Sets the batch, and the addresses of input and outputs by name.
  void bind(int batch, const std::map<std::string, gpu::DevicePointer>& addresses);

  // Bytes of GPU memory that it computes in, for the greatest batch.
  std::int64_t working_bytes() const;

  // Queues the network. Throws Error.
  void queue(const gpu::Stream& stream);

 private:
  void check_engine(const std::string& path, const Sidecar& about) const;

  Logger log_{false};
  std::unique_ptr<nvinfer1::IRuntime> runtime_;
  std::unique_ptr<nvinfer1::ICudaEngine> engine_;
  std::unique_ptr<nvinfer1::IExecutionContext> context_;
  int height_, width_;
};

}  // namespace odtk
