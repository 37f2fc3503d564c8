// `model.plan.json`: the description of a TensorRT plan, which carries none itself.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/exported_model.h"

namespace odtk {

// A GPU's name and compute capability, such as "9.0".
struct GpuKind {
  std::string name, capability;
};

inline bool operator==(const GpuKind& one, const GpuKind& other) {
  return one.name == other.name && one.capability == other.capability;
}

// The content of the file beside a plan.
struct Sidecar {
  // What the network says about itself; its `sha256` is the ONNX file's, its `precision` the
  // plan's.
  ExportedModel model;
  std::array<int, 3> batches{};  // least, tuned and greatest
  std::string tensorrt;          // package and version that built it and can run it
  std::optional<GpuKind> gpu;    // that it is bound to; none where it was built without
  std::vector<std::string>
      capabilities;  // compute capabilities that it was built for, without a GPU
  std::optional<std::int64_t> workspace;  // bytes that a layer may use besides, if they are limited
  std::string plan_sha256;                // of the plan's file
  std::int64_t plan_bytes = 0;            // its length

  // Returns the network's name in the plan: a hash of everything that is known before the build.
  std::string identity() const;

  // Returns the file's text: the bytes that odtk-ray writes.
  std::string to_json() const;
};

// A plan's bytes, and what lies beside it.
struct PlanFile {
  std::string bytes;
  Sidecar about;
};

std::string sidecar_path(const std::string& plan);

// Reads a plan and its sidecar, and checks that they belong together. Throws UsageError where one
// is missing, damaged, or of another plan.
PlanFile read_plan(const std::string& plan);

// Builds a sidecar from its text, each value checked. Throws UsageError where the format is newer
// or the model's description is damaged, and WrongJson where something is missing or was edited.
Sidecar parse_sidecar(const std::string& plan, std::string_view text);

// Refuses a plan that was built for another machine, before TensorRT is asked. Of the versions of
// TensorRT three parts have to be equal: NVIDIA's C++ headers know no fourth.
// `tensorrt`: package and version that would run it, such as "tensorrt 8.5.2". Throws UsageError,
// whose hint is the command that builds the plan again.
void check_machine(const std::string& plan, const Sidecar& about, const std::string& tensorrt,
                   const GpuKind& gpu);

// Returns the command that builds such a plan again.
std::string rebuild_command(const std::string& plan, const Sidecar& about);

// Writes a plan and its sidecar; the plan never exists without the sidecar. Throws FileError.
void write_plan(const std::string& plan, std::string_view bytes, const Sidecar& about);

}  // namespace odtk
