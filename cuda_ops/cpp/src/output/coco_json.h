// Detections as `odtk-ray infer --images DIR --output NAME.json` writes them.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "model/files.h"
#include "odtk.h"

namespace odtk {

// Writes detections while they are found: ODTK's object of `annotations`, `images` and
// `categories`, or, to NAME.results.json, the plain list that pycocotools' loadRes takes. Nothing
// is at the path before `close`, and nothing ever without it.
class CocoJson {
 public:
  // Throws UsageError where the name has another ending, and FileError, as all functions do.
  CocoJson(const std::string& path, const PlanInfo& info);

  // Adds an image, the next one in their order: the size of its picture, 0 where it failed, and
  // its detections, with boxes in pixels of the picture.
  void add(int width, int height, const Detections& detections);

  // Ends the file and moves it to its path. `file_names`: of all images, also of those that failed;
  // their ids are 0, 1, 2 and so on.
  void close(const std::vector<std::string>& file_names);

 private:
  void write_images(const std::vector<std::string>& file_names);
  void write_categories();

  FileDraft draft_;
  const bool plain_list_;
  const PlanInfo info_;
  const std::vector<std::string> category_ids_;
  std::size_t count_ = 0;                   // detections written
  std::vector<std::pair<int, int>> sizes_;  // width and height of each image
};

}  // namespace odtk
