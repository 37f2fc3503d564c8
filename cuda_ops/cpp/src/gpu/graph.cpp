#include "gpu/graph.h"

#include <utility>

namespace odtk::gpu {

namespace {

constexpr const char* kFailed = "a CUDA graph failed";

}  // namespace

Graph::Graph(const Stream& stream, const std::function<void()>& queue) {
  check(cudaStreamBeginCapture(stream.handle(), cudaStreamCaptureModeThreadLocal), kFailed);
  cudaGraph_t graph = nullptr;
  try {
    queue();
  } catch (...) {  // the stream must leave capture, whatever happened
    cudaStreamEndCapture(stream.handle(), &graph);
    if (graph != nullptr) cudaGraphDestroy(graph);
    cudaGetLastError();  // or the next call would report it
    throw;
  }
  const cudaError_t ended = cudaStreamEndCapture(stream.handle(), &graph);
  if (ended != cudaSuccess) cudaGetLastError();
  check(ended, kFailed);
  const cudaError_t made = cudaGraphInstantiateWithFlags(&executable_, graph, 0);
  cudaGraphDestroy(graph);
  check(made, kFailed);
}

Graph::~Graph() {
  if (executable_ != nullptr) cudaGraphExecDestroy(executable_);
}

Graph::Graph(Graph&& other) noexcept : executable_(std::exchange(other.executable_, nullptr)) {}

Graph& Graph::operator=(Graph&& other) noexcept {
  std::swap(executable_, other.executable_);
  return *this;
}

void Graph::launch(const Stream& stream) const {
  check(cudaGraphLaunch(executable_, stream.handle()), kFailed);
}

}  // namespace odtk::gpu
