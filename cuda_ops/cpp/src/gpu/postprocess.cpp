#include "gpu/postprocess.h"

#include <algorithm>
#include <cstring>

namespace odtk::gpu {

namespace {

// Candidates listed of one image and level; where there are more, the scores are read again.
constexpr std::size_t kCapacity = 16384;
// Keys that a block sorts in shared memory; beside them it needs 8.2 KB of the 48 KB.
constexpr std::size_t kSharedKeys = 4096;
constexpr std::size_t kKeyBytes = 8;
constexpr double kMostScores = 2147483647;  // of an image and level, by their indices

const char* nms_kernel(const ExportedModel& model, RotatedNms angles) {
  if (!model.rotated()) return "nms";
  return angles == RotatedNms::own ? "nms_rotated" : "nms_rotated_odtk";
}

std::uint32_t bits(float value) {
  std::uint32_t result;
  std::memcpy(&result, &value, sizeof(result));
  return result;
}

}  // namespace

void check_levels(const ExportedModel& model) {
  const auto levels = model.levels();
  if (levels.size() > kMaxLevels) {
    throw UsageError("the model has too many backbones",
                     "with " + std::to_string(levels.size()) +
                         " levels; the kernels decode at most " + std::to_string(kMaxLevels));
  }
  for (const ExportedLevel& level : levels) {
    const double channels = static_cast<double>(level.anchors.size()) * model.classes;
    if (channels * level.height * level.width > kMostScores) {
      throw UsageError(level.label + " has too many scores for an image",
                       "the kernels decode at most 2,147,483,647",
                       "export the model for smaller pictures");
    }
  }
}

Postprocess::Sizes::Sizes(const ExportedModel& model, int batch,
                          const PostprocessSettings& settings) {
  const std::size_t top_n = settings.top_n;
  segments = batch * model.levels().size();
  slots = segments * top_n;
  capacity = std::max(top_n, kCapacity);
  std::size_t keys = 1;
  while (keys < top_n) keys *= 2;
  workspace = keys > kSharedKeys ? kKeyBytes * segments * keys : 0;
  shared = keys > kSharedKeys ? 0 : static_cast<unsigned>(kKeyBytes * keys);
}

Postprocess::Postprocess(const Kernels& kernels, const Stream& stream, const ExportedModel& model,
                         int batch, const PostprocessSettings& settings,
                         const std::vector<DevicePointer>& outputs)
    : stream_(stream),
      scan_(kernels.decode.kernel("scan_float32")),
      select_(kernels.decode.kernel(model.rotated() ? "select_rotated_float32" : "select_float32")),
      suppress_(kernels.nms.kernel(nms_kernel(model, settings.rotated_nms))),
      box_values_(model.rotated() ? 6 : 4),
      sizes_(model, batch, settings),
      anchors_(sizeof(float) * 4 * model.levels().size() * model.levels()[0].anchors.size()),
      counts_(sizeof(std::uint32_t) * sizes_.segments),
      lists_(kKeyBytes * sizes_.segments * sizes_.capacity),
      workspace_(sizes_.workspace),
      candidate_scores_(sizeof(float) * sizes_.slots),
      candidate_boxes_(sizeof(float) * box_values_ * sizes_.slots),
      candidate_classes_(sizeof(std::int32_t) * sizes_.slots),
      scores_(sizeof(float) * batch * settings.detections),
      boxes_(sizeof(float) * box_values_ * batch * settings.detections),
      classes_(sizeof(std::int32_t) * batch * settings.detections) {
  decode_.counts = counts_.address();
  decode_.lists = lists_.address();
  decode_.workspace = sizes_.workspace > 0 ? workspace_.address() : 0;
  decode_.scores = nms_.scores = candidate_scores_.address();
  decode_.boxes = nms_.boxes = candidate_boxes_.address();
  decode_.classes = nms_.classes = candidate_classes_.address();
  decode_.level_count = static_cast<std::int32_t>(model.levels().size());
  decode_.batch = batch;
  decode_.class_count = model.classes;
  decode_.capacity = static_cast<std::uint32_t>(sizes_.capacity);
  decode_.top_n = settings.top_n;
  decode_.cut = bits(settings.threshold);
  decode_.threshold = settings.threshold;
  nms_.kept_scores = scores_.address();
  nms_.kept_boxes = boxes_.address();
  nms_.kept_classes = classes_.address();
  nms_.count = decode_.level_count * settings.top_n;
  nms_.detections = settings.detections;
  nms_.threshold = settings.nms;
  describe_levels(model, outputs);
  upload_anchors(model);
}

void Postprocess::upload_anchors(const ExportedModel& model) {
  std::vector<float> values;
  for (const ExportedLevel& level : model.levels()) {
    for (const auto& anchor : level.anchors) {
      values.insert(values.end(), anchor.begin(), anchor.end());
    }
  }
  stream_.upload(anchors_.address(), values.data(), sizeof(float) * values.size());
  stream_.zero(counts_);  // launches add to them, and leave them at 0
  stream_.synchronize();
}

void Postprocess::describe_levels(const ExportedModel& model,
                                  const std::vector<DevicePointer>& outputs) {
  constexpr unsigned kValues = kVectorBytes / sizeof(float);
  const auto levels = model.levels();
  for (std::size_t i = 0; i < levels.size(); i++) {
    const ExportedLevel& from = levels[i];
    Level& level = decode_.levels[i];
    level.scores = outputs[i];
    level.deltas = outputs[levels.size() + i];
    level.anchors = anchors_.address() + i * sizeof(float) * 4 * from.anchors.size();
    level.channels = static_cast<std::int32_t>(from.anchors.size()) * model.classes;
    level.size = static_cast<std::uint32_t>(level.channels) * from.height * from.width;
    level.first_block = blocks_;
    level.height = from.height;
    level.width = from.width;
    level.stride = from.stride;
    const unsigned vectors = level.size / kValues + 2;  // one at each end is shared
    blocks_ += (vectors + kScanThreads * kLoads - 1) / (kScanThreads * kLoads);
  }
}

void Postprocess::launch() const {
  const dim3 segments(decode_.level_count, decode_.batch, 1);
  scan_.launch(stream_, dim3(blocks_, decode_.batch, 1), dim3(kScanThreads, 1, 1), decode_);
  select_.launch(stream_, segments, dim3(kThreads, 1, 1), decode_, sizes_.shared);
  suppress_.launch(stream_, dim3(decode_.batch, 1, 1), dim3(kThreads, 1, 1), nms_);
}

}  // namespace odtk::gpu
