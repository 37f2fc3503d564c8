#include "detect/step.h"

#include <algorithm>

#include "images/pixel_levels.h"

namespace odtk {

namespace {

std::vector<std::string> tensor_names(const ExportedModel& model) {
  std::vector<std::string> names = model.output_names();
  names.insert(names.begin(), kInputName);
  return names;
}

std::vector<std::vector<int>> tensor_shapes(const ExportedModel& model, int batch) {
  std::vector<std::vector<int>> shapes = {{batch, 3, model.height, model.width}};
  for (const auto& [channels, height, width] : model.raw_shapes()) {
    shapes.push_back({batch, channels, height, width});
  }
  return shapes;
}

std::array<double, 3> channels(const std::vector<double>& values) {
  return {values[0], values[1], values[2]};
}

std::size_t count(const std::vector<int>& shape) {
  std::size_t product = 1;
  for (const int side : shape) product *= side;
  return product;
}

std::vector<gpu::DeviceBuffer> allocate(const std::vector<std::vector<int>>& shapes) {
  std::vector<gpu::DeviceBuffer> buffers;
  for (const auto& shape : shapes) buffers.emplace_back(sizeof(float) * count(shape));
  return buffers;
}

std::vector<gpu::DevicePointer> output_addresses(const std::vector<gpu::DeviceBuffer>& buffers) {
  std::vector<gpu::DevicePointer> addresses;
  for (std::size_t i = 1; i < buffers.size(); i++) addresses.push_back(buffers[i].address());
  return addresses;
}

}  // namespace

PinnedDetections::PinnedDetections(int batch, int detections, int box_values)
    : detections(detections),
      box_values(box_values),
      scores(sizeof(float) * batch * detections),
      boxes(sizeof(float) * batch * detections * box_values),
      classes(sizeof(std::int32_t) * batch * detections) {}

Step::Step(const gpu::Device& device, const gpu::Stream& stream, Plan& plan,
           const ExportedModel& model, const gpu::PostprocessSettings& settings, int batch)
    : stream_(stream),
      plan_(plan),
      batch_(batch),
      names_(tensor_names(model)),
      shapes_(tensor_shapes(model, batch)),
      buffers_(allocate(shapes_)),
      kernels_(device),
      preprocess_(kernels_, stream, batch, model.height, model.width,
                  pixel_levels(channels(model.mean), channels(model.std))),
      postprocess_(kernels_, stream, model, batch, settings, output_addresses(buffers_)) {
  std::map<std::string, gpu::DevicePointer> addresses;
  for (std::size_t i = 0; i < names_.size(); i++) addresses[names_[i]] = buffers_[i].address();
  plan_.bind(batch, addresses);
  stream_.zero(buffers_[0]);
  graph_ = captured([this] {
    plan_.queue(stream_);
    postprocess_.launch();
  });
}

std::optional<gpu::Graph> Step::captured(const std::function<void()>& queue) const {
  queue();
  stream_.synchronize();
  try {
    return gpu::Graph(stream_, queue);
  } catch (const Error&) {
    return std::nullopt;
  }
}

void Step::launch(const std::vector<gpu::GpuPicture>& pictures, const PinnedDetections& results) {
  preprocess_.launch(pictures, buffers_[0].address());
  if (graph_) {
    graph_->launch(stream_);
  } else {
    plan_.queue(stream_);
    postprocess_.launch();
  }
  const auto download = [this](const gpu::PinnedBuffer& target, const gpu::DeviceBuffer& source) {
    stream_.download(target.as<void>(), source.address(), source.bytes());
  };
  download(results.scores, postprocess_.scores());
  download(results.boxes, postprocess_.boxes());
  download(results.classes, postprocess_.classes());
}

std::vector<Detector::Tensor> Step::tensors() const {
  std::vector<Detector::Tensor> tensors;
  for (std::size_t i = 0; i < names_.size(); i++) {
    std::vector<float> values(count(shapes_[i]));
    stream_.download(values.data(), buffers_[i].address(), buffers_[i].bytes());
    stream_.synchronize();
    tensors.push_back({names_[i], shapes_[i], std::move(values)});
  }
  return tensors;
}

double Step::network_milliseconds(int launches) const {
  const auto queue = [this] { plan_.queue(stream_); };
  const std::optional<gpu::Graph> graph = captured(queue);
  std::vector<gpu::Event> passed;
  for (int i = 0; i <= launches; i++) passed.emplace_back(gpu::Event::Kind::timed);
  passed[0].record(stream_);
  for (int i = 1; i <= launches; i++) {
    graph ? graph->launch(stream_) : queue();
    passed[i].record(stream_);
  }
  stream_.synchronize();
  std::vector<float> times;
  for (int i = 1; i <= launches; i++) times.push_back(passed[i].since(passed[i - 1]));
  std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
  return times[times.size() / 2];
}

}  // namespace odtk
