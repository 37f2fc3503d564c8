#include "model/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <list>
#include <random>

namespace odtk {
namespace {

constexpr std::size_t kStep = 1 << 20;  // bytes that are read at once

// What no other process puts into its temporary names. Numbers of processes come again, in a
// container with every start.
std::string own_tag() {
  static const unsigned random = std::random_device{}();
  char digits[16];
  std::snprintf(digits, sizeof digits, "%08x", random);
  return std::to_string(getpid()) + "-" + digits;
}

// Refuses what is there and is no file: a folder could not be replaced, at the end of all work, and
// a pipe or a device, such as /dev/null, would be.
std::string checked_target(std::string path) {
  struct stat status;
  if (stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
    throw FileError("cannot write " + path, path,
                    S_ISDIR(status.st_mode) ? "it is a folder" : "it is a pipe or a device");
  }
  return path;
}

// Makes the names in a file's folder durable, where its file system can.
void sync_folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  int code = 0;
  const int descriptor = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0 || fsync(descriptor) != 0) code = errno;
  if (descriptor >= 0) close(descriptor);
  // Of file systems that cannot sync folders, and of folders that can be written but not read. The
  // file itself is synced; more is not possible.
  if (code != 0 && code != EINVAL && code != ENOTSUP && code != EACCES) {
    throw FileError("cannot write " + path, path, code);
  }
}

}  // namespace

FileError::FileError(const std::string& what, std::string path, int code)
    : FileError(what, std::move(path), std::strerror(code)) {}

FileError::FileError(const std::string& what, std::string path, const std::string& why)
    : Error(what, why), path_(std::move(path)) {}

std::string read_file(const std::string& path) {
  const auto closed = [](std::FILE* file) { std::fclose(file); };
  const std::unique_ptr<std::FILE, decltype(closed)> file(std::fopen(path.c_str(), "rbe"), closed);
  if (file == nullptr) throw FileError("cannot read " + path, path, errno);
  struct stat status;
  std::string bytes;
  // Plans are large: no more memory than they need.
  if (fstat(fileno(file.get()), &status) == 0) bytes.reserve(status.st_size + kStep);
  while (true) {
    const std::size_t before = bytes.size();
    bytes.resize(before + kStep);
    const std::size_t got = std::fread(bytes.data() + before, 1, kStep, file.get());
    if (std::ferror(file.get()) != 0) throw FileError("cannot read " + path, path, errno);
    bytes.resize(before + got);
    if (got < kStep) return bytes;
  }
}

FileDraft::FileDraft(std::string path)
    : path_(checked_target(std::move(path))),
      part_(path_ + "." + own_tag() + ".tmp"),
      file_(std::fopen(part_.c_str(), "wbe")) {
  if (!file_) fail();
}

FileDraft::~FileDraft() {
  if (!part_.empty()) unlink(part_.c_str());
}

void FileDraft::write(std::string_view bytes) {
  if (std::fwrite(bytes.data(), 1, bytes.size(), file_.get()) != bytes.size()) fail();
}

void FileDraft::sync() {
  if (!file_) return;
  if (std::fflush(file_.get()) != 0 || fsync(fileno(file_.get())) != 0) fail();
  if (std::fclose(file_.release()) != 0) fail();
}

void FileDraft::publish() {
  sync();
  if (std::rename(part_.c_str(), path_.c_str()) != 0) fail();
  part_.clear();
  sync_folder_of(path_);
}

void FileDraft::fail() const { throw FileError("cannot write " + path_, path_, errno); }

void write_together(const FileContents& files) {
  std::list<FileDraft> drafts;
  for (const auto& [path, bytes] : files) {
    drafts.emplace_back(path).write(bytes);
    drafts.back().sync();
  }
  for (FileDraft& draft : drafts) draft.publish();
}

}  // namespace odtk
