#include "model/exported_model.h"

#include <map>

#include "model/files.h"
#include "model/onnx_file.h"
#include "text/sha256.h"
#include "text/shown_json.h"
#include "text/typed_json.h"

namespace odtk {
namespace {

constexpr char kAgain[] = "copy the file again, or export the model again";
constexpr int kLevels = 5;              // P3 to P7
constexpr std::size_t kShownEnds = 80;  // characters

// Returns the description in the metadata: parsed JSON by key.
JsonObject parse_facts(const std::string& name, const Entries<std::string>& metadata) {
  JsonObject facts;
  for (const auto& [key, text] : metadata) {
    if (!has_model_prefix(key)) continue;
    try {
      facts.emplace_back(key, parse_json(text));
    } catch (const WrongJson& error) {
      throw damaged_model(name, error);
    }
  }
  if (facts.empty()) {
    throw unusable_model(name, "odtk-ray did not write it, so its anchors and classes are unknown",
                         "odtk-ray export model.pth model.onnx");
  }
  return facts;
}

// Returns the dimensions of the graph's input and outputs by name, without that of the batch.
std::map<std::string, Dimensions> end_shapes(const ExportedModel& model) {
  const auto positive = [](int size) { return static_cast<std::uint64_t>(size); };
  const std::vector<std::string> names = model.output_names();
  std::map<std::string, Dimensions> ends;
  ends[kInputName] = {3, positive(model.height), positive(model.width)};
  if (model.ends_in_detections()) {
    const std::uint64_t count = positive(model.post.detections);
    ends[names[0]] = ends[names[2]] = {count};
    ends[names[1]] = {count, positive(model.box_values())};
    return ends;
  }
  const std::vector<OutputShape> shapes = model.raw_shapes();
  for (std::size_t i = 0; i < names.size(); i++) {
    for (int size : shapes[i]) ends[names[i]].push_back(positive(size));
  }
  return ends;
}

void check_ends(const std::string& name, const Entries<Dimensions>& ends,
                const ExportedModel& model) {
  std::map<std::string, Dimensions> found;
  std::string names;
  for (const auto& [end, dimensions] : ends) {
    found[end] =
        dimensions.empty() ? dimensions : Dimensions(dimensions.begin() + 1, dimensions.end());
    names += (names.empty() ? "" : ", ") + end;
  }
  if (found == end_shapes(model)) return;
  throw unusable_model(name,
                       "its graph is not the one that its description says, from " +
                           first_characters(names, kShownEnds),
                       kAgain);
}

}  // namespace

UsageError unusable_model(const std::string& path, const std::string& why,
                          const std::string& hint) {
  return UsageError("cannot use model " + path, why, hint);
}

UsageError damaged_model(const std::string& name, const WrongJson& error) {
  return unusable_model(name, std::string("its description is damaged: ") + error.what(), kAgain);
}

bool has_model_prefix(std::string_view key) {
  return key.substr(0, kModelPrefix.size()) == kModelPrefix;
}

std::vector<ExportedLevel> ExportedModel::levels() const {
  std::vector<ExportedLevel> levels;
  for (std::size_t i = 0; i < strides.size(); i++) {
    const int number = static_cast<int>(i) % kLevels;
    const bool is_strided = number > 2;  // P6 and P7 halve P5, rounded up: stride 2, padding 1
    ExportedLevel level;
    level.label = backbones[i / kLevels] + "/P" + std::to_string(number + 3);
    level.stride = strides[i];
    level.height = is_strided ? (levels.back().height + 1) / 2 : height / strides[i];
    level.width = is_strided ? (levels.back().width + 1) / 2 : width / strides[i];
    for (const std::vector<double>& box : anchor_boxes[i]) {
      level.anchors.push_back({static_cast<float>(box[0]), static_cast<float>(box[1]),
                               static_cast<float>(box[2]), static_cast<float>(box[3])});
    }
    levels.push_back(std::move(level));
  }
  return levels;
}

std::vector<std::string> ExportedModel::output_names() const {
  if (ends_in_detections()) return {"scores", "boxes", "classes"};
  std::vector<std::string> names;
  for (const char* kind : {"score_", "box_"}) {
    for (std::size_t i = 1; i <= strides.size(); i++) names.push_back(kind + std::to_string(i));
  }
  return names;
}

std::vector<OutputShape> ExportedModel::raw_shapes() const {
  std::vector<OutputShape> shapes;
  const std::vector<ExportedLevel> all = levels();
  for (int count : {classes, box_values()}) {
    for (const ExportedLevel& level : all) {
      const int anchors_here = static_cast<int>(level.anchors.size());
      shapes.push_back({anchors_here * count, level.height, level.width});
    }
  }
  return shapes;
}

void ExportedModel::set_precision(const std::string& value) {
  precision = value;
  for (auto& [name, fact] : facts) {
    if (name == "precision") fact = json_text(value);
  }
}

ExportedFile read_exported(const std::string& path) {
  ExportedFile file;
  Entries<std::string> metadata;
  Entries<Dimensions> ends;
  try {
    file.bytes = read_file(path);
    metadata = metadata_props(file.bytes);
    ends = graph_ends(file.bytes);
    if (file.bytes.empty()) throw NotOnnx("empty");
  } catch (const FileError& error) {
    throw unusable_model(path, error.why());
  } catch (const NotOnnx&) {
    throw unusable_model(path, "it is damaged, or not an ONNX file", kAgain);
  }
  const Json facts{parse_facts(path, metadata)};
  file.model = parse_model(path, facts, sha256(file.bytes));
  check_ends(path, ends, file.model);
  return file;
}

}  // namespace odtk
