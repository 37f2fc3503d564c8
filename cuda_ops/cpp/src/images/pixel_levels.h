// Normalises pixel values: (value / 255 - mean) / std, each step rounded to float32.
#pragma once

#include <array>

namespace odtk {

// The normalised value of each pixel value, for red, green and blue.
using PixelLevels = std::array<std::array<float, 256>, 3>;

// Computes them from the channels' mean and standard deviation, on values in [0, 1].
PixelLevels pixel_levels(const std::array<double, 3>& mean, const std::array<double, 3>& std);

}  // namespace odtk
