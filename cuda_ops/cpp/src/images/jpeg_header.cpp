#include "images/jpeg_header.h"

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include "images/exif.h"
#include "images/unsupported.h"
#include "odtk.h"

namespace odtk {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kExif = "Exif\0\0"sv;
constexpr std::string_view kXmp = "http://ns.adobe.com/xap/1.0/\0"sv;

// Markers of ITU-T T.81, table B.1.
constexpr int kHuffman = 0xC4, kExtension = 0xC8, kArithmetic = 0xCC, kScan = 0xDA,
              kQuantization = 0xDB, kHierarchy = 0xDE, kApp1 = 0xE1, kComment = 0xFE;

bool is_frame(int marker) {
  return (marker >= 0xC0 && marker <= 0xCF && marker != kHuffman && marker != kExtension &&
          marker != kArithmetic) ||
         marker == kHierarchy;
}

// Returns whether a marker is followed by a segment; restarts and reserved ones are not.
bool has_segment(int marker) {
  return (marker >= 0xC0 && marker <= 0xCF && marker != kExtension) ||
         (marker >= kScan && marker <= 0xEF) || marker == kComment;
}

class Parser {
 public:
  Parser(const std::uint8_t* data, std::size_t size)
      : bytes_(reinterpret_cast<const char*>(data), size) {}

  JpegHeader parse() {
    for (int marker = next_marker(); marker >= 0; marker = next_marker()) {
      if (marker < 0xC0) throw ImageError(kDamaged);
      if (has_segment(marker)) take(marker, segment());
      if (header_.has_scan) break;
    }
    if (header_.components == 0 || header_.width == 0 || header_.height == 0) {
      throw ImageError(kDamaged);
    }
    header_.orientation = read_orientation(exif_, xmp_);
    return header_;
  }

 private:
  int byte() { return at_ < bytes_.size() ? static_cast<std::uint8_t>(bytes_[at_++]) : -1; }

  // Returns the next marker's second byte, beyond junk and fill bytes; -1 at the end of the file.
  int next_marker() {
    for (int value = byte(); value >= 0; value = byte()) {
      if (value != 0xFF) continue;
      while (value == 0xFF) value = byte();
      if (value != 0) return value;
    }
    return -1;
  }

  std::string_view segment() {
    const int high = byte(), low = byte();
    if (low < 0) throw ImageError(kDamaged);
    const std::size_t length = std::max(high * 256 + low, 2) - 2;
    if (length > bytes_.size() - at_) {
      throw ImageError("the image header cannot be read: Truncated File Read");
    }
    at_ += length;
    return bytes_.substr(at_ - length, length);
  }

  void take(int marker, std::string_view body) {
    if (is_frame(marker)) {
      take_frame(marker, body);
    } else if (marker == kQuantization) {
      check_tables(body);
    } else if (marker == kApp1 && body.substr(0, kExif.size()) == kExif) {
      // Long blocks are spread over several segments.
      exif_ = exif_ ? *exif_ + std::string(body.substr(kExif.size())) : std::string(body);
    } else if (marker == kApp1 && body.substr(0, kXmp.size()) == kXmp) {
      xmp_ = body.substr(kXmp.size());
    }
    header_.has_scan = marker == kScan;
  }

  void take_frame(int marker, std::string_view body) {
    if (body.size() < 6) throw ImageError(kDamaged);
    const auto value = [&](int i) { return static_cast<std::uint8_t>(body[i]); };
    const bool plain = marker <= 0xC2 || marker == 0xC9 || marker == 0xCA;
    header_.lossless = !plain;
    const int bits = value(0);
    if (bits != 8 && !plain) {
      throw ImageError("lossless and hierarchical JPEGs are not supported");
    }
    if (bits != 8) {
      throw ImageError("JPEGs with " + std::to_string(bits) +
                       " bits a sample are not supported, only with 8");
    }
    header_.height = value(1) * 256 + value(2);
    header_.width = value(3) * 256 + value(4);
    header_.components = value(5);
    if (header_.components != 1 && header_.components != 3 && header_.components != 4) {
      throw ImageError(kDamaged);
    }
  }

  // Checks that quantisation tables of 8 or 16 bits are whole.
  static void check_tables(std::string_view body) {
    while (!body.empty()) {
      const std::size_t length = static_cast<std::uint8_t>(body[0]) < 16 ? 65 : 129;
      if (body.size() < length) throw ImageError(kDamaged);
      body.remove_prefix(length);
    }
  }

  std::string_view bytes_;
  std::size_t at_ = 2;
  JpegHeader header_;
  std::optional<std::string> exif_;
  std::string xmp_;
};

}  // namespace

JpegHeader read_jpeg_header(const std::uint8_t* data, std::size_t size) {
  return Parser(data, size).parse();
}

}  // namespace odtk
