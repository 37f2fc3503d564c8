// Finds the images that a command line names.
#pragma once

#include <string>
#include <vector>

namespace odtk {

struct ListedImage {
  std::string name;  // as the outputs show it
  std::string path;
};

struct ImageList {
  std::vector<ListedImage> images;  // an image's id is its index
  std::vector<std::string> notes;   // what was left out
};

// Finds the images that arguments stand for, in their order: an image file, a folder (its files
// that are named like images, sorted by name), or a list (.txt, .lst: one path a line).
//
// Throws UsageError: there is no such file, it holds no images, or it cannot be read.
ImageList find_images(const std::vector<std::string>& arguments);

}  // namespace odtk
