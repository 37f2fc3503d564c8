// A shared library that holds a detector.

#include "odtk.h"

std::size_t count_detections(const char* plan, const odtk::Image& image) {
  return odtk::Detector(plan).detect({image})[0].size();
}
