#include "plugin/detections_plugin.h"

#include <cstring>
#include <exception>
#include <utility>

#include "gpu/detection_kernels.h"
#include "gpu/device.h"
#include "odtk.h"

namespace odtk {

namespace {

constexpr char kName[] = "OdtkDetections", kVersion[] = "1";
constexpr int32_t kOutputs = 3, kClasses = 2;  // the last output
constexpr int kBatch = 0, kChannels = 1, kHeight = 2, kWidth = 3;

// Returns what `work` returns, or `otherwise` where it throws: TensorRT is told why by its logger.
template <typename Result, typename Work>
Result guarded(Result otherwise, Work work) noexcept {
  std::string message;
  try {
    return work();
  } catch (const Error& error) {
    message = std::string(error.what()) + ": " + error.why();
  } catch (const std::exception& error) {
    message = error.what();
  }
  nvinfer1::ILogger* log = getLogger();
  if (log != nullptr) log->log(nvinfer1::ILogger::Severity::kERROR, message.c_str());
  return otherwise;
}

int current_device() {
  int number = 0;
  gpu::check(cudaGetDevice(&number), "the GPU cannot be used");
  return number;
}

gpu::DevicePointer address(const void* pointer) {
  return reinterpret_cast<gpu::DevicePointer>(pointer);
}

}  // namespace

// What the plugin needs on a GPU besides its workspace.
struct DetectionsPlugin::OnDevice {
  explicit OnDevice(const std::vector<float>& table)
      : device(current_device()), kernels(device), anchors(sizeof(float) * table.size()) {
    const gpu::Stream stream;
    stream.upload(anchors.address(), table.data(), anchors.bytes());
    stream.synchronize();
  }

