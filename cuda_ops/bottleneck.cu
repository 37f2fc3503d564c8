// The end of a bottleneck of 64 inner channels: relu(x W' + shortcut + bias), where the shortcut is a
// tensor or another convolution of 1x1. All of it is bound by memory, which is read and written once.
//
// A block has the rows (pixels) of a tile and 256 output channels, a warp 32 of them, whose weights
// stay in its registers. The products are those of mma.m16n8k16, FP16 in and FP32 out. Which input
// channel stands where in a product is free as long as both factors agree, and so is which output
// channel stands where: they are placed so that every thread reads and writes 16 bytes at once.
//
// bottleneck.py mirrors BottleneckArgs.

struct BottleneckArgs {
  const void *x;                // [rows, 64]
  const void *weight;           // [columns, 64]
  const void *bias;             // [columns]
  const void *shortcut;         // [rows, columns], or [rows, 64] where it has weights
  const void *shortcut_weight;  // [columns, 64]
  void *out;                    // [rows, columns]
  long long rows;
  int columns;                  // a multiple of 256
};

constexpr int kThreads = 256;
constexpr int kInner = 64;
constexpr int kTileRows = 16;     // of a product
constexpr int kWarpColumns = 32;  // four products of 8
constexpr int kVector = 8;        // values in 16 bytes

union Vector {
  uint4 whole;
  unsigned pairs[4];
};

__device__ inline float2 to_floats(unsigned pair) {
  float2 result;
  asm("{.reg .b16 low, high; mov.b32 {low, high}, %2; cvt.f32.f16 %0, low; cvt.f32.f16 %1, high;}"
      : "=f"(result.x), "=f"(result.y) : "r"(pair));
  return result;
}

__device__ inline unsigned to_pair(float low, float high) {
  unsigned result;
  asm("{.reg .b16 low, high; cvt.rn.f16.f32 low, %1; cvt.rn.f16.f32 high, %2; mov.b32 %0, {low, high};}"
      : "=r"(result) : "f"(low), "f"(high));
  return result;
}

// sums += products of 16 rows and 8 columns over 16 channels.
__device__ inline void multiply(float (&sums)[4], unsigned a0, unsigned a1, unsigned a2,
                                unsigned a3, unsigned b0, unsigned b1) {
#if __CUDA_ARCH__ >= 800
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
#else
  __trap();  // bottleneck.py asks for compute capability 8.0
#endif
}

// Where a thread stands in the products of its warp.
struct Place {
  int quad, group, column;  // the warp's first column

  __device__ Place() {
    const int lane = threadIdx.x % 32;
    quad = lane % 4;
    group = lane / 4;
    column = blockIdx.y * kThreads / 32 * kWarpColumns + threadIdx.x / 32 * kWarpColumns;
  }
};

// The 64 input channels of a warp's columns: thread `quad` has those from 16 * quad on.
struct Weights {
  unsigned pairs[4][8];  // of four products

  __device__ Weights(const void *weight, const Place &place) {
#pragma unroll
    for (int part = 0; part < 4; part++) {
      const int column = place.column + 8 * (place.group / 2) + 2 * part + place.group % 2;
      const uint4 *row = static_cast<const uint4 *>(weight) + column * (kInner / kVector);
      Vector halves[2];
#pragma unroll
      for (int half = 0; half < 2; half++) halves[half].whole = row[2 * place.quad + half];
#pragma unroll
      for (int i = 0; i < 8; i++) pairs[part][i] = halves[i / 4].pairs[i % 4];
    }
  }
};

// The same channels of 16 rows: those of `group` and of `group` + 8.
struct Rows {
  Vector halves[2][2];

