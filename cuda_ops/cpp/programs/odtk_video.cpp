// odtk_video: a video with its detections drawn.

#include <unistd.h>

#include <cstdio>
#include <deque>
#include <filesystem>
#include <opencv2/imgproc.hpp>
#include <opencv2/videoio.hpp>

#include "command_line.h"
#include "detector_options.h"
#include "files_apart.h"
#include "model/files.h"
#include "odtk.h"
#include "program.h"
#include "text/counted.h"

namespace {

// A frame as an image, in memory that is uploaded fastest.
odtk::Image to_image(const cv::Mat& frame, const odtk::Allocate& allocate) {
  odtk::Image image{frame.cols, frame.rows, allocate(std::size_t{3} * frame.cols * frame.rows)};
  cv::Mat rgb(frame.rows, frame.cols, CV_8UC3, image.rgb.get());
  cv::cvtColor(frame, rgb, cv::COLOR_BGR2RGB);
  return image;
}

struct Started {
  odtk::Launch launch;
  std::vector<odtk::Image> frames;
};

// Draws what was found in the oldest launch's frames, and writes them.
std::size_t write_first(std::deque<Started>& started, const odtk::PlanInfo& info,
                        cv::VideoWriter& writer) {
  Started first = std::move(started.front());
  started.pop_front();
  const std::vector<odtk::Detections> found = first.launch.finish();
  for (std::size_t i = 0; i < found.size(); i++) {
    odtk::Image& image = first.frames[i];
    odtk::draw(image, found[i], info);
    const cv::Mat rgb(image.height, image.width, CV_8UC3, image.rgb.get());
    cv::Mat bgr;
    cv::cvtColor(rgb, bgr, cv::COLOR_RGB2BGR);
    writer.write(bgr);
  }
  return found.size();
}

std::size_t convert(cv::VideoCapture& reader, cv::VideoWriter& writer, odtk::Detector& detector) {
  std::deque<Started> started;
  std::vector<odtk::Image> frames;
  std::size_t count = 0;
  const auto start = [&] {
    if (started.size() == odtk::Detector::kLaunches)
      count += write_first(started, detector.info(), writer);
    started.push_back({detector.start(frames), std::move(frames)});
    frames.clear();
  };
  for (cv::Mat frame; reader.read(frame);) {
    if (odtk::stop_asked()) throw odtk::Error("stopped");
    frames.push_back(to_image(frame, detector.allocator()));
    if (static_cast<int>(frames.size()) == detector.batch()) start();
  }
  if (!frames.empty()) start();
  while (!started.empty()) count += write_first(started, detector.info(), writer);
  return count;
}

// The video while it is written: beside its target, and removed unless it is kept.
class PartFile {
 public:
  // Throws Error where the target cannot be written. OpenCV takes the format from the ending.
  explicit PartFile(const std::filesystem::path& target)
      : target_(target),
        part_(target.parent_path() / ("." + target.stem().string() + "." +
                                      std::to_string(getpid()) + target.extension().string())) {
    const odtk::FileDraft tried(target.string());  // OpenCV would not say why
  }
  ~PartFile() {
    std::error_code ignored;
    if (!kept_) std::filesystem::remove(part_, ignored);
  }
  std::string name() const { return part_.string(); }

  // Moves the file to its target, if so many frames can be read: OpenCV does not say when a disk is
  // full.
  void keep(std::size_t frames) {
    const cv::VideoCapture written(part_.string());
    if (!written.isOpened() ||
        written.get(cv::CAP_PROP_FRAME_COUNT) < static_cast<double>(frames)) {
      throw odtk::Error("cannot write " + target_.string(), "only a part of it was written",
                        "see that there is room on the disk");
    }
    std::error_code error;
    std::filesystem::rename(part_, target_, error);
    if (error) throw odtk::Error("cannot write " + target_.string(), error.message());
    kept_ = true;
  }

 private:
  const std::filesystem::path target_, part_;
  bool kept_ = false;
};

// Checks the names, before OpenCV says much about them. With others, such as a.jpg, it would write
// a file for each frame.
void check_names(const std::string& plan, const std::string& source, const std::string& target) {
  const std::string ending = std::filesystem::path(target).extension().string();
  if (ending != ".mp4" && ending != ".avi" && ending != ".mkv" && ending != ".mov") {
    throw odtk::UsageError("cannot write the video " + target,
                           "its name must end in .mp4, .avi, .mkv or .mov");
  }
  odtk::check_apart("the video", {target}, {source, plan, plan + ".json"});
}

int video(int count, char** values) {
  const odtk::CommandLine line("odtk_video [OPTIONS] MODEL.plan IN.mp4 OUT.mp4",
                               "Draws the detections of every frame into a copy of a video.",
                               odtk::with_detector_options({}), count, values);
  if (line.helped()) return odtk::kDone;
  if (line.others().size() != 3) {
    throw odtk::UsageError("give a plan, a video, and a name for the result", "",
                           "odtk_video model.plan in.mp4 out.mp4");
  }
  const std::string plan = line.others()[0], source = line.others()[1], target = line.others()[2];
  const odtk::DetectorOptions options = odtk::detector_options(line);
  check_names(plan, source, target);
  cv::VideoCapture reader(source);
  if (!reader.isOpened()) throw odtk::UsageError("cannot read the video " + source);
  odtk::Detector detector(plan, options);
  const cv::Size size(static_cast<int>(reader.get(cv::CAP_PROP_FRAME_WIDTH)),
                      static_cast<int>(reader.get(cv::CAP_PROP_FRAME_HEIGHT)));
  PartFile part(target);
  cv::VideoWriter writer(part.name(), cv::VideoWriter::fourcc('m', 'p', '4', 'v'),
                         reader.get(cv::CAP_PROP_FPS), size);
  if (!writer.isOpened()) {
    throw odtk::UsageError("cannot write the video " + target, "OpenCV has no writer for it");
  }
  const std::size_t frames = convert(reader, writer, detector);
  if (frames == 0) throw odtk::Error("cannot read the video " + source, "it has no frames");
  writer.release();
  part.keep(frames);
  std::printf("wrote %s: %s\n", target.c_str(), odtk::counted(frames, "frame").c_str());
  return odtk::kDone;
}

}  // namespace

int main(int count, char** values) {
  return odtk::run_program([=] { return video(count, values); });
}
