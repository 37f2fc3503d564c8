#include "output/coco_json.h"

#include <array>
#include <cmath>
#include <string_view>

#include "output/class_names.h"
#include "text/json.h"
#include "text/numbers.h"

namespace odtk {
namespace {

constexpr std::string_view kListEnding = ".results.json", kObjectEnding = ".json";

bool ends_in(std::string_view path, std::string_view ending) {
  return path.size() >= ending.size() && path.substr(path.size() - ending.size()) == ending;
}

const std::string& check_ending(const std::string& path) {
  if (ends_in(path, kObjectEnding)) return path;
  throw UsageError("unknown output format: " + path.substr(path.rfind('/') + 1),
                   "the name must end in one of .results.json, .json");
}

std::vector<std::string> ids_of(const PlanInfo& info) {
  if (!info.category_ids.empty()) return info.category_ids;
  std::vector<std::string> ids;
  for (int i = 0; i < info.classes; i++) ids.push_back(std::to_string(i));
  return ids;
}

// A box as output files have it: x, y, width, height, and theta in radians, in double precision.
// Width and height count both end pixels.
struct Bbox {
  double x, y, width, height, theta;
};

Bbox to_bbox(const std::array<float, 6>& box) {
  const double x1 = box[0], y1 = box[1], x2 = box[2], y2 = box[3];
  return {x1, y1, x2 - x1 + 1, y2 - y1 + 1, std::atan2(double{box[4]}, double{box[5]})};
}

// Returns x and y of what was top left, bottom left, bottom right and top right before the box was
// turned about its centre. The corners are centres of pixels.
std::vector<double> corners_of(const Bbox& box) {
  constexpr double kSigns[4][2] = {{-0.5, -0.5}, {-0.5, 0.5}, {0.5, 0.5}, {0.5, -0.5}};
  const double width = box.width - 1, height = box.height - 1;
  const double sin = std::sin(box.theta), cos = std::cos(box.theta);
  std::vector<double> corners;
  for (const auto& [along, across] : kSigns) {
    const double dx = width * along, dy = height * across;
    corners.push_back(dx * cos - dy * sin + box.x + width / 2);
    corners.push_back(dx * sin + dy * cos + box.y + height / 2);
  }
  return corners;
}

std::string joined(const std::vector<double>& values, std::string_view separator) {
  std::string text;
  for (double value : values) {
    if (!text.empty()) text += separator;
    text += number_text(value);
  }
  return text;
}

std::vector<double> values_of(const Bbox& box, bool rotated) {
  std::vector<double> values{box.x, box.y, box.width, box.height};
  if (rotated) values.push_back(box.theta);
  return values;
}

// An entry of the object, indented by 4 as ODTK's json.dump does.
std::string object_entry(std::size_t id, const std::string& image_id,
                         const std::string& category_id, const std::string& score, const Bbox& box,
                         bool rotated) {
  const std::string line = "\n            ", inner = line + "    ", innermost = inner + "    ";
  std::string text = "\n        {" + line + "\"image_id\": " + image_id + "," + line +
                     "\"score\": " + score + "," + line + "\"category_id\": " + category_id + "," +
                     line + "\"bbox\": [" + inner + joined(values_of(box, rotated), "," + inner) +
                     line + "]";
  if (rotated) {
    text += "," + line + "\"segmentation\": [" + inner + "[" + innermost +
            joined(corners_of(box), "," + innermost) + inner + "]" + line + "]";
  }
  text += "," + line + "\"id\": " + std::to_string(id) + "," + line +
          "\"area\": " + number_text(box.width * box.height) + "," + line + "\"iscrowd\": 0";
  return text + "\n        }";
}

// A line of the plain list.
std::string list_entry(const std::string& image_id, const std::string& category_id,
                       const std::string& score, const Bbox& box, bool rotated) {
  std::string text = "\n{\"image_id\": " + image_id + ", \"category_id\": " + category_id +
                     ", \"bbox\": [" + joined(values_of(box, rotated), ", ") +
                     "], \"score\": " + score;
  if (rotated) text += ", \"segmentation\": [[" + joined(corners_of(box), ", ") + "]]";
  return text + "}";
}

}  // namespace

CocoJson::CocoJson(const std::string& path, const PlanInfo& info)
    : draft_(check_ending(path)),
      plain_list_(ends_in(path, kListEnding)),
      info_(info),
      category_ids_(ids_of(info)) {
  draft_.write(plain_list_ ? "[" : "{\n    \"annotations\": [");
}

void CocoJson::add(int width, int height, const Detections& detections) {
  const std::string image_id = std::to_string(sizes_.size());
  sizes_.emplace_back(width, height);
  std::string text;
  for (const Detection& found : detections) {
    if (count_++ > 0) text += ",";
    const std::string &category_id = category_ids_.at(found.label),
                      score = number_text(found.score);
    const Bbox box = to_bbox(found.box);
    text += plain_list_ ? list_entry(image_id, category_id, score, box, info_.rotated)
                        : object_entry(count_, image_id, category_id, score, box, info_.rotated);
  }
  draft_.write(text);
}

void CocoJson::close(const std::vector<std::string>& file_names) {
  if (plain_list_) {
    draft_.write(count_ > 0 ? "\n]\n" : "]\n");
  } else {
    draft_.write(count_ > 0 ? "\n    ],\n" : "],\n");
    write_images(file_names);
    write_categories();
    draft_.write("\n}");
  }
  draft_.publish();
}

void CocoJson::write_images(const std::vector<std::string>& file_names) {
  draft_.write("    \"images\": [");
  for (std::size_t id = 0; id < file_names.size(); id++) {
    draft_.write(
        std::string(id > 0 ? "," : "") + "\n        {\n            \"id\": " + std::to_string(id) +
        ",\n            \"file_name\": " + quoted(file_names[id]) +
        ",\n            \"width\": " + std::to_string(sizes_.at(id).first) +
        ",\n            \"height\": " + std::to_string(sizes_.at(id).second) + "\n        }");
  }
  draft_.write("\n    ]");
}

void CocoJson::write_categories() {
  draft_.write(",\n    \"categories\": [");
  for (std::size_t i = 0; i < category_ids_.size(); i++) {
    draft_.write(
        std::string(i > 0 ? "," : "") + "\n        {\n            \"id\": " + category_ids_.at(i) +
        ",\n            \"name\": " + quoted(class_name(info_, static_cast<std::int32_t>(i))) +
        "\n        }");
  }
  draft_.write("\n    ]");
}

}  // namespace odtk
