// What the names of files say about them.
#pragma once

#include <string>
#include <vector>

#include "images/image_list.h"

namespace odtk {

// Returns a name's ending with its dot, in lower case; empty for none.
std::string file_ending(const std::string& path);

// Adds those of a folder's files that are named like images and whose names are valid text; notes
// about the others.
//
// names: sorted.
void add_images_among(const std::string& folder, const std::vector<std::string>& names,
                      ImageList& list);

// Returns whether a file begins like an image that is decoded here, whatever its name says. If not,
// and `why` is given, it is set to the reason.
bool begins_like_image(const std::string& path, std::string* why = nullptr);

}  // namespace odtk
