#include "images/pixel_levels.h"

#include <cfloat>
#include <cstddef>

namespace odtk {

static_assert(FLT_EVAL_METHOD == 0, "every operation must round to float32");

PixelLevels pixel_levels(const std::array<double, 3>& mean, const std::array<double, 3>& std) {
  PixelLevels levels;
  for (std::size_t channel = 0; channel < levels.size(); ++channel) {
    const float mean32 = static_cast<float>(mean[channel]);
    const float std32 = static_cast<float>(std[channel]);
    for (std::size_t value = 0; value < levels[channel].size(); ++value) {
      levels[channel][value] = (static_cast<float>(value) / 255.0f - mean32) / std32;
    }
  }
  return levels;
}

}  // namespace odtk
