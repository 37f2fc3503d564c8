// CUDA graphs: work that was queued once, and is replayed by one call.
#pragma once

#include <functional>

#include "gpu/device.h"

namespace odtk::gpu {

class Graph {
 public:
  // Records what `queue` puts on the stream, without running it. It allocates nothing and waits for
  // nothing, and was called before, so that all it needs is loaded. What it refers to must outlive
  // the graph. Throws Error where something cannot be captured.
  Graph(const Stream& stream, const std::function<void()>& queue);
  ~Graph();
  Graph(Graph&& other) noexcept;
  Graph& operator=(Graph&& other) noexcept;

  void launch(const Stream& stream) const;

 private:
  cudaGraphExec_t executable_ = nullptr;
};

}  // namespace odtk::gpu
