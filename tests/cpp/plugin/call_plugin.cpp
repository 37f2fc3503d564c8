// Calls the plugin as TensorRT does. Reads the fields of a node from standard input, a line each:
// name, type, values. The arguments are a batch, then channels of scores, channels of boxes, height
// and width of each level.
//
// Prints what it finds, a line each; ends with 1 where the plugin refuses the fields.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <list>
#include <sstream>
#include <string>
#include <vector>

#include "NvInferRuntime.h"

using namespace nvinfer1;

namespace {

constexpr unsigned char kUntouched = 0xA5;
constexpr std::size_t kBeyond = 64;  // bytes behind each output

struct Fields {
  std::list<std::string> names;
  std::list<std::vector<float>> reals;
  std::list<std::vector<int32_t>> integers;
  std::vector<PluginField> all;
};

Fields read_fields() {
  Fields fields;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string name, type;
    words >> name >> type;
    fields.names.push_back(name);
    const char* kept = fields.names.back().c_str();
    if (type == "int") {
      fields.integers.emplace_back();
      for (int32_t value; words >> value;) fields.integers.back().push_back(value);
      const auto& values = fields.integers.back();
      fields.all.emplace_back(kept, values.data(), PluginFieldType::kINT32,
                              static_cast<int32_t>(values.size()));
    } else {
      fields.reals.emplace_back();
      for (float value; words >> value;) fields.reals.back().push_back(value);
      const auto& values = fields.reals.back();
      fields.all.emplace_back(kept, values.data(), PluginFieldType::kFLOAT32,
                              static_cast<int32_t>(values.size()));
    }
  }
  return fields;
}

std::vector<PluginTensorDesc> describe_inputs(int count, char** values) {
  std::vector<PluginTensorDesc> scores, boxes;
  const int batch = std::atoi(values[1]);
  for (int i = 2; i + 3 < count; i += 4) {
    const int height = std::atoi(values[i + 2]), width = std::atoi(values[i + 3]);
    const auto tensor = [&](const char* channels) {
      return PluginTensorDesc{{4, {batch, std::atoi(channels), height, width}},
                              DataType::kFLOAT,
                              TensorFormat::kLINEAR,
                              1};
    };
    scores.push_back(tensor(values[i]));
    boxes.push_back(tensor(values[i + 1]));
  }
  scores.insert(scores.end(), boxes.begin(), boxes.end());
  return scores;
}

std::string bytes_of(const IPluginV2& plugin) {
  std::string bytes(plugin.getSerializationSize(), '\0');
  plugin.serialize(&bytes[0]);
  return bytes;
}

void print(const char* what, bool right) { std::printf("%s: %s\n", what, right ? "yes" : "no"); }

void check_storing(IPluginCreator& creator, const IPluginV2& plugin) {
  const std::string bytes = bytes_of(plugin);
  IPluginV2* other = creator.deserializePlugin("detections", bytes.data(), bytes.size());
  print("a plan has it again", other != nullptr && bytes_of(*other) == bytes);
  other->destroy();
  bool refused = true;
  for (std::size_t size = 0; size < bytes.size(); size++) {
    const std::vector<char> part(bytes.begin(), bytes.begin() + size);
    refused = refused && creator.deserializePlugin("x", part.data(), size) == nullptr;
  }
  print("cut plans are refused", refused);
}

std::vector<std::size_t> print_shapes(IPluginV2DynamicExt& plugin, int batch) {
  IExprBuilder builder;
  const IDimensionExpr images(batch);
  const DimsExprs input{4, {&images}};
  std::vector<std::size_t> counts;
  for (int i = 0; i < plugin.getNbOutputs(); i++) {
    const DimsExprs shape = plugin.getOutputDimensions(i, &input, 1, builder);
    std::size_t count = 1;
    std::printf("output %d: type %d,", i,
                static_cast<int>(plugin.getOutputDataType(i, nullptr, 0)));
    for (int k = 0; k < shape.nbDims; k++) {
      std::printf(" %lld", static_cast<long long>(shape.d[k]->value));
      count *= shape.d[k]->value;
    }
    std::printf("\n");
    counts.push_back(count);
  }
  return counts;
}

