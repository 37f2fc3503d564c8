#include "images/unsupported.h"

#include <algorithm>
#include <cctype>
#include <string_view>

namespace odtk {
namespace {

using namespace std::string_view_literals;

struct Start {
  std::string_view bytes;
  const char* reason;
};

constexpr Start kNoImages[] = {
    {"version https://git-lfs"sv, "a Git LFS pointer, not the file itself: run `git lfs pull`"},
    {"\0\5\x16\7"sv, "not an image: what macOS stores beside a file (AppleDouble)"},
    {"\0\5\x16\0"sv, "not an image: what macOS stores beside a file (AppleDouble)"},
    {"<!doctype html"sv, "not an image: a web page"},
    {"<html"sv, "not an image: a web page"},
};

struct Format {
  std::string_view start;
  const char* name;
};

// Other formats that odtk-ray's Python reads.
constexpr Format kOtherFormats[] = {
    {"BM"sv, "BMP"},
    {"GIF87a"sv, "GIF"},
    {"GIF89a"sv, "GIF"},
    {"II*\0"sv, "TIFF"},
    {"MM\0*"sv, "TIFF"},
    {"II+\0"sv, "TIFF"},
    {"MM\0+"sv, "TIFF"},
    {"\0\0\0\fjP  "sv, "JPEG 2000"},
    {"\xff\x4f\xff\x51"sv, "JPEG 2000"},
};

// Brands of HEIC (ISO 23008-12, annex B) and AVIF, both in ISO's media container.
constexpr std::string_view kHeic[] = {"heic", "heix", "heim", "heis",
                                      "hevc", "hevx", "mif1", "msf1"};
constexpr std::string_view kAvif[] = {"avif", "avis"};

bool starts_with(std::string_view text, std::string_view start) {
  return text.substr(0, start.size()) == start;
}

bool is_netpbm(std::string_view head) {
  return head.size() > 2 && head[0] == 'P' && head[1] >= '1' && head[1] <= '6' &&
         std::isspace(static_cast<unsigned char>(head[2]));
}

// Returns the name of a format that is not read here; nullptr for none.
const char* format_name(std::string_view head) {
  for (const Format& format : kOtherFormats) {
    if (starts_with(head, format.start)) return format.name;
  }
  if (starts_with(head, "RIFF") && head.size() >= 12 && head.substr(8, 4) == "WEBP") return "WebP";
  if (is_netpbm(head)) return "PPM";
  if (head.size() < 12 || head.substr(4, 4) != "ftyp") return nullptr;
  const auto is_brand = [&](std::string_view brand) { return head.substr(8, 4) == brand; };
  if (std::any_of(std::begin(kHeic), std::end(kHeic), is_brand)) return "HEIC";
  return std::any_of(std::begin(kAvif), std::end(kAvif), is_brand) ? "AVIF" : nullptr;
}

}  // namespace

const char* const kDamaged = "not an image, or its header is damaged";

bool is_jpeg(const std::uint8_t* data, std::size_t size) {
  return size >= 3 && data[0] == 0xFF && data[1] == 0xD8 && data[2] == 0xFF;
}

bool is_png(const std::uint8_t* data, std::size_t size) {
  constexpr std::uint8_t signature[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
  return size >= sizeof signature && std::equal(signature, signature + sizeof signature, data);
}

std::string why_unsupported(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return "the file is empty (0 bytes)";
  std::string head(reinterpret_cast<const char*>(data), std::min(size, kImageHead));
  if (const char* name = format_name(head)) {
    return std::string(name) + " is not supported: convert it to JPEG or PNG";
  }
  for (char& letter : head) {
    if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
  }
  for (const Start& start : kNoImages) {
    if (starts_with(head, start.bytes)) return start.reason;
  }
  return kDamaged;
}

}  // namespace odtk
