#include "images/png.h"

#include <algorithm>
#include <string>

#include "images/png_pixels.h"
#include "odtk.h"

namespace odtk {
namespace {

constexpr const char* kFailed = "the image cannot be decoded: ";

// Bytes that are decoded at once, as Pillow does: whether data that end early are told depends on
// it in rare cases.
constexpr std::size_t kBlock = 1 << 16;

// Returns the next chunk of pixels, beyond metadata.
PngChunk next_pixels(PngChunks& chunks) {
  const std::string failed = kFailed;
  while (chunks.has_next()) {
    const PngChunk chunk = chunks.next();
    if (chunk.kind == "IDAT") return chunk;
    if (!is_kind(chunk.kind)) throw ImageError(failed + "broken PNG file");
    if (!is_metadata(chunk.kind)) {
      throw ImageError(failed + "image file is truncated (0 bytes not processed)");
    }
  }
  throw ImageError(failed + "image file is truncated");
}

// Decodes one chunk of pixels, and returns whether the picture is complete.
bool decode_chunk(std::string_view file, const PngChunk& chunk, PngPixels& pixels) {
  for (std::size_t at = 0; at < chunk.length; at += kBlock) {
    const std::string_view rest = file.substr(std::min(file.size(), chunk.body + at));
    const std::size_t there = std::min({kBlock, chunk.length - at, rest.size()});
    if (there == 0) {
      throw ImageError(std::string(kFailed) + "image file is truncated (0 bytes not processed)");
    }
    if (pixels.feed(reinterpret_cast<const std::uint8_t*>(rest.data()), there)) return true;
  }
  return false;
}

// Reads what follows the pixels: metadata, and what must be whole where it is there.
void read_rest(PngChunks& chunks, PngHeader& header) {
  while (chunks.has_next()) {
    const PngChunk chunk = chunks.next();
    if (!is_kind(chunk.kind) || chunk.kind == "IEND") return;
    const std::size_t there = chunks.file().size() - chunk.body;
    if (chunk.length > there && is_metadata(chunk.kind)) return;
    const std::string_view body = chunks.body(chunk, kFailed);
    if (chunk.kind == "tRNS") check_transparency(header, chunk, kFailed);
    take_metadata(chunk.kind, body, header.metadata);
  }
}

}  // namespace

void decode_png(const std::uint8_t* data, std::size_t size, PngHeader& header, std::uint8_t* rgb) {
  if (!header.has_pixels) throw ImageError(std::string(kFailed) + "cannot load this image");
  const std::string_view file(reinterpret_cast<const char*>(data), size);
  PngChunks chunks(file, header.first.body - 8);
  PngChunk chunk = chunks.next();
  PngPixels pixels(header, rgb);
  while (!decode_chunk(file, chunk, pixels)) chunk = next_pixels(chunks);
  read_rest(chunks, header);
}

}  // namespace odtk
