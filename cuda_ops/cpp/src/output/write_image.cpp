// Writes pictures, whole or not at all.
#include <string>

#include "images/image_names.h"
#include "model/files.h"
#include "odtk.h"
#include "output/encode_image.h"

namespace odtk {

void write_image(const std::string& path, const Image& image) {
  const std::string ending = file_ending(path);
  std::string content;
  if (ending == ".png") {
    content = encode_png(image);
  } else if (ending == ".jpg" || ending == ".jpeg") {
    content = encode_jpeg(image);
  } else {
    throw UsageError("cannot write " + path, "pictures are written as JPEG or PNG",
                     "give a name that ends in .jpg or .png");
  }
  write_together({{path, content}});
}

}  // namespace odtk
