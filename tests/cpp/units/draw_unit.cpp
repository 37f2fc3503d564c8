#include <algorithm>
#include <cstdio>
#include <iostream>

#include "odtk.h"
#include "output/class_colour.h"
#include "units.h"

namespace {

// draw IN OUT ROTATED [NAME...]: draws the detections of standard input, a line of score, label and
// 4 or 6 numbers of the box each. IN may be `gray:WIDTHxHEIGHT`.
void draw_file(const Arguments& arguments) {
  odtk::Image image;
  if (std::sscanf(arguments.at(0).c_str(), "gray:%dx%d", &image.width, &image.height) == 2) {
    const std::size_t bytes = std::size_t{3} * image.width * image.height;
    image.rgb = odtk::allocate_on_heap(bytes);
    std::fill_n(image.rgb.get(), bytes, std::uint8_t{128});
  } else {
    image = odtk::read_image(arguments.at(0));
  }
  odtk::PlanInfo info;
  info.rotated = arguments.at(2) == "1";
  info.class_names.assign(arguments.begin() + 3, arguments.end());
  info.classes = static_cast<int>(info.class_names.size());
  odtk::Detections detections;
  for (std::string score; std::cin >> score;) {
    odtk::Detection found;
    found.score = std::stof(score);
    std::cin >> found.label;
    for (int i = 0; i < (info.rotated ? 6 : 4); ++i) {
      std::string number;  // `>>` reads neither nan nor inf
      std::cin >> number;
      found.box[i] = std::stof(number);
    }
    detections.push_back(found);
  }
  odtk::draw(image, detections, info);
  odtk::write_image(arguments.at(1), image);
}

// colours COUNT: prints the colours of the first classes.
void print_colours(const Arguments& arguments) {
  for (int i = 0; i < std::stoi(arguments.at(0)); ++i) {
    const odtk::Colour colour = odtk::class_colour(i);
    std::printf("%d %d %d\n", colour.red, colour.green, colour.blue);
  }
}

// convert IN OUT: reads a picture and writes it.
void convert(const Arguments& arguments) {
  odtk::write_image(arguments.at(1), odtk::read_image(arguments.at(0)));
}

const Unit draw("draw", draw_file);
const Unit colours("colours", print_colours);
const Unit converted("convert", convert);

}  // namespace
