// Decoding and non-maximum suppression on the GPU, as cuda_ops/postprocess.py launches them.
#pragma once

#include <vector>

#include "gpu/kernels.h"
#include "model/exported_model.h"
#include "odtk.h"

namespace odtk::gpu {

// The thresholds behind a network's raw outputs.
struct PostprocessSettings {
  float threshold;
  int top_n;
  float nms;
  int detections;
  RotatedNms rotated_nms;
};

// Throws UsageError where the kernels cannot decode a model's raw outputs: it has too many levels,
// or too many scores for 31 bits.
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

  int box_values() const { return box_values_; }
  // float32 [batch, detections], best first, unused slots last and 0; float32 [batch, detections,
  // box_values]; int32 [batch, detections].
  const DeviceBuffer& scores() const { return scores_; }
  const DeviceBuffer& boxes() const { return boxes_; }
  const DeviceBuffer& classes() const { return classes_; }

 private:
  // Candidates and workspaces, by their sizes in bytes.
  struct Sizes {
    Sizes(const ExportedModel& model, int batch, const PostprocessSettings& settings);
    std::size_t segments, slots, capacity, workspace;
    unsigned shared;
  };

  void upload_anchors(const ExportedModel& model);
  void describe_levels(const ExportedModel& model, const std::vector<DevicePointer>& outputs);

  const Stream& stream_;
  const Kernel scan_, select_, suppress_;
  const int box_values_;
  const Sizes sizes_;
  DeviceBuffer anchors_, counts_, lists_, workspace_;
  DeviceBuffer candidate_scores_, candidate_boxes_, candidate_classes_;
  DeviceBuffer scores_, boxes_, classes_;
  unsigned blocks_ = 0;  // that scan one image
  DecodeArgs decode_{};
  NmsArgs nms_{};
};

}  // namespace odtk::gpu
