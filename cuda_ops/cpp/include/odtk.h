// Detects objects with the TensorRT plans of odtk-ray, without Python.
//
//   odtk::Detector detector("model.plan");
//   odtk::Image image = odtk::read_image("street.jpg");
//   odtk::Detections found = detector.detect({image})[0];
//
// Detections are the same, to the bit, as those of `odtk-ray infer model.plan --decoder cpu`.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace odtk {

// A failure with a message for the user: what failed, why, and what to do about it.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& what, std::string why = "", std::string hint = "",
                 int exit_code = 1)
      : std::runtime_error(what),
        why_(std::move(why)),
        hint_(std::move(hint)),
        exit_code_(exit_code) {}

  const std::string& why() const { return why_; }
  const std::string& hint() const { return hint_; }
  // 1: it failed; 2: what was asked for, or a file that it names, cannot be used.
  int exit_code() const { return exit_code_; }

 private:
  std::string why_, hint_;
  int exit_code_;
};

class UsageError : public Error {
 public:
  explicit UsageError(const std::string& what, std::string why = "", std::string hint = "")
      : Error(what, std::move(why), std::move(hint), 2) {}
};

// One image cannot be used; the message says why.
class ImageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Returns memory for so many bytes; it is freed, or used again, when nothing refers to it.
using Allocate = std::function<std::shared_ptr<std::uint8_t>(std::size_t bytes)>;

std::shared_ptr<std::uint8_t> allocate_on_heap(std::size_t bytes);

// A decoded picture: 8-bit RGB, interleaved, row after row without gaps.
struct Image {
  int width = 0;
  int height = 0;
  std::shared_ptr<std::uint8_t> rgb;
};

struct ReadOptions {
  bool apply_exif = false;  // whether pictures are turned as their EXIF orientation says
  std::int64_t max_pixels = 178'000'000;
  Allocate allocate = allocate_on_heap;
};

// Reads a JPEG or PNG file. Throws ImageError.
Image read_image(const std::string& path, const ReadOptions& options = {});

// One detection. The box has x1, y1, x2, y2 in pixels of the picture, both corners inclusive; sin
// and cos of theta follow for rotated boxes, which turn around their centre.
struct Detection {
  float score = 0;
  std::int32_t label = 0;  // 0-based class index
  std::array<float, 6> box{};
};

// Best first.
using Detections = std::vector<Detection>;

enum class RotatedNms { own, odtk };

// What a plan says about itself.
struct PlanInfo {
  int height = 0, width = 0;  // pixels of the network input
  int least_batch = 1, tuned_batch = 1, greatest_batch = 1;
  int classes = 0;
  bool rotated = false;
  bool ends_in_detections = false;  // for servers; a Detector takes plans with raw outputs
  std::string precision;            // fp32, fp16, int8
  std::vector<std::string> backbones;
  std::string gpu;       // that it was built for, with its compute capability
  std::string tensorrt;  // that built it, such as "tensorrt 8.5.2"
  std::int64_t bytes = 0;
  std::vector<std::string> class_names;   // empty where the model has none
  std::vector<std::string> category_ids;  // of each class as JSON; empty where the model has none
};

// Thresholds that differ from those that the plan was exported with.
struct Thresholds {
  std::optional<float> threshold;  // scores must be greater
  std::optional<int> top_n;        // candidates kept for each pyramid level
  std::optional<float> nms;        // IoU above which the worse of two boxes is dropped
  std::optional<int> detections;   // kept for each image
  std::optional<RotatedNms> rotated_nms;
};

struct DetectorOptions {
  Thresholds thresholds;
  std::optional<int> batch;     // images in a launch; the batch that the plan was tuned for
  std::optional<int> dla_core;  // that runs what was built for a DLA
  int gpu = 0;
};

class Detector;

// Work that was given to the GPU. It may outlive its detector; one that is dropped is waited for.
class Launch {
 public:
  // Waits, and returns the detections of each image. Call it once. Throws Error.
  std::vector<Detections> finish();

  ~Launch();
  Launch(Launch&&) noexcept;
  Launch& operator=(Launch&&) noexcept;

 private:
  friend class Detector;
  struct State;
  explicit Launch(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// A plan on a GPU. It belongs to one thread at a time.
class Detector {
 public:
  // Throws UsageError where the plan, its sidecar or a threshold cannot be used here, and Error
  // where the GPU fails.
  explicit Detector(const std::string& plan, const DetectorOptions& options = {});
  Detector(Detector&&) noexcept = default;
  Detector& operator=(Detector&&) noexcept = default;

  const PlanInfo& info() const;
  int batch() const;

  // Detects in any number of images. Throws Error, and ImageError as `check` does.
  std::vector<Detections> detect(const std::vector<Image>& images);

  // Starts to detect in at most `batch()` images, so that the GPU works while the caller decodes
  // the next ones. Launches end in the order in which they were started; `kLaunches` may be
  // unfinished.
  static constexpr std::size_t kLaunches = 3;
  // Throws as `detect` does.
  Launch start(const std::vector<Image>& images);

  // Throws ImageError where an image has no pixels, or is so narrow that it would be resized to
  // nothing. Any thread may call it.
  void check(const Image& image) const;

  // Page-locked memory for images, from which uploading is fastest. Any thread may call it.
  Allocate allocator() const;

  // The last launch's network input and raw outputs, all float32, once it has finished.
  struct Tensor {
    std::string name;
    std::vector<int> shape;
    std::vector<float> values;
  };
  std::vector<Tensor> tensors();

  // Bytes of the GPU's memory, the CUDA context not included.
  struct Memory {
    std::int64_t used;     // by plan and buffers
    std::int64_t working;  // of those, what the plan computes in, for its greatest batch
  };
  Memory memory() const;

  // Milliseconds that the network alone takes, the median of some launches.
  double network_milliseconds(int launches);

 private:
  friend class Launch;
  struct Parts;
  std::shared_ptr<Parts> parts_;  // also of its launches
};

struct BuildOptions {
  std::string onnx;
  std::string plan;
  bool full_precision = false;            // FP32 instead of FP16; INT8 follows from the ONNX file
  std::array<int, 3> batches{1, 1, 16};   // least, tuned, greatest
  std::optional<std::int64_t> workspace;  // bytes that a layer may use besides
  std::string timing_cache;               // measured timings, read and written; empty keeps none
  std::optional<int> dla_core;
  bool verbose = false;
  int gpu = 0;
  // Receives what is being done; the first message comes when options and files have been checked.
  std::function<void(const std::string&)> progress = [](const std::string&) {};
  // Whether the build should end; asked now and then, from TensorRT 10 on also during the build.
  std::function<bool()> stopped = [] { return false; };
};

// Builds a plan on the GPU that will run it, and its sidecar. Throws UsageError or Error; nothing
// is left behind then.
PlanInfo build_plan(const BuildOptions& options);

// Draws detections into an image, with labels: names of classes, or their numbers without.
void draw(Image& image, const Detections& detections, const PlanInfo& info);

// Writes a JPEG (quality 90) or a PNG, by the name's ending: whole or not at all.
void write_image(const std::string& path, const Image& image);

}  // namespace odtk
