// Everything that a launch of a plan does, on one stream.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gpu/graph.h"
#include "gpu/kernels.h"
#include "gpu/postprocess.h"
#include "gpu/preprocess.h"
#include "model/sidecar.h"
#include "tensorrt/plan.h"

namespace odtk {

// Page-locked memory for the detections of one launch.
struct PinnedDetections {
  PinnedDetections(int batch, int detections, int box_values);

  int detections, box_values;
  gpu::PinnedBuffer scores, boxes, classes;
};

class Step {
 public:
  Step(const gpu::Device& device, const gpu::Stream& stream, Plan& plan, const ExportedModel& model,
       const gpu::PostprocessSettings& settings, int batch);

  // Queues everything from pictures on the GPU to the copy of their detections to the host.
  void launch(const std::vector<gpu::GpuPicture>& pictures, const PinnedDetections& results);

  // The network's input and raw outputs, as float32 on the host, by their names in the plan.
  std::vector<Detector::Tensor> tensors() const;

  // Milliseconds of the network alone, the median of some launches.
  double network_milliseconds(int launches) const;

 private:
  // Loads what is needed by running once, and records it as a CUDA graph. Some layers, and DLA,
  // cannot be captured: then everything is queued anew each time, and there is no graph.
  std::optional<gpu::Graph> captured(const std::function<void()>& queue) const;

  const gpu::Stream& stream_;
  Plan& plan_;
  const int batch_;
  const std::vector<std::string> names_;        // input, then outputs
  const std::vector<std::vector<int>> shapes_;  // of each, the batch included
  std::vector<gpu::DeviceBuffer> buffers_;
  const gpu::Kernels kernels_;
  gpu::Preprocess preprocess_;
  gpu::Postprocess postprocess_;
  std::optional<gpu::Graph> graph_;
};

}  // namespace odtk
