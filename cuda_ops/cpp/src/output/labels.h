// Labels of detections: their words, sizes and places.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "output/canvas.h"

namespace odtk {

struct LabelledBox {
  Rectangle box;  // cut off at the picture's edges
  std::int32_t label = 0;
  float score = 0;
};

// Draws a label at each box where it hides neither boxes nor other labels, in smaller text or with
// the score alone if need be.
//
// boxes: the best first.
// names: of the classes; a class beyond them is shown by its number.
void draw_labels(Canvas& canvas, const std::vector<LabelledBox>& boxes,
                 const std::vector<std::string>& names);

}  // namespace odtk
