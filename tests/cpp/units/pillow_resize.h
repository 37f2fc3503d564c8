// Resizing on the CPU, to compare the tables of coefficients with Pillow's pixels.
#pragma once

#include "odtk.h"

// Resizes horizontally, then vertically.
odtk::Image pillow_resize(const odtk::Image& image, int width, int height);
