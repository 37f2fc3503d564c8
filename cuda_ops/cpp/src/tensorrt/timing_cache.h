// Measured timings of earlier builds, in a file.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "tensorrt/library.h"

namespace odtk {

// It must outlive the configuration that uses it, and not the builder.
class TimingCache {
 public:
  // An empty path keeps none.
  explicit TimingCache(const std::string& path) : path_(path) {}

  // Gives a build the timings of the file, or says that they are of another GPU or version; such a
  // file is left as it is.
  void use(nvinfer1::IBuilderConfig& config, const std::function<void(const std::string&)>& say);

  // Writes the timings, those of the build among them; says why where that fails, since the plan
  // itself took minutes.
  void keep(const nvinfer1::IBuilderConfig& config,
            const std::function<void(const std::string&)>& say) const;

 private:
  const std::string path_;
  std::unique_ptr<nvinfer1::ITimingCache> cache_;
};

}  // namespace odtk
