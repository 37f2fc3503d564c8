#include "dump.h"

#include <cstdio>
#include <cstring>

#include "model/files.h"

namespace odtk {

namespace {

// Version 1.0 of NumPy's format: magic, version, length of the header, header, values. The values
// begin at a multiple of 64 bytes.
std::string npy(const Detector::Tensor& tensor) {
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (";
  for (const int side : tensor.shape) header += std::to_string(side) + ", ";
  header += "), }";
  constexpr std::size_t kFixed = 10;
  const std::size_t length = (kFixed + header.size() + 1 + 63) / 64 * 64 - kFixed;
  header.resize(length - 1, ' ');
  header += '\n';
  std::string file("\x93NUMPY\x01\x00", 8);
  file += static_cast<char>(length & 255);
  file += static_cast<char>(length >> 8);
  file += header;
  const std::size_t bytes = sizeof(float) * tensor.values.size();
  const std::size_t start = file.size();
  file.resize(start + bytes);
  std::memcpy(&file[start], tensor.values.data(), bytes);
  return file;
}

}  // namespace

void dump_tensors(const std::string& folder, std::size_t number,
                  const std::vector<Detector::Tensor>& tensors) {
  char digits[24];
  std::snprintf(digits, sizeof(digits), "%06zu", number);
  for (const Detector::Tensor& tensor : tensors) {
    const std::string content = npy(tensor);
    write_together({{folder + "/" + digits + "-" + tensor.name + ".npy", content}});
  }
}

}  // namespace odtk
