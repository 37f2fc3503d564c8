#include "answers.h"
#include "model/exported_model.h"
#include "model/onnx_file.h"
#include "model/sidecar.h"
#include "text/json.h"
#include "units.h"

namespace {

using odtk::Json;
using odtk::json_number;
using odtk::json_text;
using odtk::JsonArray;
using odtk::JsonObject;

Json whole(long long value) { return json_number(value); }

template <typename List, typename Convert>
Json list_of(const List& list, const Convert& convert) {
  JsonArray array;
  for (const auto& item : list) array.push_back(convert(item));
  return {std::move(array)};
}

template <typename List>
Json numbers(const List& list) {
  return list_of(list, [](double value) { return json_number(value); });
}

Json texts(const std::vector<std::string>& list) { return list_of(list, json_text); }

template <typename T, typename Convert>
Json or_null(const std::optional<T>& value, const Convert& convert) {
  return value ? convert(*value) : Json{};
}

Json level_values(const odtk::ExportedLevel& level) {
  const Json anchors = list_of(level.anchors, [](const auto& box) { return numbers(box); });
  return {JsonArray{json_text(level.label), whole(level.stride), whole(level.height),
                    whole(level.width), anchors}};
}

Json post_values(const odtk::Postprocessing& post) {
  return {JsonArray{json_number(post.threshold), whole(post.top_n), json_number(post.nms),
                    whole(post.detections),
                    json_text(post.rotated_nms == odtk::RotatedNms::own ? "own" : "odtk")}};
}

// What the program knows of a model; `facts` is what it would write.
Json model_values(const odtk::ExportedModel& model) {
  const auto shape = [](const auto& sizes) { return list_of(sizes, whole); };
  return {JsonObject{
      {"facts", {model.facts}},
      {"backbones", texts(model.backbones)},
      {"classes", whole(model.classes)},
      {"class_names", or_null(model.class_names, texts)},
      {"category_ids", or_null(model.category_ids, texts)},
      {"ratios", numbers(model.ratios)},
      {"scales", numbers(model.scales)},
      {"angles", or_null(model.angles, numbers<std::vector<double>>)},
      {"anchors", json_text(model.anchors)},
      {"size", {JsonArray{whole(model.height), whole(model.width)}}},
      {"mean", numbers(model.mean)},
      {"std", numbers(model.std)},
      {"outputs", json_text(model.outputs)},
      {"precision", json_text(model.precision)},
      {"post", post_values(model.post)},
      {"checkpoint", json_text(model.checkpoint)},
      {"version", json_text(model.version)},
      {"sha256", json_text(model.sha256)},
      {"levels", list_of(model.levels(), level_values)},
      {"output_names", texts(model.output_names())},
      {"raw_shapes", list_of(model.raw_shapes(), shape)},
  }};
}

// model: answers each JSON description with what is known by it.
void parse_models(const Arguments&) {
  answer_lines([](const std::string& text) {
    return odtk::dump(model_values(odtk::parse_model("m.onnx", odtk::parse_json(text), "ab")));
  });
}

// exported: answers each path of an ONNX file with what it says about itself.
void read_models(const Arguments&) {
  answer_lines([](const std::string& path) {
    return odtk::dump(model_values(odtk::read_exported(path).model));
  });
}

// onnx: answers each file's bytes with its metadata and the ends of its graph.
void read_onnx(const Arguments&) {
  answer_lines([](const std::string& bytes) {
    JsonObject metadata, ends;
    for (const auto& [key, value] : odtk::metadata_props(bytes)) {
      metadata.emplace_back(key, json_text(value));
    }
    for (const auto& [name, dimensions] : odtk::graph_ends(bytes)) {
      ends.emplace_back(name, list_of(dimensions, [](const auto& dimension) {
                          return dimension ? json_text(std::to_string(*dimension)) : Json{};
                        }));
    }
    return odtk::dump({JsonArray{{std::move(metadata)}, {std::move(ends)}}});
  });
}

// sidecar [PRECISION]: answers each sidecar's text with what is written of it, for a plan of this
// precision.
void rewrite_sidecars(const Arguments& arguments) {
  answer_lines([&](const std::string& text) {
    odtk::Sidecar about = odtk::parse_sidecar("m.plan", text);
    if (!arguments.empty()) about.model.set_precision(arguments[0]);
    return about.to_json();
  });
}

// plan: answers each list of a plan's path, a TensorRT, name and capability of a GPU with the
// command that builds the plan again.
void check_plans(const Arguments&) {
  answer_lines([](const std::string& text) {
    const Json json = odtk::parse_json(text);
    std::vector<std::string> given;
    for (const Json& item : *json.get<JsonArray>()) given.push_back(*item.get<std::string>());
    const odtk::PlanFile plan = odtk::read_plan(given[0]);
    odtk::check_machine(given[0], plan.about, given[1], {given[2], given[3]});
    return odtk::rebuild_command(given[0], plan.about);
  });
}

const Unit model("model", parse_models);
const Unit exported("exported", read_models);
const Unit onnx("onnx", read_onnx);
const Unit sidecar("sidecar", rewrite_sidecars);
const Unit plan("plan", check_plans);

}  // namespace
