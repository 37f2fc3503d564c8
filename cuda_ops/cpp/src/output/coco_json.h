// Detections as `odtk-ray infer --images DIR --output NAME.json` writes them.
#pragma once

#include <cstdint>
#include <string>
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

  // Adds the detections in an image; images come in their order, and those without detections may
  // be left out. The boxes are in pixels of the picture.
  void add(std::int64_t image_id, const Detections& detections);

  // Ends the file and moves it to its path. `file_names`: of all images, also of those that failed;
  // their ids are 0, 1, 2 and so on.
  void close(const std::vector<std::string>& file_names);

 private:
  void write_images(const std::vector<std::string>& file_names);
  void write_categories();

  FileDraft draft_;
  const bool plain_list_;
  const bool rotated_;
  const std::vector<std::string> class_names_;
  const std::vector<std::string> category_ids_;
  bool any_ = false;  // whether a detection was written
};

}  // namespace odtk
