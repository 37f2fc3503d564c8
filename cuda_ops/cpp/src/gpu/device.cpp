#include "gpu/device.h"

#include <cstdlib>
#include <utility>

#include "odtk.h"

namespace odtk::gpu {

namespace {

// Hardware queues for streams: with the default of 8 two streams may share one and wait for each
// other.
constexpr const char* kQueues = "CUDA_DEVICE_MAX_CONNECTIONS";

constexpr int kLeastMajor = 7, kLeastMinor = 2;

}  // namespace

void check(cudaError_t status, const char* what) {
  if (status != cudaSuccess) throw Error(what, cudaGetErrorString(status));
}

void check(CUresult status, const char* what) {
  if (status == CUDA_SUCCESS) return;
  const char* why = nullptr;
  cuGetErrorString(status, &why);
  throw Error(what, why == nullptr ? "an unknown error" : why);
}

Device::Device(int number) : number_(number) {
  setenv(kQueues, "32", 0);
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess || count == 0) {
    throw UsageError("there is no GPU", status == cudaSuccess ? "" : cudaGetErrorString(status),
                     "plans are built and run on the GPU that they are for");
  }
  if (number < 0 || number >= count) {
    throw UsageError("there is no GPU " + std::to_string(number),
                     std::to_string(count) + " can be seen");
  }
  cudaDeviceProp about{};
  check(cudaGetDeviceProperties(&about, number), "the GPU cannot be asked what it is");
  kind_ = {about.name, std::to_string(about.major) + "." + std::to_string(about.minor)};
  if (std::make_pair(about.major, about.minor) < std::make_pair(kLeastMajor, kLeastMinor)) {
    throw UsageError(kind_.name + " is too old", "it has compute capability " + kind_.capability +
                                                     ", and the kernels need 7.2 or more");
  }
  use();
  check(cudaFree(nullptr), "the GPU cannot be used");  // makes the primary context
}

void Device::use() const { check(cudaSetDevice(number_), "the GPU cannot be used"); }

std::int64_t Device::free_bytes() const {
  std::size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "the GPU cannot be asked for its memory");
  return static_cast<std::int64_t>(free);
}

DeviceBuffer::DeviceBuffer(std::size_t bytes) : bytes_(bytes) {
  check(cudaMalloc(&data_, bytes > 0 ? bytes : 1), "the GPU's memory is too small");
}

DeviceBuffer::~DeviceBuffer() { cudaFree(data_); }

DeviceBuffer::DeviceBuffer(DeviceBuffer&& other) noexcept { *this = std::move(other); }

DeviceBuffer& DeviceBuffer::operator=(DeviceBuffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

PinnedBuffer::PinnedBuffer(std::size_t bytes) : bytes_(bytes) {
  check(cudaHostAlloc(&data_, bytes > 0 ? bytes : 1, cudaHostAllocPortable),
        "page-locked memory cannot be had");
}

PinnedBuffer::~PinnedBuffer() { cudaFreeHost(data_); }

PinnedBuffer::PinnedBuffer(PinnedBuffer&& other) noexcept { *this = std::move(other); }

PinnedBuffer& PinnedBuffer::operator=(PinnedBuffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

Stream::Stream() {
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "the GPU has no stream left");
}

Stream::~Stream() {
  if (stream_ != nullptr) cudaStreamDestroy(stream_);
}

Stream::Stream(Stream&& other) noexcept : stream_(std::exchange(other.stream_, nullptr)) {}

void Stream::upload(DevicePointer target, const void* source, std::size_t bytes) const {
  check(cudaMemcpyAsync(reinterpret_cast<void*>(target), source, bytes, cudaMemcpyHostToDevice,
                        stream_),
        "uploading to the GPU failed");
}

void Stream::download(void* target, DevicePointer source, std::size_t bytes) const {
  check(cudaMemcpyAsync(target, reinterpret_cast<const void*>(source), bytes,
                        cudaMemcpyDeviceToHost, stream_),
        "downloading from the GPU failed");
}

void Stream::zero(const DeviceBuffer& buffer) const {
  check(cudaMemsetAsync(buffer.data(), 0, buffer.bytes(), stream_), "the GPU failed");
}

void Stream::wait(const Event& event) const {
  check(cudaStreamWaitEvent(stream_, event.handle(), 0), "the GPU failed");
}

void Stream::synchronize() const { check(cudaStreamSynchronize(stream_), "the GPU failed"); }

Event::Event(Kind kind) {
  const unsigned flags =
      kind == Kind::timed ? cudaEventDefault : cudaEventBlockingSync | cudaEventDisableTiming;
  check(cudaEventCreateWithFlags(&event_, flags), "the GPU has no event left");
}

Event::~Event() {
  if (event_ != nullptr) cudaEventDestroy(event_);
}

Event::Event(Event&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}

void Event::record(const Stream& stream) const {
  check(cudaEventRecord(event_, stream.handle()), "the GPU failed");
}

void Event::synchronize() const { check(cudaEventSynchronize(event_), "the GPU failed"); }

float Event::since(const Event& start) const {
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, start.event_, event_), "the GPU failed");
  return milliseconds;
}

}  // namespace odtk::gpu
