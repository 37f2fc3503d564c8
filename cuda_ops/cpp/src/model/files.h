// Files are read whole, and written so that each exists whole or not at all, also after a crash.
#pragma once

#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "odtk.h"

namespace odtk {

// A file cannot be read or written; `why` is the system's reason, such as "No such file or
// directory".
class FileError : public Error {
 public:
  FileError(const std::string& what, std::string path, int code);
  FileError(const std::string& what, std::string path, const std::string& why);

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Returns a file's bytes. Throws FileError.
std::string read_file(const std::string& path);

// A file that is being written under a temporary name beside its target. `publish` moves it there;
// without that the destructor removes it. A program that is interrupted has to unwind its stack for
// that: its signal handlers only set a flag, which its loops look at.
//
// Permissions are those of a newly made file. Where the target is a link, the link is replaced.
class FileDraft {
 public:
  // Creates the temporary file. Throws FileError, as all functions here do, also where something
  // that is no file is at the path.
  explicit FileDraft(std::string path);
  ~FileDraft();
  FileDraft(const FileDraft&) = delete;
  FileDraft& operator=(const FileDraft&) = delete;

  void write(std::string_view bytes);

  // Puts what was written on the disk itself, and closes the file.
  void sync();

  // Moves the file to its target, once it is on the disk.
  void publish();

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };

  [[noreturn]] void fail() const;

  std::string path_, part_;
  std::unique_ptr<std::FILE, Close> file_;
};

// Paths, and what is written to them.
using FileContents = std::vector<std::pair<std::string, std::string_view>>;

// Writes files of which a later one never exists without the earlier ones: all are on the disk
// before the first takes its place. Throws FileError; then no temporary file is left.
void write_together(const FileContents& files);

}  // namespace odtk
