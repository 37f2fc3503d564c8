// odtk_build: an ONNX file of `odtk-ray export` to a TensorRT plan, on the device that will run it.

#include <cctype>
#include <cstdio>

#include "command_line.h"
#include "files_apart.h"
#include "odtk.h"
#include "program.h"

namespace {

constexpr long kMostBatch = 1024, kMostMebibytes = 1 << 20;

odtk::BuildOptions parse(const odtk::CommandLine& line) {
  if (line.others().size() != 2) {
    throw odtk::UsageError("give an ONNX file and a name for the plan", "",
                           "odtk_build model.onnx model.plan");
  }
  if (line.has("--fp16") && line.has("--fp32")) {
    throw odtk::UsageError("--fp16 and --fp32 exclude each other");
  }
  odtk::BuildOptions options;
  options.onnx = line.others()[0];
  options.plan = line.others()[1];
  options.timing_cache = line.text("--timing-cache");
  odtk::check_apart("the plan", {options.plan, options.plan + ".json"},
                    {options.onnx, options.timing_cache});
  odtk::check_apart("--timing-cache", {options.timing_cache}, {options.onnx});
  options.full_precision = line.has("--fp32");
  if (line.has("--batches")) {
    const auto numbers = line.integers("--batches", 1, kMostBatch);
    for (int i = 0; i < 3; i++) options.batches[i] = static_cast<int>(numbers[i]);
  }
  if (line.has("--workspace"))
    options.workspace = line.integer("--workspace", 1, kMostMebibytes) << 20;
  if (line.has("--dla")) options.dla_core = static_cast<int>(line.integer("--dla", 0, 7));
  if (line.has("--gpu")) options.gpu = static_cast<int>(line.integer("--gpu", 0, 63));
  options.verbose = line.has("--verbose");
  // From the first message until it is asked whether to stop nothing is written, and before
  // TensorRT 10 a build cannot be asked to stop.
  options.progress = [begun = false](const std::string& message) mutable {
    odtk::say("odtk_build", message);
    if (!begun) odtk::end_at_once(true);
    begun = true;
  };
  options.stopped = [] {
    odtk::end_at_once(false);
    return odtk::stop_asked();
  };
  return options;
}

void print_summary(const std::string& plan, const odtk::PlanInfo& info) {
  std::string backbones;
  for (const std::string& name : info.backbones) {
    backbones += (backbones.empty() ? "" : ", ") + name;
  }
  std::string precision = info.precision;
  for (char& letter : precision) letter = static_cast<char>(std::toupper(letter));
  std::printf("wrote %s (%.1f MB): %s, %s%dx%d, %s, batch %d to %d, tuned for %d\n", plan.c_str(),
              static_cast<double>(info.bytes) / 1e6, backbones.c_str(),
              info.rotated ? "rotated boxes, " : "", info.height, info.width, precision.c_str(),
              info.least_batch, info.greatest_batch, info.tuned_batch);
  std::printf("for %s, with %s\n", info.gpu.c_str(), info.tensorrt.c_str());
  if (info.ends_in_detections) {
    std::printf("ends in detections, for trtexec, Triton and DeepStream\n");
  } else {
    std::printf("next: odtk_infer %s DIR\n", plan.c_str());
  }
}

int build(int count, char** values) {
  const odtk::CommandLine line(
      "odtk_build [OPTIONS] MODEL.onnx OUT.plan",
      "Builds a TensorRT plan for the GPU of this machine, and OUT.plan.json beside it.\n"
      "INT8 follows from the ONNX file (odtk-ray export --int8).",
      {{"--fp16", "", "allow FP16, the default"},
       {"--fp32", "", "build in FP32"},
       {"--batches", "MIN OPT MAX", "batches that the plan takes, tuned for OPT (1 1 16)"},
       {"--workspace", "MIB", "memory that a layer may use besides; TensorRT decides by default"},
       {"--timing-cache", "FILE", "measured timings, read and written: the next build is faster"},
       {"--dla", "CORE", "run what can on this DLA core, in FP16, the rest on the GPU"},
       {"--gpu", "N", "number of the GPU (0)"},
       {"--verbose", "", "print all of TensorRT's messages"}},
      count, values);
  if (line.helped()) return odtk::kDone;
  const odtk::BuildOptions options = parse(line);
  print_summary(options.plan, odtk::build_plan(options));
  return odtk::kDone;
}

}  // namespace

int main(int count, char** values) {
  return odtk::run_program([=] { return build(count, values); });
}
