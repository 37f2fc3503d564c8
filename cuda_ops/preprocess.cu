// Resize, normalise and pad: decoded pictures of any size become the input tensor of the network.
//
// Pillow's bilinear resize with the horizontal pass first (odtk_ray/images/decode.py): integer sums of
// coefficients from the host, uint8 between the passes. A block makes a tile of one picture: the
// source rows under it are resized horizontally into shared memory, slab after slab, and summed
// vertically in registers. Sums of integers do not depend on where the slabs are cut.
//
// preprocess.py mirrors Axis, Picture and PreprocessArgs.

constexpr int kMaxPictures = 32;  // of a launch: the arguments must fit in 4 KB
constexpr int kTileW = 128;              // pixels
constexpr int kTileH = 32;
constexpr int kSlab = 64;                // source rows in shared memory
constexpr int kQuads = kTileW * 3 / 4;   // a thread's column: four neighbouring interleaved values
constexpr int kRows = 4;                 // rows of threads
constexpr int kOwn = kTileH / kRows;     // rows of the tile that a thread sums
constexpr int kBlock = kQuads * kRows;
constexpr int kPrecision = 22;           // fractional bits of a coefficient

// How one axis is resized: output i is the sum of `taps` coefficients (the unused ones last) times
// the inputs from starts[i] on.
struct Axis {
  const int *starts;        // [size]
  const int *counts;        // [size], inputs with a coefficient
  const int *coefficients;  // [size, taps]
  int taps;
  int size;
};

struct Picture {
  const unsigned char *pixels;  // [height, width, 3], RGB; null for an empty slot
  long long pitch;              // bytes from row to row
  Axis horizontal;
  Axis vertical;
};

struct PreprocessArgs {
  Picture pictures[kMaxPictures];
  const void *levels;  // [3, 256], the normalised value of each channel's pixel values
  void *out;           // [B, H, W, 3] or [B, 3, H, W]
  int height;          // H
  int width;           // W
  int channels_last;
};

__device__ inline int rounded(int sum) { return min(max(sum >> kPrecision, 0), 255); }

// Resizes `rows` source rows from `first_row` on horizontally, the columns of one tile.
__device__ void resize_rows(const Picture &picture, int first_row, int rows, int tile_x,
                            unsigned char *slab) {
  const Axis &axis = picture.horizontal;
  const int columns = min(kTileW, axis.size - tile_x);
  const int thread = threadIdx.y * kQuads + threadIdx.x;
  for (int i = thread; i < rows * kTileW; i += kBlock) {
    const int column = i % kTileW, row = i / kTileW;
    if (column >= columns) continue;
    const int x = tile_x + column;
    const int count = __ldg(axis.counts + x);
    const int *coefficients = axis.coefficients + static_cast<long long>(x) * axis.taps;
    const unsigned char *source = picture.pixels + (first_row + row) * picture.pitch +
                                  3ll * __ldg(axis.starts + x);
    int red = 1 << (kPrecision - 1), green = red, blue = red;
    for (int tap = 0; tap < count; tap++) {
      const int coefficient = __ldg(coefficients + tap);
      red += coefficient * __ldg(source + 3 * tap);
      green += coefficient * __ldg(source + 3 * tap + 1);
      blue += coefficient * __ldg(source + 3 * tap + 2);
    }
    unsigned char *target = slab + (row * kTileW + column) * 3;
    target[0] = rounded(red);
    target[1] = rounded(green);
    target[2] = rounded(blue);
  }
}

// Adds what the rows in the slab contribute to the four values of output row y.
__device__ void add_rows(const Axis &axis, int y, int first_row, int rows,
                         const unsigned char *slab, int sums[4]) {
  const int start = __ldg(axis.starts + y);
  const int begin = max(start, first_row);
  const int end = min(start + __ldg(axis.counts + y), first_row + rows);
  const int *coefficients = axis.coefficients + static_cast<long long>(y) * axis.taps - start;
  for (int row = begin; row < end; row++) {
    const int coefficient = __ldg(coefficients + row);
    const uchar4 values =
        reinterpret_cast<const uchar4 *>(slab + (row - first_row) * kTileW * 3)[threadIdx.x];
    sums[0] += coefficient * values.x;
    sums[1] += coefficient * values.y;
    sums[2] += coefficient * values.z;
    sums[3] += coefficient * values.w;
  }
}

