// Page-locked memory that is used again: allocating it takes milliseconds.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "gpu/device.h"

namespace odtk::gpu {

class PinnedPool : public std::enable_shared_from_this<PinnedPool> {
 public:
  explicit PinnedPool(const Device& device) : device_(device) {}

  // Returns memory for so many bytes; it comes back when nothing refers to it. Any thread may call.
  std::shared_ptr<std::uint8_t> take(std::size_t bytes);

 private:
  void give_back(PinnedBuffer buffer);

  const Device device_;
  std::mutex mutex_;
  std::multimap<std::size_t, PinnedBuffer> free_;  // by size
};

}  // namespace odtk::gpu
