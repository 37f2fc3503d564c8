#include "gpu/resize_tables.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace odtk::gpu {

namespace {

constexpr std::size_t kArena = 8 << 20;  // bytes: 400 pairs of usual sizes
constexpr std::size_t kAlignment = 64;

std::size_t room(const ResizeTable& table) {
  const std::size_t values = table.starts.size() + table.counts.size() + table.values.size();
  return (4 * values + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

ResizeTables::ResizeTables(const Stream& stream)
    : stream_(stream), buffer_(kArena), staging_(kArena) {}

void ResizeTables::hold(const std::set<AxisSizes>& axes) {
  std::map<AxisSizes, ResizeTable> missing;
  std::size_t needed = 0;
  const auto compute = [&] {
    for (const AxisSizes& axis : axes) {
      if (tables_.count(axis) != 0) continue;
      const auto& table = missing[axis] = resize_table(axis.first, axis.second);
      needed += room(table);
    }
  };
  compute();
  if (used_ + needed > buffer_.bytes()) {
    stream_.synchronize();
    tables_.clear();
    missing.clear();
    used_ = needed = 0;
    compute();
    if (needed > buffer_.bytes()) {
      buffer_ = DeviceBuffer(needed);
      staging_ = PinnedBuffer(needed);
    }
  }
  for (const auto& [axis, table] : missing) add(axis, table);
}

void ResizeTables::add(const AxisSizes& axis, const ResizeTable& table) {
  std::int32_t* const staged = staging_.as<std::int32_t>() + used_ / 4;
  std::int32_t* end = std::copy(table.starts.begin(), table.starts.end(), staged);
  end = std::copy(table.counts.begin(), table.counts.end(), end);
  end = std::copy(table.values.begin(), table.values.end(), end);
  const DevicePointer address = buffer_.address() + used_;
  stream_.upload(address, staged, 4 * static_cast<std::size_t>(end - staged));
  const std::size_t row = 4 * table.starts.size();
  tables_[axis] = {address, address + row, address + 2 * row, table.taps, axis.second};
  used_ += room(table);
}

}  // namespace odtk::gpu
