// Reads EXIF orientations, and turns pictures upright.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "odtk.h"

namespace odtk {

// Reads the orientation, 1 (upright) to 8, from a file's EXIF block, or from its XMP where EXIF has
// none; 1 if it is missing or unreadable. Follows Pillow's `getexif`.
int read_orientation(const std::optional<std::string>& exif, const std::string& xmp);

// Returns a copy of a picture, turned as an orientation of 2 to 8 asks for.
Image turn_upright(const Image& image, int orientation, const Allocate& allocate);

}  // namespace odtk
