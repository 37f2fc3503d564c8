// Greedy non-maximum suppression within each class: odtk_ray/ops/nms.py.
//
// One block an image. The candidates are taken in chunks of the best that are left, sorted, and in
// tiles of 32, so that nothing behind the last detection is sorted or compared. A chunk is compared
// with the detections before it, a tile with those since and with itself; what is left then falls
// to the order within the tile.
//
// arguments.py mirrors NmsArgs.

#include "boxes.cuh"
#include "keys.cuh"
#include "rotated.cuh"

constexpr int kChunk = kThreads;
constexpr int kTile = 32;  // a warp for each of its boxes, a lane for each that may suppress it

struct NmsArgs {
  const float *scores;  // [B, N]
  const void *boxes;    // [B, N] of float4 or RotatedBox
  const int *classes;   // [B, N]
  float *kept_scores;   // [B, D]; unused slots are last and hold 0, as below
  void *kept_boxes;     // [B, D] of the same
  int *kept_classes;    // [B, D]
  unsigned count;       // N
  unsigned detections;  // D
  float threshold;
};

// The kinds of boxes: `near` is quick, and true for all boxes that overlap.
struct AxisAligned {
  typedef float4 Box;

  __device__ static bool near(const Box &, const Box &, float) { return true; }

  __device__ static bool overlaps(const Box &better, const Box &worse, float threshold) {
    return ::overlaps(better, worse, threshold);
  }
};

template <typename Angles>
struct Rotated {
  typedef RotatedBox Box;

  __device__ static bool near(const Box &better, const Box &worse, float threshold) {
    return rotated_near(better, worse, threshold);
  }

  __device__ static bool overlaps(const Box &better, const Box &worse, float threshold) {
    return rotated_iou<Angles>(better, worse) > threshold;
  }
};

// What is left of an image's scores: those above 0 whose keys are below `limit`.
struct Remaining {
  const float *scores;
  unsigned count;
  Key limit;

  template <typename F>
  __device__ void each(F f) const {
    for (unsigned i = threadIdx.x; i < count; i += kThreads) {
      const float score = scores[i];
      const Key key = make_key(score, i);
      if (score > 0.0f && key < limit) f(key);
    }
  }
};

template <typename Box>
struct Chunk {
  Key keys[kChunk];
  Box boxes[kChunk];
  int classes[kChunk];
  unsigned suppressors[kTile];  // which boxes of the tile suppress this one, if they survive
  bool suppressed[kTile];       // by a detection of an earlier tile
};

// The detections of one image.
template <typename Box>
struct Kept {
  float *scores;
  Box *boxes;
  int *classes;
  unsigned room;
};

// Drops from the chunk what one of the `kept` detections suppresses, a thread for each box; returns
// how many are left, in the same order.
template <typename Kind, typename Box>
__device__ unsigned drop_suppressed(const Kept<Box> &out, Chunk<Box> &chunk, unsigned size,
                                    unsigned kept, float threshold, Selection &shared) {
  const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  bool stays = threadIdx.x < size;
  const Key key = chunk.keys[threadIdx.x];
  const Box box = chunk.boxes[threadIdx.x];
  const int label = chunk.classes[threadIdx.x];
  for (unsigned i = 0; stays && i < kept; i++) {
    // Each thread goes on to its next near detection, so that a warp compares them side by side.
    while (i < kept && !(out.classes[i] == label && Kind::near(out.boxes[i], box, threshold))) i++;
    if (i < kept) stays = !Kind::overlaps(out.boxes[i], box, threshold);
  }
  const unsigned staying = __ballot_sync(kFullWarp, stays);
  if (lane == 0) shared.warp_sums[warp] = __popc(staying);
  __syncthreads();
  unsigned before = 0, total = 0;
  for (int i = 0; i < kThreads / 32; i++) {
    if (i < warp) before += shared.warp_sums[i];
    total += shared.warp_sums[i];
  }
  if (stays) {
    const unsigned slot = before + __popc(staying & lanes_below());
    chunk.keys[slot] = key;
    chunk.boxes[slot] = box;
    chunk.classes[slot] = label;
  }
  __syncthreads();
  return total;
}

