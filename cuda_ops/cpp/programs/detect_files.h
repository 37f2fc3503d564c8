// Files in, detections out, in their order: decoding in threads while the GPU works.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "images/image_list.h"
#include "odtk.h"
#include "thread_pool.h"

namespace odtk {

// What came of one image.
struct FileResult {
  std::size_t index = 0;
  std::string error;  // empty where it was processed
  Image image;
  Detections detections;
};

// Reads an image and checks that it can be network input. Throws ImageError.
Image read_for(const Detector& detector, const std::string& path, const ReadOptions& options);

// Detects in files and calls `done` with each result, in the order of the files, in the calling
// thread. `launched` is called when a launch has ended, with the index of its first image, before
// the next one starts. Stops, and throws Error, when a signal arrived.
void detect_files(Detector& detector, const std::vector<ListedImage>& files,
                  const ReadOptions& options, ThreadPool& pool,
                  const std::function<void(FileResult)>& done,
                  const std::function<void(std::size_t)>& launched = nullptr);

}  // namespace odtk
