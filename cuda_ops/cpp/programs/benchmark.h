// How fast a plan is here: alone, with pictures in memory, and from files.
#pragma once

#include <vector>

#include "images/image_list.h"
#include "odtk.h"
#include "thread_pool.h"

namespace odtk {

// Goes through the files so many times and prints a table of medians to standard output.
void benchmark(Detector& detector, const std::vector<ListedImage>& files,
               const ReadOptions& options, ThreadPool& pool, int rounds);

}  // namespace odtk
