#include "images/png_pixels.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>

#include "odtk.h"

namespace odtk {
namespace {

[[noreturn]] void fail(const char* why) {
  throw ImageError(std::string("the image cannot be decoded: ") + why + " when reading image file");
}

std::uint8_t paeth(int left, int up, int corner) {
  const int to_left = std::abs(up - corner), to_up = std::abs(left - corner);
  const int to_corner = std::abs(left + up - 2 * corner);
  if (to_left <= to_up && to_left <= to_corner) return static_cast<std::uint8_t>(left);
  return static_cast<std::uint8_t>(to_up <= to_corner ? up : corner);
}

// Unpacks one sample of 1, 2, 4 or 8 bits, or the high byte of one of 16.
std::uint8_t sample(const std::uint8_t* row, std::size_t index, int depth) {
  if (depth >= 8) return row[index * (depth / 8)];
  const std::size_t bit = index * depth;
  return static_cast<std::uint8_t>(row[bit / 8] >> (8 - depth - bit % 8)) & ((1 << depth) - 1);
}

void unpack_gray(const PngHeader& header, const std::uint8_t* row, std::size_t count,
                 std::uint8_t* rgb) {
  const std::size_t step = header.colour == PngColour::gray_alpha ? 2 : 1;
  const int scale = header.depth >= 8 ? 1 : 255 / ((1 << header.depth) - 1);
  for (std::size_t x = 0; x < count; ++x, rgb += 3) {
    const auto value = static_cast<std::uint8_t>(sample(row, x * step, header.depth) * scale);
    rgb[0] = rgb[1] = rgb[2] = value;
  }
}

void unpack_palette(const PngHeader& header, const std::uint8_t* row, std::size_t count,
                    std::uint8_t* rgb) {
  for (std::size_t x = 0; x < count; ++x, rgb += 3) {
    std::memcpy(rgb, &header.palette[std::size_t{3} * sample(row, x, header.depth)], 3);
  }
}

void unpack_colour(const PngHeader& header, const std::uint8_t* row, std::size_t count,
                   std::uint8_t* rgb) {
  const std::size_t sample_bytes = header.depth / 8;
  const std::size_t step = sample_bytes * (header.colour == PngColour::rgb_alpha ? 4 : 3);
  if (step == 3) {
    std::memcpy(rgb, row, 3 * count);
    return;
  }
  for (std::size_t x = 0; x < count; ++x, row += step, rgb += 3) {
    for (std::size_t i = 0; i < 3; ++i) rgb[i] = row[i * sample_bytes];
  }
}

void unpack(const PngHeader& header, const std::uint8_t* row, std::size_t count,
            std::uint8_t* rgb) {
  switch (header.colour) {
    case PngColour::gray:
    case PngColour::gray_alpha:
      return unpack_gray(header, row, count, rgb);
    case PngColour::palette:
      return unpack_palette(header, row, count, rgb);
    default:
      return unpack_colour(header, row, count, rgb);
  }
}

}  // namespace

const PngPixels::Pass PngPixels::kPasses[7] = {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8},
                                               {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2},
                                               {0, 1, 1, 2}};
const PngPixels::Pass PngPixels::kWhole = {0, 0, 1, 1};

PngPixels::PngPixels(const PngHeader& header, std::uint8_t* rgb)
    : header_(header), rgb_(rgb), bits_(header.pixel_bits()) {
  const std::size_t longest = (header.width * bits_ + 7) / 8;
  if (longest > INT32_MAX) fail("out of memory");
  row_.resize(longest + 1);
  previous_.resize(longest + 1);
  pixels_.resize(std::size_t{3} * header.width);
  // Rows that the data may not reach, of pixels of value 0.
  unpack(header, row_.data(), header.width, pixels_.data());
  for (std::uint32_t y = 0; y < header.height; ++y) {
    std::memcpy(rgb + pixels_.size() * y, pixels_.data(), pixels_.size());
  }
  if (inflateInit(&stream_) != Z_OK) fail("codec configuration error");
}

PngPixels::~PngPixels() { inflateEnd(&stream_); }

std::size_t PngPixels::row_pixels() const {
  const Pass& steps = pass();
  return (header_.width + steps.step_x - 1 - steps.x) / steps.step_x;
}

bool PngPixels::feed(const std::uint8_t* data, std::size_t size) {
  stream_.next_in = const_cast<Bytef*>(data);
  stream_.avail_in = static_cast<uInt>(size);
  while (stream_.avail_in > 0) {
    const std::size_t needed = row_bytes() + 1;
    stream_.next_out = row_.data() + filled_;
    stream_.avail_out = static_cast<uInt>(needed - filled_);
    const int state = inflate(&stream_, Z_NO_FLUSH);
    if (state < 0) fail(state == Z_DATA_ERROR ? "broken data stream" : "codec configuration error");
    filled_ = needed - stream_.avail_out;
    if (filled_ < needed) break;
    unfilter();
    store_row();
    filled_ = 0;
    std::swap(row_, previous_);
    if (!next_row() || state == Z_STREAM_END) return true;
  }
  return false;
}

void PngPixels::unfilter() {
  const std::size_t count = row_bytes(), pixel = std::max<std::size_t>(bits_ / 8, 1);
  std::uint8_t* row = row_.data() + 1;
  const std::uint8_t* up = previous_.data() + 1;
  const auto left = [&](std::size_t i) { return i < pixel ? 0 : row[i - pixel]; };
  const auto corner = [&](std::size_t i) { return i < pixel ? 0 : up[i - pixel]; };
  switch (row_[0]) {
    case 0:
      break;
    case 1:
      for (std::size_t i = pixel; i < count; ++i) row[i] += row[i - pixel];
      break;
    case 2:
      for (std::size_t i = 0; i < count; ++i) row[i] += up[i];
      break;
    case 3:
      for (std::size_t i = 0; i < count; ++i) row[i] += (left(i) + up[i]) / 2;
      break;
    case 4:
      for (std::size_t i = 0; i < count; ++i) row[i] += paeth(left(i), up[i], corner(i));
      break;
    default:
      fail("unrecognized data stream contents");
  }
}

void PngPixels::store_row() {
  std::uint8_t* target = rgb_ + std::size_t{3} * header_.width * y_;
  if (!header_.interlaced) return unpack(header_, row_.data() + 1, header_.width, target);
  unpack(header_, row_.data() + 1, row_pixels(), pixels_.data());
  const Pass& steps = pass();
  target += std::size_t{3} * steps.x;
  for (std::size_t x = 0; x < row_pixels(); ++x, target += std::size_t{3} * steps.step_x) {
    std::memcpy(target, pixels_.data() + 3 * x, 3);
  }
}

bool PngPixels::next_row() {
  y_ += pass().step_y;
  if (!header_.interlaced) return y_ < header_.height;
  while (y_ >= header_.height || row_pixels() == 0) {
    if (++pass_ == 7) return false;
    y_ = pass().y;
    // Filters begin anew in each pass.
    std::fill(previous_.begin(), previous_.end(), std::uint8_t{0});
  }
  return true;
}

}  // namespace odtk