// Adds the survivors of the tile that starts at `start` to the detections, of which it has not been
// compared with those from `first` to `kept`; returns their number.
template <typename Kind, typename Box>
__device__ unsigned add_tile(const Kept<Box> &out, Chunk<Box> &chunk, unsigned start, unsigned size,
                             unsigned first, unsigned kept, float threshold) {
  const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const unsigned own = start + warp, other = start + lane;
  bool suppressed = own >= size;
  unsigned suppressors = 0;
  if (!suppressed) {
    const Box box = chunk.boxes[own];
    const int label = chunk.classes[own];
    const auto suppresses = [&](const Box &better, int better_label) {
      return better_label == label && Kind::near(better, box, threshold) &&
             Kind::overlaps(better, box, threshold);
    };
    for (unsigned i = first + lane; i < kept; i += 32) {
      suppressed |= suppresses(out.boxes[i], out.classes[i]);
    }
    suppressed = __any_sync(kFullWarp, suppressed);
    if (!suppressed) {
      const bool by_other = lane < warp && suppresses(chunk.boxes[other], chunk.classes[other]);
      suppressors = __ballot_sync(kFullWarp, by_other);
    }
  }
  if (lane == 0) {
    chunk.suppressors[warp] = suppressors;
    chunk.suppressed[warp] = suppressed;
  }
  __syncthreads();

  const unsigned mine = chunk.suppressors[lane];
  const unsigned lost = __ballot_sync(kFullWarp, chunk.suppressed[lane]);
  unsigned alive = 0;
#pragma unroll
  for (int i = 0; i < kTile; i++) {
    const unsigned better = __shfl_sync(kFullWarp, mine, i);
    if (!(lost >> i & 1u) && !(better & alive)) alive |= 1u << i;
  }
  const unsigned slot = kept + __popc(alive & lanes_below());
  if (warp == 0 && (alive >> lane & 1u) && slot < out.room) {
    out.scores[slot] = key_score(chunk.keys[other]);
    out.boxes[slot] = chunk.boxes[other];
    out.classes[slot] = chunk.classes[other];
  }
  __syncthreads();  // the next tile reads the detections and overwrites the tile's masks
  return min(out.room, kept + __popc(alive));
}

template <typename Kind>
__device__ void suppress(const NmsArgs &args) {
  typedef typename Kind::Box Box;
  __shared__ Selection shared;
  __shared__ Chunk<Box> chunk;
  const long long image = blockIdx.x;
  const Box *boxes = static_cast<const Box *>(args.boxes) + image * args.count;
  const int *classes = args.classes + image * args.count;
  const long long row = image * args.detections;
  const Kept<Box> out = {args.kept_scores + row, static_cast<Box *>(args.kept_boxes) + row,
                         args.kept_classes + row, args.detections};

  Remaining remaining = {args.scores + image * args.count, args.count, ~0ull};
  unsigned kept = 0;
  while (kept < out.room) {
    const Key bound = kth_greatest(remaining, kChunk, shared);
    unsigned size = gather(remaining, bound, chunk.keys, shared);
    sort_descending(chunk.keys, size);
    if (threadIdx.x < size) {
      const unsigned index = key_index(chunk.keys[threadIdx.x]);
      chunk.boxes[threadIdx.x] = boxes[index];
      chunk.classes[threadIdx.x] = classes[index];
    }
    __syncthreads();
    const unsigned first = kept;
    if (first) {
      size = drop_suppressed<Kind>(out, chunk, size, first, args.threshold, shared);
    }
    for (unsigned start = 0; start < size && kept < out.room; start += kTile) {
      kept = add_tile<Kind>(out, chunk, start, size, first, kept, args.threshold);
    }
    if (bound == 0) break;
    remaining.limit = bound;
  }
  for (unsigned i = kept + threadIdx.x; i < out.room; i += kThreads) {
    out.scores[i] = 0.0f;
    out.boxes[i] = Box();
    out.classes[i] = 0;
  }
}

extern "C" __global__ void __launch_bounds__(kThreads) nms(const NmsArgs args) {
  suppress<AxisAligned>(args);
}

extern "C" __global__ void __launch_bounds__(kThreads) nms_rotated(const NmsArgs args) {
  suppress<Rotated<OwnAngles>>(args);
}

extern "C" __global__ void __launch_bounds__(kThreads) nms_rotated_odtk(const NmsArgs args) {
  suppress<Rotated<AngleOfWorse>>(args);
}
