#include "output/labels.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "output/class_names.h"
#include "output/glyphs.h"
#include "output/label_space.h"
#include "text/spaces.h"
#include "text/utf8.h"

namespace odtk {
namespace {

constexpr int kAlpha = 215;
constexpr std::size_t kLongest = 28;  // characters of a name
// The greatest share of the picture that labels may cover: those with names, and all of them.
constexpr double kNamed = 0.10, kLabelled = 0.15;

// Pixels of the font's dots, of the usual and the small text.
struct Scales {
  int usual = 1, small = 1;
};

// Returns what a label calls a class: nothing where there is one class alone.
std::u32string name_of(const PlanInfo& info, std::int32_t label) {
  if (info.classes == 1) return {};
  const std::string text = class_name(info, label);
  const std::string valid =
      collapse_spaces(std::string_view(text).substr(0, valid_utf8(text, Surrogates::kept)));
  std::u32string name;
  for (std::size_t at = 0; at < valid.size();) name += next_character(valid, at);
  return name.size() <= kLongest ? name : name.substr(0, kLongest - 3) + U"...";
}

std::u32string score_text(float score) {
  char text[64];
  std::snprintf(text, sizeof text, "%.2f", static_cast<double>(score));
  return {text, text + std::char_traits<char>::length(text)};
}

std::int64_t label_width(std::size_t characters, int scale) {
  // Two dots of margin on each side, and the last character has none behind it.
  return (static_cast<std::int64_t>(characters) * (kGlyphWidth + 1) - 1 + 4) * scale;
}

std::int64_t label_height(int scale) { return std::int64_t{kGlyphHeight + 2} * scale; }

// Text grows with the picture; where there are many labels all of it is small.
Scales choose_scales(const Canvas& canvas, const std::vector<std::u32string>& names) {
  const double area = static_cast<double>(canvas.width()) * canvas.height();
  // Pixels of a font size, of which capital letters take 7 tenths.
  const double usual = std::max(11.0, std::rint(std::sqrt(area) / 45));
  const auto scale = [](double size) {
    return std::max(1, static_cast<int>(std::rint(size / 10)));
  };
  const Scales scales{scale(usual), scale(0.7 * usual)};
  std::int64_t width = 0;
  for (const auto& name : names) width += label_width(name.size() + 5, scales.usual);
  const bool crowded = static_cast<double>(width * label_height(scales.usual)) > kNamed * area;
  return crowded ? Scales{scales.small, scales.small} : scales;
}

void draw_label(Canvas& canvas, const Rectangle& where, const std::u32string& text, int scale,
                const Colour& colour) {
  canvas.fill(where, {colour, kAlpha});
  canvas.text(where.x1 + 2 * scale, where.y1 + scale, text, scale, {text_colour(colour)});
}

}  // namespace

void draw_labels(Canvas& canvas, const std::vector<LabelledBox>& boxes, const PlanInfo& info) {
  std::vector<Rectangle> rectangles;
  std::vector<std::u32string> shown;
  for (const LabelledBox& box : boxes) {
    rectangles.push_back(box.box);
    shown.push_back(name_of(info, box.label));
  }
  const Scales scales = choose_scales(canvas, shown);
  LabelSpace space(canvas.width(), canvas.height(), std::move(rectangles));
  struct Wording {
    std::u32string text;
    int scale;
    double share;
  };
  for (std::size_t i = 0; i < boxes.size(); ++i) {
    const std::u32string number = score_text(boxes[i].score);
    const std::u32string text = shown[i].empty() ? number : shown[i] + U" " + number;
    for (const Wording& wording :
         {Wording{text, scales.usual, kNamed}, Wording{text, scales.small, kNamed},
          Wording{number, scales.small, kLabelled}}) {
      const auto where = space.take(boxes[i].box, label_width(wording.text.size(), wording.scale),
                                    label_height(wording.scale), wording.share);
      if (!where) continue;
      draw_label(canvas, *where, wording.text, wording.scale, class_colour(boxes[i].label));
      break;
    }
  }
}

}  // namespace odtk
