// Labels of detections: their words, sizes and places.
#pragma once

#include <cstdint>
#include <vector>

#include "odtk.h"
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
// info: says what the classes are called; one class alone is not named.
void draw_labels(Canvas& canvas, const std::vector<LabelledBox>& boxes, const PlanInfo& info);

}  // namespace odtk
