// What a block does with distinct 64-bit keys: find, gather and sort the greatest of them.
#pragma once

typedef unsigned long long Key;

constexpr int kThreads = 1024;  // of every block that calls these functions
constexpr int kDigitBits = 11;
constexpr int kBins = 1 << kDigitBits;
constexpr unsigned kFullWarp = 0xFFFFFFFFu;

// Descending with the score and, for equal scores, with the lower index first. The bits of floats
// above 0 are ordered as their values are, so no key has its highest bit set and none is 0.
__device__ inline Key make_key(float score, unsigned index) {
  return static_cast<Key>(__float_as_uint(score)) << 32 | (0xFFFFFFFFu - index);
}

__device__ inline float key_score(Key key) {
  return __uint_as_float(static_cast<unsigned>(key >> 32));
}

__device__ inline unsigned key_index(Key key) { return 0xFFFFFFFFu - static_cast<unsigned>(key); }

__device__ inline unsigned lanes_below() { return (1u << (threadIdx.x % 32)) - 1u; }

// Shared memory of a selection.
struct Selection {
  unsigned histogram[kBins];
  unsigned warp_sums[kThreads / 32];
  unsigned digit;  // the bin that holds the k-th greatest key, or kBins
  unsigned above;  // keys in greater bins
  unsigned count;  // keys gathered
};

// Finds the bin of the k-th greatest key; each thread owns two bins, the greatest first.
__device__ inline void find_digit(unsigned k, Selection &shared) {
  const int high = kBins - 1 - 2 * threadIdx.x;
  const unsigned in_high = shared.histogram[high];
  const unsigned in_both = in_high + shared.histogram[high - 1];
  unsigned through = in_both;  // inclusive scan over the warp
  for (int step = 1; step < 32; step *= 2) {
    const unsigned other = __shfl_up_sync(kFullWarp, through, step);
    if (threadIdx.x % 32 >= step) through += other;
  }
  if (threadIdx.x % 32 == 31) shared.warp_sums[threadIdx.x / 32] = through;
  if (threadIdx.x == 0) shared.digit = kBins;
  __syncthreads();
  unsigned before = threadIdx.x % 32 < threadIdx.x / 32 ? shared.warp_sums[threadIdx.x % 32] : 0;
  for (int step = 16; step; step /= 2) before += __shfl_xor_sync(kFullWarp, before, step);
  before += through - in_both;
  if (before < k && k <= before + in_both) {
    const bool in_first = k <= before + in_high;
    shared.digit = in_first ? high : high - 1;
    shared.above = in_first ? before : before + in_high;
  }
  __syncthreads();
}

// A bound that exactly the k greatest keys reach; 0 where the source has fewer than k keys.
// source.each(f) calls f with every key, spread over the block, and always with the same keys.
// A radix selection from the highest digit down, which ends where a bin is taken as a whole.
template <typename Source>
__device__ Key kth_greatest(const Source &source, unsigned k, Selection &shared) {
  Key prefix = 0, fixed = 0;
  int shift = 63 - kDigitBits;
  while (true) {
    for (int bin = threadIdx.x; bin < kBins; bin += kThreads) shared.histogram[bin] = 0;
    __syncthreads();
    source.each([&](Key key) {
      if ((key & fixed) == prefix) atomicAdd(&shared.histogram[key >> shift & (kBins - 1)], 1u);
    });
    __syncthreads();
    find_digit(k, shared);
    const unsigned digit = shared.digit;
    if (digit == kBins) return 0;
    k -= shared.above;
    const bool whole = shared.histogram[digit] == k;
    __syncthreads();  // all have read what the next round overwrites
    prefix |= static_cast<Key>(digit) << shift;
    fixed |= static_cast<Key>(kBins - 1) << shift;
    if (whole || shift == 0) return prefix;
    shift = shift > kDigitBits ? shift - kDigitBits : 0;
  }
}

// A slot of its own for each calling thread, with one atomic for those of a warp that call together.
__device__ inline unsigned next_slot(unsigned *counter) {
  const unsigned callers = __activemask();
  const int leader = __ffs(callers) - 1;
  unsigned slot = 0;
  if (threadIdx.x % 32 == leader) slot = atomicAdd(counter, __popc(callers));
  return __shfl_sync(callers, slot, leader) + __popc(callers & lanes_below());
}

// Writes every key that reaches the bound to `out`, in no order; returns how many there are.
template <typename Source>
__device__ unsigned gather(const Source &source, Key bound, Key *out, Selection &shared) {
  if (threadIdx.x == 0) shared.count = 0;
  __syncthreads();
  source.each([&](Key key) {
    if (key >= bound) out[next_slot(&shared.count)] = key;
  });
  __syncthreads();
  return shared.count;
}

// Sorts n keys in descending order. `keys`, in shared or global memory, has room for the next power
// of two. A bitonic network: where both ends of all exchanges lie in the 64 keys of one warp, the
// block need not wait.
__device__ inline void sort_descending(Key *keys, unsigned n) {
  unsigned padded = 1;
  while (padded < n) padded *= 2;
  for (unsigned i = n + threadIdx.x; i < padded; i += kThreads) keys[i] = 0;
  __syncthreads();
  for (unsigned size = 2; size <= padded; size *= 2) {
    for (unsigned stride = size / 2; stride; stride /= 2) {
      for (unsigned i = threadIdx.x; i < padded / 2; i += kThreads) {
        const unsigned low = 2 * i - (i & (stride - 1));
        const Key first = keys[low], second = keys[low + stride];
        if ((first < second) == ((low & size) == 0)) {
          keys[low] = second;
          keys[low + stride] = first;
        }
      }
      const unsigned next = stride > 1 ? stride / 2 : size;
      if (stride <= 32 && next <= 32) {
        __syncwarp();
      } else {
        __syncthreads();
      }
    }
  }
  __syncthreads();
}
