// From head outputs to candidate boxes, all levels and images at once: odtk_ray/ops/decode_heads.py.
//
// `scan` reads every score once and appends those over the threshold to a list for each image and
// level. `select` takes the best top_n of each list with one block and decodes their boxes. A list
// that was too short for its candidates is not used: `select` then reads the scores again, so that
// the result is the same from no candidate to all of them, and the host need not know.
//
// Entry points end in the type of scores and deltas. arguments.py mirrors Level and DecodeArgs.

#include "boxes.cuh"
#include "keys.cuh"
#include "rotated.cuh"
#include "scalars.cuh"

constexpr int kMaxLevels = 16;
constexpr int kScanThreads = 256;
constexpr int kLoads = 4;  // independent 16-byte loads of a thread

struct Level {
  const void *scores;      // [B, channels, H, W], or the same in channels_last memory
  const void *deltas;      // [B, delta_channels, H, W], likewise
  const float4 *anchors;   // [A], of the cell at the origin
  unsigned size;           // scores of an image
  unsigned first_block;    // of the scan
  int channels;            // A*C, and further ones that hold no candidates
  int delta_channels;      // A*4 or A*6, and further ones
  int height;
  int width;
  int stride;
};

struct DecodeArgs {
  Level levels[kMaxLevels];
  unsigned *counts;   // [B, L], 0 before the scan and after the selection
  Key *lists;         // [B, L, capacity]
  Key *workspace;     // [B, L, next power of two of top_n], null where shared memory holds it
  float *scores;      // [B, L, top_n]; unused slots are last and hold 0, as below
  void *boxes;        // [B, L, top_n] of float4 or RotatedBox
  int *classes;       // [B, L, top_n]
  int level_count;
  int batch;
  int class_count;
  unsigned capacity;  // at least top_n
  unsigned top_n;
  unsigned cut;       // no value below this one can be a candidate; bits of a float or of two halves
  float threshold;
  int logits;         // scores are logits, and not probabilities
  int channels_last;
  const void *score_bias;  // [channels] of the scores' type, to be added to them; null for none
  const void *delta_bias;  // [delta_channels], likewise
};

// The scores of one image on one level.
template <typename Scalar>
struct Segment {
  static constexpr int kValues = 16 / sizeof(Scalar);  // of a vector

  const DecodeArgs &args;
  const Level &level;
  const Scalar *scores;
  long long first, last;  // elements of the image in the level's tensor
  // Vectors that hold them. Vectors are aligned: those at either end may hold scores of the
  // neighbouring images too, and those from `whole` on end beyond the tensor.
  long long first_vector, last_vector, whole;

  __device__ Segment(const DecodeArgs &args, const Level &level, int image)
      : args(args), level(level), scores(static_cast<const Scalar *>(level.scores)) {
    first = static_cast<long long>(image) * level.size;
    last = first + level.size;
    first_vector = first / kValues;
    last_vector = (last + kValues - 1) / kValues;
    whole = min(last_vector, static_cast<long long>(args.batch) * level.size / kValues);
  }

  // A vector's values; NaN where there are none, or where it ends beyond the tensor.
  __device__ uint4 load(long long vector) const {
    if (vector >= whole) return make_uint4(~0u, ~0u, ~0u, ~0u);
    const uint4 words = __ldcs(reinterpret_cast<const uint4 *>(scores) + vector);
    return args.score_bias ? sums(words, bias_of(vector), Scalar()) : words;
  }

  // The channels' biases beside a vector of channels_last memory.
  __device__ uint4 bias_of(long long vector) const {
    const unsigned channels = level.channels;
    // A vector may begin before the image.
    const unsigned start = static_cast<unsigned>(vector * kValues - first + kValues * channels);
    unsigned channel = start % channels;
    const Scalar *bias = static_cast<const Scalar *>(args.score_bias);
    if (channels % kValues == 0) return *reinterpret_cast<const uint4 *>(bias + channel);
    alignas(16) Scalar values[kValues];
#pragma unroll
    for (int i = 0; i < kValues; i++) {
      values[i] = bias[channel];
      channel = channel + 1 == channels ? 0 : channel + 1;
    }
    return *reinterpret_cast<const uint4 *>(values);
  }

