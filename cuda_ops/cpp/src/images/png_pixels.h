// Unpacks the pixels of a PNG file.
#pragma once

#include <zlib.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "images/png_header.h"

namespace odtk {

// Follows Pillow's decoder in what it accepts: data that end after a whole row leave the rows below
// black, checksums do not matter, and neither does what follows the last row.
class PngPixels {
 public:
  // rgb: 3 * width * height bytes. The header must outlive this object.
  PngPixels(const PngHeader& header, std::uint8_t* rgb);
  ~PngPixels();
  PngPixels(const PngPixels&) = delete;
  PngPixels& operator=(const PngPixels&) = delete;

  // Decodes more of the compressed data, and returns whether the picture is complete. Throws
  // ImageError where they are damaged.
  bool feed(const std::uint8_t* data, std::size_t size);

 private:
  // A pass of Adam7: where it begins, and the steps from pixel to pixel.
  struct Pass {
    std::uint32_t x, y, step_x, step_y;
  };

  static const Pass kPasses[7];
  static const Pass kWhole;

  const Pass& pass() const { return header_.interlaced ? kPasses[pass_] : kWhole; }
  std::size_t row_pixels() const;
  std::size_t row_bytes() const { return (row_pixels() * bits_ + 7) / 8; }
  void unfilter();
  void store_row();
  // Moves to the next row, and returns whether there is one.
  bool next_row();

  const PngHeader& header_;
  std::uint8_t* rgb_;
  std::size_t bits_;                          // of a pixel
  std::vector<std::uint8_t> row_, previous_;  // with the filter's number in front
  std::vector<std::uint8_t> pixels_;          // of a row, RGB
  std::size_t filled_ = 0;                    // bytes of row_
  int pass_ = 0;
  std::uint32_t y_ = 0;
  z_stream stream_{};
};

}  // namespace odtk
