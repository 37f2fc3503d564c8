// Resize coefficients in device memory, kept from launch to launch.
#pragma once

#include <map>
#include <set>
#include <utility>

#include "gpu/device.h"
#include "images/resize.h"

namespace odtk::gpu {

// An axis of a picture: its pixels, and those that it is resized to.
using AxisSizes = std::pair<int, int>;

// Tables are written once to page-locked memory and copied from there on the stream. When the
// memory is full, the stream is waited for and all are dropped.
class ResizeTables {
 public:
  explicit ResizeTables(const Stream& stream);

  // Keeps the tables of these axes in device memory, all at once, until the next call.
  void hold(const std::set<AxisSizes>& axes);
  const Axis& operator[](const AxisSizes& axis) const { return tables_.at(axis); }

 private:
  void add(const AxisSizes& axis, const ResizeTable& table);

  const Stream& stream_;
  std::map<AxisSizes, Axis> tables_;
  DeviceBuffer buffer_;
  PinnedBuffer staging_;
  std::size_t used_ = 0;
};

}  // namespace odtk::gpu
