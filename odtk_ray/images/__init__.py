"""From image files to pixels: headers, decoding, resizing, windows, nvImageCodec."""
