// Decodes JPEG files with libjpeg.
#pragma once

#include <cstddef>
#include <cstdint>

#include "images/jpeg_header.h"

namespace odtk {

// Decodes a whole file to RGB.
//
// rgb: 3 * width * height bytes, row after row.
// Throws ImageError: truncated or damaged. Damage that libjpeg only warns of is not told, as by
// Pillow.
void decode_jpeg(const std::uint8_t* data, std::size_t size, const JpegHeader& header,
                 std::uint8_t* rgb);

}  // namespace odtk
