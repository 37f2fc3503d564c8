// Reads a list of images: one path a line, in UTF-8.
#pragma once

#include <string>

#include "images/image_list.h"

namespace odtk {

// Adds the images of a list file. Empty lines are left out, and those that begin with #, which is
// noted. A line that names no file is kept: reading it will fail.
//
// Throws UsageError: it cannot be read, is no text, or none of its lines names a file.
void add_list_file(const std::string& path, ImageList& list);

}  // namespace odtk