  // One element, its bias added.
  __device__ float value(long long element) const {
    if (!args.score_bias) return to_float(scores[element]);
    const unsigned channel = static_cast<unsigned>(element - first) % level.channels;
    return sum(scores[element], static_cast<const Scalar *>(args.score_bias)[channel]);
  }

  // A bit for each value of the vector that may be a candidate.
  __device__ unsigned hot(long long vector, uint4 words) const {
    const bool cut_short = vector >= whole && vector < last_vector;
    return cut_short ? (1u << kValues) - 1u : at_least(words, args.cut, Scalar());
  }

  // The key of one element; 0 if it is no candidate or belongs to another image.
  __device__ Key key(long long element) const {
    if (element < first || element >= last) return 0;
    float score = value(element);
    if (args.logits) score = 1.0f / (1.0f + expf(-score));  // torch's sigmoid on CUDA
    if (!(score > args.threshold)) return 0;
    unsigned index = static_cast<unsigned>(element - first);
    if (args.channels_last) {
      const unsigned cell = index / level.channels;
      index = (index - cell * level.channels) * (level.height * level.width) + cell;
    }
    return make_key(score, index);
  }

  // Calls f with the key of every candidate, from the whole block.
  template <typename F>
  __device__ void each(F f) const {
    for (long long base = first_vector + threadIdx.x; base < last_vector;
         base += kLoads * kThreads) {
      uint4 words[kLoads];
#pragma unroll
      for (int i = 0; i < kLoads; i++) words[i] = load(base + i * kThreads);
#pragma unroll
      for (int i = 0; i < kLoads; i++) {
        const long long vector = base + i * kThreads;
        for (unsigned bits = hot(vector, words[i]); bits; bits &= bits - 1) {
          if (const Key found = key(vector * kValues + __ffs(bits) - 1)) f(found);
        }
      }
    }
  }
};

// A list of keys in device memory.
struct List {
  const Key *keys;
  unsigned count;

  template <typename F>
  __device__ void each(F f) const {
    for (unsigned i = threadIdx.x; i < count; i += kThreads) f(keys[i]);
  }
};

template <typename Scalar>
__device__ void scan(const DecodeArgs &args) {
  int number = 0;
  while (number + 1 < args.level_count && blockIdx.x >= args.levels[number + 1].first_block) {
    number++;
  }
  const Level &level = args.levels[number];
  const Segment<Scalar> segment(args, level, blockIdx.y);
  const int place = blockIdx.y * args.level_count + number;
  const long long base = segment.first_vector +
      static_cast<long long>(blockIdx.x - level.first_block) * (kScanThreads * kLoads) +
      threadIdx.x;

  constexpr int kValues = Segment<Scalar>::kValues;
  uint4 words[kLoads];
#pragma unroll
  for (int i = 0; i < kLoads; i++) words[i] = segment.load(base + i * kScanThreads);
  unsigned hot = 0;
#pragma unroll
  for (int i = 0; i < kLoads; i++) {
    hot |= segment.hot(base + i * kScanThreads, words[i]) << (i * kValues);
  }
  while (__any_sync(kFullWarp, hot)) {  // rarely: one in a thousand or so scores is a candidate
    Key key = 0;
    if (hot) {
      const int bit = __ffs(hot) - 1;
      hot &= hot - 1;
      key = segment.key((base + bit / kValues * kScanThreads) * kValues + bit % kValues);
    }
    if (key) {
      const unsigned slot = next_slot(&args.counts[place]);
      if (slot < args.capacity) {
        args.lists[static_cast<long long>(place) * args.capacity + slot] = key;
      }
    }
  }
}

template <typename Scalar, int kCount>
__device__ void load_deltas(const DecodeArgs &args, const Level &level, int anchor, int y, int x,
                            float (&values)[kCount]) {
  const long long plane = static_cast<long long>(level.height) * level.width;
  const long long cell = static_cast<long long>(y) * level.width + x;
  const long long step = args.channels_last ? 1 : plane;
  const Scalar *deltas = static_cast<const Scalar *>(level.deltas);
  deltas += blockIdx.y * plane * level.delta_channels;
  deltas += args.channels_last ? cell * level.delta_channels + anchor * kCount
                               : plane * anchor * kCount + cell;
  const Scalar *bias = static_cast<const Scalar *>(args.delta_bias);
#pragma unroll
  for (int i = 0; i < kCount; i++) {
    values[i] = bias ? sum(deltas[i * step], bias[anchor * kCount + i]) : to_float(deltas[i * step]);
  }
}

