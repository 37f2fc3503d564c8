#include <csetjmp>
#include <cstdio>  // jpeglib.h needs it
// clang-format off
#include <jpeglib.h>
// clang-format on

#include <cstdlib>
#include <memory>

#include "output/encode_image.h"

namespace odtk {
namespace {

constexpr int kQuality = 90;

// The state of encoding. It has no destructors to skip: libjpeg leaves `encode` by longjmp.
struct Encoding {
  jpeg_compress_struct info;
  jpeg_error_mgr errors;
  std::jmp_buf failed;
  char message[JMSG_LENGTH_MAX];
  unsigned char* bytes;
  unsigned long count;
};

void fail(j_common_ptr info) {
  auto& encoding = *static_cast<Encoding*>(info->client_data);
  encoding.errors.format_message(info, encoding.message);
  std::longjmp(encoding.failed, 1);
}

void ignore_message(j_common_ptr) {}

bool encode(Encoding& encoding, int width, int height, std::uint8_t* rgb) {
  jpeg_compress_struct& info = encoding.info;
  info.err = jpeg_std_error(&encoding.errors);
  encoding.errors.error_exit = fail;
  encoding.errors.output_message = ignore_message;
  info.client_data = &encoding;
  if (setjmp(encoding.failed)) return false;
  jpeg_create_compress(&info);
  jpeg_mem_dest(&info, &encoding.bytes, &encoding.count);
  info.image_width = static_cast<JDIMENSION>(width);
  info.image_height = static_cast<JDIMENSION>(height);
  info.input_components = 3;
  info.in_color_space = JCS_RGB;
  jpeg_set_defaults(&info);  // with 4:2:0
  jpeg_set_quality(&info, kQuality, TRUE);
  jpeg_start_compress(&info, TRUE);
  while (info.next_scanline < info.image_height) {
    JSAMPROW row = rgb + std::size_t{3} * info.image_width * info.next_scanline;
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  return true;
}

}  // namespace

std::string encode_jpeg(const Image& image) {
  Encoding encoding{};
  const bool done = encode(encoding, image.width, image.height, image.rgb.get());
  jpeg_destroy_compress(&encoding.info);
  const std::unique_ptr<unsigned char, decltype(&std::free)> owner(encoding.bytes, std::free);
  if (!done) throw Error("a picture cannot be written as JPEG", encoding.message);
  return {reinterpret_cast<const char*>(encoding.bytes), encoding.count};
}

}  // namespace odtk
