#include <cstdio>
#include <fstream>
#include <iterator>

#include "text/sha256.h"
#include "units.h"

namespace {

// sha256 STEP FILE...: prints the hash of each file, which is added in pieces of STEP bytes.
void hash_files(const Arguments& arguments) {
  const std::size_t step = std::stoul(arguments.at(0));
  for (std::size_t i = 1; i < arguments.size(); i++) {
    std::ifstream file(arguments[i], std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    odtk::Sha256 hash;
    for (std::size_t at = 0; at < bytes.size(); at += step) hash.add({bytes.substr(at, step)});
    std::printf("%s\n", hash.hex().c_str());
  }
}

const Unit unit("sha256", hash_files);

}  // namespace
