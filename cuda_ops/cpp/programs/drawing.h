// Drawings of detections, made in threads.
#pragma once

#include <deque>
#include <future>
#include <string>
#include <vector>

#include "detect_files.h"
#include "images/image_list.h"
#include "odtk.h"
#include "thread_pool.h"

namespace odtk {

class Drawings {
 public:
  // Names a file for every image, and makes the folder. `info` must outlive the pool. Throws
  // UsageError where a drawing would replace one of the images.
  Drawings(const std::string& folder, const std::vector<ListedImage>& files, const PlanInfo& info,
           ThreadPool& pool);

  // Draws a result, in another thread.
  void add(FileResult result);
  // Waits for all; throws what a thread threw.
  void finish();

 private:
  void wait_for(std::size_t unfinished);

  const PlanInfo& info_;
  ThreadPool& pool_;
  std::vector<std::string> targets_;
  std::deque<std::future<void>> drawing_;
};

}  // namespace odtk
