#include "drawing.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <utility>

#include "files_apart.h"
#include "images/image_names.h"

namespace odtk {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kAhead = 4;  // drawings a thread that wait, each with its picture
// File systems take names of 255 bytes; numbers, and the temporary names of files, make them
// longer.
constexpr std::size_t kLongest = 215;

// Returns the beginning of a name, at most so many bytes, without a part of a UTF-8 sequence.
std::string shortened(const std::string& name, std::size_t bytes) {
  if (name.size() <= bytes) return name;
  while (bytes > 0 && (name[bytes] & 0xC0) == 0x80) bytes--;
  return name.substr(0, bytes);
}

// Names in a folder, each for one image.
class Names {
 public:
  explicit Names(fs::path folder) : folder_(std::move(folder)) {}

  // Returns the image's name, with a number where other images have it too, and with .png where it
  // has no ending of a format that is written.
  std::string of(const fs::path& image) {
    const std::string kind = file_ending(image.string());
    const bool kept = kind == ".jpg" || kind == ".jpeg" || kind == ".png";
    const std::string ending = kept ? image.extension().string() : ".png";
    const std::string stem =
        shortened((kept ? image.stem() : image.filename()).string(), kLongest - ending.size());
    std::string name = stem + ending;
    for (int& last = numbers_[name]; !taken_.insert(name).second;) {
      name = stem + "-" + std::to_string(last = std::max(last, 1) + 1) + ending;
    }
    return (folder_ / name).string();
  }

 private:
  const fs::path folder_;
  std::set<std::string> taken_;
  std::map<std::string, int> numbers_;  // the last one of a name
};

}  // namespace

Drawings::Drawings(const std::string& folder, const std::vector<ListedImage>& files,
                   const PlanInfo& info, ThreadPool& pool)
    : info_(info), pool_(pool) {
  Names names(folder);
  std::vector<std::string> read;
  for (const ListedImage& file : files) {
    read.push_back(file.path);
    targets_.push_back(names.of(file.path));
  }
  check_apart("--draw", targets_, read);
  make_folder(folder);
}

void Drawings::add(FileResult result) {
  wait_for(kAhead * pool_.threads());
  // It has all that it needs: a thread may still draw when an error has ended the run.
  auto work = [&info = info_, target = targets_[result.index],
               result = std::move(result)]() mutable {
    draw(result.image, result.detections, info);
    write_image(target, result.image);
  };
  drawing_.push_back(pool_.post(std::move(work)));
}

void Drawings::finish() { wait_for(0); }

void Drawings::wait_for(std::size_t unfinished) {
  while (drawing_.size() > unfinished) {
    drawing_.front().get();
    drawing_.pop_front();
  }
}

}  // namespace odtk
