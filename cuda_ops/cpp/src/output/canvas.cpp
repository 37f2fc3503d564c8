#include "output/canvas.h"

#include <algorithm>
#include <cmath>

#include "output/glyphs.h"

namespace odtk {
namespace {

void blend(std::uint8_t& below, int value, int alpha) {
  below = static_cast<std::uint8_t>((value * alpha + below * (255 - alpha) + 127) / 255);
}

// Returns a coordinate as a whole number between two others.
std::int64_t within(double value, std::int64_t least, std::int64_t most) {
  const double bounded =
      std::min(std::max(value, static_cast<double>(least)), static_cast<double>(most));
  return static_cast<std::int64_t>(bounded);
}

}  // namespace

void Canvas::fill(const Rectangle& area, const Ink& ink) {
  const std::int64_t x1 = std::max<std::int64_t>(area.x1, 0);
  const std::int64_t x2 = std::min<std::int64_t>(area.x2, image_.width - 1);
  const std::int64_t y2 = std::min<std::int64_t>(area.y2, image_.height - 1);
  for (std::int64_t y = std::max<std::int64_t>(area.y1, 0); y <= y2; ++y) {
    std::uint8_t* pixel = image_.rgb.get() + 3 * (y * image_.width + x1);
    for (std::int64_t x = x1; x <= x2; ++x, pixel += 3) {
      blend(pixel[0], ink.colour.red, ink.alpha);
      blend(pixel[1], ink.colour.green, ink.alpha);
      blend(pixel[2], ink.colour.blue, ink.alpha);
    }
  }
}

void Canvas::outline(const Rectangle& area, int line, const Ink& ink) {
  const std::int64_t inner_x1 = area.x1 + line, inner_x2 = area.x2 - line;
  const std::int64_t inner_y1 = area.y1 + line, inner_y2 = area.y2 - line;
  if (inner_x1 > inner_x2 || inner_y1 > inner_y2) return fill(area, ink);
  fill({area.x1, area.y1, area.x2, inner_y1 - 1}, ink);
  fill({area.x1, inner_y2 + 1, area.x2, area.y2}, ink);
  fill({area.x1, inner_y1, inner_x1 - 1, inner_y2}, ink);
  fill({inner_x2 + 1, inner_y1, area.x2, inner_y2}, ink);
}

void Canvas::line(double x1, double y1, double x2, double y2, int width, const Ink& ink) {
  // Along the axis on which it is longer, so that every step has a short span across.
  const bool flat = std::abs(x2 - x1) >= std::abs(y2 - y1);
  if (!flat) {
    std::swap(x1, y1);
    std::swap(x2, y2);
  }
  if (x1 > x2) {
    std::swap(x1, x2);
    std::swap(y1, y2);
  }
  const std::int64_t along = flat ? image_.width : image_.height;
  const std::int64_t across = flat ? image_.height : image_.width;
  const double slope = x2 > x1 ? (y2 - y1) / (x2 - x1) : 0;
  const double half = 0.5 * width * std::sqrt(1 + slope * slope);
  const std::int64_t last = within(std::rint(x2), -1, along - 1);
  for (std::int64_t step = within(std::rint(x1), 0, along); step <= last; ++step) {
    const double middle = y1 + (static_cast<double>(step) - x1) * slope;
    const std::int64_t from = within(std::ceil(middle - half), 0, across);
    const std::int64_t to = within(std::ceil(middle + half) - 1, -1, across - 1);
    fill(flat ? Rectangle{step, from, step, to} : Rectangle{from, step, to, step}, ink);
  }
}

void Canvas::text(std::int64_t x, std::int64_t y, const std::u32string& text, int scale,
                  const Ink& ink) {
  for (const char32_t character : text) {
    for (int row = 0; row < kGlyphHeight; ++row) {
      for (int column = 0; column < kGlyphWidth; ++column) {
        if (!glyph_dot(character, column, row)) continue;
        const std::int64_t left = x + column * scale, top = y + row * scale;
        fill({left, top, left + scale - 1, top + scale - 1}, ink);
      }
    }
    x += (kGlyphWidth + 1) * scale;
  }
}

}  // namespace odtk