  __device__ void load(const void *x, long long first, long long rows, const Place &place) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const long long row = first + i * 8 + place.group;
      const uint4 *from = static_cast<const uint4 *>(x) + row * (kInner / kVector) + 2 * place.quad;
#pragma unroll
      for (int half = 0; half < 2; half++) {
        halves[i][half].whole = row < rows ? from[half] : make_uint4(0, 0, 0, 0);
      }
    }
  }

  __device__ void multiply_with(const Weights &weights, float (&sums)[4][4]) const {
#pragma unroll
    for (int step = 0; step < 4; step++) {
      const int half = step / 2, low = 2 * (step % 2);
#pragma unroll
      for (int part = 0; part < 4; part++) {
        multiply(sums[part], halves[0][half].pairs[low], halves[1][half].pairs[low],
                 halves[0][half].pairs[low + 1], halves[1][half].pairs[low + 1],
                 weights.pairs[part][2 * step], weights.pairs[part][2 * step + 1]);
      }
    }
  }
};

__device__ inline float relu(float value) { return value < 0.0f ? 0.0f : value; }

// Where the 8 columns of a thread in a row begin, in vectors.
__device__ inline long long vector_of(const BottleneckArgs &args, const Place &place, long long row) {
  return (row * args.columns + place.column) / kVector + place.quad;
}

// Writes 16 rows: sums + bias + shortcut; the shortcut of each of a thread's two rows.
__device__ inline void finish(const BottleneckArgs &args, const Place &place, long long first,
                              const float (&sums)[4][4], const Vector &bias,
                              const Vector (&shortcut)[2]) {
#pragma unroll
  for (int i = 0; i < 2; i++) {
    const long long row = first + i * 8 + place.group;
    if (row >= args.rows) continue;
    Vector out;
#pragma unroll
    for (int part = 0; part < 4; part++) {
      const float2 b = to_floats(bias.pairs[part]), s = to_floats(shortcut[i].pairs[part]);
      out.pairs[part] = to_pair(relu(sums[part][2 * i] + b.x + s.x),
                                relu(sums[part][2 * i + 1] + b.y + s.y));
    }
    __stcs(static_cast<uint4 *>(args.out) + vector_of(args, place, row), out.whole);
  }
}

__device__ inline Vector load_bias(const BottleneckArgs &args, const Place &place) {
  Vector bias;
  bias.whole = static_cast<const uint4 *>(args.bias)[place.column / kVector + place.quad];
  return bias;
}

extern "C" __global__ void __launch_bounds__(kThreads, 2) bottleneck_add(const BottleneckArgs args) {
  constexpr int kTiles = 2;  // whose loads are under way at once
  const Place place;
  const Weights weights(args.weight, place);
  const Vector bias = load_bias(args, place);
  const long long step = static_cast<long long>(gridDim.x) * kTiles * kTileRows;
  for (long long base = blockIdx.x * (step / gridDim.x); base < args.rows; base += step) {
    Rows rows[kTiles];
    Vector shortcut[kTiles][2];
#pragma unroll
    for (int tile = 0; tile < kTiles; tile++) {
      rows[tile].load(args.x, base + tile * kTileRows, args.rows, place);
#pragma unroll
      for (int i = 0; i < 2; i++) {
        const long long row = base + tile * kTileRows + i * 8 + place.group;
        if (row < args.rows) {
          const uint4 *from = static_cast<const uint4 *>(args.shortcut);
          shortcut[tile][i].whole = __ldcs(from + vector_of(args, place, row));
        }
      }
    }
#pragma unroll
    for (int tile = 0; tile < kTiles; tile++) {
      float sums[4][4] = {};
      rows[tile].multiply_with(weights, sums);
      finish(args, place, base + tile * kTileRows, sums, bias, shortcut[tile]);
    }
  }
}

extern "C" __global__ void __launch_bounds__(kThreads, 2)
bottleneck_project(const BottleneckArgs args) {
  const Place place;
  const Weights weights(args.weight, place), shortcut_weights(args.shortcut_weight, place);
  const Vector bias = load_bias(args, place);
  const Vector none[2] = {};
  const long long step = static_cast<long long>(gridDim.x) * kTileRows;
  for (long long base = blockIdx.x * static_cast<long long>(kTileRows); base < args.rows;
       base += step) {
    Rows rows, shortcut;
    rows.load(args.x, base, args.rows, place);
    shortcut.load(args.shortcut, base, args.rows, place);
    float sums[4][4] = {};
    rows.multiply_with(weights, sums);
    shortcut.multiply_with(shortcut_weights, sums);
    finish(args, place, base, sums, bias, none);
  }
}
