#include "plugin/plugin_fields.h"

#include <cstring>

#include "odtk.h"

namespace odtk {

namespace {

using nvinfer1::PluginField;
using nvinfer1::PluginFieldType;

constexpr std::int32_t kStoredFormat = 1;
constexpr std::int32_t kMostCount = 1'000'000;

// Calls `visit` with name and value of each field, in the order in which they are stored.
template <typename Fields, typename Visit>
void for_each_field(Fields& fields, Visit visit) {
  visit("strides", fields.strides);
  visit("anchors", fields.anchors);
  visit("classes", fields.classes);
  visit("threshold", fields.threshold);
  visit("top_n", fields.top_n);
  visit("nms", fields.nms);
  visit("detections", fields.detections);
  visit("rotated", fields.rotated);
}

constexpr PluginFieldType type_of(std::int32_t) { return PluginFieldType::kINT32; }
constexpr PluginFieldType type_of(float) { return PluginFieldType::kFLOAT32; }

[[noreturn]] void refuse(const std::string& why) {
  throw Error("OdtkDetections cannot be used", why);
}

const PluginField& find(const nvinfer1::PluginFieldCollection& given, const std::string& name,
                        PluginFieldType type) {
  for (int i = 0; i < given.nbFields; i++) {
    const PluginField& field = given.fields[i];
    if (name != field.name) continue;
    if (field.type != type) refuse("its field " + name + " has another type");
    return field;
  }
  refuse("it has no field " + name);
}

void check(const PluginFields& fields) {
  const auto require = [](bool right, const char* name) {
    if (!right) refuse(std::string("its field ") + name + " cannot be right");
  };
  const auto counts = [](std::int32_t value) { return value >= 1 && value <= kMostCount; };
  const auto shares = [](float value) { return value >= 0 && value <= 1; };
  require(!fields.strides.empty() && fields.strides.size() <= gpu::kMaxLevels, "strides");
  for (const std::int32_t stride : fields.strides) require(counts(stride), "strides");
  const std::size_t tables = 4 * fields.strides.size();
  require(!fields.anchors.empty() && fields.anchors.size() % tables == 0, "anchors");
  require(counts(fields.classes), "classes");
  require(shares(fields.threshold), "threshold");
  require(counts(fields.top_n), "top_n");
  require(shares(fields.nms), "nms");
  require(counts(fields.detections), "detections");
  require(fields.rotated >= 0 && fields.rotated <= 2, "rotated");
}

// Lists the fields that a node may have.
struct Names {
  std::vector<PluginField>& all;

  template <typename T>
  void operator()(const char* name, const T&) const {
    all.push_back(PluginField(name, nullptr, type_of(T()), 1));
  }
  template <typename T>
  void operator()(const char* name, const std::vector<T>&) const {
    (*this)(name, T());
  }
};

// Reads fields of a TensorRT network.
struct FromCollection {
  const nvinfer1::PluginFieldCollection& given;

  template <typename T>
  void operator()(const char* name, std::vector<T>& values) const {
    const PluginField& field = find(given, name, type_of(T()));
    const T* first = static_cast<const T*>(field.data);
    values.assign(first, first + field.length);
  }
  template <typename T>
  void operator()(const char* name, T& value) const {
    const PluginField& field = find(given, name, type_of(T()));
    if (field.length != 1) refuse(std::string("its field ") + name + " has another length");
    value = *static_cast<const T*>(field.data);
  }
};

// Appends fields to the bytes of a plan.
struct ToBytes {
  std::string& bytes;

  template <typename T>
  void operator()(const char*, const T& value) const {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  template <typename T>
  void operator()(const char* name, const std::vector<T>& values) const {
    (*this)(name, static_cast<std::int32_t>(values.size()));
    bytes.append(reinterpret_cast<const char*>(values.data()), sizeof(T) * values.size());
  }
};

// Takes fields from the bytes of a plan.
struct FromBytes {
  std::string_view& rest;

  void take(void* target, std::size_t bytes) const {
    if (bytes > rest.size()) refuse("the plan is cut off");
    if (bytes > 0) std::memcpy(target, rest.data(), bytes);
    rest.remove_prefix(bytes);
  }
  template <typename T>
  void operator()(const char*, T& value) const {
    take(&value, sizeof(value));
  }
  template <typename T>
  void operator()(const char* name, std::vector<T>& values) const {
    std::int32_t count = 0;
    (*this)(name, count);
    if (count < 0 || sizeof(T) * count > rest.size()) refuse("the plan is cut off");
    values.resize(count);
    take(values.data(), sizeof(T) * count);
  }
};

}  // namespace

int PluginFields::anchors_of_a_cell() const {
  return static_cast<int>(anchors.size() / 4 / strides.size());
}

gpu::PostprocessSettings PluginFields::settings() const {
  return {threshold, top_n, nms, detections, rotated == 2 ? RotatedNms::odtk : RotatedNms::own};
}

const nvinfer1::PluginFieldCollection& field_names() {
  static const std::vector<PluginField> fields = [] {
    std::vector<PluginField> all;
    PluginFields types;
    for_each_field(types, Names{all});
    return all;
  }();
  static const nvinfer1::PluginFieldCollection names{static_cast<std::int32_t>(fields.size()),
                                                     fields.data()};
  return names;
}

PluginFields read_fields(const nvinfer1::PluginFieldCollection& given) {
  PluginFields fields;
  for_each_field(fields, FromCollection{given});
  check(fields);
  return fields;
}

std::string serialize(const PluginFields& fields) {
  std::string bytes;
  const ToBytes append{bytes};
  append("format", kStoredFormat);
  for_each_field(fields, append);
  return bytes;
}

PluginFields deserialize(std::string_view stored) {
  const FromBytes take{stored};
  std::int32_t format = 0;
  take("format", format);
  if (format != kStoredFormat) refuse("another version of the plugin built the plan");
  PluginFields fields;
  for_each_field(fields, take);
  check(fields);
  return fields;
}

}  // namespace odtk
