#include "drawing.h"

#include <filesystem>
#include <set>
#include <utility>

#include "files_apart.h"

namespace odtk {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kAhead = 4;  // drawings a thread that wait, each with its picture

// A name in the folder that no other drawing has.
fs::path free_name(const fs::path& folder, const fs::path& image, std::set<fs::path>& taken) {
  fs::path name = folder / image.filename();
  for (int number = 2; !taken.insert(name).second; number++) {
    name = folder /
           (image.stem().string() + "-" + std::to_string(number) + image.extension().string());
  }
  return name;
}

}  // namespace

Drawings::Drawings(const std::string& folder, const std::vector<ListedImage>& files,
                   const PlanInfo& info, ThreadPool& pool)
    : info_(info), pool_(pool) {
  std::set<fs::path> taken;
  std::vector<std::string> read;
  for (const ListedImage& file : files) {
    read.push_back(file.path);
    targets_.push_back(free_name(folder, file.path, taken).string());
  }
  check_apart("--draw", targets_, read);
  make_folder(folder);
}

void Drawings::add(FileResult result) {
  wait_for(kAhead * pool_.threads());
  const std::string& target = targets_[result.index];
  drawing_.push_back(pool_.post([this, &target, result = std::move(result)]() mutable {
    draw(result.image, result.detections, info_);
    write_image(target, result.image);
  }));
}

void Drawings::finish() { wait_for(0); }

void Drawings::wait_for(std::size_t unfinished) {
  while (drawing_.size() > unfinished) {
    drawing_.front().get();
    drawing_.pop_front();
  }
}

}  // namespace odtk
