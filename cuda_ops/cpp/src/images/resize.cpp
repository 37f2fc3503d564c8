#include "images/resize.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "odtk.h"

namespace odtk {
namespace {

constexpr int kPrecision = 22;  // bits of a coefficient behind the point

std::string sides(int width, int height) {
  return std::to_string(width) + "x" + std::to_string(height);
}

// Writes the coefficients of one output. Python computes in this order, and every step is rounded.
void fill_output(double centre, double support, int start, int count, std::int32_t* values) {
  std::vector<double> weights(count);
  double total = 0;
  for (int k = 0; k < count; ++k) {
    const double distance = (k + start - centre + 0.5) * (1.0 / support);
    weights[k] = std::max(1.0 - std::abs(distance), 0.0);
    total += weights[k];
  }
  for (int k = 0; k < count; ++k) {
    values[k] = static_cast<std::int32_t>(0.5 + weights[k] / total * (1 << kPrecision));
  }
}

}  // namespace

NetworkSize network_size(int width, int height, int net_height, int net_width) {
  NetworkSize size;
  size.ratio =
      std::min(static_cast<double>(net_width) / width, static_cast<double>(net_height) / height);
  size.width = static_cast<int>(size.ratio * width);
  size.height = static_cast<int>(size.ratio * height);
  if (size.width == 0 || size.height == 0) {
    throw ImageError("too narrow: " + sides(width, height) + " would be resized to " +
                     sides(size.width, size.height) + " pixels (fit " + std::to_string(net_height) +
                     " " + std::to_string(net_width) + ")");
  }
  return size;
}

std::vector<std::int32_t> ResizeTable::packed() const {
  std::vector<std::int32_t> all(starts);
  all.insert(all.end(), counts.begin(), counts.end());
  all.insert(all.end(), values.begin(), values.end());
  return all;
}

ResizeTable resize_table(int size, int new_size) {
  const double scale = static_cast<double>(size) / new_size;
  const double support = std::max(scale, 1.0);
  const auto centre = [&](int i) { return (i + 0.5) * scale; };
  ResizeTable table;
  for (int i = 0; i < new_size; ++i) {
    const int start = std::max(static_cast<int>(centre(i) - support + 0.5), 0);
    const int end = std::min(static_cast<int>(centre(i) + support + 0.5), size);
    table.starts.push_back(start);
    table.counts.push_back(end - start);
    table.taps = std::max(table.taps, end - start);
  }
  table.values.resize(static_cast<std::size_t>(table.taps) * new_size);
  for (int i = 0; i < new_size; ++i) {
    std::int32_t* values = table.values.data() + static_cast<std::size_t>(table.taps) * i;
    fill_output(centre(i), support, table.starts[i], table.counts[i], values);
  }
  return table;
}

}  // namespace odtk
