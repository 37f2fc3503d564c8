// Outputs never replace what is read.
#pragma once

#include <string>
#include <vector>

namespace odtk {

// Throws UsageError where one of the outputs is a file that is read, also by another name. `option`
// names what writes them.
void check_apart(const std::string& option, const std::vector<std::string>& outputs,
                 const std::vector<std::string>& read);

// Makes a folder if it is not there. Throws UsageError.
void make_folder(const std::string& folder);

}  // namespace odtk
