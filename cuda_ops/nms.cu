// Greedy non-maximum suppression within each class: odtk_ray/ops/nms.py.
//
// One block an image. The candidates are taken in chunks of the best that are left, sorted, and in
// tiles of 32, so that nothing behind the last detection is sorted or compared. A tile is compared
// with all detections so far and with itself; what is left then falls to the order within the tile.
//
// postprocess.py mirrors NmsArgs.

#include "boxes.cuh"
#include "keys.cuh"

constexpr int kChunk = kThreads;
constexpr int kTile = 32;  // a warp for each of its boxes, a lane for each that may suppress it

struct NmsArgs {
  const float *scores;  // [B, N]
  const float4 *boxes;  // [B, N]
  const int *classes;   // [B, N]
  float *kept_scores;   // [B, D]; unused slots are last and hold 0, as below
  float4 *kept_boxes;   // [B, D]
  int *kept_classes;    // [B, D]
  unsigned count;       // N
  unsigned detections;  // D
  float threshold;
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

struct Chunk {
  Key keys[kChunk];
  float4 boxes[kChunk];
  int classes[kChunk];
  unsigned suppressors[kTile];  // which boxes of the tile suppress this one, if they survive
  bool suppressed[kTile];       // by a detection of an earlier tile
};

// Adds the survivors of the tile that starts at `start` to the detections; returns their number.
__device__ unsigned add_tile(const NmsArgs &args, Chunk &chunk, unsigned start, unsigned size,
                             unsigned kept) {
  const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const unsigned own = start + warp, other = start + lane;
  bool suppressed = own >= size;
  unsigned suppressors = 0;
  if (!suppressed) {
    const float4 box = chunk.boxes[own];
    const int label = chunk.classes[own];
    for (unsigned i = lane; i < kept; i += 32) {
      suppressed |= args.kept_classes[i] == label &&
                    overlaps(args.kept_boxes[i], box, args.threshold);
    }
    suppressed = __any_sync(kFullWarp, suppressed);
    suppressors = __ballot_sync(kFullWarp, lane < warp && chunk.classes[other] == label &&
                                               overlaps(chunk.boxes[other], box, args.threshold));
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
  if (warp == 0 && (alive >> lane & 1u) && slot < args.detections) {
    args.kept_scores[slot] = key_score(chunk.keys[other]);
    args.kept_boxes[slot] = chunk.boxes[other];
    args.kept_classes[slot] = chunk.classes[other];
  }
  __syncthreads();  // the next tile reads the detections and overwrites the tile's masks
  return min(args.detections, kept + __popc(alive));
}

extern "C" __global__ void __launch_bounds__(kThreads) nms(NmsArgs args) {
  __shared__ Selection shared;
  __shared__ Chunk chunk;
  const long long image = blockIdx.x;
  args.boxes += image * args.count;
  args.classes += image * args.count;
  args.kept_scores += image * args.detections;
  args.kept_boxes += image * args.detections;
  args.kept_classes += image * args.detections;

  Remaining remaining = {args.scores + image * args.count, args.count, ~0ull};
  unsigned kept = 0;
  while (kept < args.detections) {
    const Key bound = kth_greatest(remaining, kChunk, shared);
    const unsigned size = gather(remaining, bound, chunk.keys, shared);
    sort_descending(chunk.keys, size);
    if (threadIdx.x < size) {
      const unsigned index = key_index(chunk.keys[threadIdx.x]);
      chunk.boxes[threadIdx.x] = args.boxes[index];
      chunk.classes[threadIdx.x] = args.classes[index];
    }
    __syncthreads();
    for (unsigned start = 0; start < size && kept < args.detections; start += kTile) {
      kept = add_tile(args, chunk, start, size, kept);
    }
    if (bound == 0) break;
    remaining.limit = bound;
  }
  for (unsigned i = kept + threadIdx.x; i < args.detections; i += kThreads) {
    args.kept_scores[i] = 0.0f;
    args.kept_boxes[i] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    args.kept_classes[i] = 0;
  }
}
