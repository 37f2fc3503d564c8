#include <cstddef>
#include <cstdio>

#include "gpu/arguments.h"
#include "units.h"

namespace {

using namespace odtk::gpu;

#define MEMBER(structure, name) \
  std::printf(#structure " " #name " %zu %zu\n", offsetof(structure, name), sizeof(structure::name))
#define CONSTANT(name) std::printf("constant " #name " %d\n", static_cast<int>(name))

void print_decode() {
  MEMBER(Level, scores), MEMBER(Level, deltas), MEMBER(Level, anchors), MEMBER(Level, size);
  MEMBER(Level, first_block), MEMBER(Level, channels), MEMBER(Level, delta_channels);
  MEMBER(Level, height), MEMBER(Level, width), MEMBER(Level, stride);
  MEMBER(DecodeArgs, levels), MEMBER(DecodeArgs, counts), MEMBER(DecodeArgs, lists);
  MEMBER(DecodeArgs, workspace), MEMBER(DecodeArgs, scores), MEMBER(DecodeArgs, boxes);
  MEMBER(DecodeArgs, classes), MEMBER(DecodeArgs, level_count), MEMBER(DecodeArgs, batch);
  MEMBER(DecodeArgs, class_count), MEMBER(DecodeArgs, capacity), MEMBER(DecodeArgs, top_n);
  MEMBER(DecodeArgs, cut), MEMBER(DecodeArgs, threshold), MEMBER(DecodeArgs, logits);
  MEMBER(DecodeArgs, channels_last), MEMBER(DecodeArgs, score_bias);
  MEMBER(DecodeArgs, delta_bias);
}

void print_nms() {
  MEMBER(NmsArgs, scores), MEMBER(NmsArgs, boxes), MEMBER(NmsArgs, classes);
  MEMBER(NmsArgs, kept_scores), MEMBER(NmsArgs, kept_boxes), MEMBER(NmsArgs, kept_classes);
  MEMBER(NmsArgs, count), MEMBER(NmsArgs, detections), MEMBER(NmsArgs, threshold);
}

void print_preprocess() {
  MEMBER(Axis, starts), MEMBER(Axis, counts), MEMBER(Axis, coefficients), MEMBER(Axis, taps);
  MEMBER(Axis, size);
  MEMBER(PictureArgs, pixels), MEMBER(PictureArgs, pitch), MEMBER(PictureArgs, horizontal);
  MEMBER(PictureArgs, vertical);
  MEMBER(PreprocessArgs, pictures), MEMBER(PreprocessArgs, levels), MEMBER(PreprocessArgs, out);
  MEMBER(PreprocessArgs, height), MEMBER(PreprocessArgs, width);
  MEMBER(PreprocessArgs, pixel_step);
}

// layouts: prints members of the kernels' arguments, with offset and size, and the constants.
void layouts(const Arguments&) {
  print_decode();
  print_nms();
  print_preprocess();
  CONSTANT(kMaxLevels), CONSTANT(kScanThreads), CONSTANT(kLoads), CONSTANT(kThreads);
  CONSTANT(kVectorBytes), CONSTANT(kMaxPictures), CONSTANT(kTileWidth), CONSTANT(kTileHeight);
  CONSTANT(kBlockWidth), CONSTANT(kBlockHeight);
}

const Unit unit("layouts", layouts);

}  // namespace
