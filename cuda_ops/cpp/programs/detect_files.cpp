#include "detect_files.h"

#include <cmath>
#include <deque>
#include <future>
#include <map>
#include <utility>

#include "program.h"

namespace odtk {

namespace {

FileResult read_file(const Detector& detector, const ListedImage& file, std::size_t index,
                     const ReadOptions& options) {
  FileResult result;
  result.index = index;
  try {
    result.image = read_for(detector, file.path, options);
  } catch (const ImageError& error) {
    result.error = error.what();
  }
  return result;
}

bool finite(const Detections& detections) {
  for (const Detection& detection : detections) {
    for (const float value : detection.box) {
      if (!std::isfinite(value)) return false;
    }
  }
  return true;
}

// One pass over some files.
class Pass {
 public:
  Pass(Detector& detector, const std::function<void(FileResult)>& done,
       const std::function<void(std::size_t)>& launched)
      : detector_(detector), done_(done), launched_(launched) {}

  void add(FileResult result) {
    if (!result.error.empty()) {
      finished(std::move(result));
      return;
    }
    batch_.push_back(std::move(result));
    if (static_cast<int>(batch_.size()) == detector_.batch()) launch();
  }

  void end() {
    if (!batch_.empty()) launch();
    while (!launches_.empty()) finish_first();
  }

 private:
  struct Started {
    Launch launch;
    std::vector<FileResult> files;
  };

  void launch() {
    // What the plan computed is asked for before the next launch replaces it.
    while (launches_.size() >= (launched_ ? 1 : Detector::kLaunches)) finish_first();
    std::vector<Image> images;
    for (const FileResult& file : batch_) images.push_back(file.image);
    launches_.push_back({detector_.start(images), std::move(batch_)});
    batch_.clear();
  }

  void finish_first() {
    Started first = std::move(launches_.front());
    launches_.pop_front();
    std::vector<Detections> found = first.launch.finish();
    if (launched_) launched_(first.files[0].index);
    for (std::size_t i = 0; i < first.files.size(); i++) {
      FileResult& file = first.files[i];
      if (finite(found[i])) {
        file.detections = std::move(found[i]);
      } else {
        file.error = "the model gave boxes that are not finite";
      }
      finished(std::move(file));
    }
  }

  // Passes results on in the order of the files.
  void finished(FileResult result) {
    const std::size_t index = result.index;
    waiting_[index] = std::move(result);
    while (!waiting_.empty() && waiting_.begin()->first == next_) {
      done_(std::move(waiting_.begin()->second));
      waiting_.erase(waiting_.begin());
      next_++;
    }
  }

  Detector& detector_;
  const std::function<void(FileResult)>& done_;
  const std::function<void(std::size_t)>& launched_;
  std::vector<FileResult> batch_;
  std::deque<Started> launches_;
  std::map<std::size_t, FileResult> waiting_;
  std::size_t next_ = 0;
};

}  // namespace

Image read_for(const Detector& detector, const std::string& path, const ReadOptions& options) {
  Image image = read_image(path, options);
  detector.check(image);
  return image;
}

void detect_files(Detector& detector, const std::vector<ListedImage>& files,
                  const ReadOptions& options, ThreadPool& pool,
                  const std::function<void(FileResult)>& done,
                  const std::function<void(std::size_t)>& launched) {
  const std::size_t ahead = Detector::kLaunches * detector.batch() + pool.threads();
  Pass pass(detector, done, launched);
  std::deque<std::future<FileResult>> reading;
  std::size_t next = 0;
  while (next < files.size() || !reading.empty()) {
    while (next < files.size() && reading.size() < ahead) {
      reading.push_back(pool.post([&detector, &file = files[next], next, &options] {
        return read_file(detector, file, next, options);
      }));
      next++;
    }
    if (stop_asked()) throw Error("stopped");
    pass.add(reading.front().get());
    reading.pop_front();
  }
  pass.end();
}

}  // namespace odtk
