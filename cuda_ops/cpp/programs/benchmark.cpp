#include "benchmark.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <deque>

#include "detect_files.h"
#include "program.h"

namespace odtk {

namespace {

constexpr std::size_t kPictures = 64;  // kept in memory
constexpr int kLaunches = 200;         // of the network alone

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Full launches of pictures in memory, begun at any one of them.
std::vector<Image> batch_from(const std::vector<Image>& pictures, std::size_t start, int batch) {
  std::vector<Image> images;
  for (int i = 0; i < batch; i++) images.push_back(pictures[(start + i) % pictures.size()]);
  return images;
}

// Seconds of a launch while others wait behind it.
double queued_launch(Detector& detector, const std::vector<Image>& pictures) {
  std::deque<Launch> launches;
  std::size_t start = 0;
  const auto turn = [&](int count) {
    for (int i = 0; i < count; i++) {
      if (launches.size() == Detector::kLaunches) {
        launches.front().finish();
        launches.pop_front();
      }
      launches.push_back(detector.start(batch_from(pictures, start, detector.batch())));
      start += detector.batch();
    }
  };
  turn(10);  // tables and buffers are there
  const Clock::time_point begun = Clock::now();
  turn(kLaunches);
  return seconds_since(begun) / kLaunches;
}

// Seconds from a picture to its detections, nothing else being done.
double lone_launch(Detector& detector, const std::vector<Image>& pictures) {
  std::vector<double> times;
  for (int i = 0; i < kLaunches; i++) {
    const std::vector<Image> images = batch_from(pictures, i, detector.batch());
    const Clock::time_point begun = Clock::now();
    detector.start(images).finish();
    times.push_back(seconds_since(begun));
  }
  return median(times);
}

void print_row(const char* what, double seconds, double images) {
  std::printf("%-44s %9.3f ms a launch %9.1f images/s\n", what, 1000 * seconds, images / seconds);
}

}  // namespace

void benchmark(Detector& detector, const std::vector<ListedImage>& files,
               const ReadOptions& options, ThreadPool& pool, int rounds) {
  std::vector<Image> pictures;
  std::vector<double> times;
  for (int round = 0; round <= rounds; round++) {  // the first is not counted
    const Clock::time_point begun = Clock::now();
    detect_files(detector, files, options, pool, [&](FileResult result) {
      const bool wanted = round == 0 && pictures.size() < kPictures;
      if (wanted && result.error.empty()) pictures.push_back(result.image);
    });
    if (round > 0) times.push_back(seconds_since(begun));
  }
  if (pictures.empty()) throw Error("no image could be used");
  const int batch = detector.batch();
  std::printf("batch %d, %zu images, %d rounds, %zu decode threads\n", batch, files.size(), rounds,
              pool.threads());
  print_row("the network alone", detector.network_milliseconds(kLaunches) / 1000, batch);
  print_row("pictures in memory, launches queued", queued_launch(detector, pictures), batch);
  print_row("pictures in memory, one launch at a time", lone_launch(detector, pictures), batch);
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const double images = static_cast<double>(files.size());
  print_row("from files", median(times) * batch / images, batch);
  const auto megabytes = [](std::int64_t bytes) { return static_cast<double>(bytes) / 1e6; };
  const Detector::Memory memory = detector.memory();
  std::printf(
      "memory: %.0f MB on the GPU, of which the plan's file has %.0f and its working memory %.0f; "
      "%.0f MB on the host\n",
      megabytes(memory.used), megabytes(detector.info().bytes), megabytes(memory.working),
      megabytes(used.ru_maxrss * 1024));
}

}  // namespace odtk
