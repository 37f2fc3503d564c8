// Decoding and non-maximum suppression on the GPU, as cuda_ops/postprocess.py launches them.
#pragma once

#include <vector>

#include "gpu/detection_kernels.h"
#include "model/exported_model.h"

namespace odtk::gpu {

// Throws UsageError where the kernels cannot decode a model's raw outputs, as `check_heads`.
void check_levels(const ExportedModel& model);

// Scores and deltas of a batch in, detections out; all device memory is allocated here.
class Postprocess {
 public:
  // `model` has passed `check_levels`; `outputs` are the addresses of the network's raw outputs,
  // scores of all levels first.
  Postprocess(const Kernels& kernels, const Stream& stream, const ExportedModel& model, int batch,
              const PostprocessSettings& settings, const std::vector<DevicePointer>& outputs);

  // Queues both halves; can be captured in a graph.
  void launch() const;

  // float32 [batch, detections], best first, unused slots last and 0; float32 [batch, detections, 4
  // or 6]; int32 [batch, detections].
  const DeviceBuffer& scores() const { return scores_; }
  const DeviceBuffer& boxes() const { return boxes_; }
  const DeviceBuffer& classes() const { return classes_; }

 private:
  const Stream& stream_;
  const int batch_;
  const DetectionKernels kernels_;
  DeviceBuffer anchors_, scratch_, scores_, boxes_, classes_;
  DetectionMemory memory_;
};

}  // namespace odtk::gpu
