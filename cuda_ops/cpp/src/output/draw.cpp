// Draws detections into a picture: boxes, and labels where they hide nothing.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "odtk.h"
#include "output/canvas.h"
#include "output/labels.h"

namespace odtk {
namespace {

// A soft dark edge, so that every colour shows on every background.
constexpr Ink kHalo{{0, 0, 0}, 110};

struct Point {
  double x = 0, y = 0;
};
using Corners = std::array<Point, 4>;

// Returns the corners of a rotated box, which turns around its centre.
Corners corners_of(const std::array<float, 6>& box) {
  const double half_x = (static_cast<double>(box[2]) - box[0]) / 2;
  const double half_y = (static_cast<double>(box[3]) - box[1]) / 2;
  const double length = std::hypot(box[4], box[5]);
  const double sin = length > 0 ? box[4] / length : 0, cos = length > 0 ? box[5] / length : 1;
  Corners corners;
  constexpr int signs[4][2] = {{-1, -1}, {-1, 1}, {1, 1}, {1, -1}};
  for (std::size_t i = 0; i < corners.size(); ++i) {
    const double dx = signs[i][0] * half_x, dy = signs[i][1] * half_y;
    corners[i] = {box[0] + half_x + dx * cos - dy * sin, box[1] + half_y + dx * sin + dy * cos};
  }
  return corners;
}

// The corners x1, y1, x2, y2 of what encloses a detection.
std::array<double, 4> enclosing(const Detection& found, bool rotated) {
  if (!rotated) return {found.box[0], found.box[1], found.box[2], found.box[3]};
  constexpr double infinity = std::numeric_limits<double>::infinity();
  std::array<double, 4> box{infinity, infinity, -infinity, -infinity};
  for (const Point& corner : corners_of(found.box)) {
    // Not std::min, which would pass over NaN.
    if (!std::isfinite(corner.x) || !std::isfinite(corner.y)) return {infinity, 0, 0, 0};
    box = {std::min(box[0], corner.x), std::min(box[1], corner.y), std::max(box[2], corner.x),
           std::max(box[3], corner.y)};
  }
  return box;
}

// Returns whether any of a box lies in the picture; sets the rectangle to what does.
bool is_visible(const std::array<double, 4>& box, const Canvas& canvas, Rectangle* rectangle) {
  const double last_x = canvas.width() - 1, last_y = canvas.height() - 1;
  const auto is_finite = [](double value) { return std::isfinite(value); };
  const bool visible = std::all_of(box.begin(), box.end(), is_finite) && box[0] <= box[2] &&
                       box[1] <= box[3] && box[0] <= last_x && box[1] <= last_y && box[2] >= 0 &&
                       box[3] >= 0;
  if (!visible) return false;
  const auto pixel = [](double value, double last) {
    return static_cast<std::int64_t>(std::rint(std::clamp(value, 0.0, last)));
  };
  *rectangle = {pixel(box[0], last_x), pixel(box[1], last_y), pixel(box[2], last_x),
                pixel(box[3], last_y)};
  return true;
}

void draw_box(Canvas& canvas, const Rectangle& box, const Colour& colour, int line) {
  // A small box stays open in the middle.
  const std::int64_t short_side = std::min(box.x2 - box.x1, box.y2 - box.y1);
  line = static_cast<int>(std::max<std::int64_t>(1, std::min<std::int64_t>(line, short_side / 8)));
  canvas.outline({box.x1 - 1, box.y1 - 1, box.x2 + 1, box.y2 + 1}, line + 2, kHalo);
  canvas.outline(box, line, {colour});
}

void draw_outline(Canvas& canvas, const Corners& corners, const Colour& colour, int line) {
  const auto draw_edges = [&](int width, const Ink& ink) {
    for (std::size_t i = 0; i < corners.size(); ++i) {
      const Point &from = corners[i], &to = corners[(i + 1) % corners.size()];
      canvas.line(from.x, from.y, to.x, to.y, width, ink);
    }
  };
  draw_edges(line + 2, kHalo);
  draw_edges(line, {colour});
}

// Returns the detections, the best first; scores that are no numbers are the worst.
std::vector<const Detection*> by_score(const Detections& detections) {
  std::vector<const Detection*> order;
  for (const Detection& found : detections) order.push_back(&found);
  const auto rank = [](const Detection* found) {
    return std::isnan(found->score) ? -std::numeric_limits<float>::infinity() : found->score;
  };
  std::stable_sort(order.begin(), order.end(),
                   [&](const Detection* a, const Detection* b) { return rank(a) > rank(b); });
  return order;
}

}  // namespace

void draw(Image& image, const Detections& detections, const PlanInfo& info) {
  Canvas canvas(image);
  const double area = static_cast<double>(image.width) * image.height;
  const int line = std::max(1, static_cast<int>(std::rint(std::sqrt(area) / 320)));
  std::vector<const Detection*> visible;
  std::vector<LabelledBox> boxes;
  for (const Detection* found : by_score(detections)) {
    Rectangle box;
    if (!is_visible(enclosing(*found, info.rotated), canvas, &box)) continue;
    visible.push_back(found);
    boxes.push_back({box, found->label, found->score});
  }
  for (std::size_t i = visible.size(); i-- > 0;) {  // the best on top
    const Colour colour = class_colour(visible[i]->label);
    if (info.rotated) {
      draw_outline(canvas, corners_of(visible[i]->box), colour, line);
    } else {
      draw_box(canvas, boxes[i].box, colour, line);
    }
  }
  draw_labels(canvas, boxes, info);
}

}  // namespace odtk
