// Outputs never replace what is read.
#pragma once

#include <string>
#include <vector>

#include "images/image_list.h"

namespace odtk {

// Throws UsageError where one of the outputs is one of the files, also by another name. `option`
// names what writes them.
void check_apart(const std::string& option, const std::vector<std::string>& outputs,
                 const std::vector<ListedImage>& files);

// Makes a folder if it is not there. Throws UsageError.
void make_folder(const std::string& folder);

}  // namespace odtk
