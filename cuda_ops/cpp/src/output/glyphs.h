// A small font: cells of 5 by 8 dots for the printable characters of ASCII.
#pragma once

namespace odtk {

constexpr int kGlyphWidth = 5, kGlyphHeight = 8;  // dots

// Returns whether a character's dot is set; an empty box stands for what the font does not have.
bool glyph_dot(char32_t character, int column, int row);

}  // namespace odtk
