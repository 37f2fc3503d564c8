// Colours of classes.
#pragma once

#include <cstdint>

namespace odtk {

struct Colour {
  std::uint8_t red = 0, green = 0, blue = 0;
};

// Returns the colour of a class: constant, unlike those of nearby classes, and the same as
// Python's.
Colour class_colour(std::int32_t index);

// Returns the colour of text on a colour: black or white.
Colour text_colour(const Colour& background);

}  // namespace odtk
