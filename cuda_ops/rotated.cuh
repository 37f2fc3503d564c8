// Arithmetic on rotated boxes: odtk_ray/ops/rotated.py.
//
// In float, where suppression by ops is in double: near the threshold, within 1e-5, the two may
// decide differently. Minima and maxima hand on a NaN of their first argument, other than CUDA's
// fminf and fmaxf, so that a box that is not finite has no IoU.
#pragma once

#include "boxes.cuh"

struct alignas(8) RotatedBox {
  float x1, y1, x2, y2, sin, cos;
};

// The box of `deltas` (dx, dy, dw, dh, sin, cos) from an anchor shifted to its cell.
__device__ inline RotatedBox decode_box(const float (&deltas)[6], float4 anchor, int limit_w,
                                        int limit_h) {
  const float sides[4] = {deltas[0], deltas[1], deltas[2], deltas[3]};
  const float4 box = decode_box(sides, anchor, limit_w, limit_h);
  const float length = hypotf(deltas[4], deltas[5]);
  if (!(length > 0.0f && isfinite(length))) return {box.x, box.y, box.z, box.w, 0.0f, 1.0f};
  return {box.x, box.y, box.z, box.w, deltas[4] / length, deltas[5] / length};
}

__device__ inline float lesser(float value, float limit) { return limit < value ? limit : value; }

__device__ inline float greater(float value, float limit) { return limit > value ? limit : value; }

__device__ inline float clamp(float value, float limit) {
  return greater(lesser(value, limit), -limit);
}

// a * b - c * d without cancellation, by Kahan: thin boxes need angles and offsets to the last digit.
__device__ inline float difference(float a, float b, float c, float d) {
  const float product = c * d;
  return fmaf(a, b, -product) + fmaf(-c, d, product);
}

// Half the sides of two boxes, and the way from the centre of the second to that of the first.
struct Pair {
  float half_w1, half_h1, half_w2, half_h2, right, down;

  __device__ Pair(const RotatedBox &a, const RotatedBox &b)
      : half_w1(half(a.x1, a.x2)),
        half_h1(half(a.y1, a.y2)),
        half_w2(half(b.x1, b.x2)),
        half_h2(half(b.y1, b.y2)),
        right(((a.x1 - b.x1) + (a.x2 - b.x2)) / 2),
        down(((a.y1 - b.y1) + (a.y2 - b.y2)) / 2) {}

  __device__ static float half(float low, float high) { return greater(high - low, 0.0f) / 2; }

  // The offset in the frame of the second box.
  __device__ float x0(const RotatedBox &b) const { return difference(right, b.cos, -down, b.sin); }
  __device__ float y0(const RotatedBox &b) const { return difference(down, b.cos, right, b.sin); }

  __device__ float area1() const { return 4 * half_w1 * half_h1; }
  __device__ float area2() const { return 4 * half_w2 * half_h2; }
};

// The term of `_covered` in ops/rotated.py for one edge, from (x, y) to (x_next, y_next).
__device__ inline float below_edge(float x, float y, float x_next, float y_next, float half_w,
                                  float half_h) {
  const float start = clamp(x, half_w), stop = clamp(x_next, half_w);
  const float rise = y_next - y;
  float run = x_next - x;
  if (run == 0) run = 1;
  const float first = y + (start - x) / run * rise;
  const float last = y_next + (stop - x_next) / run * rise;
  const float low = lesser(first, last), high = greater(first, last);
  const float low_in = clamp(low, half_h), high_in = clamp(high, half_h);
  const float inside = (high_in - low_in) * (high_in + low_in) / 2;
  const float above = (greater(high, half_h) - greater(low, half_h)) * half_h;
  const float below = (lesser(high, -half_h) - lesser(low, -half_h)) * half_h;
  const float height = high - low;
  const float mean = height > 0 ? (inside + above - below) / height : low_in;
  return (mean + half_h) * (stop - start);
}

// How the common area of two boxes is found: each has its own angle.
struct OwnAngles {
  __device__ static float common(const RotatedBox &a, const RotatedBox &b, const Pair &pair) {
    const float x0 = pair.x0(b), y0 = pair.y0(b);
    const float sin = difference(a.sin, b.cos, a.cos, b.sin);
    const float cos = difference(a.cos, b.cos, -a.sin, b.sin);
    const float w_cos = pair.half_w1 * cos, h_sin = pair.half_h1 * sin;
    const float w_sin = pair.half_w1 * sin, h_cos = pair.half_h1 * cos;
    float total = 0;
    float x = h_sin - w_cos + x0, y = -w_sin - h_cos + y0;
#pragma unroll
    for (int next = 1; next <= 4; next++) {  // once around the first box
      const bool on_right = next == 1 || next == 2, at_bottom = next == 2 || next == 3;
      const float x_next = (on_right ? w_cos : -w_cos) - (at_bottom ? h_sin : -h_sin) + x0;
      const float y_next = (on_right ? w_sin : -w_sin) + (at_bottom ? h_cos : -h_cos) + y0;
      total += below_edge(x, y, x_next, y_next, pair.half_w2, pair.half_h2);
      x = x_next;
      y = y_next;
    }
    return total < 0 ? -total : total;
  }
};

// Both are turned by the angle of the second one, as in ODTK.
struct AngleOfWorse {
  __device__ static float common(const RotatedBox &, const RotatedBox &b, const Pair &pair) {
    return shared(pair.x0(b), pair.half_w1, pair.half_w2) *
           shared(pair.y0(b), pair.half_h1, pair.half_h2);
  }

  // Common length of two intervals whose centres are `distance` apart.
  __device__ static float shared(float distance, float half1, float half2) {
    const float ends = lesser(distance + half1, half2) - greater(distance - half1, -half2);
    return greater(ends, 0.0f);
  }
};

// Intersection over union; 0 for boxes that have no area, are inverted or are not finite.
template <typename Angles>
__device__ inline float rotated_iou(const RotatedBox &a, const RotatedBox &b) {
  const Pair pair(a, b);
  const float area1 = pair.area1(), area2 = pair.area2();
  const float common = lesser(Angles::common(a, b, pair), lesser(area1, area2));
  const float iou = common / (area1 + area2 - common);
  return isfinite(iou) ? iou : 0.0f;
}

__device__ inline float squared_reach(const Pair &pair) {
  const float reach = sqrtf(pair.half_w1 * pair.half_w1 + pair.half_h1 * pair.half_h1) +
                      sqrtf(pair.half_w2 * pair.half_w2 + pair.half_h2 * pair.half_h2);
  return reach * reach;
}

// False where the circles around two boxes, or their areas, keep the intersection over union from
// the threshold, whatever the angles are.
__device__ inline bool rotated_near(const RotatedBox &a, const RotatedBox &b, float threshold) {
  const Pair pair(a, b);
  const float area1 = pair.area1(), area2 = pair.area2();
  const float distance2 = pair.right * pair.right + pair.down * pair.down;
  const float slack = 1e-5f;
  const float least = threshold * (1.0f - slack);
  return !(distance2 > squared_reach(pair) * (1.0f + slack)) &&
         !(fminf(area1, area2) < fmaxf(area1, area2) * least);
}
