#include "images/jpeg.h"

#include <csetjmp>
#include <cstdio>  // jpeglib.h needs it
// clang-format off
#include <jpeglib.h>
// clang-format on

#include <algorithm>
#include <string>
#include <vector>

#include "odtk.h"

namespace odtk {
namespace {

// Bytes that are given to libjpeg at once, as Pillow does: where data are damaged, its fast paths,
// and with them the pixels, depend on how many bytes it sees.
constexpr std::size_t kBlock = 1 << 16;

enum class Outcome { needs_more, done, broken };
enum class Stage { header, start, rows, finish };

// The state of decoding. It has no destructors to skip: libjpeg leaves `advance` by longjmp.
struct Decoding {
  jpeg_decompress_struct info;
  jpeg_source_mgr source;
  jpeg_error_mgr errors;
  std::jmp_buf failed;
  std::size_t skip;  // bytes beyond those in memory that libjpeg wants to skip
  Stage stage;
  JDIMENSION width, height, y;
  int components;
  std::uint8_t* rgb;
  JSAMPLE* row;  // of CMYK
};

Decoding& decoding_of(j_common_ptr info) { return *static_cast<Decoding*>(info->client_data); }

void fail(j_common_ptr info) { std::longjmp(decoding_of(info).failed, 1); }
void ignore_message(j_common_ptr) {}
void ignore(j_decompress_ptr) {}
boolean suspend(j_decompress_ptr) { return FALSE; }

void skip_input(j_decompress_ptr info, long count) {
  Decoding& decoding = decoding_of(reinterpret_cast<j_common_ptr>(info));
  const std::size_t bytes = count > 0 ? static_cast<std::size_t>(count) : 0;
  const std::size_t here = std::min(bytes, info->src->bytes_in_buffer);
  info->src->next_input_byte += here;
  info->src->bytes_in_buffer -= here;
  decoding.skip = bytes - here;
}

// Converts CMYK as Adobe stores it, inverted, to RGB with Pillow's arithmetic.
void cmyk_to_rgb(const JSAMPLE* cmyk, JDIMENSION pixels, std::uint8_t* rgb) {
  for (JDIMENSION x = 0; x < pixels; ++x, cmyk += 4, rgb += 3) {
    const int light = cmyk[3];  // 255 - black
    for (int i = 0; i < 3; ++i) {
      const int product = (255 - cmyk[i]) * light + 128;
      rgb[i] = static_cast<std::uint8_t>(light - (((product >> 8) + product) >> 8));
    }
  }
}

bool read_header(Decoding& decoding) {
  int found;
  do {
    found = jpeg_read_header(&decoding.info, FALSE);
  } while (found == JPEG_HEADER_TABLES_ONLY);
  if (found == JPEG_SUSPENDED) return false;
  decoding.info.out_color_space = decoding.components == 4 ? JCS_CMYK : JCS_RGB;
  return true;
}

bool read_rows(Decoding& decoding) {
  for (; decoding.y < decoding.height; ++decoding.y) {
    std::uint8_t* target = decoding.rgb + std::size_t{3} * decoding.width * decoding.y;
    JSAMPROW row = decoding.components == 4 ? decoding.row : target;
    if (jpeg_read_scanlines(&decoding.info, &row, 1) != 1) return false;
    if (decoding.components == 4) cmyk_to_rgb(row, decoding.width, target);
  }
  return true;
}

// Decodes as far as the bytes in memory allow.
Outcome advance(Decoding& decoding) {
  if (setjmp(decoding.failed)) return Outcome::broken;
  if (decoding.stage == Stage::header) {
    if (!read_header(decoding)) return Outcome::needs_more;
    decoding.stage = Stage::start;
  }
  if (decoding.stage == Stage::start) {
    if (!jpeg_start_decompress(&decoding.info)) return Outcome::needs_more;
    const bool as_planned = decoding.info.output_width == decoding.width &&
                            decoding.info.output_height == decoding.height &&
                            decoding.info.num_components == decoding.components;
    if (!as_planned) return Outcome::broken;
    decoding.stage = Stage::rows;
  }
  if (decoding.stage == Stage::rows) {
    if (!read_rows(decoding)) return Outcome::needs_more;
    decoding.stage = Stage::finish;
  }
  // What may follow the last row is not waited for.
  jpeg_finish_decompress(&decoding.info);
  return Outcome::done;
}

// Creates libjpeg's object; false if it cannot.
bool create(Decoding& decoding) {
  decoding.info.err = jpeg_std_error(&decoding.errors);
  decoding.errors.error_exit = fail;
  decoding.errors.output_message = ignore_message;
  decoding.info.client_data = &decoding;
  if (setjmp(decoding.failed)) return false;
  jpeg_create_decompress(&decoding.info);
  decoding.source.init_source = ignore;
  decoding.source.fill_input_buffer = suspend;
  decoding.source.skip_input_data = skip_input;
  decoding.source.resync_to_restart = jpeg_resync_to_restart;
  decoding.source.term_source = ignore;
  decoding.info.src = &decoding.source;
  return true;
}

class JpegDecoder {
 public:
  JpegDecoder(const JpegHeader& header, std::uint8_t* rgb) {
    if (header.components == 4) row_.resize(std::size_t{4} * header.width);
    decoding_.width = header.width;
    decoding_.height = header.height;
    decoding_.components = header.components;
    decoding_.rgb = rgb;
    decoding_.row = row_.data();
    if (!create(decoding_)) throw ImageError("the image cannot be decoded: libjpeg does not start");
  }
  ~JpegDecoder() { jpeg_destroy_decompress(&decoding_.info); }
  JpegDecoder(const JpegDecoder&) = delete;
  JpegDecoder& operator=(const JpegDecoder&) = delete;

  // Decodes a file; false where it is broken. `left` is what was not decoded of a truncated one.
  Outcome decode(const std::uint8_t* data, std::size_t size, std::size_t* left) {
    jpeg_source_mgr& source = decoding_.source;
    source.next_input_byte = data;
    Outcome outcome = Outcome::needs_more;
    for (std::size_t end = 0; end < size && outcome == Outcome::needs_more;) {
      end = std::min(end + kBlock, size);
      source.bytes_in_buffer = static_cast<std::size_t>(data + end - source.next_input_byte);
      if (decoding_.skip > 0) skip_input(&decoding_.info, static_cast<long>(decoding_.skip));
      if (decoding_.skip == 0) outcome = advance(decoding_);
    }
    *left = static_cast<std::size_t>(data + size - source.next_input_byte);
    return outcome;
  }

 private:
  Decoding decoding_{};
  std::vector<JSAMPLE> row_;
};

}  // namespace

void decode_jpeg(const std::uint8_t* data, std::size_t size, const JpegHeader& header,
                 std::uint8_t* rgb) {
  const std::string failed = "the image cannot be decoded: ";
  if (!header.has_scan) throw ImageError(failed + "cannot load this image");
  std::size_t left = 0;
  switch (JpegDecoder(header, rgb).decode(data, size, &left)) {
    case Outcome::done:
      return;
    case Outcome::needs_more:
      throw ImageError(failed + "image file is truncated (" + std::to_string(left) +
                       " bytes not processed)");
    case Outcome::broken:
      if (header.lossless) {
        throw ImageError(failed + "lossless and hierarchical JPEGs are not supported");
      }
      throw ImageError(failed + "broken data stream when reading image file");
  }
}

}  // namespace odtk
