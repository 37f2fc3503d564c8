// Plans that are text: what the builder was told, a line each. Environment variables:
//   FAKE_TENSORRT        the version that runs, such as 8502
//   FAKE_FAIL            parse, build or load: this fails, and a message says so
//   FAKE_BUILD           a file that the builder makes when it begins, and waits until it is gone

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>

#include "NvInfer.h"
#include "NvInferRuntime.h"
#include "NvOnnxParser.h"

namespace {

bool fails(const char* what) {
  const char* wanted = std::getenv("FAKE_FAIL");
  return wanted != nullptr && std::string(wanted) == what;
}

// Waits, and returns whether the build shall go on.
template <typename Ask>
bool wait_for_file(Ask go_on) {
  const char* file = std::getenv("FAKE_BUILD");
  if (file == nullptr) return go_on();
  std::ofstream(file) << "building\n";
  while (access(file, F_OK) == 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    if (!go_on()) return false;
  }
  return go_on();
}

}  // namespace

extern "C" int getInferLibVersion() noexcept {
  const char* wanted = std::getenv("FAKE_TENSORRT");
  if (wanted != nullptr) return std::atoi(wanted);
  return FAKE_TENSORRT_MAJOR < 10 ? 8502 : 110100;
}

nvinfer1::IPluginRegistry* getPluginRegistry() noexcept {
  static nvinfer1::IPluginRegistry registry;
  return &registry;
}

nvinfer1::ILogger* getLogger() noexcept {
  class Log : public nvinfer1::ILogger {
    void log(Severity, char const* message) noexcept override {
      std::fprintf(stderr, "%s\n", message);
    }
  };
  static Log log;
  return &log;
}

namespace nvinfer1 {

IHostMemory* IBuilder::buildSerializedNetwork(INetworkDefinition& network,
                                              IBuilderConfig& config) noexcept {
  bool go_on = true;
#if FAKE_TENSORRT_MAJOR < 11
  go_on = wait_for_file([] { return true; });
#else
  config.monitor->phaseStart("Building", nullptr, 1);
  go_on = wait_for_file([&] { return config.monitor->stepComplete("Building", 0); });
#endif
  if (!go_on) return nullptr;
  if (fails("build")) {
    log_.log(ILogger::Severity::kERROR, "no implementation of P4.upsample");
    return nullptr;
  }
  const auto& layers = network.layers;
  const bool floats = layers[3]->getInput(0) == layers[0]->getOutput(0);
  std::ostringstream plan;
  plan << "name " << network.name << "\nnetwork flags " << network.flags << "\nflags "
       << config.flags << "\ntactics " << config.tactics << "\nworkspace " << config.workspace
       << "\ndla " << (config.device == DeviceType::kDLA ? config.dla : -1) << "\nbatches "
       << config.profile->batches[0] << " " << config.profile->batches[1] << " "
       << config.profile->batches[2] << "\nresizes " << (floats ? "floats" : "dequantised values")
       << "\n";
  return new IHostMemory(plan.str());
}

ICudaEngine* IRuntime::deserializeCudaEngine(void const* data, std::size_t size) noexcept {
  if (fails("load")) {
    log_.log(ILogger::Severity::kERROR, "the engine plan file is not compatible");
    return nullptr;
  }
  std::istringstream plan(std::string(static_cast<char const*>(data), size));
  std::string word, name;
  int64_t least = 0, tuned = 0, greatest = 0, dla = -1;
  for (; plan >> word;) {
    if (word == "name") plan >> name;
    if (word == "dla") plan >> dla;
    if (word == "batches") plan >> least >> tuned >> greatest;
  }
  if (dla >= 0 && dla_ < 0) {
    log_.log(ILogger::Severity::kERROR, "no DLA core is set");
    return nullptr;
  }
  std::vector<std::string> tensors = {"input_1"};
  for (const char* kind : {"score_", "box_"}) {
    for (int level = 1; level <= 5; level++) tensors.push_back(kind + std::to_string(level));
  }
  return new ICudaEngine(name, tensors, greatest);
}

}  // namespace nvinfer1

namespace nvonnxparser {

bool IParser::parse(void const*, std::size_t) noexcept {
  using nvinfer1::LayerType;
  if (fails("parse")) return false;
  nvinfer1::ITensor* tensor = &network_.image;
  for (const LayerType type : {LayerType::kCONVOLUTION, LayerType::kQUANTIZE,
                               LayerType::kDEQUANTIZE, LayerType::kRESIZE}) {
    network_.layers.push_back(std::make_unique<nvinfer1::ILayer>(type, tensor));
    tensor = network_.layers.back()->getOutput(0);
  }
  return true;
}

}  // namespace nvonnxparser
