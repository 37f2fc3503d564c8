#include "program.h"

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

volatile sig_atomic_t stop = 0;
volatile sig_atomic_t at_once = 0;

void note_signal(int) {
  stop = 1;
  if (at_once == 0) return;
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

int report(const std::string& what, const std::string& why, const std::string& hint, int code) {
  if (stop != 0) {
    std::fputs(kStopped, stderr);
    return kFailed;
  }
  say("error", why.empty() ? what : what + ": " + why);
  if (!hint.empty()) say("  hint", hint);
  return code;
}

}  // namespace

bool stop_asked() { return stop != 0; }

void end_at_once(bool may) { at_once = may ? 1 : 0; }

void say(const std::string& label, const std::string& text) {
  std::string shown = label + ": " + text;
  for (char& letter : shown) {
    if (static_cast<unsigned char>(letter) < ' ' || letter == 127) letter = '?';
  }
  std::fprintf(stderr, "%s\n", shown.c_str());
}

int run_program(const std::function<int()>& body) {
  install_handlers();
  try {
    const int code = body();
    if (std::fflush(stdout) != 0) return report("cannot write to standard output", "", "", kFailed);
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
