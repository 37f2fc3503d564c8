#include <array>
#include <cstdio>
#include <iostream>

#include "images/decode_image.h"
#include "images/pixel_levels.h"
#include "images/resize.h"
#include "pillow_resize.h"
#include "units.h"

namespace {

void print_bytes(const void* bytes, std::size_t count) { std::fwrite(bytes, 1, count, stdout); }

// pixels FILE [apply]: prints width, height and RGB.
void print_pixels(const Arguments& arguments) {
  odtk::ReadOptions options;
  options.apply_exif = arguments.size() > 1 && arguments[1] == "apply";
  const odtk::Image image = odtk::read_image(arguments.at(0), options);
  const std::array<std::int32_t, 2> size{image.width, image.height};
  print_bytes(size.data(), sizeof size);
  print_bytes(image.rgb.get(), std::size_t{3} * image.width * image.height);
}

// FNV-1a.
std::uint64_t hash(const std::uint8_t* bytes, std::size_t count) {
  std::uint64_t value = 14695981039346656037u;
  for (std::size_t i = 0; i < count; ++i) value = (value ^ bytes[i]) * 1099511628211u;
  return value;
}

// verdicts PIXELS: of each file that standard input names, a line with its size and the hash of its
// pixels, or with what is wrong. More than PIXELS are too large; `apply` turns by EXIF.
void print_verdicts(const Arguments& arguments) {
  odtk::ReadOptions options;
  options.max_pixels = std::stoll(arguments.at(0));
  options.apply_exif = arguments.size() > 1 && arguments[1] == "apply";
  for (std::string path; std::getline(std::cin, path);) {
    try {
      const odtk::Image image = odtk::read_image(path, options);
      const std::size_t bytes = std::size_t{3} * image.width * image.height;
      std::printf("%dx%d %016llx\n", image.width, image.height,
                  static_cast<unsigned long long>(hash(image.rgb.get(), bytes)));
    } catch (const odtk::ImageError& error) {
      std::printf("! %s\n", error.what());
    }
  }
}

// table: of each line "SIZE NEW" of standard input, prints taps and the packed table.
void print_tables(const Arguments&) {
  for (int size, new_size; std::cin >> size >> new_size;) {
    const odtk::ResizeTable table = odtk::resize_table(size, new_size);
    const std::vector<std::int32_t> packed = table.packed();
    print_bytes(&table.taps, sizeof table.taps);
    print_bytes(packed.data(), packed.size() * sizeof packed[0]);
  }
}

// size: of each line "WIDTH HEIGHT NETHEIGHT NETWIDTH" of standard input, prints the network size.
void print_sizes(const Arguments&) {
  for (int width, height, net_height, net_width;
       std::cin >> width >> height >> net_height >> net_width;) {
    try {
      const odtk::NetworkSize size = odtk::network_size(width, height, net_height, net_width);
      std::printf("%d %d %a\n", size.width, size.height, size.ratio);
    } catch (const odtk::ImageError& error) {
      std::printf("! %s\n", error.what());
    }
  }
}

// levels MEAN MEAN MEAN STD STD STD: prints [3, 256] float32.
void print_levels(const Arguments& arguments) {
  std::array<double, 3> mean, std;
  for (std::size_t i = 0; i < 3; ++i) {
    mean[i] = std::stod(arguments.at(i));
    std[i] = std::stod(arguments.at(3 + i));
  }
  const odtk::PixelLevels levels = odtk::pixel_levels(mean, std);
  print_bytes(levels.data(), sizeof levels);
}

// resize FILE WIDTH HEIGHT: prints the pixels.
void print_resized(const Arguments& arguments) {
  const odtk::Image image = odtk::read_image(arguments.at(0));
  const odtk::Image resized =
      pillow_resize(image, std::stoi(arguments.at(1)), std::stoi(arguments.at(2)));
  print_bytes(resized.rgb.get(), std::size_t{3} * resized.width * resized.height);
}

const Unit pixels("pixels", print_pixels);
const Unit verdicts("verdicts", print_verdicts);
const Unit tables("tables", print_tables);
const Unit sizes("sizes", print_sizes);
const Unit levels("levels", print_levels);
const Unit resized("resize", print_resized);

}  // namespace
