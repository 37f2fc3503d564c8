#include "files_apart.h"

#include <sys/stat.h>

#include <filesystem>
#include <map>
#include <system_error>
#include <utility>

#include "odtk.h"

namespace odtk {

namespace {

// What is one file, whatever its names are; {0, 0} where there is none.
std::pair<dev_t, ino_t> identity(const std::string& path) {
  struct stat about;
  if (stat(path.c_str(), &about) != 0) return {0, 0};
  return {about.st_dev, about.st_ino};
}

}  // namespace

void check_apart(const std::string& option, const std::vector<std::string>& outputs,
                 const std::vector<std::string>& read) {
  std::map<std::pair<dev_t, ino_t>, std::string> files;
  for (const std::string& path : read) files.emplace(identity(path), path);
  files.erase({0, 0});
  for (const std::string& output : outputs) {
    const auto found = files.find(identity(output));
    if (found == files.end()) continue;
    throw UsageError(option + " would replace " + found->second, "it is read by this run",
                     "choose another place");
  }
}

void make_folder(const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) throw UsageError("cannot write to " + folder, error.message());
}

}  // namespace odtk
