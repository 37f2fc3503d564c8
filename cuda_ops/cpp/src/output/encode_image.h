// Encodes pictures as files.
#pragma once

#include <string>

#include "odtk.h"

namespace odtk {

// Returns a JPEG of quality 90 with 4:2:0 chroma. Throws Error: it is too large for a JPEG.
std::string encode_jpeg(const Image& image);

// Returns a PNG.
std::string encode_png(const Image& image);

}  // namespace odtk
