#include "images/image_names.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <set>
#include <utility>

#include "images/unsupported.h"
#include "text/counted.h"
#include "text/utf8.h"

namespace odtk {
namespace {

// The same as Python's, so that images get the same ids; not all of these formats are decoded.
const std::set<std::string> kImageEndings = {".jpg", ".jpeg", ".jpe",  ".jfif", ".png", ".bmp",
                                             ".gif", ".tif",  ".tiff", ".webp", ".ppm", ".pgm",
                                             ".pbm", ".pnm",  ".jp2",  ".avif"};
// What telephones name pictures; some of those are JPEGs after all.
const std::set<std::string> kHeic = {".heic", ".heif"};
constexpr std::size_t kNamedEndings = 3;  // of the files that are left out

// How often each ending occurs, in the order in which they were met.
using Endings = std::vector<std::pair<std::string, std::size_t>>;

void count_ending(const std::string& ending, Endings& endings) {
  const auto same = [&](const auto& entry) { return entry.first == ending; };
  const auto found = std::find_if(endings.begin(), endings.end(), same);
  if (found != endings.end()) {
    ++found->second;
  } else {
    endings.emplace_back(ending, 1);
  }
}

std::string note_of_others(Endings others) {
  std::stable_sort(others.begin(), others.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  std::size_t total = 0;
  for (const auto& entry : others) total += entry.second;
  std::string named;
  for (std::size_t i = 0; i < std::min(others.size(), kNamedEndings); ++i) {
    named += (i ? ", " : "") + (others[i].first.empty() ? "no ending" : others[i].first);
  }
  const std::string more = others.size() > kNamedEndings ? ", ..." : "";
  return "files skipped because their names are not those of images: " + with_commas(total) + " (" +
         named + more + ")";
}

}  // namespace

std::string file_ending(const std::string& path) {
  const std::string name = path.substr(path.rfind('/') + 1);
  const std::size_t start = name.find_first_not_of('.'), dot = name.rfind('.');
  if (start == name.npos || dot == name.npos || dot < start) return "";
  std::string ending = name.substr(dot);
  for (char& letter : ending) {
    if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
  }
  return ending;
}

bool begins_like_image(const std::string& path, std::string* why) {
  std::string reason;
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    reason = std::strerror(errno);
  } else {
    std::uint8_t head[kImageHead];
    file.read(reinterpret_cast<char*>(head), sizeof head);
    const auto count = static_cast<std::size_t>(file.gcount());
    if (is_jpeg(head, count) || is_png(head, count)) return true;
    reason = why_unsupported(head, count);
  }
  if (why) *why = reason;
  return false;
}

void add_images_among(const std::string& folder, const std::vector<std::string>& names,
                      ImageList& list) {
  Endings others;
  std::size_t heic = 0, odd = 0;
  for (const std::string& name : names) {
    const std::string ending = file_ending(name), path = folder + "/" + name;
    if (kImageEndings.count(ending) || (kHeic.count(ending) && begins_like_image(path))) {
      if (valid_utf8(name, Surrogates::refused) == name.size()) {
        list.images.push_back({name, path});
      } else {
        ++odd;
      }
    } else if (kHeic.count(ending)) {
      ++heic;
    } else {
      count_ending(ending, others);
    }
  }
  if (heic) {
    list.notes.push_back("skipped " + counted(heic, "HEIC picture") +
                         ": HEIC is not supported (convert to JPEG or PNG)");
  }
  if (!others.empty()) list.notes.push_back(note_of_others(others));
  if (odd) {
    list.notes.push_back("images skipped because their names are no UTF-8: " + with_commas(odd));
  }
}

}  // namespace odtk
