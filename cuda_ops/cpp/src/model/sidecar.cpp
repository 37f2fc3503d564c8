#include "model/sidecar.h"

#include "model/files.h"
#include "text/numbers.h"
#include "text/sha256.h"
#include "text/shell_quote.h"
#include "text/typed_json.h"

namespace odtk {
namespace {

constexpr int kFormat = 1;
const Range kBytes{0, 0x1p50};
constexpr std::size_t kIdentity = 32;  // digits
constexpr char kAgain[] =
    "copy both files again, or build the plan again: odtk_build MODEL.onnx OUTPUT.plan";

JsonObject model_facts(const ExportedModel& model) {
  JsonObject facts;
  for (const auto& [name, value] : model.facts) {
    facts.emplace_back(std::string(kModelPrefix) + name, value);
  }
  return facts;
}

JsonArray texts(const std::vector<std::string>& list) {
  JsonArray array;
  for (const std::string& text : list) array.push_back(json_text(text));
  return array;
}

// Returns what is known before the build.
JsonObject known_facts(const Sidecar& about) {
  JsonArray batches;
  for (int batch : about.batches) batches.push_back(json_whole(batch));
  const auto& gpu = about.gpu;
  return {
      {"format", json_whole(kFormat)},
      {"model", {model_facts(about.model)}},
      {"batches", {std::move(batches)}},
      {"tensorrt", json_text(about.tensorrt)},
      {"gpu", gpu ? Json{texts({gpu->name, gpu->capability})} : Json{}},
      {"capabilities", {texts(about.capabilities)}},
      {"workspace", about.workspace ? json_whole(*about.workspace) : Json{}},
      {"onnx_sha256", json_text(about.model.sha256)},
  };
}

std::vector<std::string> read_texts(const TypedJson& json, std::optional<std::size_t> count = {}) {
  std::vector<std::string> list;
  for (const TypedJson& item : json.items(count)) list.push_back(item.text());
  return list;
}

std::optional<GpuKind> read_gpu(const TypedJson& json) {
  if (json.is_null()) return {};
  const std::vector<std::string> parts = read_texts(json, 2);
  return GpuKind{parts[0], parts[1]};
}

std::array<int, 3> read_batches(const TypedJson& json) {
  std::array<int, 3> batches;
  std::size_t at = 0;
  for (const TypedJson& item : json.items(batches.size())) {
    batches[at++] = static_cast<int>(item.whole(kCount));
  }
  return batches;
}

// Returns a table's member, and removes it from there; null if it is not there.
Json take(JsonObject& table, std::string_view name) {
  for (auto at = table.begin(); at != table.end(); ++at) {
    if (at->first != name) continue;
    Json value = std::move(at->second);
    table.erase(at);
    return value;
  }
  return {};
}

// Reads the members that are not taken from the table before.
void read_rest(const JsonObject& values, Sidecar& about) {
  using J = const TypedJson&;
  TypedJson(Json{values})
      .members({
          {"batches", [&](J json) { about.batches = read_batches(json); }},
          {"tensorrt", [&](J json) { about.tensorrt = json.text(); }},
          {"gpu", [&](J json) { about.gpu = read_gpu(json); }},
          {"capabilities", [&](J json) { about.capabilities = read_texts(json); }},
          {"workspace",
           [&](J json) {
             if (!json.is_null()) about.workspace = json.whole(kBytes);
           }},
          {"plan_sha256", [&](J json) { about.plan_sha256 = json.text(); }},
          {"plan_bytes", [&](J json) { about.plan_bytes = json.whole(kBytes); }},
      });
}

void check_edits(const Sidecar& about, const Json& batches, const Json& identity) {
  const auto [least, tuned, greatest] = about.batches;
  if (!(least <= tuned && tuned <= greatest)) {
    throw WrongJson("batches is " + dump(batches) + ", not in rising order");
  }
  const auto* text = identity.get<std::string>();
  if (text == nullptr || *text != about.identity()) throw WrongJson("it was edited");
}

// Returns package, major, minor and patch of a TensorRT.
std::string release_of(const std::string& tensorrt) {
  std::size_t end = 0;
  for (int part = 0; part < 3 && end != std::string::npos; part++) {
    end = tensorrt.find('.', part == 0 ? 0 : end + 1);
  }
  return tensorrt.substr(0, end);
}

}  // namespace

std::string Sidecar::identity() const {
  return sha256(dump({known_facts(*this)}, {}, true)).substr(0, kIdentity);
}

std::string Sidecar::to_json() const {
  JsonObject facts{{"identity", json_text(identity())}};
  for (auto& [name, value] : known_facts(*this)) {
    if (name == "onnx_sha256") {  // the last one
      facts.emplace_back("plan_sha256", json_text(plan_sha256));
      facts.emplace_back("plan_bytes", json_whole(plan_bytes));
    }
    facts.emplace_back(name, std::move(value));
  }
  return dump({std::move(facts)}, 1) + "\n";
}

std::string sidecar_path(const std::string& plan) { return plan + ".json"; }

PlanFile read_plan(const std::string& plan) {
  PlanFile file;
  try {
    file.bytes = read_file(plan);
    file.about = parse_sidecar(plan, read_file(sidecar_path(plan)));
  } catch (const FileError& error) {
    throw unusable_model(plan, error.path() + ": " + error.why(), kAgain);
  } catch (const WrongJson& error) {
    throw unusable_model(plan, sidecar_path(plan) + " is damaged: " + error.what(), kAgain);
  }
  const auto size = static_cast<std::int64_t>(file.bytes.size());
  const std::string again =
      "copy both files again, or build the plan again: " + rebuild_command(plan, file.about);
  if (size != file.about.plan_bytes) {
    throw unusable_model(plan,
                         "it has " + with_commas(size) + " bytes and should have " +
                             with_commas(file.about.plan_bytes),
                         again);
  }
  if (sha256(file.bytes) != file.about.plan_sha256) {
    throw unusable_model(plan, "it is not the plan that " + sidecar_path(plan) + " describes",
                         again);
  }
  return file;
}

Sidecar parse_sidecar(const std::string& plan, std::string_view text) {
  Sidecar about;
  const Json json = parse_json(text);
  JsonObject values;
  try {
    values = without_format(json, kFormat);
  } catch (const OtherFormat& error) {
    throw unusable_model(plan, error.what(), kAgain);
  }
  const Json identity = take(values, "identity"), onnx = take(values, "onnx_sha256");
  const std::string& onnx_sha256 = TypedJson(onnx, "onnx_sha256").text();
  about.model = parse_model(plan, take(values, "model"), onnx_sha256);
  read_rest(values, about);
  check_edits(about, *find(values, "batches"), identity);
  return about;
}

void check_machine(const std::string& plan, const Sidecar& about, const std::string& tensorrt,
                   const GpuKind& gpu) {
  std::string why;
  if (!about.capabilities.empty()) {
    why = about.tensorrt + " built it, and only odtk-ray runs such plans, in Python";
  } else if (release_of(tensorrt) != release_of(about.tensorrt)) {
    why = "it was built by " + about.tensorrt + " and this machine has " + tensorrt;
  } else if (about.gpu && !(*about.gpu == gpu)) {
    why = "it was built on " + about.gpu->name + " " + about.gpu->capability +
          " and this machine has " + gpu.name + " " + gpu.capability;
  } else {
    return;
  }
  throw unusable_model(plan, why, "build it here: " + rebuild_command(plan, about));
}

std::string rebuild_command(const std::string& plan, const Sidecar& about) {
  // INT8 follows from the ONNX file.
  const std::string& precision = about.model.precision;
  std::string command = "odtk_build MODEL.onnx " + shell_quote(plan);
  if (precision != "int8") command += " --" + precision;
  command += " --batches";
  for (int batch : about.batches) command += " " + std::to_string(batch);
  if (about.workspace) command += " --workspace " + std::to_string(*about.workspace >> 20);
  return command;
}

void write_plan(const std::string& plan, std::string_view bytes, const Sidecar& about) {
  const std::string beside = about.to_json();
  write_together({{sidecar_path(plan), beside}, {plan, bytes}});
}

}  // namespace odtk
