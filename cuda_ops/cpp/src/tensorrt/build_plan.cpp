// Builds plans with TensorRT 8.5 to 11 and writes their sidecars; `odtk.h` declares it.
//
// Two ways to a precision: a graph whose ONNX file has its types is built strongly typed, which is
// the only way from TensorRT 11 on; any other is FP32, and flags allow less.

#include <NvOnnxParser.h>

#include <cstdint>
#include <string_view>

#include "gpu/device.h"
#include "model/exported_model.h"
#include "model/files.h"
#include "model/onnx_file.h"
#include "model/plan_info.h"
#include "model/sidecar.h"
#include "odtk.h"
#include "tensorrt/float_resizes.h"
#include "tensorrt/library.h"
#include "tensorrt/timing_cache.h"
#include "text/sha256.h"

namespace odtk {

namespace {

constexpr bool kAlwaysTyped = TRT_AT_LEAST(11, 0);
// NVIDIA vouches for strongly typed networks from 10.12 on.
constexpr bool kCanBeTyped = TRT_AT_LEAST(10, 12);

struct Source {
  ExportedFile file;
  std::string precision;  // of the plan
  bool half;              // whether the file has its types, of `export --half`
};

// Throws UsageError where a file could not be written.
void check_writable(const std::string& path) {
  try {
    const FileDraft draft(path);
  } catch (const FileError& error) {
    throw UsageError(error.what(), error.why());
  }
}

void check_options(const BuildOptions& options) {
  constexpr std::string_view kEnding = ".plan";
  const std::string& plan = options.plan;
  if (plan.size() <= kEnding.size() ||
      plan.compare(plan.size() - kEnding.size(), kEnding.size(), kEnding) != 0) {
    throw UsageError("cannot build " + plan, "its name does not end in .plan");
  }
  check_writable(plan);  // the build takes minutes
  check_writable(sidecar_path(plan));
  const auto [least, tuned, greatest] = options.batches;
  if (!(1 <= least && least <= tuned && tuned <= greatest)) {
    throw UsageError("--batches " + std::to_string(least) + " " + std::to_string(tuned) + " " +
                         std::to_string(greatest) + " is not a range",
                     "it must be MIN OPT MAX, in rising order");
  }
  if (options.dla_core && least != greatest) {
    throw UsageError("DLA takes one batch only", "--batches has a range",
                     "give the same number three times, such as --batches 1 1 1");
  }
}

// Checks that the model's types and what was asked for go together.
void check_precision(const Source& source, const BuildOptions& options) {
  const ExportedModel& model = source.file.model;
  const std::string version = tensorrt_version();
  if (model.outputs == "detections" && source.precision != "fp32") {
    throw UsageError("ONNX's own operators of detections compute in FP32", "",
                     "build with --fp32, or export the checkpoint with --plugin");
  }
  if (model.precision == "int8" && source.precision == "fp32") {
    throw UsageError("the model is INT8 and the plan would be FP32",
                     "INT8 is decided when the checkpoint is exported");
  }
  if (source.half && source.precision == "fp32") {
    throw UsageError("the model is FP16 and the plan would be FP32",
                     "--half is decided when the checkpoint is exported");
  }
  if (source.half && !kCanBeTyped) {
    throw UsageError(version + " does not build ONNX files of --half",
                     "TensorRT 10.12 and later do",
                     "export it without --half: the plan is FP16 all the same");
  }
  if (kAlwaysTyped && source.precision == "fp16" && !source.half) {
    throw UsageError(options.onnx + " is FP32", version + " takes the types from the ONNX file",
                     "export it with --half, or build with --fp32");
  }
  if (options.dla_core && source.precision == "fp32") {
    throw UsageError("DLA does not compute in FP32", "", "leave --fp32 or --dla out");
  }
  if (options.dla_core && source.precision == "int8") {
    throw UsageError("DLA does not run this INT8 model",
                     "it takes no Quantize and Dequantize nodes",
                     "export it without --int8: --dla computes in FP16");
  }
}

Source read_source(const BuildOptions& options) {
  Source source{read_exported(options.onnx), "", false};
  source.half = begins_with_cast(source.file.bytes);
  source.precision = options.full_precision                  ? "fp32"
                     : source.file.model.precision == "int8" ? "int8"
                                                             : "fp16";
  check_precision(source, options);
  return source;
}

#if TRT_AT_LEAST(10, 0)
// Reports the phases of a build, and ends it when asked to.
class Monitor : public nvinfer1::IProgressMonitor {
 public:
  explicit Monitor(const BuildOptions& options) : options_(options) {}

  void phaseStart(char const* phase, char const* parent, int32_t) noexcept override {
    if (parent == nullptr) options_.progress(phase);
  }
  bool stepComplete(char const*, int32_t) noexcept override { return !options_.stopped(); }
  void phaseFinish(char const*) noexcept override {}

