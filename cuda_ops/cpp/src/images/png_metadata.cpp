#include "images/png_metadata.h"

#include <zlib.h>

#include <memory>

#include "images/exif.h"

namespace odtk {
namespace {

// Bytes of unpacked text; more is no metadata, and takes memory.
constexpr std::size_t kLongestText = 1 << 20;

// Unpacks zlib's format; empty for what is damaged or too long.
std::string unpack(std::string_view packed) {
  z_stream stream{};
  if (inflateInit(&stream) != Z_OK) return "";
  const std::unique_ptr<z_stream, decltype(&inflateEnd)> end(&stream, inflateEnd);
  std::string text(kLongestText, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.next_out = reinterpret_cast<Bytef*>(&text[0]);
  stream.avail_out = static_cast<uInt>(text.size());
  if (inflate(&stream, Z_FINISH) != Z_STREAM_END) return "";
  text.resize(stream.total_out);
  return text;
}

// Cuts a text off at a zero byte, and returns what was before it.
std::string_view take_until_zero(std::string_view& text) {
  const std::size_t end = text.find('\0');
  const std::string_view head = text.substr(0, end);
  text.remove_prefix(end == text.npos ? text.size() : end + 1);
  return head;
}

void take_profile(std::string text, PngMetadata& metadata) {
  if (!text.empty()) metadata.raw_profile = std::move(text);
}

// Reads an iTXt: keyword, whether and how it is packed, language, translated keyword, text.
void take_international(std::string_view body, PngMetadata& metadata) {
  if (take_until_zero(body) != "XML:com.adobe.xmp" || body.size() < 2) return;
  const bool packed = body[0] != 0;
  body.remove_prefix(2);
  take_until_zero(body);
  take_until_zero(body);
  metadata.xmp = packed ? unpack(body) : std::string(body);
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// Decodes a raw profile: an empty line, its name, its length, and hexadecimal digits.
std::string decode_profile(std::string_view text) {
  for (int lines = 0; lines < 3; ++lines) {
    const std::size_t end = text.find('\n');
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
  }
  std::string bytes;
  int high = -1;
  for (const char c : text) {
    const int digit = hex_digit(c);
    if (digit < 0) continue;
    if (high >= 0) bytes.push_back(static_cast<char>(high * 16 + digit));
    high = high < 0 ? digit : -1;
  }
  return bytes;
}

}  // namespace

void take_metadata(std::string_view kind, std::string_view body, PngMetadata& metadata) {
  if (kind == "eXIf") {
    metadata.exif = std::string(body);
  } else if (kind == "iTXt") {
    take_international(body, metadata);
  } else if (kind == "tEXt" || kind == "zTXt") {
    if (take_until_zero(body) != "Raw profile type exif") return;
    // The text of zTXt begins with the method, which is always 0.
    const bool packed = kind == "zTXt";
    take_profile(packed ? unpack(body.substr(body.empty() ? 0 : 1)) : std::string(body), metadata);
  }
}

int png_orientation(const PngMetadata& metadata) {
  if (metadata.exif) return read_orientation(metadata.exif, metadata.xmp);
  if (metadata.raw_profile) {
    return read_orientation(decode_profile(*metadata.raw_profile), metadata.xmp);
  }
  return read_orientation(std::nullopt, metadata.xmp);
}

}  // namespace odtk
