#include "tensorrt/library.h"

#include <cstdio>
#include <exception>

#include "odtk.h"

namespace odtk {

namespace {

constexpr std::size_t kLongest = 500;  // characters of a reason

}  // namespace

std::string tensorrt_version() {
  // 8502 is 8.5.2, and 100300 is 10.3.0: from 10 on the major version has two more digits behind
  // it.
  const int number = getInferLibVersion();
  const int major = number >= 100000 ? number / 10000 : number / 1000;
  const int rest = number - major * (number >= 100000 ? 10000 : 1000);
  return "tensorrt " + std::to_string(major) + "." + std::to_string(rest / 100) + "." +
         std::to_string(rest % 100);
}

void check_dla_core(int core, int cores) {
  if (core >= 0 && core < cores) return;
  throw UsageError("there is no DLA core " + std::to_string(core),
                   "this machine has " + std::to_string(cores), "leave --dla out");
}

void Logger::log(Severity severity, nvinfer1::AsciiChar const* message) noexcept {
  try {
    if (severity == Severity::kERROR || severity == Severity::kINTERNAL_ERROR) {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (!errors_.empty()) errors_ += "; ";
      errors_ += message;
    }
  } catch (const std::exception&) {  // no memory for a message is no reason to end
  }
  if (verbose_) std::fprintf(stderr, "%s\n", message);
}

std::string Logger::errors() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (errors_.empty()) return "TensorRT does not say why";
  return errors_.size() <= kLongest ? errors_ : errors_.substr(errors_.size() - kLongest);
}

}  // namespace odtk
