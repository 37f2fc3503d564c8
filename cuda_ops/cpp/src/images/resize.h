// Sizes of network inputs, and the coefficients with which pictures are resized to them.
#pragma once

#include <cstdint>
#include <vector>

namespace odtk {

struct NetworkSize {
  int width = 0, height = 0;  // pixels of the resized picture, before padding
  double ratio = 0;           // net / img
};

// Returns the largest size, cut to whole pixels, with which a picture keeps its aspect and fits
// into the network input. Throws ImageError where a side would be 0 pixels long.
NetworkSize network_size(int width, int height, int net_height, int net_width);

// Coefficients of one axis. Output i is clip((2^21 + the sum over k < counts[i] of
// values[taps * i + k] * input[starts[i] + k]) >> 22) to 0..255.
struct ResizeTable {
  std::vector<std::int32_t> starts;  // the first input of each output
  std::vector<std::int32_t> counts;  // how many inputs it is made of
  std::vector<std::int32_t> values;  // `taps` for each output, 0 behind the last
  int taps = 0;

  // Returns starts, counts and values, one after the other, as the kernel reads them.
  std::vector<std::int32_t> packed() const;
};

// Computes Pillow's coefficients of antialiased bilinear resizing.
//
// size, new_size: pixels of the axis before and after, at least 1.
ResizeTable resize_table(int size, int new_size);

}  // namespace odtk
