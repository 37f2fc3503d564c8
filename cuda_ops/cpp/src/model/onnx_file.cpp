#include "model/onnx_file.h"

#include <algorithm>
#include <initializer_list>
#include <limits>
#include <map>

#include "text/utf8.h"

namespace odtk {
namespace {

// Fields of onnx.proto.
constexpr std::uint64_t kModelGraph = 7, kModelMetadata = 14;
constexpr std::uint64_t kEntryKey = 1, kEntryValue = 2;
constexpr std::uint64_t kGraphInput = 11, kGraphOutput = 12;
constexpr std::uint64_t kEndName = 1;
// ValueInfoProto.type, TypeProto.tensor_type, Tensor.shape, TensorShapeProto.dim
constexpr std::initializer_list<std::uint64_t> kEndDimensions = {2, 1, 2, 1};
constexpr unsigned char kDimensionValue = 1 << 3;  // the tag of Dimension.dim_value

// Where a field's bytes lie.
struct Span {
  std::size_t start, end;
};

struct Field {
  std::uint64_t number;
  Span span;
};

// Protobuf's wire format.
class Wire {
 public:
  explicit Wire(std::string_view file) : file_(file) {}

  Span all() const { return {0, file_.size()}; }

  // Returns the fields with a length of a message: texts, and messages within it.
  std::vector<Field> fields(Span message) const {
    std::vector<Field> fields;
    for (std::size_t at = message.start; at < message.end;) {
      const std::uint64_t tag = varint(at);
      const std::uint64_t size = size_of(tag & 7, at);
      if (at > message.end || size > message.end - at) throw NotOnnx("cut off");
      if ((tag & 7) == 2) fields.push_back({tag >> 3, {at, at + size}});
      at += size;
    }
    return fields;
  }

  // Returns the fields under these numbers, one message within the other.
  std::vector<Span> inner(Span message, std::initializer_list<std::uint64_t> path) const {
    std::vector<Span> found{message};
    for (std::uint64_t number : path) {
      std::vector<Span> next;
      for (const Span& span : found) {
        for (const Field& field : fields(span)) {
          if (field.number == number) next.push_back(field.span);
        }
      }
      found = std::move(next);
    }
    return found;
  }

  std::string text(Span span) const {
    const std::string_view bytes = file_.substr(span.start, span.end - span.start);
    if (valid_utf8(bytes, Surrogates::refused) < bytes.size()) throw NotOnnx("not UTF-8");
    return std::string(bytes);
  }

  std::optional<std::uint64_t> dimension(Span span) const {
    if (span.start == span.end || byte(span.start) != kDimensionValue) return {};
    std::size_t at = span.start + 1;
    return varint(at);
  }

 private:
  // Returns the bytes of a field of this wire type, whose length may stand before it.
  std::uint64_t size_of(std::uint64_t type, std::size_t& at) const {
    switch (type) {
      case 0:
        varint(at);
        return 0;
      case 1:
        return 8;
      case 2:
        return varint(at);
      case 5:
        return 4;
      default:
        throw NotOnnx("not protobuf");
    }
  }

  // Returns the number at an index, and moves the index behind it. Numbers of more than 64 bits
  // become the greatest.
  std::uint64_t varint(std::size_t& at) const {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 70; shift += 7) {
      const std::uint64_t bits = byte(at) & 127;
      const bool too_large = shift == 63 && bits > 1;
      value = too_large ? std::numeric_limits<std::uint64_t>::max() : value | bits << shift;
      if (byte(at++) < 128) return value;
    }
    throw NotOnnx("not protobuf");
  }

  unsigned char byte(std::size_t at) const {
    if (at >= file_.size()) throw NotOnnx("cut off");
    return static_cast<unsigned char>(file_[at]);
  }

  std::string_view file_;
};

// Sets the value of a key; a new one comes last.
template <typename Value>
void set(Entries<Value>& entries, std::string key, Value value) {
  const auto same = [&key](const auto& entry) { return entry.first == key; };
  const auto found = std::find_if(entries.begin(), entries.end(), same);
  if (found != entries.end()) {
    found->second = std::move(value);
  } else {
    entries.emplace_back(std::move(key), std::move(value));
  }
}

}  // namespace

Entries<std::string> metadata_props(std::string_view file) {
  const Wire wire(file);
  Entries<std::string> entries;
  for (const Span& span : wire.inner(wire.all(), {kModelMetadata})) {
    std::map<std::uint64_t, std::string> texts;
    for (const Field& field : wire.fields(span)) texts[field.number] = wire.text(field.span);
    if (texts.count(kEntryKey) == 0) throw NotOnnx("a key is missing");
    set(entries, texts[kEntryKey], texts[kEntryValue]);
  }
  return entries;
}

Entries<Dimensions> graph_ends(std::string_view file) {
  const Wire wire(file);
  Entries<Dimensions> ends;
  for (const Span& graph : wire.inner(wire.all(), {kModelGraph})) {
    for (std::uint64_t kind : {kGraphInput, kGraphOutput}) {
      for (const Span& end : wire.inner(graph, {kind})) {
        const std::vector<Span> names = wire.inner(end, {kEndName});
        if (names.size() != 1) throw NotOnnx("not one name");
        Dimensions dimensions;
        for (const Span& span : wire.inner(end, kEndDimensions)) {
          dimensions.push_back(wire.dimension(span));
        }
        set(ends, wire.text(names[0]), std::move(dimensions));
      }
    }
  }
  return ends;
}

}  // namespace odtk
