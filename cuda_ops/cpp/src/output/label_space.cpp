#include "output/label_space.h"

#include <algorithm>

namespace odtk {
namespace {

constexpr double kHidden = 0.3;  // the greatest share of any box that a label may cover

// Counts the pixels that two rectangles have in common.
std::int64_t overlap(const Rectangle& a, const Rectangle& b) {
  const std::int64_t width = std::min(a.x2, b.x2) - std::max(a.x1, b.x1) + 1;
  const std::int64_t height = std::min(a.y2, b.y2) - std::max(a.y1, b.y1) + 1;
  return std::max<std::int64_t>(width, 0) * std::max<std::int64_t>(height, 0);
}

}  // namespace

LabelSpace::LabelSpace(int width, int height, std::vector<Rectangle> boxes)
    : width_(width), height_(height), boxes_(std::move(boxes)) {}

std::optional<Rectangle> LabelSpace::take(const Rectangle& box, std::int64_t label_width,
                                          std::int64_t label_height, double share) {
  const std::int64_t room_x = width_ - label_width, room_y = height_ - label_height;
  const std::int64_t covered = covered_ + label_width * label_height;
  const double allowed = share * static_cast<double>(width_ * height_);
  if (room_x < 0 || room_y < 0 || static_cast<double>(covered) > allowed) return std::nullopt;
  for (const std::int64_t top : {box.y1 - label_height, box.y1, box.y2 + 1}) {
    const std::int64_t x = std::min(box.x1, room_x);
    const std::int64_t y = std::min(std::max<std::int64_t>(top, 0), room_y);
    const Rectangle label{x, y, x + label_width - 1, y + label_height - 1};
    if (!is_free(label)) continue;
    labels_.push_back(label);
    covered_ = covered;
    return label;
  }
  return std::nullopt;
}

bool LabelSpace::is_free(const Rectangle& label) const {
  const auto taken = [&](const Rectangle& other) { return overlap(label, other) > 0; };
  const auto hidden = [&](const Rectangle& box) {
    return static_cast<double>(overlap(label, box)) >
           kHidden * static_cast<double>(overlap(box, box));
  };
  return std::none_of(labels_.begin(), labels_.end(), taken) &&
         std::none_of(boxes_.begin(), boxes_.end(), hidden);
}

}  // namespace odtk
