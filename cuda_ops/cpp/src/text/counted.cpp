#include "text/counted.h"

namespace odtk {

std::string with_commas(std::size_t number) {
  std::string digits = std::to_string(number);
  for (std::size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, ",");
  return digits;
}

std::string counted(std::size_t count, const std::string& one, const std::string& many) {
  const std::string& plural = many.empty() ? one + "s" : many;
  return with_commas(count) + " " + (count == 1 ? one : plural);
}

}  // namespace odtk
