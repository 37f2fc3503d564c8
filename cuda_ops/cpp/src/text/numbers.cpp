#include "text/numbers.h"

#include <locale.h>

#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>

namespace odtk {
namespace {

// printf and strtod write and read decimal points while one exists, whatever the locale has.
class PlainNumbers {
 public:
  PlainNumbers() : before_(uselocale(plain())) {}
  ~PlainNumbers() { uselocale(before_); }
  PlainNumbers(const PlainNumbers&) = delete;
  PlainNumbers& operator=(const PlainNumbers&) = delete;

 private:
  static locale_t plain() {
    static const locale_t locale = newlocale(LC_NUMERIC_MASK, "C", nullptr);
    return locale;
  }

  locale_t before_;
};

// digits * 10^(exponent - digits.size() + 1), without trailing zeros: the first digit counts
// 10^exponent.
struct Decimal {
  std::string digits;
  int exponent;
};

// Reads what printf's %e and to_chars write: 1.25e-07.
Decimal read_scientific(const std::string& text) {
  const std::size_t e = text.find('e');
  std::string digits = text.substr(0, 1);
  if (e > 1) digits += text.substr(2, e - 2);
  digits.erase(digits.find_last_not_of('0') + 1);
  return {digits, std::atoi(text.c_str() + e + 1)};
}

// Returns the shortest decimal number that a positive double is nearest to; of several the nearest.
#if defined(__cpp_lib_to_chars) && !defined(ODTK_WITHOUT_TO_CHARS)
Decimal shortest(double value) {
  char text[40];
  const auto end = std::to_chars(text, text + sizeof text, value, std::chars_format::scientific);
  return read_scientific({text, end.ptr});
}
#else  // before GCC 11, as on JetPack 5; it takes 20 times as long
Decimal round_to(double value, int count) {
  char text[40];
  std::snprintf(text, sizeof text, "%.*e", count - 1, value);
  return read_scientific(text);
}

bool gives_back(const Decimal& decimal, double value) {
  const int power = decimal.exponent - static_cast<int>(decimal.digits.size()) + 1;
  return std::strtod((decimal.digits + "e" + std::to_string(power)).c_str(), nullptr) == value;
}

Decimal shortest(double value) {
  const PlainNumbers plain;
  // Doubles with less precision than the others need every length to be tried.
  const bool normal = value >= std::numeric_limits<double>::min();
  // A number of 15 digits is what its double is rounded to: shorter ones then end in zeros.
  for (int count = normal ? 15 : 1; count < 17; count++) {
    Decimal rounded = round_to(value, count);
    if (gives_back(rounded, value)) return rounded;
    if (count < 16) continue;
    // Doubles are farther apart above a power of two than below, so that the nearest number of so
    // many digits may be out of reach, and the next one within. After a nine that has 15 digits.
    rounded.digits.resize(count, '0');
    if (rounded.digits.back()++ != '9' && gives_back(rounded, value)) return rounded;
  }
  return round_to(value, 17);
}
#endif

std::string written(const Decimal& decimal) {
  const auto& [digits, exponent] = decimal;
  const int count = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= 16) {
    char power[8];
    std::snprintf(power, sizeof power, "e%+03d", exponent);
    return digits.substr(0, 1) + (count > 1 ? "." + digits.substr(1) : "") + power;
  }
  if (exponent < 0) return "0." + std::string(-exponent - 1, '0') + digits;
  if (exponent + 1 >= count) return digits + std::string(exponent + 1 - count, '0') + ".0";
  return digits.substr(0, exponent + 1) + "." + digits.substr(exponent + 1);
}

}  // namespace

std::string number_text(double value) {
  if (std::isnan(value)) return "NaN";
  const std::string sign = std::signbit(value) ? "-" : "";
  if (std::isinf(value)) return sign + "Infinity";
  if (value == 0) return sign + "0.0";
  return sign + written(shortest(std::abs(value)));
}

double parse_number(std::string_view token) {
  const PlainNumbers plain;
  return std::strtod(std::string(token).c_str(), nullptr);
}

std::string with_commas(long long value) {
  std::string text = std::to_string(value);
  const int start = value < 0 ? 1 : 0;
  for (int at = static_cast<int>(text.size()) - 3; at > start; at -= 3) text.insert(at, ",");
  return text;
}

}  // namespace odtk
