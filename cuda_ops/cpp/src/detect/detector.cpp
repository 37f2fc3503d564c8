// Uploads pictures on one stream while the GPU still computes the last launch on another;
// `odtk.h` declares what is public.

#include <algorithm>
#include <deque>
#include <utility>

#include "detect/step.h"
#include "gpu/pinned_pool.h"
#include "images/resize.h"
#include "model/plan_info.h"
#include "odtk.h"

namespace odtk {

namespace {

constexpr std::size_t kAlignment = 256;  // bytes, of a picture in device memory

// What one launch needs of its own.
struct Slot {
  Slot(int batch, int detections, int box_values)
      : pictures(0), results(batch, detections, box_values) {}

  gpu::DeviceBuffer pictures;
  PinnedDetections results;
  gpu::Event uploaded, done;
  std::vector<Image> images;  // kept until they are uploaded
  std::vector<double> ratios;
  bool busy = false;
};

std::size_t aligned(std::size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

std::size_t image_bytes(const Image& image) { return std::size_t{3} * image.width * image.height; }

gpu::PostprocessSettings settings_of(const ExportedModel& model, const Thresholds& wanted) {
  return {wanted.threshold.value_or(static_cast<float>(model.post.threshold)),
          wanted.top_n.value_or(model.post.top_n),
          wanted.nms.value_or(static_cast<float>(model.post.nms)),
          wanted.detections.value_or(model.post.detections),
          wanted.rotated_nms.value_or(model.post.rotated_nms)};
}

void check_settings(const gpu::PostprocessSettings& settings, const ExportedModel& model,
                    const Thresholds& wanted) {
  const auto check = [](const char* name, double value, int least, int most) {
    if (value >= least && value <= most) return;
    throw UsageError(std::string(name) + " is out of range",
                     "it must be from " + std::to_string(least) + " to " + std::to_string(most));
  };
  check("the score threshold", settings.threshold, 0, 1);
  check("the NMS threshold", settings.nms, 0, 1);
  check("the number of candidates (top n)", settings.top_n, 1, 1'000'000);
  check("the number of detections", settings.detections, 1, 1'000'000);
  if (wanted.rotated_nms && !model.rotated()) {
    throw UsageError("rotated NMS is for rotated models", "this plan's boxes are axis-aligned");
  }
}

int launch_batch(const std::optional<int>& wanted, const Sidecar& about) {
  const auto [least, tuned, greatest] = about.batches;
  if (wanted && (*wanted < least || *wanted > greatest)) {
    throw UsageError(
        "the plan takes no batch of " + std::to_string(*wanted),
        "it was built for " + std::to_string(least) + " to " + std::to_string(greatest));
  }
  return wanted.value_or(tuned);
}

}  // namespace

struct Detector::Parts {
  Parts(const std::string& path, const DetectorOptions& options)
      : device(options.gpu),
        bytes(device.free_bytes()),
        loaded(read_plan(path)),
        info(plan_info(loaded.about)),
        batch(launch_batch(options.batch, loaded.about)),
        settings(settings_of(loaded.about.model, options.thresholds)),
        pinned(std::make_shared<gpu::PinnedPool>(device)) {
    const Sidecar& about = loaded.about;
    if (info.ends_in_detections) {
      throw UsageError("cannot use model " + path, "it ends in detections, which is for servers",
                       "build it from an ONNX file without --with-postprocess: its outputs are "
                       "decoded by the same kernels");
    }
    check_settings(settings, about.model, options.thresholds);
    gpu::check_levels(about.model);
    check_machine(path, about, tensorrt_version(), device.kind());
    plan = std::make_unique<Plan>(path, loaded.bytes, about, options.dla_core);
    // It takes as much memory as the plan on the GPU; a string that is only emptied keeps it.
    std::string().swap(loaded.bytes);
    step = std::make_unique<Step>(device, main, *plan, about.model, settings, batch);
    for (std::size_t i = 0; i < kLaunches; i++) {
      slots.push_back(std::make_unique<Slot>(batch, settings.detections, info.rotated ? 6 : 4));
    }
    bytes -= device.free_bytes();
  }

  ~Parts() {
    try {
      device.use();
    } catch (const Error&) {  // the GPU has failed; what was on it is gone
    }
  }

  Slot& free_slot();
  std::vector<gpu::GpuPicture> upload_images(Slot& slot, const std::vector<Image>& images);

