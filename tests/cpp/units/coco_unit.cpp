#include "model/files.h"
#include "output/coco_json.h"
#include "text/json.h"
#include "units.h"

namespace {

using odtk::Json;
using odtk::JsonArray;

double number(const Json& json) { return json.get<odtk::JsonNumber>()->value(); }

std::vector<std::string> texts(const Json& json) {
  std::vector<std::string> list;
  for (const Json& item : *json.get<JsonArray>()) list.push_back(*item.get<std::string>());
  return list;
}

odtk::Detection detection_of(const Json& json) {
  const JsonArray& values = *json.get<JsonArray>();
  odtk::Detection found;
  found.score = static_cast<float>(number(values[0]));
  found.label = static_cast<std::int32_t>(number(values[1]));
  for (std::size_t i = 2; i < values.size(); i++) {
    found.box[i - 2] = static_cast<float>(number(values[i]));
  }
  return found;
}

// coco OUTPUT JOB: writes the detections of a job, a JSON file.
void write_detections(const Arguments& arguments) {
  const Json json = odtk::parse_json(odtk::read_file(arguments.at(1)));
  const odtk::JsonObject& job = *json.get<odtk::JsonObject>();
  odtk::PlanInfo info;
  info.classes = static_cast<int>(number(*find(job, "classes")));
  info.rotated = *find(job, "rotated")->get<bool>();
  info.class_names = texts(*find(job, "class_names"));
  info.category_ids = texts(*find(job, "category_ids"));
  odtk::CocoJson output(arguments.at(0), info);
  const JsonArray& sizes = *find(job, "sizes")->get<JsonArray>();
  std::size_t image_id = 0;
  for (const Json& image : *find(job, "detections")->get<JsonArray>()) {
    odtk::Detections detections;
    for (const Json& found : *image.get<JsonArray>()) detections.push_back(detection_of(found));
    const JsonArray& size = *sizes[image_id++].get<JsonArray>();
    output.add(static_cast<int>(number(size[0])), static_cast<int>(number(size[1])), detections);
  }
  if (find(job, "stopped") != nullptr) throw odtk::Error("stopped");
  output.close(texts(*find(job, "file_names")));
}

const Unit unit("coco", write_detections);

}  // namespace
