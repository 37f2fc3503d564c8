// Resize, normalise and pad on the GPU, as cuda_ops/preprocess.py does.
#pragma once

#include <vector>

#include "gpu/kernels.h"
#include "gpu/resize_tables.h"
#include "images/pixel_levels.h"

namespace odtk::gpu {

// A decoded picture in device memory: uint8 RGB, interleaved, rows without gaps.
struct GpuPicture {
  DevicePointer pixels;
  int width, height;
  int new_width, new_height;  // after resizing, at most the batch tensor's
};

// Fills a batch tensor [batch, 3, height, width] of float32 from pictures of any size.
class Preprocess {
 public:
  Preprocess(const Kernels& kernels, const Stream& stream, int batch, int height, int width,
             const PixelLevels& levels);

  // Queues it; padding, and slots without a picture, become 0. At most `batch` pictures.
  void launch(const std::vector<GpuPicture>& pictures, DevicePointer out);

 private:
  const Stream& stream_;
  const Kernel kernel_;
  const int batch_;
  DeviceBuffer levels_;
  ResizeTables tables_;
  PreprocessArgs arguments_{};
};

}  // namespace odtk::gpu
