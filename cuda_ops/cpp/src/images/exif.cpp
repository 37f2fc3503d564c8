#include "images/exif.h"

#include <cstring>
#include <string_view>

namespace odtk {
namespace {

constexpr int kOrientation = 274;
enum class Found { nothing, unreadable, value };

// Bytes of a value of each TIFF type; 0 for types that Pillow does not know.
constexpr std::size_t kTypeBytes[] = {0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8};

// A TIFF in memory, whose byte order its first two bytes name.
class Tiff {
 public:
  explicit Tiff(std::string_view bytes) : bytes_(bytes) {}

  // Returns whether the header is that of a TIFF with 32-bit offsets; sets the byte order.
  bool open() {
    using namespace std::string_view_literals;
    const std::string_view head = bytes_.substr(0, 4);
    big_endian_ = head.substr(0, 2) == "MM";
    const bool known =
        head == "MM\0*"sv || head == "II*\0"sv || head == "MM*\0"sv || head == "II\0*"sv;
    return known && bytes_.size() >= 8;
  }

  bool has(std::size_t at, std::size_t count) const {
    return at <= bytes_.size() && count <= bytes_.size() - at;
  }
  std::size_t size() const { return bytes_.size(); }

  // Reads an unsigned number of so many bytes, which must be there.
  std::uint64_t number(std::size_t at, std::size_t count) const {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t place = at + (big_endian_ ? i : count - 1 - i);
      value = value << 8 | static_cast<std::uint8_t>(bytes_[place]);
    }
    return value;
  }

 private:
  std::string_view bytes_;
  bool big_endian_ = false;
};

int checked(std::int64_t value) { return value >= 1 && value <= 8 ? static_cast<int>(value) : 1; }

// Reads the first number of a tag; 1 where its type holds no integers.
int read_value(const Tiff& tiff, std::uint64_t type, std::size_t at) {
  switch (type) {
    case 3:  // SHORT
    case 8:  // SSHORT; a negative one is no orientation either way
      return checked(static_cast<std::int64_t>(tiff.number(at, 2)));
    case 4:   // LONG
    case 9:   // SLONG
    case 13:  // IFD
      return checked(static_cast<std::int64_t>(tiff.number(at, 4)));
    case 6:  // SBYTE
      return checked(static_cast<std::int64_t>(tiff.number(at, 1)));
    case 16:  // LONG8
      return checked(static_cast<std::int64_t>(tiff.number(at, 8)));
    default:
      return 1;
  }
}

// Searches a directory for the orientation, up to what damaged entries let Pillow read.
bool find_tag(const Tiff& tiff, std::size_t directory, int* orientation) {
  if (!tiff.has(directory, 2)) return false;
  const std::uint64_t count = tiff.number(directory, 2);
  std::uint64_t far_bytes = 0;
  for (std::size_t i = 0, at = directory + 2; i < count && tiff.has(at, 12); ++i, at += 12) {
    const std::uint64_t tag = tiff.number(at, 2), type = tiff.number(at + 2, 2);
    const std::size_t unit = type < std::size(kTypeBytes) ? kTypeBytes[type] : 0;
    const std::uint64_t bytes = unit * tiff.number(at + 4, 4);
    std::size_t place = at + 8;
    if (bytes == 0) continue;
    if (bytes > 4) {
      place = tiff.number(place, 4);
      far_bytes += bytes;
      if (far_bytes > tiff.size()) continue;
      if (!tiff.has(place, bytes)) return false;
    }
    if (tag == kOrientation) {
      *orientation = read_value(tiff, type, place);
      return true;
    }
  }
  return false;
}

Found read_exif(std::string_view block, int* orientation) {
  using namespace std::string_view_literals;
  constexpr std::string_view prefix = "Exif\0\0"sv;
  for (int times = 0; times < 2 && block.substr(0, prefix.size()) == prefix; ++times) {
    block.remove_prefix(prefix.size());
  }
  if (block.empty()) return Found::nothing;
  Tiff tiff(block);
  if (!tiff.open()) return Found::unreadable;
  return find_tag(tiff, tiff.number(4, 4), orientation) ? Found::value : Found::nothing;
}

// Reads the digit behind the first `tiff:Orientation="` or `tiff:Orientation>`.
int read_xmp(std::string_view text) {
  constexpr std::string_view name = "tiff:Orientation";
  for (std::size_t at = text.find(name); at != text.npos; at = text.find(name, at + 1)) {
    std::string_view rest = text.substr(at + name.size());
    const std::size_t skipped = rest.substr(0, 2) == "=\"" ? 2 : rest.substr(0, 1) == ">" ? 1 : 0;
    if (skipped == 0 || rest.size() <= skipped) continue;
    const char digit = rest[skipped];
    if (digit >= '0' && digit <= '9') return checked(digit - '0');
  }
  return 1;
}

}  // namespace

int read_orientation(const std::optional<std::string>& exif, const std::string& xmp) {
  int orientation = 1;
  switch (exif ? read_exif(*exif, &orientation) : Found::nothing) {
    case Found::value:
      return orientation;
    case Found::unreadable:
      return 1;
    default:
      return read_xmp(xmp);
  }
}

Image turn_upright(const Image& image, int orientation, const Allocate& allocate) {
  // EXIF 2.32, table "Orientation": whether rows and columns are exchanged, and which are reversed.
  const bool exchanged = orientation >= 5;
  const bool from_right =
      orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool from_below =
      orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  Image turned;
  turned.width = exchanged ? image.height : image.width;
  turned.height = exchanged ? image.width : image.height;
  turned.rgb = allocate(std::size_t{3} * image.width * image.height);
  std::uint8_t* target = turned.rgb.get();
  for (int y = 0; y < turned.height; ++y) {
    for (int x = 0; x < turned.width; ++x, target += 3) {
      const int column = exchanged ? y : x, row = exchanged ? x : y;
      const std::size_t from_x = from_right ? image.width - 1 - column : column;
      const std::size_t from_y = from_below ? image.height - 1 - row : row;
      std::memcpy(target, image.rgb.get() + 3 * (from_y * image.width + from_x), 3);
    }
  }
  return turned;
}

}  // namespace odtk
