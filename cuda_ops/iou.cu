// Intersection over union of paired rotated boxes, in float: odtk_ray/ops/rotated.py.
//
// arguments.py mirrors IouArgs.

#include "rotated.cuh"

constexpr int kIouThreads = 256;

struct IouArgs {
  const RotatedBox *boxes1;  // [N]
  const RotatedBox *boxes2;  // [N]
  float *ious;               // [N]
  unsigned count;            // N
};

extern "C" __global__ void __launch_bounds__(kIouThreads) rotated_iou_pairs(const IouArgs args) {
  const unsigned i = blockIdx.x * kIouThreads + threadIdx.x;
  if (i < args.count) args.ious[i] = rotated_iou<OwnAngles>(args.boxes1[i], args.boxes2[i]);
}
