#include "images/image_list.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "images/image_names.h"
#include "images/list_file.h"
#include "odtk.h"
#include "text/counted.h"

namespace odtk {
namespace {

namespace fs = std::filesystem;

constexpr const char* kHint = "give a folder, file or list";
constexpr int kMostLinks = 40;  // that follow each other, as the system allows

struct Listing {
  std::vector<std::string> names;  // of files
  std::size_t folders = 0;
  std::size_t outside = 0;  // links to files outside of the folder
  std::size_t odd = 0;      // neither files nor folders
};

// Returns where a path leads with its links followed, whether or not there is something.
fs::path resolved(fs::path path) {
  std::error_code error;
  for (int links = 0; links < kMostLinks && fs::is_symlink(path, error); ++links) {
    path = path.parent_path() / fs::read_symlink(path, error);
  }
  const fs::path result = fs::weakly_canonical(path, error);
  return error ? path : result;
}

bool lies_in(const fs::path& path, const fs::path& folder) {
  const auto parts = std::mismatch(folder.begin(), folder.end(), path.begin(), path.end());
  return parts.first == folder.end() && parts.second != path.end();
}

// Lists what is in a folder. Links are followed to files that stay in it: a link must not let a
// run read files that its user did not name.
Listing list_folder(const std::string& folder) {
  Listing listing;
  const fs::path root = resolved(fs::absolute(folder));
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    std::error_code error;
    if (entry.symlink_status(error).type() == fs::file_type::directory) {
      ++listing.folders;
    } else if (entry.is_symlink(error) && !lies_in(resolved(fs::absolute(entry.path())), root)) {
      ++listing.outside;
    } else if (entry.is_regular_file(error)) {
      listing.names.push_back(entry.path().filename().string());
    } else {
      ++listing.odd;
    }
  }
  // The order of UTF-8's bytes is that of code points, as Python sorts.
  std::sort(listing.names.begin(), listing.names.end());
  return listing;
}

void add_folder(const std::string& folder, ImageList& list) {
  const Listing listing = list_folder(folder);
  const bool slash = folder.back() == '/';
  add_images_among(slash ? folder.substr(0, folder.size() - 1) : folder, listing.names, list);
  if (listing.outside) {
    list.notes.push_back("left out " +
                         counted(listing.outside, "link that leads", "links that lead") +
                         " out of the folder");
  }
  if (listing.odd) {
    list.notes.push_back(
        "left out " + counted(listing.odd, "entry that is no file", "entries that are no files") +
        " (links to folders or to nothing, pipes, devices)");
  }
  if (listing.folders) {
    list.notes.push_back("did not enter " + counted(listing.folders, "sub-folder"));
  }
}

void add_file(const std::string& path, ImageList& list) {
  std::string why;
  if (!begins_like_image(path, &why)) throw UsageError("no images in " + path, why, kHint);
  list.images.push_back({fs::path(path).filename().string(), path});
}

void add_argument(const std::string& argument, ImageList& list) {
  std::error_code error;
  const fs::file_status status = fs::status(argument, error);
  const std::string ending = file_ending(argument);
  if (fs::is_directory(status)) {
    add_folder(argument, list);
  } else if (fs::is_regular_file(status) && (ending == ".txt" || ending == ".lst")) {
    add_list_file(argument, list);
  } else if (fs::is_regular_file(status)) {
    add_file(argument, list);
  } else {
    const bool there = fs::exists(fs::symlink_status(argument, error));
    throw UsageError(
        "cannot read images from " + argument,
        there ? "it is a pipe, a device or a link to nothing" : "there is no such file or folder");
  }
}

std::string joined(const std::vector<std::string>& notes) {
  std::string all;
  for (const std::string& note : notes) all += (all.empty() ? "" : "; ") + note;
  return all;
}

}  // namespace

ImageList find_images(const std::vector<std::string>& arguments) {
  ImageList all;
  for (const std::string& argument : arguments) {
    ImageList list;
    try {
      add_argument(argument, list);
    } catch (const fs::filesystem_error& error) {
      throw UsageError("cannot read images from " + argument, error.code().message());
    }
    if (list.images.empty()) {
      const std::string why = list.notes.empty() ? "it is empty" : joined(list.notes);
      throw UsageError("no images in " + argument, why, kHint);
    }
    all.images.insert(all.images.end(), list.images.begin(), list.images.end());
    all.notes.insert(all.notes.end(), list.notes.begin(), list.notes.end());
  }
  return all;
}

}  // namespace odtk
