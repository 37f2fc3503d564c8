#pragma once

#include <functional>
#include <string>

// Answers each line of standard input, in which a text is written in hexadecimal digits: `answer`
// or, after an exception, `error`, and a text in the same way.
void answer_lines(const std::function<std::string(const std::string&)>& answer);