void check_formats(IPluginV2DynamicExt& plugin, std::vector<PluginTensorDesc> tensors) {
  const int inputs = static_cast<int>(tensors.size());
  tensors.insert(tensors.end(), 3, tensors[0]);
  tensors.back().type = DataType::kINT32;
  bool right = true, others = false;
  for (int i = 0; i < inputs + 3; i++) {
    right = right && plugin.supportsFormatCombination(i, tensors.data(), inputs, 3);
    for (const DataType type : {DataType::kFLOAT, DataType::kHALF, DataType::kINT32}) {
      std::vector<PluginTensorDesc> changed = tensors;
      changed[i].type = type;
      const bool taken = plugin.supportsFormatCombination(i, changed.data(), inputs, 3);
      others = others || taken != (type == tensors[i].type);
    }
    std::vector<PluginTensorDesc> changed = tensors;
    changed[i].format = TensorFormat::kCHW4;
    others = others || plugin.supportsFormatCombination(i, changed.data(), inputs, 3);
  }
  print("its types and formats are taken", right);
  print("no others are taken", !others);
  print("fewer inputs are refused",
        !plugin.supportsFormatCombination(0, tensors.data(), inputs - 1, 3));
}

// Runs it in memory that is exactly as large as it asked for.
void run(IPluginV2DynamicExt& plugin, const std::vector<PluginTensorDesc>& inputs,
         const std::vector<std::size_t>& counts) {
  const int input_count = static_cast<int>(inputs.size());
  std::vector<unsigned char> workspace(
      plugin.getWorkspaceSize(inputs.data(), input_count, nullptr, 3), kUntouched);
  std::printf("workspace: %zu\n", workspace.size());
  std::vector<std::vector<unsigned char>> outputs;
  std::vector<void*> targets;
  for (const std::size_t count : counts) {
    outputs.emplace_back(4 * count + kBeyond, kUntouched);
  }
  for (auto& output : outputs) targets.push_back(output.data());
  const std::vector<float> values(16);
  const std::vector<void const*> sources(inputs.size(), values.data());
  const auto enqueue = [&] {
    return plugin.enqueue(inputs.data(), nullptr, sources.data(), targets.data(), workspace.data(),
                          nullptr);
  };
  print("it does not run before it has started", enqueue() != 0);
  print("it starts", plugin.initialize() == 0);
  print("it runs", enqueue() == 0);
  print("it runs again", enqueue() == 0);
  bool written = true, beyond = true;
  for (std::size_t i = 0; i < counts.size(); i++) {
    for (std::size_t k = 0; k < outputs[i].size(); k++) {
      const bool inside = k < 4 * counts[i];
      (inside ? written : beyond) &= outputs[i][k] == (inside ? 0 : kUntouched);
    }
  }
  print("its outputs are written", written);
  print("nothing behind them is", beyond);
  IPluginV2DynamicExt* copy = plugin.clone();
  plugin.terminate();
  plugin.destroy();
  print("a copy outlives it", copy->enqueue(inputs.data(), nullptr, sources.data(), targets.data(),
                                            workspace.data(), nullptr) == 0);
  std::printf("namespace: %s\n", copy->getPluginNamespace());
  copy->terminate();
  copy->destroy();
}

}  // namespace

int main(int count, char** values) {
  IPluginCreator* creator = getPluginRegistry()->getPluginCreator("OdtkDetections", "1");
  if (creator == nullptr) return 2;
  const PluginFieldCollection names = *creator->getFieldNames();
  std::printf("fields:");
  for (int i = 0; i < names.nbFields; i++) std::printf(" %s", names.fields[i].name);
  std::printf("\n");
  const Fields fields = read_fields();
  const PluginFieldCollection given{static_cast<int32_t>(fields.all.size()), fields.all.data()};
  auto* plugin = static_cast<IPluginV2DynamicExt*>(creator->createPlugin("detections", &given));
  if (plugin == nullptr) return 1;
  plugin->setPluginNamespace("some");
  check_storing(*creator, *plugin);
  const std::vector<PluginTensorDesc> inputs = describe_inputs(count, values);
  check_formats(*plugin, inputs);
  run(*plugin, inputs, print_shapes(*plugin, std::atoi(values[1])));
}
