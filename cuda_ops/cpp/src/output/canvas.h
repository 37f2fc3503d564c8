// Draws plain shapes into a picture; everything is cut off at its edges.
#pragma once

#include <cstdint>
#include <string>

#include "odtk.h"
#include "output/class_colour.h"

namespace odtk {

// A rectangle of pixels, with inclusive corners.
struct Rectangle {
  std::int64_t x1 = 0, y1 = 0, x2 = -1, y2 = -1;
};

// A colour, and how much of what is below it hides: 255 for all.
struct Ink {
  Colour colour;
  int alpha = 255;
};

class Canvas {
 public:
  // The image must outlive this object.
  explicit Canvas(Image& image) : image_(image) {}

  int width() const { return image_.width; }
  int height() const { return image_.height; }

  void fill(const Rectangle& area, const Ink& ink);

  // Draws the edge of a rectangle, so many pixels wide, inside of it.
  void outline(const Rectangle& area, int line, const Ink& ink);

  // Draws a straight line, so many pixels wide, between finite points, which may lie far away.
  void line(double x1, double y1, double x2, double y2, int width, const Ink& ink);

  // Writes one line of text; x and y are those of its upper left corner.
  //
  // scale: pixels of a dot of the font.
  void text(std::int64_t x, std::int64_t y, const std::u32string& text, int scale, const Ink& ink);

 private:
  Image& image_;
};

}  // namespace odtk
