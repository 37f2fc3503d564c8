#include "detector_options.h"

namespace odtk {

namespace {

constexpr long kMost = 1'000'000;

}  // namespace

std::vector<Option> with_detector_options(std::vector<Option> own) {
  own.insert(
      own.end(),
      {{"--threshold", "SCORE", "scores must be greater than this"},
       {"--top-n", "N", "candidates kept for each pyramid level of an image"},
       {"--nms", "IOU", "IoU above which the worse of two boxes of a class is dropped"},
       {"--detections", "N", "detections kept for each image"},
       {"--rotated-nms", "KIND", "own or odtk: the angles that rotated boxes are compared with"},
       {"--batch", "N", "images in a launch (the batch that the plan was tuned for)"},
       {"--dla", "CORE", "DLA core that runs what was built for one"},
       {"--gpu", "N", "number of the GPU (0)"}});
  return own;
}

DetectorOptions detector_options(const CommandLine& line) {
  DetectorOptions options;
  Thresholds& wanted = options.thresholds;
  if (line.has("--threshold")) {
    wanted.threshold = static_cast<float>(line.number("--threshold", 0, 1));
  }
  if (line.has("--nms")) wanted.nms = static_cast<float>(line.number("--nms", 0, 1));
  if (line.has("--top-n")) wanted.top_n = static_cast<int>(line.integer("--top-n", 1, kMost));
  if (line.has("--detections")) {
    wanted.detections = static_cast<int>(line.integer("--detections", 1, kMost));
  }
  if (line.has("--rotated-nms")) {
    const bool odtks = line.second_word("--rotated-nms", "own", "odtk");
    wanted.rotated_nms = odtks ? RotatedNms::odtk : RotatedNms::own;
  }
  if (line.has("--batch")) options.batch = static_cast<int>(line.integer("--batch", 1, kMost));
  if (line.has("--dla")) options.dla_core = static_cast<int>(line.integer("--dla", 0, 7));
  if (line.has("--gpu")) options.gpu = static_cast<int>(line.integer("--gpu", 0, 63));
  return options;
}

}  // namespace odtk