template <typename Scalar, typename Box>
__device__ void write_candidate(const DecodeArgs &args, const Level &level, Key key,
                                long long slot) {
  const unsigned index = key_index(key);
  const int x = index % level.width;
  const int y = index / level.width % level.height;
  const int channel = index / (level.width * level.height);
  const int anchor = channel / args.class_count;
  const float left = static_cast<float>(x * level.stride);
  const float top = static_cast<float>(y * level.stride);
  float4 shifted = level.anchors[anchor];
  shifted = make_float4(left + shifted.x, top + shifted.y, left + shifted.z, top + shifted.w);
  float deltas[sizeof(Box) / sizeof(float)];
  load_deltas<Scalar>(args, level, anchor, y, x, deltas);
  args.scores[slot] = key_score(key);
  static_cast<Box *>(args.boxes)[slot] =
      decode_box(deltas, shifted, level.width * level.stride, level.height * level.stride);
  args.classes[slot] = channel % args.class_count;
}

__device__ inline Key swap_halves(Key key) { return key >> 32 | key << 32; }

// One block for each level (x) and image (y).
template <typename Scalar, typename Box>
__device__ void select(const DecodeArgs &args) {
  extern __shared__ Key shared_keys[];
  __shared__ Selection shared;
  const Level &level = args.levels[blockIdx.x];
  const long long place = static_cast<long long>(blockIdx.y) * args.level_count + blockIdx.x;

  const unsigned count = args.counts[place];
  __syncthreads();
  if (threadIdx.x == 0) args.counts[place] = 0;
  const unsigned used = min(count, args.top_n);
  const bool crowded = count > args.top_n;
  unsigned room = 1;
  while (room < args.top_n) room *= 2;
  Key *keys = args.workspace ? args.workspace + place * room : shared_keys;

  if (count > args.capacity) {
    const Segment<Scalar> segment(args, level, blockIdx.y);
    gather(segment, kth_greatest(segment, args.top_n, shared), keys, shared);
  } else {
    const List list = {args.lists + place * args.capacity, count};
    gather(list, crowded ? kth_greatest(list, args.top_n, shared) : 0, keys, shared);
  }
  if (!crowded) {  // all are kept, in the order of their index
    for (unsigned i = threadIdx.x; i < used; i += kThreads) keys[i] = swap_halves(keys[i]);
  }
  sort_descending(keys, used);

  for (unsigned i = threadIdx.x; i < args.top_n; i += kThreads) {
    const long long slot = place * args.top_n + i;
    if (i < used) {
      write_candidate<Scalar, Box>(args, level, crowded ? keys[i] : swap_halves(keys[i]), slot);
    } else {
      args.scores[slot] = 0.0f;
      static_cast<Box *>(args.boxes)[slot] = Box();
      args.classes[slot] = 0;
    }
  }
}

extern "C" __global__ void __launch_bounds__(kScanThreads) scan_float16(const DecodeArgs args) {
  scan<Half>(args);
}

extern "C" __global__ void __launch_bounds__(kScanThreads) scan_float32(const DecodeArgs args) {
  scan<float>(args);
}

extern "C" __global__ void __launch_bounds__(kThreads) select_float16(const DecodeArgs args) {
  select<Half, float4>(args);
}

extern "C" __global__ void __launch_bounds__(kThreads) select_float32(const DecodeArgs args) {
  select<float, float4>(args);
}

extern "C" __global__ void __launch_bounds__(kThreads)
select_rotated_float16(const DecodeArgs args) {
  select<Half, RotatedBox>(args);
}

extern "C" __global__ void __launch_bounds__(kThreads)
select_rotated_float32(const DecodeArgs args) {
  select<float, RotatedBox>(args);
}
