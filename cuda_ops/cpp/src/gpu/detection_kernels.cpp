#include "gpu/detection_kernels.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace odtk::gpu {

namespace {

// Candidates listed of one image and level; where there are more, the scores are read again.
constexpr std::size_t kCapacity = 16384;
// Keys that a block sorts in shared memory; beside them it needs 8.2 KB of the 48 KB.
constexpr std::size_t kSharedKeys = 4096;
constexpr std::size_t kKeyBytes = 8;
constexpr double kMostScores = 2147483647;  // of an image and level, by their indices
constexpr std::size_t kAlignment = 256;     // bytes, of a part of the scratch memory

const char* nms_kernel(const Heads& heads, RotatedNms angles) {
  if (!heads.rotated) return "nms";
  return angles == RotatedNms::own ? "nms_rotated" : "nms_rotated_odtk";
}

std::uint32_t bits(float value) {
  std::uint32_t result;
  std::memcpy(&result, &value, sizeof(result));
  return result;
}

}  // namespace

void check_heads(const Heads& heads) {
  if (heads.levels.size() > kMaxLevels) {
    throw UsageError("the model has too many backbones",
                     "with " + std::to_string(heads.levels.size()) +
                         " levels; the kernels decode at most " + std::to_string(kMaxLevels));
  }
  for (const Heads::Size& level : heads.levels) {
    const double channels = static_cast<double>(heads.anchors) * heads.classes;
    if (channels * level.height * level.width > kMostScores) {
      throw UsageError(
          "the level of stride " + std::to_string(level.stride) + " has too many scores",
          "the kernels decode at most 2,147,483,647 of an image",
          "export the model for smaller pictures");
    }
  }
}

Scratch::Scratch(const Heads& heads, int batch, const PostprocessSettings& settings) : bytes(0) {
  const std::size_t top_n = settings.top_n;
  const std::size_t segments = batch * heads.levels.size(), slots = segments * top_n;
  const auto part = [this](std::size_t size) {
    const std::size_t start = bytes;
    bytes += (size + kAlignment - 1) / kAlignment * kAlignment;
    return start;
  };
  capacity = static_cast<std::uint32_t>(std::max(top_n, kCapacity));
  std::size_t room = 1;
  while (room < top_n) room *= 2;
  shared = room > kSharedKeys ? 0 : static_cast<unsigned>(kKeyBytes * room);
  counts_bytes = sizeof(std::uint32_t) * segments;
  counts = part(counts_bytes);
  lists = part(kKeyBytes * segments * capacity);
  keys = part(room > kSharedKeys ? kKeyBytes * segments * room : 0);
  scores = part(sizeof(float) * slots);
  boxes = part(sizeof(float) * heads.box_values() * slots);
  classes = part(sizeof(std::int32_t) * slots);
}

DetectionKernels::DetectionKernels(const Kernels& kernels, Heads heads,
                                   const PostprocessSettings& settings)
    : scan_(kernels.decode.kernel("scan_float32")),
      select_(kernels.decode.kernel(heads.rotated ? "select_rotated_float32" : "select_float32")),
      suppress_(kernels.nms.kernel(nms_kernel(heads, settings.rotated_nms))),
      heads_(std::move(heads)),
      settings_(settings) {}

// Returns the blocks that scan one image.
unsigned DetectionKernels::describe_levels(const DetectionMemory& memory,
                                           DecodeArgs& arguments) const {
  constexpr unsigned kValues = kVectorBytes / sizeof(float);
  const std::size_t count = heads_.levels.size();
  unsigned blocks = 0;
  for (std::size_t i = 0; i < count; i++) {
    const Heads::Size& from = heads_.levels[i];
    Level& level = arguments.levels[i];
    level.scores = memory.outputs[i];
    level.deltas = memory.outputs[count + i];
    level.anchors = memory.anchors + i * sizeof(float) * 4 * heads_.anchors;
    level.channels = heads_.anchors * heads_.classes;
    level.delta_channels = heads_.anchors * heads_.box_values();
    level.size = static_cast<std::uint32_t>(level.channels) * from.height * from.width;
    level.first_block = blocks;
    level.height = from.height;
    level.width = from.width;
    level.stride = from.stride;
    const unsigned vectors = level.size / kValues + 2;  // one at each end is shared
    blocks += (vectors + kScanThreads * kLoads - 1) / (kScanThreads * kLoads);
  }
  return blocks;
}

void DetectionKernels::launch(cudaStream_t stream, int batch, const DetectionMemory& memory) const {
  const Scratch scratch(heads_, batch, settings_);
  const auto level_count = static_cast<std::int32_t>(heads_.levels.size());
  DecodeArgs decode{};
  decode.counts = memory.scratch + scratch.counts;
  decode.lists = memory.scratch + scratch.lists;
  decode.workspace = scratch.shared > 0 ? 0 : memory.scratch + scratch.keys;
  decode.scores = memory.scratch + scratch.scores;
  decode.boxes = memory.scratch + scratch.boxes;
  decode.classes = memory.scratch + scratch.classes;
  decode.level_count = level_count;
  decode.batch = batch;
  decode.class_count = heads_.classes;
  decode.capacity = scratch.capacity;
  decode.top_n = settings_.top_n;
  decode.cut = bits(settings_.threshold);
  decode.threshold = settings_.threshold;
  const unsigned blocks = describe_levels(memory, decode);
  NmsArgs nms{};
  nms.scores = decode.scores;
  nms.boxes = decode.boxes;
  nms.classes = decode.classes;
  nms.kept_scores = memory.scores;
  nms.kept_boxes = memory.boxes;
  nms.kept_classes = memory.classes;
  nms.count = level_count * settings_.top_n;
  nms.detections = settings_.detections;
  nms.threshold = settings_.nms;
  const dim3 segments(level_count, batch, 1);
  scan_.launch(stream, dim3(blocks, batch, 1), dim3(kScanThreads, 1, 1), decode);
  select_.launch(stream, segments, dim3(kThreads, 1, 1), decode, scratch.shared);
  suppress_.launch(stream, dim3(batch, 1, 1), dim3(kThreads, 1, 1), nms);
}

}  // namespace odtk::gpu