  const gpu::Device device;
  const gpu::Kernels kernels;
  const gpu::DeviceBuffer anchors;
};

DetectionsPlugin::DetectionsPlugin(PluginFields fields) : fields_(std::move(fields)) {}

nvinfer1::DimsExprs DetectionsPlugin::getOutputDimensions(
    int32_t index, nvinfer1::DimsExprs const* inputs, int32_t,
    nvinfer1::IExprBuilder& builder) noexcept {
  nvinfer1::DimsExprs shape{};
  shape.nbDims = index == 1 ? 3 : 2;
  shape.d[0] = inputs[0].d[kBatch];
  shape.d[1] = builder.constant(fields_.detections);
  if (index == 1) shape.d[2] = builder.constant(fields_.box_values());
  return shape;
}

bool DetectionsPlugin::supportsFormatCombination(int32_t position, Tensor const* tensors,
                                                 int32_t inputs, int32_t outputs) noexcept {
  const bool classes = position == inputs + kClasses;
  const auto type = classes ? nvinfer1::DataType::kINT32 : nvinfer1::DataType::kFLOAT;
  const Tensor& tensor = tensors[position];
  return inputs == static_cast<int32_t>(2 * fields_.strides.size()) && outputs == kOutputs &&
         tensor.format == nvinfer1::TensorFormat::kLINEAR && tensor.type == type;
}

void DetectionsPlugin::configurePlugin(DynamicTensor const*, int32_t, DynamicTensor const*,
                                       int32_t) noexcept {}

// Throws Error where the network's outputs are not those that the fields describe.
gpu::Heads DetectionsPlugin::heads_of(Tensor const* inputs) const {
  const int anchors = fields_.anchors_of_a_cell();
  gpu::Heads heads{{}, anchors, fields_.classes, fields_.rotated != 0};
  const std::size_t levels = fields_.strides.size();
  for (std::size_t i = 0; i < levels; i++) {
    const auto& scores = inputs[i].dims;
    const auto& boxes = inputs[levels + i].dims;
    if (scores.d[kChannels] != static_cast<int64_t>(anchors) * fields_.classes ||
        boxes.d[kChannels] != static_cast<int64_t>(anchors) * fields_.box_values() ||
        scores.d[kHeight] != boxes.d[kHeight] || scores.d[kWidth] != boxes.d[kWidth]) {
      throw Error("OdtkDetections cannot be used",
                  "level " + std::to_string(i + 1) + " has another shape than its fields say");
    }
    heads.levels.push_back({static_cast<int>(scores.d[kHeight]), static_cast<int>(scores.d[kWidth]),
                            fields_.strides[i]});
  }
  gpu::check_heads(heads);
  return heads;
}

size_t DetectionsPlugin::getWorkspaceSize(Tensor const* inputs, int32_t, Tensor const*,
                                          int32_t) const noexcept {
  return guarded(size_t{0}, [&] {
    const int batch = static_cast<int>(inputs[0].dims.d[kBatch]);
    return gpu::Scratch(heads_of(inputs), batch, fields_.settings()).bytes;
  });
}

int32_t DetectionsPlugin::enqueue(Tensor const* inputs, Tensor const*, void const* const* sources,
                                  void* const* targets, void* workspace,
                                  cudaStream_t stream) noexcept {
  return guarded(int32_t{1}, [&] {
    if (on_device_ == nullptr) throw Error("OdtkDetections cannot be used", "it has not started");
    const int batch = static_cast<int>(inputs[0].dims.d[kBatch]);
    const gpu::Heads heads = heads_of(inputs);
    const gpu::Scratch scratch(heads, batch, fields_.settings());
    gpu::DetectionMemory memory;
    for (std::size_t i = 0; i < 2 * heads.levels.size(); i++) {
      memory.outputs.push_back(address(sources[i]));
    }
    memory.anchors = on_device_->anchors.address();
    memory.scratch = address(workspace);
    memory.scores = address(targets[0]);
    memory.boxes = address(targets[1]);
    memory.classes = address(targets[kClasses]);
    // Other layers have worked in this memory.
    gpu::check(cudaMemsetAsync(static_cast<char*>(workspace) + scratch.counts, 0,
                               scratch.counts_bytes, stream),
               "the GPU failed");
    gpu::DetectionKernels(on_device_->kernels, heads, fields_.settings())
        .launch(stream, batch, memory);
    return int32_t{0};
  });
}

nvinfer1::DataType DetectionsPlugin::getOutputDataType(int32_t index, nvinfer1::DataType const*,
                                                       int32_t) const noexcept {
  return index == kClasses ? nvinfer1::DataType::kINT32 : nvinfer1::DataType::kFLOAT;
}

nvinfer1::AsciiChar const* DetectionsPlugin::getPluginType() const noexcept { return kName; }
nvinfer1::AsciiChar const* DetectionsPlugin::getPluginVersion() const noexcept { return kVersion; }
int32_t DetectionsPlugin::getNbOutputs() const noexcept { return kOutputs; }

int32_t DetectionsPlugin::initialize() noexcept {
  return guarded(int32_t{1}, [&] {
    if (on_device_ == nullptr) on_device_ = std::make_shared<OnDevice>(fields_.anchors);
    return int32_t{0};
  });
}

void DetectionsPlugin::terminate() noexcept { on_device_.reset(); }

size_t DetectionsPlugin::getSerializationSize() const noexcept {
  return guarded(size_t{0}, [&] { return odtk::serialize(fields_).size(); });
}

void DetectionsPlugin::serialize(void* buffer) const noexcept {
  guarded(0, [&] {
    const std::string bytes = odtk::serialize(fields_);
    std::memcpy(buffer, bytes.data(), bytes.size());
    return 0;
  });
}

void DetectionsPlugin::destroy() noexcept { delete this; }

nvinfer1::IPluginV2DynamicExt* DetectionsPlugin::clone() const noexcept {
  return guarded<nvinfer1::IPluginV2DynamicExt*>(nullptr, [&] {
    auto copy = std::make_unique<DetectionsPlugin>(fields_);
    copy->namespace_ = namespace_;
    copy->on_device_ = on_device_;
    return copy.release();
  });
}

void DetectionsPlugin::setPluginNamespace(nvinfer1::AsciiChar const* name) noexcept {
  namespace_ = name;
}

nvinfer1::AsciiChar const* DetectionsPlugin::getPluginNamespace() const noexcept {
  return namespace_.c_str();
}

nvinfer1::AsciiChar const* DetectionsPluginCreator::getPluginName() const noexcept { return kName; }

nvinfer1::AsciiChar const* DetectionsPluginCreator::getPluginVersion() const noexcept {
  return kVersion;
}

nvinfer1::PluginFieldCollection const* DetectionsPluginCreator::getFieldNames() noexcept {
  return &field_names();
}

nvinfer1::IPluginV2* DetectionsPluginCreator::createPlugin(
    nvinfer1::AsciiChar const*, nvinfer1::PluginFieldCollection const* fields) noexcept {
  return guarded<nvinfer1::IPluginV2*>(nullptr,
                                       [&] { return new DetectionsPlugin(read_fields(*fields)); });
}

nvinfer1::IPluginV2* DetectionsPluginCreator::deserializePlugin(nvinfer1::AsciiChar const*,
                                                                void const* data,
                                                                size_t size) noexcept {
  return guarded<nvinfer1::IPluginV2*>(nullptr, [&] {
    return new DetectionsPlugin(deserialize({static_cast<const char*>(data), size}));
  });
}

void DetectionsPluginCreator::setPluginNamespace(nvinfer1::AsciiChar const* name) noexcept {
  namespace_ = name;
}

nvinfer1::AsciiChar const* DetectionsPluginCreator::getPluginNamespace() const noexcept {
  return namespace_.c_str();
}

REGISTER_TENSORRT_PLUGIN(DetectionsPluginCreator);

}  // namespace odtk
