#include "gpu/pinned_pool.h"

#include <utility>

namespace odtk::gpu {

namespace {

constexpr std::size_t kStep = 1 << 20;  // sizes are rounded up, so that pictures share buffers
constexpr std::size_t kWaste = 4;       // a buffer is taken for no less than this share of it
constexpr std::size_t kKept = 64;       // buffers at most that wait to be used again

}  // namespace

std::shared_ptr<std::uint8_t> PinnedPool::take(std::size_t bytes) {
  const std::size_t size = (bytes + kStep - 1) / kStep * kStep;
  std::unique_lock<std::mutex> lock(mutex_);
  const auto found = free_.lower_bound(size);
  std::shared_ptr<PinnedBuffer> buffer;
  if (found != free_.end() && found->first <= kWaste * size) {
    buffer = std::make_shared<PinnedBuffer>(std::move(found->second));
    free_.erase(found);
  } else {
    lock.unlock();
    device_.use();
    buffer = std::make_shared<PinnedBuffer>(size);
  }
  auto give_back = [pool = shared_from_this(), buffer](std::uint8_t*) {
    pool->give_back(std::move(*buffer));
  };
  return {buffer->as<std::uint8_t>(), give_back};
}

void PinnedPool::give_back(PinnedBuffer buffer) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const std::size_t size = buffer.bytes();
  if (free_.size() < kKept) free_.emplace(size, std::move(buffer));
}

}  // namespace odtk::gpu
