// `arguments`: sizes and offsets of the structures that kernels take, a line each.

#include <cstddef>
#include <cstdio>

#include "gpu/arguments.h"
#include "units.h"

namespace {

using namespace odtk::gpu;

#define FIELD(structure, field) \
  std::printf(#structure "." #field " %zu\n", offsetof(structure, field))
#define SIZE(structure) std::printf(#structure " %zu\n", sizeof(structure))

void print_level() {
  FIELD(Level, scores);
  FIELD(Level, deltas);
  FIELD(Level, anchors);
  FIELD(Level, size);
  FIELD(Level, first_block);
  FIELD(Level, channels);
  FIELD(Level, height);
  FIELD(Level, width);
  FIELD(Level, stride);
  SIZE(Level);
}

void print_decode() {
  FIELD(DecodeArgs, levels);
  FIELD(DecodeArgs, counts);
  FIELD(DecodeArgs, lists);
  FIELD(DecodeArgs, workspace);
  FIELD(DecodeArgs, scores);
  FIELD(DecodeArgs, boxes);
  FIELD(DecodeArgs, classes);
  FIELD(DecodeArgs, level_count);
  FIELD(DecodeArgs, batch);
  FIELD(DecodeArgs, class_count);
  FIELD(DecodeArgs, capacity);
  FIELD(DecodeArgs, top_n);
  FIELD(DecodeArgs, cut);
  FIELD(DecodeArgs, threshold);
  FIELD(DecodeArgs, logits);
  FIELD(DecodeArgs, channels_last);
  SIZE(DecodeArgs);
}

void print_nms() {
  FIELD(NmsArgs, scores);
  FIELD(NmsArgs, boxes);
  FIELD(NmsArgs, classes);
  FIELD(NmsArgs, kept_scores);
  FIELD(NmsArgs, kept_boxes);
  FIELD(NmsArgs, kept_classes);
  FIELD(NmsArgs, count);
  FIELD(NmsArgs, detections);
  FIELD(NmsArgs, threshold);
  SIZE(NmsArgs);
}

void print_preprocess() {
  FIELD(Axis, starts);
  FIELD(Axis, counts);
  FIELD(Axis, coefficients);
  FIELD(Axis, taps);
  FIELD(Axis, size);
  SIZE(Axis);
  FIELD(PictureArgs, pixels);
  FIELD(PictureArgs, pitch);
  FIELD(PictureArgs, horizontal);
  FIELD(PictureArgs, vertical);
  SIZE(PictureArgs);
  FIELD(PreprocessArgs, pictures);
  FIELD(PreprocessArgs, levels);
  FIELD(PreprocessArgs, out);
  FIELD(PreprocessArgs, height);
  FIELD(PreprocessArgs, width);
  FIELD(PreprocessArgs, channels_last);
  SIZE(PreprocessArgs);
}

const Unit arguments("arguments", [](const Arguments&) {
  print_level();
  print_decode();
  print_nms();
  print_preprocess();
});

}  // namespace
