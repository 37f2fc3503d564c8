// What surrounds the programs: errors become messages and exit codes, Ctrl-C becomes a question.
#pragma once

#include <functional>
#include <string>

namespace odtk {

constexpr int kDone = 0, kFailed = 1, kUsage = 2, kSomeFailed = 3;

// Runs a program's body and returns its exit code. Where it throws, says what failed, why, and what
// to do, and returns the error's code.
int run_program(const std::function<int()>& body);

// Whether SIGINT, SIGTERM or SIGHUP has arrived.
bool stop_asked();

// Whether a signal may end the process at once: nothing has been written that it would leave
// behind, and what runs cannot be asked to stop. False at first.
void end_at_once(bool may);

// Returns a text with its control characters replaced: names of files may have any.
std::string on_one_line(std::string text);

// Prints `label: text` to standard error, on one line.
void say(const std::string& label, const std::string& text);

// Throws Error where printing to standard output has failed: it is full, or nobody reads it.
void check_output();

}  // namespace odtk
