// The description that an exported model carries: metadata of ONNX files, or beside plans.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "odtk.h"
#include "text/json.h"

namespace odtk {

constexpr int kModelFormat = 1;
constexpr std::string_view kModelPrefix = "odtk_ray.";  // of the fields in metadata
constexpr char kInputName[] = "input_1";

// One pyramid level of an exported model.
struct ExportedLevel {
  std::string label;  // backbone and level, such as ResNet50FPN/P3
  int stride;         // pixels of the network input to one cell
  int height, width;  // cells
  // xyxy, pixels of the network input, of the cell at the origin
  std::vector<std::array<float, 4>> anchors;
};

// The steps from head outputs to detections.
struct Postprocessing {
  double threshold = 0.05;  // scores must be greater
  int top_n = 1000;         // candidates kept for each pyramid level
  double nms = 0.5;         // IoU above which the worse of two boxes is dropped
  int detections = 100;     // kept for each image
  RotatedNms rotated_nms = RotatedNms::own;
};

// Channels, rows and columns.
using OutputShape = std::array<int, 3>;

// Everything that using an exported model requires, besides the file itself.
struct ExportedModel {
  std::vector<std::string> backbones;  // ODTK's factory names; each has five levels
  int classes = 0;
  std::optional<std::vector<std::string>> class_names;
  std::optional<std::vector<std::string>> category_ids;  // of each class, as JSON
  std::vector<double> ratios;                            // anchor height / width
  std::vector<double> scales;                            // anchor sizes in strides
  std::optional<std::vector<double>> angles;             // radians; none: boxes are axis-aligned
  std::string anchors;                                   // current or legacy
  std::vector<int> strides;  // pixels of the network input to one cell, for each level
  std::vector<std::vector<std::vector<double>>> anchor_boxes;  // of each level, [A, 4]
  int height = 0, width = 0;                                   // of the network input, pixels
  std::vector<double> mean, std;  // RGB, on values in [0, 1]: what is subtracted, and divided by
  std::string outputs;            // raw; detections, or those of a plugin of TensorRT: plugin
  std::string precision;          // fp32, fp16 or int8
  Postprocessing post;
  std::string checkpoint;  // SHA-256 of the model that was exported
  std::string version;     // of odtk-ray, that wrote it
  std::string sha256;      // of the file that it was read from

  // All of that but `sha256`, as the metadata has it: sidecars repeat what was written.
  JsonObject facts;

  bool rotated() const { return angles.has_value(); }

  // Whether post-processing is part of the graph.
  bool ends_in_detections() const { return outputs != "raw"; }

  // Numbers of a box: 4, or 6 of a rotated one, where sin and cos of theta follow.
  int box_values() const { return rotated() ? 6 : 4; }

  // Returns the pyramid levels, in the order of the outputs.
  std::vector<ExportedLevel> levels() const;

  // Returns the names of the graph's outputs, ODTK's.
  std::vector<std::string> output_names() const;

  // Returns the shape of each raw output, in their order.
  std::vector<OutputShape> raw_shapes() const;

  // Sets the precision: the plan's may differ from the ONNX file's.
  void set_precision(const std::string& value);
};

// An ONNX file, and what it says about itself.
struct ExportedFile {
  std::string bytes;
  ExportedModel model;
};

// Reads an ONNX file of `odtk-ray export`. Throws UsageError where it cannot be read, is no ONNX
// file, was not written by `odtk-ray export`, or has another graph than it says.
ExportedFile read_exported(const std::string& path);

// Builds the model's description from a table of `format` and all fields but `sha256`.
// `name`: of the model, for the errors. `sha256`: of the file that it describes. Throws UsageError
// where a field is missing or not what it should be, or the format is newer.
ExportedModel parse_model(const std::string& name, const Json& values, const std::string& sha256);

// Returns the error for an exported model that cannot be used.
UsageError unusable_model(const std::string& path, const std::string& why,
                          const std::string& hint = "");

// Returns the error for a description that is not what `odtk-ray export` writes.
UsageError damaged_model(const std::string& name, const WrongJson& error);

// Returns whether a key of metadata is one of the description.
bool has_model_prefix(std::string_view key);

}  // namespace odtk
