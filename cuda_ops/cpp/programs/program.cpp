#include "program.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <exception>
#include <new>

#include "odtk.h"

namespace odtk {

namespace {

constexpr char kStopped[] = "stopped\n";

// Handlers run in any thread; without a lock they may be used there.
std::atomic<bool> stop{false}, at_once{false};
static_assert(std::atomic<bool>::is_always_lock_free);

void note_signal(int) {
  stop = true;
  if (!at_once) return;
  const ssize_t written = write(STDERR_FILENO, kStopped, sizeof(kStopped) - 1);
  (void)written;
  _exit(kFailed);
}

void install_handlers() {
  struct sigaction action = {};
  action.sa_handler = note_signal;
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction before;
    sigaction(number, nullptr, &before);
    if (before.sa_handler != SIG_IGN) sigaction(number, &action, nullptr);  // as nohup wants it
  }
  signal(SIGPIPE, SIG_IGN);  // writing fails instead
}

// A file that is opened must not get the number of a standard stream that is closed: messages would
// be written into it.
void open_standard_streams() {
  for (const int number : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(number, F_GETFD) < 0) open("/dev/null", O_RDONLY);
  }
}

int report(const std::string& what, const std::string& why, const std::string& hint, int code) {
  if (stop) {
    std::fputs(kStopped, stderr);
    return kFailed;
  }
  say("error", why.empty() ? what : what + ": " + why);
  if (!hint.empty()) say("  hint", hint);
  return code;
}

}  // namespace

bool stop_asked() { return stop; }

void end_at_once(bool may) { at_once = may; }

std::string on_one_line(std::string text) {
  for (char& letter : text) {
    if (static_cast<unsigned char>(letter) < ' ' || letter == 127) letter = '?';
  }
  return text;
}

void say(const std::string& label, const std::string& text) {
  std::fprintf(stderr, "%s\n", on_one_line(label + ": " + text).c_str());
}

void check_output() {
  if (std::ferror(stdout) != 0) throw Error("cannot write to standard output");
}

int run_program(const std::function<int()>& body) {
  open_standard_streams();
  install_handlers();
  try {
    const int code = body();
    std::fflush(stdout);
    check_output();
    return code;
  } catch (const Error& error) {
    return report(error.what(), error.why(), error.hint(), error.exit_code());
  } catch (const std::bad_alloc&) {
    return report("there is not enough memory", "", "", kFailed);
  } catch (const std::exception& error) {
    return report("a defect of this program", error.what(), "", kFailed);
  }
}

}  // namespace odtk
