// What the kernels share: types of 16 bits, and sums over a block. Numbers are widened to float32, and rounded once when they
// are stored. Where nvcc does not compile it, tests/shim.h makes it C++.
#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_fp16.h>
typedef __half half_t;
typedef __nv_bfloat16 bfloat_t;
__device__ float widen(float x) { return x; }
__device__ float widen(half_t x) { return __half2float(x); }
__device__ float widen(bfloat_t x) { return __bfloat162float(x); }
__device__ void narrow(float x, float *to) { *to = x; }
__device__ void narrow(float x, half_t *to) { *to = __float2half_rn(x); }
__device__ void narrow(float x, bfloat_t *to) { *to = __float2bfloat16_rn(x); }
#else
#include "shim.h"
#endif

// The sum of one number of each thread of the block, in every thread. Threads of a block are whole warps of 32.
__device__ float block_sum(float x) {
  __shared__ float warps[32];
  for (int distance = 16; distance > 0; distance /= 2) x += __shfl_xor_sync(0xffffffffu, x, distance);
  __syncthreads();  // the last sum may still be read
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = x;
  __syncthreads();
  x = 0;
  for (unsigned warp = 0; warp < blockDim.x / 32; warp++) x += warps[warp];
  return x;
}

// The largest of them, likewise.
__device__ float block_max(float x) {
  __shared__ float warps[32];
  for (int distance = 16; distance > 0; distance /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, distance));
  __syncthreads();
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = x;
  __syncthreads();
  x = warps[0];
  for (unsigned warp = 1; warp < blockDim.x / 32; warp++) x = fmaxf(x, warps[warp]);
  return x;
}
