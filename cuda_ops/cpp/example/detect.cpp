// The library in 30 lines: detections in one image, printed and drawn.
//
//   detect model.plan street.jpg drawn.png

#include <cstdio>

#include "odtk.h"

int main(int count, char** values) {
  if (count != 4) {
    std::fprintf(stderr, "usage: detect MODEL.plan IMAGE DRAWN\n");
    return 2;
  }
  try {
    odtk::Detector detector(values[1]);
    odtk::Image image = odtk::read_image(values[2]);
    const odtk::Detections found = detector.detect({image})[0];
    for (const odtk::Detection& detection : found) {
      std::printf("class %d, score %.2f, from (%.0f, %.0f) to (%.0f, %.0f)\n", detection.label,
                  detection.score, detection.box[0], detection.box[1], detection.box[2],
                  detection.box[3]);
    }
    odtk::draw(image, found, detector.info());
    odtk::write_image(values[3], image);
  } catch (const odtk::Error& error) {
    std::fprintf(stderr, "%s: %s\n%s\n", error.what(), error.why().c_str(), error.hint().c_str());
    return error.exit_code();
  } catch (const odtk::ImageError& error) {
    std::fprintf(stderr, "%s: %s\n", values[2], error.what());
    return 1;
  }
}
