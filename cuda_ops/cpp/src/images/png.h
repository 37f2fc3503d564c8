// Decodes PNG files.
#pragma once

#include <cstddef>
#include <cstdint>

#include "images/png_header.h"

namespace odtk {

// Decodes a whole file to RGB: alpha and transparency are dropped, 16-bit samples become their high
// byte, gamma and profiles are not applied, as by Pillow.
//
// header: of this file; metadata behind the pixels is added to it.
// rgb: 3 * width * height bytes, row after row.
// Throws ImageError: truncated or damaged.
void decode_png(const std::uint8_t* data, std::size_t size, PngHeader& header, std::uint8_t* rgb);

}  // namespace odtk
