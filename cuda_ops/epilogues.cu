// What follows convolutions and is no part of their kernels: bias, sum with the level above, pooling.
//
// Every kernel reads and writes each value once, in channels_last memory, 16 bytes a thread. Each
// step is rounded to the tensors' type, as the same steps one after the other are.
//
// Entry points end in the type of the values. epilogues.py mirrors the structures.

#include "scalars.cuh"

constexpr int kThreads = 256;

struct BiasArgs {
  void *values;       // [B, H, W, C]: gets bias added, and `above` where it is not null
  const void *bias;   // [C]
  const void *above;  // [B, H/2, W/2, C]
  int height;
  int width;
  int vectors;        // of a pixel
  float limit;        // what is left is 0 to this; below 0 everything is left
};

struct PoolArgs {
  const void *values;  // [B, H, W, C]
  void *out;           // [B, (H+1)/2, (W+1)/2, C]
  const void *bias;    // [C]
  int height;
  int width;
  int vectors;
};

// A 16-byte vector as values.
template <typename Scalar>
struct Values {
  static constexpr int kCount = 16 / sizeof(Scalar);
  Scalar values[kCount];

  __device__ static Values of(uint4 words) { return *reinterpret_cast<const Values *>(&words); }

  __device__ uint4 words() const { return *reinterpret_cast<const uint4 *>(values); }
};

// Values from 0 to `limit`; NaN stays, as in torch.
template <typename Scalar>
__device__ uint4 clamped(uint4 words, float limit) {
  auto vector = Values<Scalar>::of(words);
#pragma unroll
  for (int i = 0; i < Values<Scalar>::kCount; i++) {
    const float value = to_float(vector.values[i]);
    from_float(value < 0.0f ? 0.0f : value > limit ? limit : value, vector.values[i]);
  }
  return vector.words();
}

// A thread for each vector of a row (x); rows (y) of images (z).
template <typename Scalar>
__device__ void add_bias(const BiasArgs &args) {
  const int place = blockIdx.x * kThreads + threadIdx.x;
  if (place >= args.width * args.vectors) return;
  const int x = place / args.vectors, vector = place % args.vectors;
  const int y = blockIdx.y;
  const long long row = static_cast<long long>(blockIdx.z) * args.height + y;
  uint4 *const values = static_cast<uint4 *>(args.values) + row * args.width * args.vectors + place;
  uint4 result = sums(*values, static_cast<const uint4 *>(args.bias)[vector], Scalar());
  if (args.above) {
    const long long above_row = static_cast<long long>(blockIdx.z) * (args.height / 2) + y / 2;
    const long long pixel = above_row * (args.width / 2) + x / 2;
    const uint4 *above = static_cast<const uint4 *>(args.above) + pixel * args.vectors + vector;
    result = sums(result, *above, Scalar());
  }
  if (args.limit >= 0.0f) result = clamped<Scalar>(result, args.limit);
  *values = result;
}

// relu(max + bias) over windows of 3x3 pixels in steps of 2, with a border of 1 that does not count.
template <typename Scalar>
__device__ void pool(const PoolArgs &args) {
  const int width = (args.width + 1) / 2, height = (args.height + 1) / 2;
  const int place = blockIdx.x * kThreads + threadIdx.x;
  if (place >= width * args.vectors) return;
  const int x = place / args.vectors, vector = place % args.vectors;
  const uint4 *image = static_cast<const uint4 *>(args.values) +
      static_cast<long long>(blockIdx.z) * args.height * args.width * args.vectors + vector;
  constexpr int kCount = Values<Scalar>::kCount;
  float greatest[kCount];
#pragma unroll
  for (int i = 0; i < kCount; i++) greatest[i] = __int_as_float(0xFF800000);  // -inf
#pragma unroll
  for (int window = 0; window < 9; window++) {
    const int row = 2 * blockIdx.y + window / 3 - 1, column = 2 * x + window % 3 - 1;
    if (row < 0 || row >= args.height || column < 0 || column >= args.width) continue;
    const long long pixel = static_cast<long long>(row) * args.width + column;
    const auto found = Values<Scalar>::of(image[pixel * args.vectors]);
#pragma unroll
    for (int i = 0; i < kCount; i++) {
      const float value = to_float(found.values[i]);
      if (value > greatest[i] || value != value) greatest[i] = value;  // NaN stays, as in torch
    }
  }
  const auto bias = Values<Scalar>::of(static_cast<const uint4 *>(args.bias)[vector]);
  Values<Scalar> result;
#pragma unroll
  for (int i = 0; i < kCount; i++) {
    Scalar rounded;
    from_float(greatest[i], rounded);  // it is a value of this type
    const float value = sum(rounded, bias.values[i]);
    from_float(value < 0.0f ? 0.0f : value, result.values[i]);
  }
  const long long row = static_cast<long long>(blockIdx.z) * height + blockIdx.y;
  static_cast<uint4 *>(args.out)[row * width * args.vectors + place] = result.words();
}

extern "C" __global__ void __launch_bounds__(kThreads) add_bias_float16(const BiasArgs args) {
  add_bias<Half>(args);
}

extern "C" __global__ void __launch_bounds__(kThreads) add_bias_float32(const BiasArgs args) {
  add_bias<float>(args);
}

extern "C" __global__ void __launch_bounds__(kThreads) pool_float16(const PoolArgs args) {
  pool<Half>(args);
}

extern "C" __global__ void __launch_bounds__(kThreads) pool_float32(const PoolArgs args) {
  pool<float>(args);
}
