// FP16 and FP32 values in device memory, without cuda_fp16.h, which NVRTC does not bring along.
#pragma once

struct Half {
  unsigned short bits;
};

__device__ inline float to_float(Half value) {
  float result;
  asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(value.bits));
  return result;
}

__device__ inline float to_float(float value) { return value; }

__device__ inline void from_float(float value, Half &out) {
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(out.bits) : "f"(value));
}

__device__ inline void from_float(float value, float &out) { out = value; }

// The sum as a tensor of the type holds it: rounded once, since a float has more than twice as
// many bits as an FP16 value.
template <typename Scalar>
__device__ inline float sum(Scalar one, Scalar other) {
  Scalar rounded;
  from_float(to_float(one) + to_float(other), rounded);
  return to_float(rounded);
}

// The sums of two 16-byte vectors of values, likewise.
__device__ inline uint4 sums(uint4 one, uint4 other, Half) {
  uint4 result;
  asm("add.rn.f16x2 %0, %1, %2;" : "=r"(result.x) : "r"(one.x), "r"(other.x));
  asm("add.rn.f16x2 %0, %1, %2;" : "=r"(result.y) : "r"(one.y), "r"(other.y));
  asm("add.rn.f16x2 %0, %1, %2;" : "=r"(result.z) : "r"(one.z), "r"(other.z));
  asm("add.rn.f16x2 %0, %1, %2;" : "=r"(result.w) : "r"(one.w), "r"(other.w));
  return result;
}

__device__ inline unsigned float_sum(unsigned one, unsigned other) {
  return __float_as_uint(__uint_as_float(one) + __uint_as_float(other));
}

__device__ inline uint4 sums(uint4 one, uint4 other, float) {
  return make_uint4(float_sum(one.x, other.x), float_sum(one.y, other.y),
                    float_sum(one.z, other.z), float_sum(one.w, other.w));
}

// Which values of a 16-byte vector are at least `cut` (a pair of FP16 values): a bit each.
__device__ inline unsigned at_least(uint4 words, unsigned cut, Half) {
  unsigned masks[4];
  const unsigned in[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
  for (int i = 0; i < 4; i++) {
    asm("set.ge.u32.f16x2 %0, %1, %2;" : "=r"(masks[i]) : "r"(in[i]), "r"(cut));
  }
  if (!(masks[0] | masks[1] | masks[2] | masks[3])) return 0;
  unsigned result = 0;
#pragma unroll
  for (int i = 0; i < 4; i++) result |= (masks[i] & 1u | masks[i] >> 15 & 2u) << 2 * i;
  return result;
}

// Likewise with four FP32 values.
__device__ inline unsigned at_least(uint4 words, unsigned cut, float) {
  const float bound = __uint_as_float(cut);
  return (__uint_as_float(words.x) >= bound ? 1u : 0u) |
         (__uint_as_float(words.y) >= bound ? 2u : 0u) |
         (__uint_as_float(words.z) >= bound ? 4u : 0u) |
         (__uint_as_float(words.w) >= bound ? 8u : 0u);
}
