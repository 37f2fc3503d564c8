#include "gpu/kernels.h"

#include <utility>

#include "odtk.h"

// kernel_images.S
extern "C" {
extern const unsigned char odtk_decode_image[];
extern const unsigned char odtk_nms_image[];
extern const unsigned char odtk_preprocess_image[];
}

namespace odtk::gpu {

Module::Module(const char* name, const void* image, const Device& device) {
  const CUresult status = cuModuleLoadData(&module_, image);
  if (status == CUDA_ERROR_NO_BINARY_FOR_GPU || status == CUDA_ERROR_INVALID_PTX ||
      status == CUDA_ERROR_UNSUPPORTED_PTX_VERSION) {
    std::string number = device.kind().capability;
    number.erase(number.find('.'), 1);
    throw UsageError(std::string("the kernels of ") + name + ".cu are not for this GPU",
                     device.kind().name + " has compute capability " + device.kind().capability,
                     "build again: cmake -DODTK_ARCHITECTURES=" + number + " ...");
  }
  check(status, "the kernels cannot be loaded");
}

Module::~Module() {
  if (module_ != nullptr) cuModuleUnload(module_);
}

Module::Module(Module&& other) noexcept : module_(std::exchange(other.module_, nullptr)) {}

Kernel Module::kernel(const char* name) const {
  CUfunction function = nullptr;
  check(cuModuleGetFunction(&function, module_, name), "a kernel is missing");
  return Kernel(function);
}

Kernels::Kernels(const Device& device)
    : decode("decode", odtk_decode_image, device),
      nms("nms", odtk_nms_image, device),
      preprocess("preprocess", odtk_preprocess_image, device) {}

}  // namespace odtk::gpu
