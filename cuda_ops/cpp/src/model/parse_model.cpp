// parse_model: every field of a description has its type and range, and they fit together.
#include <algorithm>
#include <map>

#include "model/exported_model.h"
#include "text/numbers.h"
#include "text/typed_json.h"

namespace odtk {
namespace {

constexpr int kStrides[] = {8, 16, 32, 64, 128};  // of P3 to P7
constexpr int kSideStep = 32;                     // the pyramid is upsampled twice from stride 32

const Range kPositive{-std::numeric_limits<double>::infinity(), 1e6, 0};
const Range kModerate{-1e6, 1e6};
constexpr int kMostCount = 1'000'000;

// The fields in the order in which Python writes them.
constexpr const char* kFields[] = {
    "backbones", "classes", "class_names", "category_ids", "ratios",     "scales",
    "angles",    "anchors", "strides",     "anchor_boxes", "size",       "mean",
    "std",       "outputs", "precision",   "post",         "checkpoint", "version"};
constexpr const char* kPostFields[] = {"threshold", "top_n", "nms", "detections", "rotated_nms"};

template <typename T, typename Read>
std::vector<T> read_list(const TypedJson& json, const Read& read) {
  std::vector<T> list;
  for (const TypedJson& item : json.items()) list.push_back(read(item));
  return list;
}

std::vector<double> read_numbers(const TypedJson& json, const Range& range) {
  return read_list<double>(json, [&](const TypedJson& item) { return item.number(range); });
}

std::vector<std::string> read_texts(const TypedJson& json) {
  return read_list<std::string>(json, [](const TypedJson& item) { return item.text(); });
}

int read_count(const TypedJson& json) { return static_cast<int>(json.whole(kCount)); }

// Checks the range of an option.
void check_option(const char* flag, const Json& json, double value, double least, double greatest,
                  const std::string& limits) {
  if (least <= value && value <= greatest) return;
  throw WrongJson(std::string("post: ") + flag + " " + dump(json) +
                  " is out of range, it must be between " + limits);
}

Postprocessing read_post(const TypedJson& json) {
  Postprocessing post;
  double top_n = 0, detections = 0;
  json.members({
      {"threshold", [&](const TypedJson& value) { post.threshold = value.number(); }},
      {"top_n", [&](const TypedJson& value) { top_n = static_cast<double>(value.whole()); }},
      {"nms", [&](const TypedJson& value) { post.nms = value.number(); }},
      {"detections",
       [&](const TypedJson& value) { detections = static_cast<double>(value.whole()); }},
      {"rotated_nms",
       [&](const TypedJson& value) {
         post.rotated_nms =
             value.one_of({"own", "odtk"}) == "own" ? RotatedNms::own : RotatedNms::odtk;
       }},
  });
  const auto given = [&](const char* name) -> const Json& { return *find(json.table(), name); };
  const std::string counts = "1 and " + with_commas(kMostCount);
  check_option("--threshold", given("threshold"), post.threshold, 0, 1, "0 and 1");
  check_option("--top-n", given("top_n"), top_n, 1, kMostCount, counts);
  check_option("--nms", given("nms"), post.nms, 0, 1, "0 and 1");
  check_option("--detections", given("detections"), detections, 1, kMostCount, counts);
  post.top_n = static_cast<int>(top_n);
  post.detections = static_cast<int>(detections);
  return post;
}

void read_size(const TypedJson& json, ExportedModel& model) {
  const std::vector<TypedJson> sides = json.items(2);
  model.height = read_count(sides[0]);
  model.width = read_count(sides[1]);
}

std::vector<std::string> read_category_ids(const TypedJson& json) {
  return read_list<std::string>(json, [](const TypedJson& id) {
    if (id.json().get<std::string>() == nullptr) id.whole();
    return dump(id.json());
  });
}

std::vector<int> read_strides(const TypedJson& json) {
  return read_list<int>(json, [](const TypedJson& stride) {
    return static_cast<int>(std::clamp(stride.whole(), -1LL, 1000LL));  // no others are right
  });
}

using Boxes = std::vector<std::vector<double>>;

Boxes read_boxes(const TypedJson& json) {
  return read_list<std::vector<double>>(
      json, [](const TypedJson& box) { return read_numbers(box, kModerate); });
}

std::vector<double> read_angles(const TypedJson& json) { return read_numbers(json, kModerate); }

// Returns what is read of a value; nothing of null.
template <typename Read>
auto unless_null(const TypedJson& json, const Read& read) -> std::optional<decltype(read(json))> {
  if (json.is_null()) return {};
  return read(json);
}

// Returns what reads each field into a model.
std::map<std::string, TypedJson::Reader> readers_of(ExportedModel& m) {
  using J = const TypedJson&;
  return {
      {"backbones", [&](J json) { m.backbones = read_texts(json); }},
      {"classes", [&](J json) { m.classes = read_count(json); }},
      {"class_names", [&](J json) { m.class_names = unless_null(json, read_texts); }},
      {"category_ids", [&](J json) { m.category_ids = unless_null(json, read_category_ids); }},
      {"ratios", [&](J json) { m.ratios = read_numbers(json, kPositive); }},
      {"scales", [&](J json) { m.scales = read_numbers(json, kPositive); }},
      {"angles", [&](J json) { m.angles = unless_null(json, read_angles); }},
      {"anchors", [&](J json) { m.anchors = json.one_of({"current", "legacy"}); }},
      {"strides", [&](J json) { m.strides = read_strides(json); }},
      {"anchor_boxes", [&](J json) { m.anchor_boxes = read_list<Boxes>(json, read_boxes); }},
      {"size", [&](J json) { read_size(json, m); }},
      {"mean", [&](J json) { m.mean = read_numbers(json, kModerate); }},
      {"std", [&](J json) { m.std = read_numbers(json, kPositive); }},
      {"outputs", [&](J json) { m.outputs = json.one_of({"raw", "detections", "plugin"}); }},
      {"precision", [&](J json) { m.precision = json.one_of({"fp32", "fp16", "int8"}); }},
      {"post", [&](J json) { m.post = read_post(json); }},
      {"checkpoint", [&](J json) { m.checkpoint = json.text(); }},
      {"version", [&](J json) { m.version = json.text(); }},
  };
}

bool strides_fit(const ExportedModel& model) {
  std::vector<int> right;
  for (std::size_t i = 0; i < model.backbones.size(); i++) {
    right.insert(right.end(), std::begin(kStrides), std::end(kStrides));
  }
  return !right.empty() && model.strides == right;
}

bool anchor_boxes_fit(const ExportedModel& model) {
  const std::size_t angles = model.angles && !model.angles->empty() ? model.angles->size() : 1;
  const std::size_t cell = model.ratios.size() * model.scales.size() * angles;
  return model.anchor_boxes.size() == model.strides.size() &&
         std::all_of(model.anchor_boxes.begin(), model.anchor_boxes.end(), [&](const auto& table) {
           return table.size() == cell &&
                  std::all_of(table.begin(), table.end(),
                              [](const auto& box) { return box.size() == 4; });
         });
}

// Checks that the parts fit together.
void check(const ExportedModel& model) {
  const auto fits = [&](const auto& list) {
    return !list || list->size() == static_cast<std::size_t>(model.classes);
  };
  std::string wrong;
  const auto require = [&](bool right, const char* name) {
    if (!right) wrong += (wrong.empty() ? "" : ", ") + std::string(name);
  };
  require(strides_fit(model), "strides");
  require(anchor_boxes_fit(model), "anchor_boxes");
  require(fits(model.class_names) && fits(model.category_ids), "class_names or category_ids");
  require(model.mean.size() == 3 && model.std.size() == 3, "mean or std");
  require(model.height % kSideStep == 0 && model.width % kSideStep == 0, "size");
  if (!wrong.empty()) throw WrongJson("its " + wrong + " cannot be right");
}

template <std::size_t N>
JsonObject in_order(const JsonObject& values, const char* const (&names)[N]) {
  JsonObject ordered;
  for (const char* name : names) ordered.emplace_back(name, *find(values, name));
  return ordered;
}

// Returns the facts as Python writes them, whatever the order in the file is.
JsonObject ordered_facts(const JsonObject& values) {
  JsonObject facts{{"format", json_whole(kModelFormat)}};
  for (auto& member : in_order(values, kFields)) facts.push_back(std::move(member));
  for (auto& [name, value] : facts) {
    if (name == "post") value = {in_order(*value.get<JsonObject>(), kPostFields)};
  }
  return facts;
}

// Returns the fields by their names, without the prefix that they have in metadata, and without the
// hash, since the file's own is known.
Json plain_names(const Json& values) {
  JsonObject plain;
  std::map<std::string, std::size_t> places;
  for (const auto& [key, value] : TypedJson(values, "model").table()) {
    const std::string name = has_model_prefix(key) ? key.substr(kModelPrefix.size()) : key;
    if (name == "sha256") continue;
    const auto [place, is_new] = places.emplace(name, plain.size());
    if (is_new) plain.emplace_back(name, Json{});
    plain[place->second].second = value;
  }
  return {std::move(plain)};
}

}  // namespace

ExportedModel parse_model(const std::string& name, const Json& values, const std::string& sha256) {
  ExportedModel model;
  try {
    const Json fields{without_format(plain_names(values), kModelFormat)};
    TypedJson(fields).members(readers_of(model));
    check(model);
    model.facts = ordered_facts(*fields.get<JsonObject>());
  } catch (const OtherFormat& error) {
    throw unusable_model(name, error.what(), "export it with this version of odtk-ray");
  } catch (const WrongJson& error) {
    throw damaged_model(name, error);
  }
  model.sha256 = sha256;
  return model;
}

}  // namespace odtk
