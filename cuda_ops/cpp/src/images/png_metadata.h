// Reads from a PNG's metadata how the picture has to be turned.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace odtk {

struct PngMetadata {
  std::optional<std::string> exif;         // eXIf
  std::optional<std::string> raw_profile;  // EXIF in hexadecimal digits, as ImageMagick stored it
  std::string xmp;
};

// Takes over what a chunk says; damaged ones say nothing.
void take_metadata(std::string_view kind, std::string_view body, PngMetadata& metadata);

// Returns EXIF's orientation, 1 (upright) to 8; see `read_orientation`.
int png_orientation(const PngMetadata& metadata);

}  // namespace odtk
