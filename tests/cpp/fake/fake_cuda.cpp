// A GPU in host memory. Its streams do their work at once, and its kernels have canned results.
//
// `preprocess` notes the sizes of the pictures. `nms` finds two things in each: one as large as the
// resized picture, of class 0, with a score of 0.9, and one of half its sides in the middle, of the
// last class, with 0.5; both only if the threshold allows. `scan` and `select` fill the memory that
// they may use; `scan` ends the program where its counts are not 0. Environment variables:
//   FAKE_GPU       name and capability, "Xavier 7.2"; "none" is a machine without a GPU
//   FAKE_NAN       what is found has no place
//   FAKE_NO_GRAPH  nothing can be captured
//   FAKE_OLD_CODE  the kernels are not for this GPU

#include <array>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "cuda.h"
#include "gpu/arguments.h"

namespace {

using namespace odtk::gpu;

std::vector<std::pair<int, int>> sizes;  // of the pictures of the last launch, resized
float threshold = 0;                     // that candidates had to exceed
int last_class = 0;
std::vector<std::function<void()>>* recording = nullptr;

bool set(const char* name) { return std::getenv(name) != nullptr; }

std::string gpu() {
  const char* wanted = std::getenv("FAKE_GPU");
  return wanted == nullptr ? "Xavier 7.2" : wanted;
}

// Does something now, or when the graph that is being captured is launched.
void queue(std::function<void()> work) {
  if (recording != nullptr) {
    recording->push_back(std::move(work));
  } else {
    work();
  }
}

void preprocess(const PreprocessArgs& arguments) {
  sizes.clear();
  for (const PictureArgs& picture : arguments.pictures) {
    if (picture.pixels != 0) sizes.emplace_back(picture.horizontal.size, picture.vertical.size);
  }
}

// Fills memory as the kernel may, so that buffers that are too small are noticed.
void fill(DevicePointer start, std::size_t bytes) {
  std::memset(reinterpret_cast<void*>(start), 0x5A, bytes);
}

std::size_t segments(const DecodeArgs& arguments) {
  return std::size_t{1} * arguments.batch * arguments.level_count;
}

void scan(const DecodeArgs& arguments) {
  threshold = arguments.threshold;
  last_class = arguments.class_count - 1;
  for (std::size_t i = 0; i < segments(arguments); i++) {
    if (reinterpret_cast<std::uint32_t*>(arguments.counts)[i] != 0) std::abort();
  }
  fill(arguments.lists, sizeof(std::uint64_t) * segments(arguments) * arguments.capacity);
}

void select(const DecodeArgs& arguments, int values) {
  for (int i = 0; i < arguments.level_count; i++) {
    const Level& level = arguments.levels[i];
    if (level.delta_channels != level.channels / arguments.class_count * values) std::abort();
  }
  const std::size_t slots = segments(arguments) * arguments.top_n;
  std::size_t room = 1;
  while (room < arguments.top_n) room *= 2;
  if (arguments.workspace != 0) {
    fill(arguments.workspace, sizeof(std::uint64_t) * segments(arguments) * room);
  }
  fill(arguments.scores, sizeof(float) * slots);
  fill(arguments.boxes, sizeof(float) * values * slots);
  fill(arguments.classes, sizeof(std::int32_t) * slots);
}

void store(const NmsArgs& arguments, std::size_t row, int values, float score, int label,
           std::vector<float> box) {
  if (set("FAKE_NAN")) box[0] = std::numeric_limits<float>::quiet_NaN();
  if (values == 6) box.insert(box.end(), {0.6F, 0.8F});
  reinterpret_cast<float*>(arguments.kept_scores)[row] = score;
  reinterpret_cast<std::int32_t*>(arguments.kept_classes)[row] = label;
  std::memcpy(reinterpret_cast<float*>(arguments.kept_boxes) + row * values, box.data(),
              sizeof(float) * values);
}

void nms(const NmsArgs& arguments, unsigned batch, int values) {
  const std::size_t slots = std::size_t{batch} * arguments.detections;
  std::memset(reinterpret_cast<void*>(arguments.kept_scores), 0, sizeof(float) * slots);
  std::memset(reinterpret_cast<void*>(arguments.kept_boxes), 0, sizeof(float) * values * slots);
  std::memset(reinterpret_cast<void*>(arguments.kept_classes), 0, sizeof(std::int32_t) * slots);
  for (std::size_t i = 0; i < sizes.size(); i++) {
    const float width = static_cast<float>(sizes[i].first);
    const float height = static_cast<float>(sizes[i].second);
    std::size_t row = i * arguments.detections;
    if (0.9F > threshold) store(arguments, row++, values, 0.9F, 0, {0, 0, width - 1, height - 1});
    if (arguments.detections < 2 || !(0.5F > threshold)) continue;
    store(arguments, row, values, 0.5F, last_class,
          {width / 4, height / 4, 3 * width / 4 - 1, 3 * height / 4 - 1});
  }
}

}  // namespace