 private:
  const BuildOptions& options_;
};
#endif

std::uint32_t network_flags([[maybe_unused]] bool typed) {
#if TRT_AT_LEAST(11, 0)
  return 0;
#elif TRT_AT_LEAST(10, 0)
  using Flag = nvinfer1::NetworkDefinitionCreationFlag;
  return typed ? 1U << static_cast<std::uint32_t>(Flag::kSTRONGLY_TYPED) : 0;
#else
  using Flag = nvinfer1::NetworkDefinitionCreationFlag;
  return 1U << static_cast<std::uint32_t>(Flag::kEXPLICIT_BATCH);
#endif
}

void set_precision([[maybe_unused]] const nvinfer1::IBuilder& builder,
                   nvinfer1::IBuilderConfig& config, const Source& source) {
  using Flag = nvinfer1::BuilderFlag;
  // On by default: "FP32" would keep 10 bits.
  if (source.precision == "fp32") config.clearFlag(Flag::kTF32);
#if !TRT_AT_LEAST(11, 0)
  if (source.precision == "fp32" || source.half) return;
  if (!builder.platformHasFastFp16()) {
    throw UsageError("this GPU has no FP16", "", "--fp32 builds in FP32");
  }
  config.setFlag(Flag::kFP16);
  if (source.precision != "int8") return;
  if (!builder.platformHasFastInt8()) throw UsageError("this GPU has no INT8");
  config.setFlag(Flag::kINT8);
#endif
}

void set_targets(const nvinfer1::IBuilder& builder, nvinfer1::IBuilderConfig& config,
                 const BuildOptions& options) {
#if !TRT_AT_LEAST(11, 0)
  // Libraries that would have to be there wherever the plan runs.
  for (const auto source : {nvinfer1::TacticSource::kCUBLAS, nvinfer1::TacticSource::kCUBLAS_LT,
                            nvinfer1::TacticSource::kCUDNN}) {
    config.setTacticSources(config.getTacticSources() & ~(1U << static_cast<int>(source)));
  }
#endif
  config.setProfilingVerbosity(nvinfer1::ProfilingVerbosity::kDETAILED);
  if (options.workspace) {
    config.setMemoryPoolLimit(nvinfer1::MemoryPoolType::kWORKSPACE, *options.workspace);
  }
  if (!options.dla_core) return;
  check_dla_core(*options.dla_core, builder.getNbDLACores());
  config.setDefaultDeviceType(nvinfer1::DeviceType::kDLA);
  config.setDLACore(*options.dla_core);
  config.setFlag(nvinfer1::BuilderFlag::kGPU_FALLBACK);  // for layers that DLA does not have
}

void set_batches(nvinfer1::IBuilder& builder, nvinfer1::IBuilderConfig& config,
                 const Source& source, const BuildOptions& options) {
  nvinfer1::IOptimizationProfile* profile = builder.createOptimizationProfile();
  using Which = nvinfer1::OptProfileSelector;
  const Which which[] = {Which::kMIN, Which::kOPT, Which::kMAX};
  for (int i = 0; i < 3; i++) {
    const nvinfer1::Dims4 shape(options.batches[i], 3, source.file.model.height,
                                source.file.model.width);
    profile->setDimensions(kInputName, which[i], shape);
  }
  config.addOptimizationProfile(profile);
}

void parse(nvonnxparser::IParser& parser, const Source& source, const Logger& log) {
  if (parser.parse(source.file.bytes.data(), source.file.bytes.size())) return;
  std::string why;
  for (int i = 0; i < parser.getNbErrors(); i++) {
    why += (i > 0 ? "; " : "") + std::string(parser.getError(i)->desc());
  }
  throw Error("TensorRT cannot read the model", why.empty() ? log.errors() : why);
}

std::unique_ptr<nvinfer1::IHostMemory> build(const Source& source, const BuildOptions& options,
                                             const std::string& name) {
  Logger log(options.verbose);
#if TRT_AT_LEAST(10, 0)
  Monitor monitor(options);
#endif
  const std::unique_ptr<nvinfer1::IBuilder> builder(nvinfer1::createInferBuilder(log));
  if (builder == nullptr) throw Error("TensorRT does not start", log.errors());
  TimingCache timings(options.timing_cache);
  const bool typed = kAlwaysTyped || source.half;
  const std::unique_ptr<nvinfer1::INetworkDefinition> network(
      builder->createNetworkV2(network_flags(typed)));
  // The parser owns the weights that the network refers to, so it lives as long.
  const std::unique_ptr<nvonnxparser::IParser> parser(nvonnxparser::createParser(*network, log));
  if (parser == nullptr) throw Error("TensorRT's ONNX parser does not start", log.errors());
  parse(*parser, source, log);
  if (!typed && source.precision == "int8") resize_floats(*network);
  network->setName(name.c_str());
  const std::unique_ptr<nvinfer1::IBuilderConfig> config(builder->createBuilderConfig());
  set_precision(*builder, *config, source);
  set_targets(*builder, *config, options);
  set_batches(*builder, *config, source, options);
  timings.use(*config, options.progress);
#if TRT_AT_LEAST(10, 0)
  config->setProgressMonitor(&monitor);
#endif
  std::unique_ptr<nvinfer1::IHostMemory> plan(builder->buildSerializedNetwork(*network, *config));
  if (options.stopped()) throw Error("stopped");
  if (plan == nullptr) throw Error("TensorRT cannot build the plan", log.errors());
  timings.keep(*config, options.progress);
  return plan;
}

}  // namespace

PlanInfo build_plan(const BuildOptions& options) {
  check_options(options);
  const Source source = read_source(options);
  const gpu::Device device(options.gpu);
  Sidecar about;
  about.model = source.file.model;
  about.model.set_precision(source.precision);
  about.batches = options.batches;
  about.tensorrt = tensorrt_version();
  about.gpu = device.kind();
  about.workspace = options.workspace;
  options.progress("building for " + about.gpu->name + " with " + about.tensorrt +
                   ": this takes minutes");
  const auto plan = build(source, options, about.identity());
  const std::string_view bytes(static_cast<const char*>(plan->data()), plan->size());
  about.plan_sha256 = sha256(bytes);
  about.plan_bytes = static_cast<std::int64_t>(bytes.size());
  write_plan(options.plan, bytes, about);
  return plan_info(about);
}

}  // namespace odtk
