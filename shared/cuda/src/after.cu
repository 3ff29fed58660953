// What follows a product, in one launch where candle's own operations take three to six: softmax of scores, bias and GEGLU,
// bias and residual. All is computed in float32, whatever the type of the numbers, and rounded once.
//
// src/after.rs starts these kernels and says what the arguments are; after.ptx is what `shared/cuda/ptx` made of this file.
#include "common.cuh"

// Row `blockIdx.x` of scores times `scale`. With `rows` not 0 the mask is causal: there are that many rows a head, and row r of
// a head sees the keys up to `first + r`.
template <class T>
__device__ void softmax(const T *__restrict__ x, T *__restrict__ y, unsigned keys, float scale, unsigned rows, unsigned first) {
  x += (size_t)blockIdx.x * keys;
  y += (size_t)blockIdx.x * keys;
  unsigned seen = rows ? min(first + blockIdx.x % rows + 1, keys) : keys;
  float largest = -INFINITY;
  for (unsigned i = threadIdx.x; i < seen; i += blockDim.x) largest = fmaxf(largest, widen(x[i]) * scale);
  largest = block_max(largest);
  float sum = 0;
  for (unsigned i = threadIdx.x; i < seen; i += blockDim.x) sum += expf(widen(x[i]) * scale - largest);
  sum = block_sum(sum);
  for (unsigned i = threadIdx.x; i < keys; i += blockDim.x)
    narrow(i < seen ? expf(widen(x[i]) * scale - largest) / sum : 0, &y[i]);
}

// Of each row of `2 width` numbers and as many biases the first half times the GELU of the second.
template <class T>
__device__ void geglu(const T *__restrict__ x, const T *__restrict__ bias, T *__restrict__ y, unsigned count, unsigned width) {
  unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  unsigned column = i % width;
  size_t at = (size_t)(i / width) * 2 * width + column;
  float value = widen(x[at]) + widen(bias[column]);
  float gate = widen(x[at + width]) + widen(bias[width + column]);
  // Phi by erfc, which keeps its digits where it is small.
  narrow(value * gate * 0.5f * erfcf(gate * -0.70710678f), &y[i]);
}

// x + bias + residual. Channels follow each other every `pixels` numbers: 1 for tokens.
template <class T>
__device__ void add(const T *__restrict__ x, const T *__restrict__ bias, const T *__restrict__ residual, T *__restrict__ y,
                    unsigned count, unsigned channels, unsigned pixels) {
  unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  narrow(widen(x[i]) + widen(bias[i / pixels % channels]) + widen(residual[i]), &y[i]);
}

#define KERNELS(T, name)                                                                                              \
  extern "C" __global__ void softmax_##name(const T *x, T *y, unsigned keys, float scale, unsigned rows,             \
                                            unsigned first) {                                                         \
    softmax(x, y, keys, scale, rows, first);                                                                          \
  }                                                                                                                   \
  extern "C" __global__ void geglu_##name(const T *x, const T *bias, T *y, unsigned count, unsigned width) {         \
    geglu(x, bias, y, count, width);                                                                                  \
  }                                                                                                                   \
  extern "C" __global__ void add_##name(const T *x, const T *bias, const T *residual, T *y, unsigned count,          \
                                        unsigned channels, unsigned pixels) {                                         \
    add(x, bias, residual, y, count, channels, pixels);                                                               \
  }
KERNELS(float, f32)
KERNELS(half_t, f16)
KERNELS(bfloat_t, bf16)
