// Lets a host's C++20 compiler take a CUDA kernel: each thread of a block is a std::thread, blocks run one after
// another. It finds wrong numbers, no races and no speed.
#pragma once
#include <algorithm>
#include <barrier>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>
using std::min;

#define __global__
#define __device__ static
#define __restrict__
#define __shared__ static

struct float2 { float x, y; };
static float2 make_float2(float x, float y) { return {x, y}; }
struct dim3 { unsigned x = 1, y = 1, z = 1; };
static thread_local dim3 threadIdx;
static dim3 blockIdx, blockDim, gridDim;
static std::unique_ptr<std::barrier<>> block_barrier;
static std::vector<std::unique_ptr<std::barrier<>>> warp_barriers;
static float exchanged[1024];

static void __syncthreads() { block_barrier->arrive_and_wait(); }
static float __shfl_xor_sync(unsigned, float value, int distance) {
  unsigned thread = threadIdx.x;
  exchanged[thread] = value;
  warp_barriers[thread / 32]->arrive_and_wait();
  float other = exchanged[thread ^ distance];
  warp_barriers[thread / 32]->arrive_and_wait();
  return other;
}

typedef _Float16 half_t;
struct bfloat_t { uint16_t bits; };
static float widen(float x) { return x; }
static float widen(half_t x) { return (float)x; }
static float widen(bfloat_t x) {
  uint32_t bits = (uint32_t)x.bits << 16;
  float value;
  memcpy(&value, &bits, 4);
  return value;
}
static void narrow(float x, float *to) { *to = x; }
static void narrow(float x, half_t *to) { *to = (half_t)x; }
static void narrow(float x, bfloat_t *to) {  // to the nearest, ties to even
  uint32_t bits;
  memcpy(&bits, &x, 4);
  to->bits = (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

template <class Kernel>
void launch(dim3 grid, dim3 block, Kernel kernel) {
  gridDim = grid;
  blockDim = block;
  for (unsigned by = 0; by < grid.y; by++)
    for (unsigned bx = 0; bx < grid.x; bx++) {
      blockIdx = {bx, by, 0};
      block_barrier = std::make_unique<std::barrier<>>(block.x);
      warp_barriers.clear();
      for (unsigned warp = 0; warp < block.x / 32; warp++) warp_barriers.push_back(std::make_unique<std::barrier<>>(32));
      std::vector<std::thread> threads;
      for (unsigned t = 0; t < block.x; t++)
        threads.emplace_back([t, &kernel] {
          threadIdx = {t, 0, 0};
          kernel();
        });
      for (auto &thread : threads) thread.join();
    }
}