struct CUmod_st {};
struct CUfunc_st {
  std::string name;
};
struct CUgraph_st {
  std::vector<std::function<void()>> work;
};
struct CUgraphExec_st {
  std::vector<std::function<void()>> work;
};

const char* cudaGetErrorString(cudaError_t status) {
  return status == cudaErrorNoDevice ? "no CUDA-capable device is detected" : "an error";
}
cudaError_t cudaGetLastError() { return cudaSuccess; }

cudaError_t cudaGetDeviceCount(int* count) {
  *count = gpu() == "none" ? 0 : 1;
  return *count == 0 ? cudaErrorNoDevice : cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* about, int) {
  const std::string text = gpu();
  const std::size_t space = text.rfind(' '), dot = text.rfind('.');
  std::strcpy(about->name, text.substr(0, space).c_str());
  about->major = std::stoi(text.substr(space + 1, dot - space - 1));
  about->minor = std::stoi(text.substr(dot + 1));
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int) { return cudaSuccess; }
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  *free = *total = 1 << 30;
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** data, std::size_t bytes) {
  *data = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  if (*data == nullptr) return cudaErrorMemoryAllocation;
  std::memset(*data, 0, bytes);  // for what no kernel writes here
  return cudaSuccess;
}
cudaError_t cudaFree(void* data) {
  std::free(data);
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** data, std::size_t bytes, unsigned) {
  return cudaMalloc(data, bytes);
}
cudaError_t cudaFreeHost(void* data) { return cudaFree(data); }

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = static_cast<cudaStream_t>(std::malloc(1));
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) { return cudaFree(stream); }

cudaError_t cudaMemcpyAsync(void* target, const void* source, std::size_t bytes, cudaMemcpyKind,
                            cudaStream_t) {
  queue([=] { std::memcpy(target, source, bytes); });
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* data, int value, std::size_t bytes, cudaStream_t) {
  queue([=] { std::memset(data, value, bytes); });
  return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }

cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) {
  if (set("FAKE_NO_GRAPH")) return cudaErrorNoDevice;
  recording = new std::vector<std::function<void()>>;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t* graph) {
  *graph = new CUgraph_st{std::move(*recording)};
  delete std::exchange(recording, nullptr);
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = static_cast<cudaEvent_t>(std::malloc(1));
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) { return cudaFree(event); }
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return cudaSuccess; }
cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t, cudaEvent_t) {
  *milliseconds = 1;
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* executable, cudaGraph_t graph,
                                          unsigned long long) {
  *executable = new CUgraphExec_st{graph->work};
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t) {
  for (const auto& work : executable->work) work();
  return cudaSuccess;
}

CUresult cuGetErrorString(CUresult, const char** text) {
  *text = "an error";
  return CUDA_SUCCESS;
}
CUresult cuModuleLoadData(CUmodule* module, const void*) {
  if (set("FAKE_OLD_CODE")) return CUDA_ERROR_NO_BINARY_FOR_GPU;
  *module = new CUmod_st;
  return CUDA_SUCCESS;
}
CUresult cuModuleUnload(CUmodule module) {
  delete module;
  return CUDA_SUCCESS;
}

CUresult cuModuleGetFunction(CUfunction* function, CUmodule, const char* name) {
  static std::array<CUfunc_st, 7> all = {{{"scan_float32"},
                                          {"select_float32"},
                                          {"select_rotated_float32"},
                                          {"nms"},
                                          {"nms_rotated"},
                                          {"nms_rotated_odtk"},
                                          {"preprocess_float32"}}};
  for (CUfunc_st& known : all) {
    if (known.name == name) *function = &known;
  }
  return *function == nullptr ? CUDA_ERROR_NOT_FOUND : CUDA_SUCCESS;
}

CUresult cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned, unsigned, unsigned,
                        unsigned, unsigned, unsigned, CUstream, void** parameters, void**) {
  const std::string& name = function->name;
  if (name == "preprocess_float32") {
    queue([arguments = *static_cast<PreprocessArgs*>(parameters[0])] { preprocess(arguments); });
  } else if (name == "scan_float32") {
    queue([arguments = *static_cast<DecodeArgs*>(parameters[0])] { scan(arguments); });
  } else if (name.rfind("select", 0) == 0) {
    const int values = name == "select_float32" ? 4 : 6;
    queue([arguments = *static_cast<DecodeArgs*>(parameters[0]), values] {
      select(arguments, values);
    });
  } else if (name.rfind("nms", 0) == 0) {
    const int values = name == "nms" ? 4 : 6;
    queue([arguments = *static_cast<NmsArgs*>(parameters[0]), grid_x, values] {
      nms(arguments, grid_x, values);
    });
  }
  return CUDA_SUCCESS;
}
