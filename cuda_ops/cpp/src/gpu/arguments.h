// The argument structures of the kernels, with the layout that cuda_ops/*.cu give them.
//
// cuda_ops/arguments.py and preprocess.py mirror the same structures for Python, see
// tests/cpp/test_cpp_layouts.py; pointers are addresses in device memory.
#pragma once

#include <cstdint>

namespace odtk::gpu {

using DevicePointer = std::uint64_t;

// decode.cu
constexpr int kMaxLevels = 16;
constexpr unsigned kScanThreads = 256;
constexpr unsigned kLoads = 4;
constexpr unsigned kThreads = 1024;
constexpr unsigned kVectorBytes = 16;

struct Level {
  DevicePointer scores, deltas, anchors;
  std::uint32_t size, first_block;
  std::int32_t channels, delta_channels, height, width, stride;
};

struct DecodeArgs {
  Level levels[kMaxLevels];
  DevicePointer counts, lists, workspace, scores, boxes, classes;
  std::int32_t level_count, batch, class_count;
  std::uint32_t capacity, top_n, cut;
  float threshold;
  std::int32_t logits, channels_last;
  DevicePointer score_bias, delta_bias;
};

// nms.cu
struct NmsArgs {
  DevicePointer scores, boxes, classes, kept_scores, kept_boxes, kept_classes;
  std::uint32_t count, detections;
  float threshold;
};

// preprocess.cu
constexpr int kMaxPictures = 32;
constexpr int kTileWidth = 128, kTileHeight = 32;
constexpr unsigned kBlockWidth = 96, kBlockHeight = 4;

struct Axis {
  DevicePointer starts, counts, coefficients;
  std::int32_t taps, size;
};

struct PictureArgs {
  DevicePointer pixels;
  std::int64_t pitch;
  Axis horizontal, vertical;
};

struct PreprocessArgs {
  PictureArgs pictures[kMaxPictures];
  DevicePointer levels, out;
  std::int32_t height, width, pixel_step;
};

static_assert(sizeof(PreprocessArgs) <= 4096, "a kernel's arguments fit in 4 KB");

}  // namespace odtk::gpu
