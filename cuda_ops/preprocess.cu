// Resize, normalise and pad: decoded pictures of any size become the input tensor of the network.
//
// Pillow's bilinear resize with the horizontal pass first (odtk_ray/images/resize.py): integer sums of
// coefficients from the host, uint8 between the passes. A block makes a tile of one picture: the
// source rows under it are resized horizontally into shared memory, slab after slab, and summed
// vertically in registers, from where the colours go back to shared memory, so that every layout is
// written in the order of its addresses. Sums of integers do not depend on where the slabs are cut.
//
// preprocess.py mirrors Axis, Picture and PreprocessArgs.

constexpr int kMaxPictures = 32;  // of a launch: the arguments must fit in 4 KB
constexpr int kTileW = 128;              // pixels
constexpr int kTileH = 32;
constexpr int kSlab = 64;                // source rows in shared memory; a whole tile fits, too
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
  void *out;           // [B, 3, H, W], [B, H, W, 3] or [B, H, W, 4] with a zero in every pixel
  int height;          // H
  int width;           // W
  int pixel_step;      // from a pixel's first value to the next one's: 1, 3 or 4
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

// Four values that lie side by side in a vector of 4 * sizeof(Scalar) bytes.
template <typename Scalar>
struct alignas(4 * sizeof(Scalar)) Quad {
  Scalar values[4];
};

// A tile after resizing, in shared memory. Scalar is what a value is stored in: its bits are copied
// from `levels`, never computed with.
template <typename Scalar>
struct Tile {
  int x, y;                      // of its first pixel in the tensor
  int columns, rows;             // how much of it the picture fills
  const unsigned char *colours;  // [kTileH, kTileW, 3]
  const Scalar *levels;          // [3, 256]

  // Returns a value of row `row` with index `i`, 3 * column + channel; 0 is the padding's.
  __device__ Scalar value(int row, int i) const {
    const bool inside = row < rows && i < columns * 3;
    return inside ? levels[i % 3 * 256 + colours[row * kTileW * 3 + i]] : Scalar(0);
  }
};

template <typename Scalar>
__device__ void store(const PreprocessArgs &args, const Tile<Scalar> &tile) {
  const int thread = threadIdx.y * kQuads + threadIdx.x;
  const int columns = min(kTileW, args.width - tile.x), rows = min(kTileH, args.height - tile.y);
  const long long plane = static_cast<long long>(args.height) * args.width;
  const long long corner = static_cast<long long>(tile.y) * args.width + tile.x;
  Scalar *out = static_cast<Scalar *>(args.out) + blockIdx.z * plane * max(args.pixel_step, 3);
  if (args.pixel_step == 4) {
    for (int i = thread; i < kTileW * kTileH; i += kBlock) {
      const int column = i % kTileW, row = i / kTileW;
      if (column >= columns || row >= rows) continue;
      Quad<Scalar> quad = {};
      for (int j = 0; j < 3; j++) quad.values[j] = tile.value(row, 3 * column + j);
      reinterpret_cast<Quad<Scalar> *>(out)[corner + row * args.width + column] = quad;
    }
  } else if (args.pixel_step == 3 && args.width % 4 == 0) {  // else rows are not aligned
    for (int i = thread; i < kQuads * kTileH; i += kBlock) {
      const int first = i % kQuads * 4, row = i / kQuads;
      if (first >= columns * 3 || row >= rows) continue;
      Quad<Scalar> quad;
      for (int j = 0; j < 4; j++) quad.values[j] = tile.value(row, first + j);
      *reinterpret_cast<Quad<Scalar> *>(out + (corner + row * args.width) * 3 + first) = quad;
    }
  } else {
    for (int i = thread; i < 3 * kTileW * kTileH; i += kBlock) {
      const int column = i % kTileW, row = i / kTileW % kTileH, channel = i / (kTileW * kTileH);
      if (column >= columns || row >= rows) continue;
      const long long pixel = corner + row * args.width + column;
      out[args.pixel_step == 3 ? pixel * 3 + channel : channel * plane + pixel] =
          tile.value(row, 3 * column + channel);
    }
  }
}

// One block for each tile (x, y) of each slot (z).
template <typename Scalar>
__device__ void preprocess(const PreprocessArgs &args) {
  __shared__ alignas(16) unsigned char slab[kSlab * kTileW * 3];
  __shared__ Scalar levels[3 * 256];
  const Picture &picture = args.pictures[blockIdx.z];
  const Axis &vertical = picture.vertical;
  const int tile_x = blockIdx.x * kTileW, tile_y = blockIdx.y * kTileH;
  const bool empty =
      !picture.pixels || tile_x >= picture.horizontal.size || tile_y >= vertical.size;

  for (int i = threadIdx.y * kQuads + threadIdx.x; i < 3 * 256; i += kBlock) {
    levels[i] = static_cast<const Scalar *>(args.levels)[i];
  }
  if (!empty) {
    int sums[kOwn][4];
#pragma unroll
    for (int i = 0; i < kOwn; i++) {
      for (int j = 0; j < 4; j++) sums[i][j] = 1 << (kPrecision - 1);
    }
    const int last = min(tile_y + kTileH, vertical.size) - 1;
    const int end = __ldg(vertical.starts + last) + __ldg(vertical.counts + last);
    for (int row = __ldg(vertical.starts + tile_y); row < end; row += kSlab) {
      const int rows = min(kSlab, end - row);
      resize_rows(picture, row, rows, tile_x, slab);
      __syncthreads();
#pragma unroll
      for (int i = 0; i < kOwn; i++) {
        const int y = tile_y + threadIdx.y + i * kRows;
        if (y <= last) add_rows(vertical, y, row, rows, slab, sums[i]);
      }
      __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < kOwn; i++) {
      reinterpret_cast<uchar4 *>(slab)[(threadIdx.y + i * kRows) * kQuads + threadIdx.x] =
          make_uchar4(rounded(sums[i][0]), rounded(sums[i][1]), rounded(sums[i][2]),
                      rounded(sums[i][3]));
    }
  }
  __syncthreads();
  const Tile<Scalar> tile = {tile_x, tile_y, empty ? 0 : picture.horizontal.size - tile_x,
                             empty ? 0 : vertical.size - tile_y, slab, levels};
  store(args, tile);
}

extern "C" __global__ void __launch_bounds__(kBlock) preprocess_float16(const PreprocessArgs args) {
  preprocess<unsigned short>(args);
}

extern "C" __global__ void __launch_bounds__(kBlock) preprocess_float32(const PreprocessArgs args) {
  preprocess<unsigned>(args);
}
