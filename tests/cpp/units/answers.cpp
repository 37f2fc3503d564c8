#include "answers.h"

#include <cstdio>
#include <exception>
#include <iostream>

#include "odtk.h"

namespace {

std::string from_hex(const std::string& digits) {
  std::string text;
  for (std::size_t at = 0; at + 1 < digits.size(); at += 2) {
    text += static_cast<char>(std::stoi(digits.substr(at, 2), nullptr, 16));
  }
  return text;
}

void print(const char* kind, const std::string& text) {
  std::printf("%s ", kind);
  for (unsigned char byte : text) std::printf("%02x", byte);
  std::printf("\n");
  std::fflush(stdout);
}

}  // namespace

void answer_lines(const std::function<std::string(const std::string&)>& answer) {
  std::string line;
  while (std::getline(std::cin, line)) {
    try {
      print("answer", answer(from_hex(line)));
    } catch (const odtk::Error& error) {
      print("error", std::string(error.what()) + "\n" + error.why() + "\n" + error.hint());
    } catch (const std::exception& error) {
      print("error", error.what());
    }
  }
}
