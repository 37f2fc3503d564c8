// What a user's program may do with launches: prints a line for each that went as it should.
//
//   detect model.plan; the plan's batch is 2 at least

#include <cstdio>
#include <cstring>
#include <optional>

#include "odtk.h"

namespace {

odtk::Image grey(int width, int height, const odtk::Allocate& allocate) {
  const std::size_t bytes = std::size_t{3} * width * height;
  odtk::Image image{width, height, allocate(bytes)};
  std::memset(image.rgb.get(), 128, bytes);
  return image;
}

void say(const char* what, bool right) { std::printf("%s: %s\n", what, right ? "yes" : "NO"); }

// Whether a call throws this kind of exception.
template <typename Exception, typename Call>
bool throws(Call call) {
  try {
    call();
  } catch (const Exception&) {
    return true;
  }
  return false;
}

void replace_launches(odtk::Detector& detector, const odtk::Image& image) {
  odtk::Launch current = detector.start({image});
  for (int i = 0; i < 10; i++) {
    odtk::Launch next = detector.start({image});
    current.finish();
    current = std::move(next);
  }
  for (int i = 0; i < 10; i++) current = detector.start({image});  // dropped, all but the last
  say("launches can be replaced", current.finish().size() == 1);
}

void keep_launches(odtk::Detector& detector, const odtk::Image& image) {
  std::vector<odtk::Launch> launches;
  for (int i = 0; i < 5; i++) {
    launches.push_back(detector.start({image, image}));
    launches.back().finish();
  }
  say("finished launches can be kept", launches.size() == 5);
  say("finishing twice is refused", throws<std::logic_error>([&] { launches[0].finish(); }));
  for (int i = 0; i < 3; i++) launches.push_back(detector.start({image}));
  say("a fourth unfinished launch is refused",
      throws<std::logic_error>([&] { detector.start({image}); }));
}

void refuse_images(odtk::Detector& detector, const odtk::Image& image) {
  const auto refused = [&](const odtk::Image& other) {
    return throws<odtk::ImageError>([&] { detector.start({image, other}); });
  };
  odtk::Image negative = image;
  negative.height = -1;
  const bool all = refused({}) && refused(negative) && refused({4, 4, nullptr}) &&
                   refused(grey(1, 10'000, odtk::allocate_on_heap));
  say("images without pixels are refused", all);
  say("others can follow", detector.detect({image, image, image}).size() == 3);
}

}  // namespace

int main(int, char** values) {
  std::optional<odtk::Launch> last;
  odtk::Image image;
  {
    odtk::Detector first(values[1]);
    odtk::Detector detector(std::move(first));
    image = grey(64, 48, detector.allocator());
    replace_launches(detector, image);
    keep_launches(detector, image);
    refuse_images(detector, image);
    last = detector.start({image});
    detector = odtk::Detector(values[1]);
  }
  say("a launch can outlive its detector", last->finish()[0].size() == 2);
  image = {};
}
