#include "images/list_file.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <string_view>

#include "odtk.h"
#include "text/counted.h"
#include "text/spaces.h"
#include "text/utf8.h"

namespace odtk {
namespace {

// Characters of a line with its end; the system's paths have 4,096. A file with longer lines is no
// list, and may be too large to be read.
constexpr std::size_t kLongest = 1 << 16;
constexpr std::size_t kMostBytes = 4;  // of a character
constexpr const char* kHint =
    "a list has one path a line, in UTF-8; relative paths start at its folder";

// Reads lines that end in \n, \r\n or \r.
class Lines {
 public:
  explicit Lines(const std::string& path) : path_(path), file_(path, std::ios::binary) {
    if (!file_) throw UsageError("cannot read images from " + path, std::strerror(errno));
  }

  // Throws UsageError for UTF-16; passes over the mark with which Windows' editors begin files.
  void read_mark() {
    std::string mark(3, '\0');
    file_.read(&mark[0], 3);
    mark.resize(static_cast<std::size_t>(file_.gcount()));
    file_.clear();
    file_.seekg(mark == "\xEF\xBB\xBF" ? 3 : 0);
    const std::string start = mark.substr(0, 2);
    if (start == "\xFF\xFE" || start == "\xFE\xFF") {
      throw UsageError("cannot read the list " + path_, "it is UTF-16, not UTF-8",
                       "convert it: iconv -f UTF-16 -t UTF-8 " + path_ + " > NEW");
    }
  }

  // Reads a line, without its end, and returns whether there was one. Throws UsageError.
  bool next(std::string& line) {
    line.clear();
    ++number_;
    int byte = file_.get();
    const bool any = byte >= 0;
    for (; byte >= 0 && byte != '\n' && byte != '\r'; byte = file_.get()) {
      line += static_cast<char>(byte);
      if (line.size() >= kMostBytes * kLongest) break;
    }
    if (byte == '\r' && file_.peek() == '\n') file_.get();
    check(line, byte == '\n' || byte == '\r');
    return any;
  }

 private:
  void check(const std::string& line, bool ended) const {
    // Bytes that begin a character.
    const auto characters = static_cast<std::size_t>(
        std::count_if(line.begin(), line.end(), [](char c) { return (c & 0xC0) != 0x80; }));
    const std::string number = "line " + std::to_string(number_);
    if (characters + (ended ? 1 : 0) >= kLongest) {
      throw UsageError(path_ + " is no list of images",
                       number + " has more than " + with_commas(kLongest) + " characters", kHint);
    }
    if (valid_utf8(line, Surrogates::refused) != line.size()) {
      throw UsageError("cannot read the list " + path_, number + " is not UTF-8", kHint);
    }
  }

  std::string path_;
  std::ifstream file_;
  std::size_t number_ = 0;
};

bool exists(const std::string& path) {
  struct stat facts;
  return path.find('\0') == path.npos && lstat(path.c_str(), &facts) == 0;
}

}  // namespace

void add_list_file(const std::string& path, ImageList& list) {
  Lines lines(path);
  lines.read_mark();
  const std::string folder = path.substr(0, path.rfind('/') + 1);
  std::vector<ListedImage> images;
  std::size_t comments = 0;
  for (std::string line; lines.next(line);) {
    const std::string name(strip(line));
    if (name.empty()) continue;
    if (name[0] == '#') {
      ++comments;
    } else {
      images.push_back({name, name[0] == '/' ? name : folder + name});
    }
  }
  const auto is_there = [](const ListedImage& image) { return exists(image.path); };
  if (!images.empty() && std::none_of(images.begin(), images.end(), is_there)) {
    throw UsageError(path + " is no list of images",
                     "none of its " + counted(images.size(), "line") +
                         " names a file that is there, first " + images[0].name,
                     kHint);
  }
  list.images.insert(list.images.end(), images.begin(), images.end());
  if (comments) {
    list.notes.push_back("left out " + counted(comments, "line that begins", "lines that begin") +
                         " with # (a name that begins so is written ./#NAME)");
  }
}

}  // namespace odtk
