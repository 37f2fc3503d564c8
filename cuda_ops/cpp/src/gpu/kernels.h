// The kernels of cuda_ops/*.cu, compiled when this library was built.
#pragma once

#include <string>
#include <vector>

#include "gpu/device.h"

namespace odtk::gpu {

// A kernel that takes one structure by value.
class Kernel {
 public:
  explicit Kernel(CUfunction function) : function_(function) {}

  // Queues it; the arguments are copied before the call returns. `shared` is in bytes.
  template <typename Arguments>
  void launch(cudaStream_t stream, dim3 grid, dim3 block, Arguments arguments,
              unsigned shared = 0) const {
    void* parameters[] = {&arguments};
    check(cuLaunchKernel(function_, grid.x, grid.y, grid.z, block.x, block.y, block.z, shared,
                         stream, parameters, nullptr),
          "a kernel cannot be launched");
  }

 private:
  CUfunction function_;
};

// One of the compiled .cu files.
class Module {
 public:
  // `image` is its fat binary. Throws UsageError where it was not compiled for this GPU.
  Module(const char* name, const void* image, const Device& device);
  ~Module();
  Module(Module&& other) noexcept;

  Kernel kernel(const char* name) const;

 private:
  CUmodule module_ = nullptr;
};

struct Kernels {
  explicit Kernels(const Device& device);

  Module decode, nms, preprocess;
};

}  // namespace odtk::gpu
