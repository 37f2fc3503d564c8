// odtk_infer: detections in images, by a plan of odtk_build or `odtk-ray export`.

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <thread>

#include "benchmark.h"
#include "command_line.h"
#include "detect_files.h"
#include "detector_options.h"
#include "drawing.h"
#include "dump.h"
#include "files_apart.h"
#include "images/image_list.h"
#include "output/class_names.h"
#include "output/coco_json.h"
#include "program.h"
#include "text/counted.h"

namespace {

using odtk::CommandLine;
using Clock = std::chrono::steady_clock;

constexpr long kMost = 1'000'000;

const std::vector<odtk::Option> kOptions = {
    {"--json", "FILE", "detections as COCO JSON, as odtk-ray infer writes it"},
    {"--draw", "DIR", "a copy of every image with its detections drawn"},
    {"--exif", "KIND", "apply or ignore the orientation that EXIF gives (ignore)"},
    {"--threads", "N", "threads that decode (the number of cores)"},
    {"--dump", "DIR", "input and raw outputs of every launch, as .npy files"},
    {"--bench", "N", "measure, going N times through the images, and write nothing"}};

unsigned thread_count(const CommandLine& line) {
  if (line.has("--threads")) return static_cast<unsigned>(line.integer("--threads", 1, 1024));
  return std::max(1U, std::thread::hardware_concurrency());
}

void print_detections(const std::string& name, const odtk::Detections& detections,
                      const odtk::PlanInfo& info) {
  for (const odtk::Detection& found : detections) {
    const std::string label = odtk::class_name(info, found.label);
    const std::string shown = odtk::on_one_line(name + ": " + label);
    std::printf("%s %.3f  %.1f %.1f %.1f %.1f", shown.c_str(), found.score, found.box[0],
                found.box[1], found.box[2], found.box[3]);
    if (info.rotated) std::printf("  sin %.3f cos %.3f", found.box[4], found.box[5]);
    std::printf("\n");
  }
  odtk::check_output();
}

// Writes what was asked for, and counts.
class Run {
 public:
  Run(const CommandLine& line, const odtk::PlanInfo& info, const odtk::ImageList& list,
      odtk::ThreadPool& pool)
      : info_(info), list_(list), shown_(isatty(STDERR_FILENO) == 1) {
    if (line.has("--draw")) {
      drawings_ = std::make_unique<odtk::Drawings>(line.text("--draw"), list.images, info, pool);
    }
    if (line.has("--json")) {
      std::vector<std::string> read = line.others();  // the plan, and lists
      read.push_back(line.others()[0] + ".json");
      for (const odtk::ListedImage& image : list.images) read.push_back(image.path);
      odtk::check_apart("--json", {line.text("--json")}, read);
      json_ = std::make_unique<odtk::CocoJson>(line.text("--json"), info);
    }
    silent_ = json_ != nullptr || drawings_ != nullptr || line.has("--dump");
  }

  void add(odtk::FileResult result) {
    const std::string& name = list_.images[result.index].name;
    images_++;
    detections_ += result.detections.size();
    if (!result.error.empty()) {
      failed_++;
      clear_line();
      odtk::say(name, result.error);
    }
    if (json_ != nullptr) {
      const bool failed = !result.error.empty();
      json_->add(failed ? 0 : result.image.width, failed ? 0 : result.image.height,
                 result.detections);
    }
    if (!silent_) print_detections(name, result.detections, info_);
    if (drawings_ != nullptr && result.error.empty()) drawings_->add(std::move(result));
    show_progress();
  }

  int finish() {
    if (drawings_ != nullptr) drawings_->finish();
    if (json_ != nullptr) {
      std::vector<std::string> names;
      for (const odtk::ListedImage& image : list_.images) names.push_back(image.name);
      json_->close(names);
    }
    clear_line();
    const double seconds = std::chrono::duration<double>(Clock::now() - begun_).count();
    char speed[80];
    std::snprintf(speed, sizeof(speed), "%.1f s (%.1f images/s)", seconds,
                  static_cast<double>(images_) / seconds);
    odtk::say("odtk_infer", odtk::counted(images_, "image") + ", " +
                                odtk::counted(detections_, "detection") + ", " +
                                odtk::with_commas(failed_) + " failed, " + speed);
    return failed_ > 0 ? odtk::kSomeFailed : odtk::kDone;
  }

 private:
  void show_progress() {
    if (!shown_ || !silent_ || Clock::now() - last_shown_ < std::chrono::milliseconds(200)) return;
    last_shown_ = Clock::now();
    std::fprintf(stderr, "\r%zu of %zu images", images_, list_.images.size());
  }

  void clear_line() {
    if (shown_ && silent_) std::fprintf(stderr, "\r\033[K");
  }

  const odtk::PlanInfo& info_;
  const odtk::ImageList& list_;
  const bool shown_;
  const Clock::time_point begun_ = Clock::now();
  Clock::time_point last_shown_{};
  std::unique_ptr<odtk::Drawings> drawings_;
  std::unique_ptr<odtk::CocoJson> json_;
  bool silent_ = false;
  std::size_t images_ = 0, detections_ = 0, failed_ = 0;
};

int infer(int count, char** values) {
  const CommandLine line("odtk_infer [OPTIONS] MODEL.plan IMAGE|DIR|LIST...",
                         "Detects objects in JPEG and PNG images. Without --json, --draw and "
                         "--dump it prints them.",
                         odtk::with_detector_options(kOptions), count, values);
  if (line.helped()) return odtk::kDone;
  if (line.others().size() < 2) {
    throw odtk::UsageError("give a plan, and images", "", "odtk_infer model.plan DIR");
  }
  for (const char* writes : {"--json", "--draw", "--dump"}) {
    if (!line.has("--bench") || !line.has(writes)) continue;
    throw odtk::UsageError(std::string("--bench and ") + writes + " exclude each other",
                           "--bench writes nothing");
  }
  const odtk::DetectorOptions wanted = odtk::detector_options(line);
  odtk::ReadOptions reading;
  if (line.has("--exif")) reading.apply_exif = line.second_word("--exif", "ignore", "apply");
  const odtk::ImageList list = odtk::find_images({line.others().begin() + 1, line.others().end()});
  for (const std::string& note : list.notes) odtk::say("note", note);
  odtk::Detector detector(line.others()[0], wanted);
  reading.allocate = detector.allocator();
  odtk::ThreadPool pool(thread_count(line));
  if (line.has("--bench")) {
    odtk::benchmark(detector, list.images, reading, pool,
                    static_cast<int>(line.integer("--bench", 1, kMost)));
    return odtk::kDone;
  }
  const std::string dump = line.text("--dump");
  if (!dump.empty()) odtk::make_folder(dump);
  Run run(line, detector.info(), list, pool);
  std::function<void(std::size_t)> launched;
  if (!dump.empty()) {
    launched = [&](std::size_t first) { odtk::dump_tensors(dump, first, detector.tensors()); };
  }
  odtk::detect_files(
      detector, list.images, reading, pool,
      [&run](odtk::FileResult result) { run.add(std::move(result)); }, launched);
  return run.finish();
}

}  // namespace

int main(int count, char** values) {
  return odtk::run_program([=] { return infer(count, values); });
}
