// Arithmetic on axis-aligned boxes (x1, y1, x2, y2) with inclusive corners: odtk_ray/ops/boxes.py.
// Compiled without contraction to fused multiply-adds, so that every step rounds as it does there.
// rotated.cuh has the forms of rotated boxes.
#pragma once

__device__ inline void decode_side(float shift, float growth, float low, float high, int limit,
                                   float *first, float *last) {
  const float size = high - low + 1.0f;
  const float centre = shift * size + low + 0.5f * size;
  const float half = 0.5f * (expf(growth) * size);
  *first = fmaxf(centre - half, 0.0f);
  *last = fminf(centre + half - 1.0f, static_cast<float>(limit - 1));
}

// The box of `deltas` (dx, dy, dw, dh) from an anchor shifted to its cell.
__device__ inline float4 decode_box(const float (&deltas)[4], float4 anchor, int limit_w,
                                    int limit_h) {
  float4 box;
  decode_side(deltas[0], deltas[2], anchor.x, anchor.z, limit_w, &box.x, &box.z);
  decode_side(deltas[1], deltas[3], anchor.y, anchor.w, limit_h, &box.y, &box.w);
  return box;
}

__device__ inline float area(float4 box) {
  return (box.z - box.x + 1.0f) * (box.w - box.y + 1.0f);
}

// Whether the intersection over union is greater than the threshold; false where it is NaN.
__device__ inline bool overlaps(float4 a, float4 b, float threshold) {
  const float width = fmaxf(fminf(a.z, b.z) - fmaxf(a.x, b.x) + 1.0f, 0.0f);
  const float height = fmaxf(fminf(a.w, b.w) - fmaxf(a.y, b.y) + 1.0f, 0.0f);
  const float inter = width * height;
  return inter / (area(a) + area(b) - inter) > threshold;
}
