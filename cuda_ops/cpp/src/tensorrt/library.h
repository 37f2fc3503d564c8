// The TensorRT that this program is linked with, 8.5 to 11, and its messages.
#pragma once

#include <NvInfer.h>

#include <mutex>
#include <string>

// Whether the headers are those of this version or a later one.
#define TRT_AT_LEAST(major, minor) \
  (NV_TENSORRT_MAJOR > (major) || (NV_TENSORRT_MAJOR == (major) && NV_TENSORRT_MINOR >= (minor)))

namespace odtk {

// The version that runs, as sidecars have it: "tensorrt 8.5.2".
std::string tensorrt_version();

// Throws UsageError where this machine has no such DLA core; it has `cores`.
void check_dla_core(int core, int cores);

// Keeps TensorRT's errors, which say why one of its calls returned nothing. TensorRT calls it from
// threads of its own.
class Logger : public nvinfer1::ILogger {
 public:
  // `verbose` prints all messages to standard error.
  explicit Logger(bool verbose) : verbose_(verbose) {}

  void log(Severity severity, nvinfer1::AsciiChar const* message) noexcept override;

  // The errors so far, joined; what to say where TensorRT does not.
  std::string errors() const;

 private:
  const bool verbose_;
  mutable std::mutex mutex_;
  std::string errors_;
};

}  // namespace odtk