  const gpu::Device device;
  std::int64_t bytes;  // of the GPU that the rest took
  PlanFile loaded;
  const PlanInfo info;
  const int batch;
  const gpu::PostprocessSettings settings;
  const gpu::Stream main, upload;
  std::unique_ptr<Plan> plan;
  std::unique_ptr<Step> step;
  std::shared_ptr<gpu::PinnedPool> pinned;
  std::vector<std::unique_ptr<Slot>> slots;
};

Slot& Detector::Parts::free_slot() {
  for (const auto& slot : slots) {
    if (!slot->busy) return *slot;
  }
  throw std::logic_error("three launches are unfinished already");
}

// Queues the copies of a launch's pictures; returns where they will be.
std::vector<gpu::GpuPicture> Detector::Parts::upload_images(Slot& slot,
                                                            const std::vector<Image>& images) {
  std::vector<gpu::GpuPicture> pictures;
  std::size_t bytes = 0;
  slot.ratios.clear();
  for (const Image& image : images) {
    const NetworkSize size = network_size(image.width, image.height, info.height, info.width);
    pictures.push_back({bytes, image.width, image.height, size.width, size.height});
    slot.ratios.push_back(size.ratio);
    bytes += aligned(image_bytes(image));
  }
  slot.images = images;
  if (bytes > slot.pictures.bytes()) slot.pictures = gpu::DeviceBuffer(bytes + bytes / 4);
  for (std::size_t i = 0; i < images.size(); i++) {
    pictures[i].pixels += slot.pictures.address();
    upload.upload(pictures[i].pixels, images[i].rgb.get(), image_bytes(images[i]));
  }
  slot.uploaded.record(upload);
  return pictures;
}

// Holds a slot, and the detector's parts, until the launch has ended.
struct Launch::State {
  State(std::shared_ptr<Detector::Parts> owner, Slot& taken)
      : parts(std::move(owner)), slot(taken) {
    slot.busy = true;
  }

  ~State() {
    if (!ended) {  // it was dropped, or something failed while it was started
      cudaStreamSynchronize(parts->upload.handle());
      cudaStreamSynchronize(parts->main.handle());
    }
    slot.images.clear();
    slot.busy = false;
  }

  const std::shared_ptr<Detector::Parts> parts;
  Slot& slot;
  bool ended = false;
};

Launch::Launch(std::unique_ptr<State> state) : state_(std::move(state)) {}
Launch::~Launch() = default;
Launch::Launch(Launch&&) noexcept = default;
Launch& Launch::operator=(Launch&&) noexcept = default;

std::vector<Detections> Launch::finish() {
  if (state_ == nullptr) throw std::logic_error("a launch can be finished once");
  const std::unique_ptr<State> state = std::move(state_);
  state->parts->device.use();
  Slot& slot = state->slot;
  slot.done.synchronize();
  state->ended = true;
  const PinnedDetections& found = slot.results;
  std::vector<Detections> all;
  for (std::size_t image = 0; image < slot.images.size(); image++) {
    const float ratio = static_cast<float>(slot.ratios[image]);
    Detections detections;
    for (int i = 0; i < found.detections; i++) {
      const std::size_t row = image * found.detections + i;
      const float score = found.scores.as<float>()[row];
      if (!(score > 0)) continue;
      Detection& detection = detections.emplace_back();
      detection.score = score;
      detection.label = found.classes.as<std::int32_t>()[row];
      const float* box = found.boxes.as<float>() + row * found.box_values;
      for (int k = 0; k < found.box_values; k++) {
        detection.box[k] = k < 4 ? box[k] / ratio : box[k];
      }
    }
    all.push_back(std::move(detections));
  }
  return all;
}

Detector::Detector(const std::string& plan, const DetectorOptions& options)
    : parts_(std::make_shared<Parts>(plan, options)) {}

const PlanInfo& Detector::info() const { return parts_->info; }
int Detector::batch() const { return parts_->batch; }

Launch Detector::start(const std::vector<Image>& images) {
  Parts& parts = *parts_;
  if (static_cast<int>(images.size()) > parts.batch) {
    throw std::logic_error("a launch has more images than the detector's batch");
  }
  for (const Image& image : images) check(image);
  parts.device.use();
  Slot& slot = parts.free_slot();
  auto state = std::make_unique<Launch::State>(parts_, slot);
  const auto pictures = parts.upload_images(slot, images);
  parts.main.wait(slot.uploaded);
  parts.step->launch(pictures, slot.results);
  slot.done.record(parts.main);
  return Launch(std::move(state));
}

std::vector<Detections> Detector::detect(const std::vector<Image>& images) {
  std::vector<Detections> all;
  std::deque<Launch> launches;
  const auto finish_first = [&] {
    for (Detections& found : launches.front().finish()) all.push_back(std::move(found));
    launches.pop_front();
  };
  for (std::size_t at = 0; at < images.size(); at += parts_->batch) {
    const std::size_t end = std::min(images.size(), at + parts_->batch);
    if (launches.size() == kLaunches) finish_first();
    launches.push_back(start({images.begin() + at, images.begin() + end}));
  }
  while (!launches.empty()) finish_first();
  return all;
}

void Detector::check(const Image& image) const {
  if (image.width < 1 || image.height < 1 || image.rgb == nullptr) {
    throw ImageError("it has no pixels");
  }
  network_size(image.width, image.height, parts_->info.height, parts_->info.width);
}

Allocate Detector::allocator() const {
  return [pool = parts_->pinned](std::size_t bytes) { return pool->take(bytes); };
}

std::vector<Detector::Tensor> Detector::tensors() {
  parts_->device.use();
  return parts_->step->tensors();
}

Detector::Memory Detector::memory() const { return {parts_->bytes, parts_->plan->working_bytes()}; }

double Detector::network_milliseconds(int launches) {
  parts_->device.use();
  return parts_->step->network_milliseconds(launches);
}

}  // namespace odtk
