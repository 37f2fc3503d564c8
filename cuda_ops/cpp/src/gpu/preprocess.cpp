#include "gpu/preprocess.h"

#include <algorithm>

namespace odtk::gpu {

Preprocess::Preprocess(const Kernels& kernels, const Stream& stream, int batch, int height,
                       int width, const PixelLevels& levels)
    : stream_(stream),
      kernel_(kernels.preprocess.kernel("preprocess_float32")),
      batch_(batch),
      levels_(sizeof(levels)),
      tables_(stream) {
  stream.upload(levels_.address(), levels.data(), sizeof(levels));
  stream.synchronize();
  arguments_.levels = levels_.address();
  arguments_.height = height;
  arguments_.width = width;
  arguments_.pixel_step = 1;
}

void Preprocess::launch(const std::vector<GpuPicture>& pictures, DevicePointer out) {
  std::set<AxisSizes> axes;
  for (const GpuPicture& picture : pictures) {
    axes.insert({picture.width, picture.new_width});
    axes.insert({picture.height, picture.new_height});
  }
  tables_.hold(axes);
  const unsigned columns = (arguments_.width + kTileWidth - 1) / kTileWidth;
  const unsigned rows = (arguments_.height + kTileHeight - 1) / kTileHeight;
  const std::size_t slot_bytes = sizeof(float) * 3 * arguments_.height * arguments_.width;
  for (int start = 0; start < batch_; start += kMaxPictures) {
    const int slots = std::min(kMaxPictures, batch_ - start);
    for (int slot = 0; slot < slots; slot++) {
      PictureArgs& target = arguments_.pictures[slot];
      target = {};
      if (start + slot >= static_cast<int>(pictures.size())) continue;
      const GpuPicture& picture = pictures[start + slot];
      target.pixels = picture.pixels;
      target.pitch = 3LL * picture.width;
      target.horizontal = tables_[{picture.width, picture.new_width}];
      target.vertical = tables_[{picture.height, picture.new_height}];
    }
    arguments_.out = out + start * slot_bytes;
    kernel_.launch(stream_.handle(), dim3(columns, rows, slots), dim3(kBlockWidth, kBlockHeight, 1),
                   arguments_);
  }
}

}  // namespace odtk::gpu
