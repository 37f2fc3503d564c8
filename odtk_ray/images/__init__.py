"""Turns image files into pixels: headers, decoding, resizing, windows, nvImageCodec."""
