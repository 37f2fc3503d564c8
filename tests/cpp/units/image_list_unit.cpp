#include <iostream>

#include "images/image_list.h"
#include "units.h"

namespace {

// list ARGUMENT...: prints names and paths, and notes; every text ends in a zero byte.
void print_list(const Arguments& arguments) {
  const odtk::ImageList list = odtk::find_images(arguments);
  for (const odtk::ListedImage& image : list.images) {
    std::cout << image.name << '\0' << image.path << '\0';
  }
  std::cout << '\0';
  for (const std::string& note : list.notes) std::cout << note << '\0';
}

const Unit list("list", print_list);

}  // namespace
