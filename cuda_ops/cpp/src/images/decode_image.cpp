#include "images/decode_image.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "images/exif.h"
#include "images/jpeg.h"
#include "images/jpeg_header.h"
#include "images/png.h"
#include "images/png_header.h"
#include "images/unsupported.h"

namespace odtk {
namespace {

class File {
 public:
  explicit File(const std::string& path)
      // A pipe without a writer would be waited for.
      : descriptor_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    if (descriptor_ < 0) fail();
  }
  ~File() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  // Returns the file's bytes now; throws ImageError for what is no file.
  std::size_t size() const {
    struct stat facts{};
    if (fstat(descriptor_, &facts) != 0) fail();
    if (S_ISDIR(facts.st_mode)) throw ImageError("cannot be read: Is a directory");
    if (!S_ISREG(facts.st_mode)) {
      throw ImageError("cannot be read: it is a pipe or a device, not a file");
    }
    return static_cast<std::size_t>(facts.st_size);
  }

  // Reads so many bytes at most, and returns how many there were.
  std::size_t read(std::uint8_t* target, std::size_t bytes) {
    std::size_t done = 0;
    while (done < bytes) {
      const ssize_t count = ::read(descriptor_, target + done, bytes - done);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) fail();
      if (count == 0) break;
      done += static_cast<std::size_t>(count);
    }
    return done;
  }

 private:
  [[noreturn]] static void fail() {
    throw ImageError(std::string("cannot be read: ") + std::strerror(errno));
  }

  int descriptor_;
};

void check_size(std::uint32_t width, std::uint32_t height, const ReadOptions& options) {
  // A side of 2^31 and more does not fit in an Image, whatever the limit is.
  const bool fits = width <= INT32_MAX && height <= INT32_MAX;
  if (fits && static_cast<std::int64_t>(width) * height <= options.max_pixels) return;
  throw ImageError("too large: " + std::to_string(width) + "x" + std::to_string(height) +
                   " is more than the limit of " + std::to_string(options.max_pixels) + " pixels");
}

Image new_image(std::uint32_t width, std::uint32_t height, const Allocate& allocate) {
  Image image;
  image.width = static_cast<int>(width);
  image.height = static_cast<int>(height);
  image.rgb = allocate(std::size_t{3} * width * height);
  return image;
}

Image decode_jpeg_file(const std::uint8_t* data, std::size_t size, const ReadOptions& options) {
  const JpegHeader header = read_jpeg_header(data, size);
  check_size(header.width, header.height, options);
  const bool turned = options.apply_exif && header.orientation != 1;
  Image image =
      new_image(header.width, header.height, turned ? allocate_on_heap : options.allocate);
  decode_jpeg(data, size, header, image.rgb.get());
  return turned ? turn_upright(image, header.orientation, options.allocate) : image;
}

Image decode_png_file(const std::uint8_t* data, std::size_t size, const ReadOptions& options) {
  PngHeader header = read_png_header(data, size);
  check_size(header.width, header.height, options);
  Image image = new_image(header.width, header.height, options.allocate);
  decode_png(data, size, header, image.rgb.get());
  if (!options.apply_exif) return image;
  const int orientation = png_orientation(header.metadata);
  return orientation == 1 ? image : turn_upright(image, orientation, options.allocate);
}

}  // namespace

std::shared_ptr<std::uint8_t> allocate_on_heap(std::size_t bytes) {
  return std::shared_ptr<std::uint8_t>(new std::uint8_t[bytes], std::default_delete<uint8_t[]>());
}

Image decode_image(const std::uint8_t* data, std::size_t size, const ReadOptions& options) {
  if (is_jpeg(data, size)) return decode_jpeg_file(data, size, options);
  if (is_png(data, size)) return decode_png_file(data, size, options);
  throw ImageError(why_unsupported(data, size));
}

Image read_image(const std::string& path, const ReadOptions& options) {
  File file(path);
  std::vector<std::uint8_t> content(kImageHead);
  const std::size_t size = file.size();
  content.resize(file.read(content.data(), content.size()));
  // Files of other formats may have any size; they are not read.
  if (content.size() == kImageHead &&
      (is_jpeg(content.data(), kImageHead) || is_png(content.data(), kImageHead))) {
    content.resize(std::max(size, kImageHead));
    const std::size_t rest = file.read(content.data() + kImageHead, content.size() - kImageHead);
    content.resize(kImageHead + rest);
  }
  return decode_image(content.data(), content.size(), options);
}

}  // namespace odtk
