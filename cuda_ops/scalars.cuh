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
