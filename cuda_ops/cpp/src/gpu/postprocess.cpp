#include "gpu/postprocess.h"

namespace odtk::gpu {

namespace {

Heads heads_of(const ExportedModel& model) {
  Heads heads{{}, 0, model.classes, model.rotated()};
  for (const ExportedLevel& level : model.levels()) {
    heads.levels.push_back({level.height, level.width, level.stride});
    heads.anchors = static_cast<int>(level.anchors.size());
  }
  return heads;
}

std::vector<float> anchors_of(const ExportedModel& model) {
  std::vector<float> values;
  for (const ExportedLevel& level : model.levels()) {
    for (const auto& anchor : level.anchors) {
      values.insert(values.end(), anchor.begin(), anchor.end());
    }
  }
  return values;
}

}  // namespace

void check_levels(const ExportedModel& model) { check_heads(heads_of(model)); }

Postprocess::Postprocess(const Kernels& kernels, const Stream& stream, const ExportedModel& model,
                         int batch, const PostprocessSettings& settings,
                         const std::vector<DevicePointer>& outputs)
    : stream_(stream),
      batch_(batch),
      kernels_(kernels, heads_of(model), settings),
      anchors_(heads_of(model).anchor_bytes()),
      scratch_(Scratch(heads_of(model), batch, settings).bytes),
      scores_(sizeof(float) * batch * settings.detections),
      boxes_(sizeof(float) * model.box_values() * batch * settings.detections),
      classes_(sizeof(std::int32_t) * batch * settings.detections),
      memory_{outputs,           anchors_.address(), scratch_.address(),
              scores_.address(), boxes_.address(),   classes_.address()} {
  const std::vector<float> anchors = anchors_of(model);
  stream_.upload(anchors_.address(), anchors.data(), anchors_.bytes());
  stream_.zero(scratch_);
  stream_.synchronize();
}

void Postprocess::launch() const { kernels_.launch(stream_.handle(), batch_, memory_); }

}  // namespace odtk::gpu
