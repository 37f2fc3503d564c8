#include "tensorrt/timing_cache.h"

#include <fstream>
#include <iterator>

#include "model/files.h"
#include "odtk.h"

namespace odtk {

void TimingCache::use(nvinfer1::IBuilderConfig& config,
                      const std::function<void(const std::string&)>& say) {
  if (path_.empty()) return;
  std::ifstream file(path_, std::ios::binary);  // a file that is not there is an empty cache
  const std::string content((std::istreambuf_iterator<char>(file)), {});
  cache_.reset(config.createTimingCache(content.data(), content.size()));
  // Timings of another GPU or version, or no timings at all: whose they are is not known.
  if (cache_ == nullptr || !config.setTimingCache(*cache_, false)) {
    cache_.reset();
    say("timings are not saved: " + path_ +
        " has none of this GPU and version of TensorRT; delete it, or name another file");
  }
}

void TimingCache::keep(const nvinfer1::IBuilderConfig& config,
                       const std::function<void(const std::string&)>& say) const {
  if (cache_ == nullptr || config.getTimingCache() == nullptr) return;
  const std::unique_ptr<nvinfer1::IHostMemory> content(config.getTimingCache()->serialize());
  if (content == nullptr) return;
  try {
    write_together({{path_, {static_cast<const char*>(content->data()), content->size()}}});
  } catch (const Error& error) {
    say("timings are not saved: " + std::string(error.what()) + ": " + error.why());
  }
}

}  // namespace odtk
