// Finds places for the labels of boxes.
#pragma once

#include <optional>
#include <vector>

#include "output/canvas.h"

namespace odtk {

// The space for labels: inside the picture, apart from each other, hiding no box.
class LabelSpace {
 public:
  // boxes: those that can be seen, cut off at the picture's edges.
  LabelSpace(int width, int height, std::vector<Rectangle> boxes);

  // Reserves the best free place for a label of this size at a box: above, at the top inside, or
  // below; nothing if there is none. The labels so far and this one may cover the given share of
  // the picture.
  std::optional<Rectangle> take(const Rectangle& box, std::int64_t label_width,
                                std::int64_t label_height, double share);

 private:
  bool is_free(const Rectangle& label) const;

  std::int64_t width_, height_, covered_ = 0;
  std::vector<Rectangle> boxes_, labels_;
};

}  // namespace odtk
