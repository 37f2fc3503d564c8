#include "pillow_resize.h"

#include <algorithm>

#include "images/resize.h"

namespace {

// Makes one output sample of inputs that lie `step` bytes apart.
std::uint8_t output(const odtk::ResizeTable& table, int i, const std::uint8_t* input,
                    std::size_t step) {
  int sum = 1 << 21;
  for (int k = 0; k < table.counts[i]; ++k) {
    const std::size_t value = static_cast<std::size_t>(table.taps) * i + k;
    sum += table.values[value] * input[step * (table.starts[i] + k)];
  }
  return static_cast<std::uint8_t>(std::clamp(sum >> 22, 0, 255));
}

}  // namespace

odtk::Image pillow_resize(const odtk::Image& image, int width, int height) {
  const odtk::ResizeTable across = odtk::resize_table(image.width, width);
  const odtk::ResizeTable down = odtk::resize_table(image.height, height);
  odtk::Image wide{width, image.height, odtk::allocate_on_heap(3ul * width * image.height)};
  odtk::Image result{width, height, odtk::allocate_on_heap(3ul * width * height)};
  for (int y = 0; y < image.height; ++y) {
    const std::uint8_t* row = image.rgb.get() + 3ul * image.width * y;
    for (int i = 0; i < 3 * width; ++i) {
      wide.rgb.get()[3ul * width * y + i] = output(across, i / 3, row + i % 3, 3);
    }
  }
  for (int y = 0; y < height; ++y) {
    for (int i = 0; i < 3 * width; ++i) {
      result.rgb.get()[3ul * width * y + i] = output(down, y, wide.rgb.get() + i, 3ul * width);
    }
  }
  return result;
}
