// The description in an ONNX file, read without its weights and without protobuf's library.
#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace odtk {

// What was read is not protobuf, or is cut off.
class NotOnnx : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Keys and values in the order of the file; no key occurs twice.
template <typename Value>
using Entries = std::vector<std::pair<std::string, Value>>;

// Returns an ONNX file's `metadata_props`. Throws NotOnnx.
Entries<std::string> metadata_props(std::string_view file);

// Dimensions; those without a value are free.
using Dimensions = std::vector<std::optional<std::uint64_t>>;

// Returns name and dimensions of each input and output of a graph. Throws NotOnnx.
Entries<Dimensions> graph_ends(std::string_view file);

// Returns whether the first node of a graph is a Cast, as it is in a file of `export --half`.
// Throws NotOnnx.
bool begins_with_cast(std::string_view file);

}  // namespace odtk
