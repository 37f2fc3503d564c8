// One GPU, and what lives on it: streams, events, memory.
#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "gpu/arguments.h"
#include "model/sidecar.h"

namespace odtk::gpu {

// Throw Error where a call failed; `what` says what it was for.
void check(cudaError_t status, const char* what);
void check(CUresult status, const char* what);

// A GPU's primary context.
class Device {
 public:
  // Throws UsageError where there is no such GPU, no driver, or the GPU is older than compute
  // capability 7.2 (Xavier).
  explicit Device(int number);

  // Makes it the calling thread's device; every thread does that before it calls CUDA.
  void use() const;

  const GpuKind& kind() const { return kind_; }
  // Bytes of its memory that are free.
  std::int64_t free_bytes() const;

 private:
  int number_;
  GpuKind kind_;
};

// Device memory, not initialised, aligned to 256 bytes.
class DeviceBuffer {
 public:
  explicit DeviceBuffer(std::size_t bytes);
  ~DeviceBuffer();
  DeviceBuffer(DeviceBuffer&& other) noexcept;
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept;

  void* data() const { return data_; }
  DevicePointer address() const { return reinterpret_cast<DevicePointer>(data_); }
  std::size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

// Page-locked host memory.
class PinnedBuffer {
 public:
  explicit PinnedBuffer(std::size_t bytes);
  ~PinnedBuffer();
  PinnedBuffer(PinnedBuffer&& other) noexcept;
  PinnedBuffer& operator=(PinnedBuffer&& other) noexcept;

  template <typename T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  std::size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

class Event;

// A queue of work; it does not wait for the default stream.
class Stream {
 public:
  Stream();
  ~Stream();
  Stream(Stream&& other) noexcept;

  cudaStream_t handle() const { return stream_; }
  // Queues copies; host memory that is not page-locked is copied before the call returns.
  void upload(DevicePointer target, const void* source, std::size_t bytes) const;
  void download(void* target, DevicePointer source, std::size_t bytes) const;
  void zero(const DeviceBuffer& buffer) const;
  // What is queued after this waits for the event.
  void wait(const Event& event) const;
  void synchronize() const;

 private:
  cudaStream_t stream_ = nullptr;
};

// A point in a stream.
class Event {
 public:
  enum class Kind { waited_for, timed };

  explicit Event(Kind kind = Kind::waited_for);
  ~Event();
  Event(Event&& other) noexcept;

  cudaEvent_t handle() const { return event_; }
  void record(const Stream& stream) const;
  // Waits without using the CPU.
  void synchronize() const;
  // Milliseconds since another event; both are `timed` and have passed.
  float since(const Event& start) const;

 private:
  cudaEvent_t event_ = nullptr;
};

}  // namespace odtk::gpu
