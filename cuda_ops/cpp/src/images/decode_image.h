// Decodes image files to RGB, with the pixels that Pillow's `convert("RGB")` gives.
#pragma once

#include <cstddef>
#include <cstdint>

#include "odtk.h"

namespace odtk {

// Decodes the bytes of a JPEG or PNG file; alpha is dropped. `max_pixels` is checked in the header,
// before decoding. Throws ImageError: empty, truncated, damaged, too large, or of another format.
Image decode_image(const std::uint8_t* data, std::size_t size, const ReadOptions& options);

}  // namespace odtk
