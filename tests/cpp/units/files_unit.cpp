#include <cstdio>

#include "model/files.h"
#include "units.h"

namespace {

// write PATH TEXT...: writes files together.
void write_files(const Arguments& arguments) {
  odtk::FileContents files;
  for (std::size_t i = 0; i + 1 < arguments.size(); i += 2) {
    files.emplace_back(arguments[i], arguments[i + 1]);
  }
  odtk::write_together(files);
}

// unwind PATH: begins to write a file, says so, and is interrupted.
void unwind(const Arguments& arguments) {
  odtk::FileDraft draft(arguments.at(0));
  draft.write("part");
  throw odtk::Error("stopped");
}

// read PATH: prints a file.
void read(const Arguments& arguments) {
  const std::string bytes = odtk::read_file(arguments.at(0));
  std::fwrite(bytes.data(), 1, bytes.size(), stdout);
}

const Unit writing("write", write_files);
const Unit unwinding("unwind", unwind);
const Unit reading("read", read);

}  // namespace
