#include "output/class_colour.h"

#include <cmath>

namespace odtk {
namespace {

struct Tone {
  double saturation, value;
};

// One class after another.
constexpr Tone kTones[] = {{0.80, 1.00}, {0.90, 0.88}, {0.55, 1.00}};

std::uint8_t to_byte(double share) {
  return static_cast<std::uint8_t>(std::nearbyint(255 * share));
}

Colour from_shares(double red, double green, double blue) {
  return {to_byte(red), to_byte(green), to_byte(blue)};
}

// Converts from hue, saturation and value, all in [0, 1].
Colour from_hsv(double hue, const Tone& tone) {
  const int sector = static_cast<int>(hue * 6);
  const double part = hue * 6 - sector, top = tone.value;
  const double low = top * (1 - tone.saturation);
  const double falling = top * (1 - tone.saturation * part);
  const double rising = top * (1 - tone.saturation * (1 - part));
  switch (sector % 6) {
    case 0:
      return from_shares(top, rising, low);
    case 1:
      return from_shares(falling, top, low);
    case 2:
      return from_shares(low, top, rising);
    case 3:
      return from_shares(low, falling, top);
    case 4:
      return from_shares(rising, low, top);
    default:
      return from_shares(top, low, falling);
  }
}

}  // namespace

Colour class_colour(std::int32_t index) {
  // Steps of this share of a circle never repeat and spread evenly.
  const double golden = (std::sqrt(5.0) - 1) / 2;
  const double turns = index * golden;
  const int tone = ((index % 3) + 3) % 3;
  return from_hsv(turns - std::floor(turns), kTones[tone]);
}

Colour text_colour(const Colour& background) {
  // ITU-R BT.601 luma.
  const double luma = 0.299 * background.red + 0.587 * background.green + 0.114 * background.blue;
  return luma > 128 ? Colour{0, 0, 0} : Colour{255, 255, 255};
}

}  // namespace odtk