// Four values of one row that lie side by side in a vector of 4 * sizeof(Scalar) bytes.
template <typename Scalar>
struct alignas(4 * sizeof(Scalar)) Quad {
  Scalar values[4];
};

template <typename Scalar>
__device__ void store(const PreprocessArgs &args, int y, int first, const Quad<Scalar> &quad) {
  const long long plane = static_cast<long long>(args.height) * args.width;
  Scalar *out = static_cast<Scalar *>(args.out) + blockIdx.z * plane * 3;
  if (args.channels_last && args.width % 4 == 0) {  // else rows are not aligned
    if (first < args.width * 3) {
      *reinterpret_cast<Quad<Scalar> *>(out + static_cast<long long>(y) * args.width * 3 + first) =
          quad;
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const int x = (first + i) / 3, channel = (first + i) % 3;
    if (x >= args.width) continue;
    const long long pixel = static_cast<long long>(y) * args.width + x;
    out[args.channels_last ? pixel * 3 + channel : channel * plane + pixel] = quad.values[i];
  }
}

// One block for each tile (x, y) of each slot (z). Scalar is what a value is stored in: its bits
// are copied from `levels`, never computed with.
template <typename Scalar>
__device__ void preprocess(const PreprocessArgs &args) {
  __shared__ alignas(16) unsigned char slab[kSlab * kTileW * 3];
  __shared__ Scalar levels[3 * 256];
  const Picture &picture = args.pictures[blockIdx.z];
  const int tile_x = blockIdx.x * kTileW, tile_y = blockIdx.y * kTileH;
  const int first = tile_x * 3 + threadIdx.x * 4;  // the thread's first value in a row
  const bool empty = !picture.pixels || tile_x >= picture.horizontal.size ||
                     tile_y >= picture.vertical.size;

  for (int i = threadIdx.y * kQuads + threadIdx.x; i < 3 * 256; i += kBlock) {
    levels[i] = static_cast<const Scalar *>(args.levels)[i];
  }
  int sums[kOwn][4];
#pragma unroll
  for (int i = 0; i < kOwn; i++) {
    for (int j = 0; j < 4; j++) sums[i][j] = 1 << (kPrecision - 1);
  }
  __syncthreads();
  if (!empty) {
    const Axis &axis = picture.vertical;
    const int last = min(tile_y + kTileH, axis.size) - 1;
    const int end = __ldg(axis.starts + last) + __ldg(axis.counts + last);
    for (int row = __ldg(axis.starts + tile_y); row < end; row += kSlab) {
      const int rows = min(kSlab, end - row);
      resize_rows(picture, row, rows, tile_x, slab);
      __syncthreads();
#pragma unroll
      for (int i = 0; i < kOwn; i++) {
        const int y = tile_y + threadIdx.y + i * kRows;
        if (y <= last) add_rows(axis, y, row, rows, slab, sums[i]);
      }
      __syncthreads();
    }
  }
#pragma unroll
  for (int i = 0; i < kOwn; i++) {
    const int y = tile_y + threadIdx.y + i * kRows;
    if (y >= args.height) break;
    const bool row_inside = !empty && y < picture.vertical.size;
    Quad<Scalar> quad;
#pragma unroll
    for (int j = 0; j < 4; j++) {
      const bool inside = row_inside && first + j < picture.horizontal.size * 3;
      quad.values[j] = inside ? levels[(first + j) % 3 * 256 + rounded(sums[i][j])] : Scalar(0);
    }
    store(args, y, first, quad);
  }
}

extern "C" __global__ void __launch_bounds__(kBlock) preprocess_float16(const PreprocessArgs args) {
  preprocess<unsigned short>(args);
}

extern "C" __global__ void __launch_bounds__(kBlock) preprocess_float32(const PreprocessArgs args) {
  preprocess<unsigned>(args);
}
