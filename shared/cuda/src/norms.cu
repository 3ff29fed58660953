// Group norm and layer norm, in one and two launches where candle's own operations take 13 and 18.
//
// Sums are of float32, whatever the type of the numbers, and in two passes: first the mean, then the squares of what is
// left, as the difference of two large sums would lose digits. src/norms.rs starts these kernels and says what the
// arguments are; norms.ptx is what `shared/cuda/ptx` made of this file.
#include "common.cuh"

// Of x[begin..end): the mean, and the sum of the squared distances from it.
template <class T>
__device__ float2 moments(const T *__restrict__ x, unsigned begin, unsigned end) {
  float sum = 0;
  for (unsigned i = begin + threadIdx.x; i < end; i += blockDim.x) sum += widen(x[i]);
  float mean = block_sum(sum) / (float)(end - begin);
  float squares = 0;
  for (unsigned i = begin + threadIdx.x; i < end; i += blockDim.x) {
    float distance = widen(x[i]) - mean;
    squares += distance * distance;
  }
  return make_float2(mean, block_sum(squares));
}

// Slice `blockIdx.y` of group `blockIdx.x`: its moments.
template <class T>
__device__ void group_moments(const T *__restrict__ x, float2 *__restrict__ found, unsigned group, unsigned slice) {
  unsigned begin = blockIdx.y * slice, end = min(begin + slice, group);
  float2 slice_moments = moments(x + (size_t)blockIdx.x * group, begin, end);
  if (threadIdx.x == 0) found[blockIdx.x * gridDim.y + blockIdx.y] = slice_moments;
}

// The same slice, normed by the moments of all slices of its group: scale, shift, SiLU if asked for.
template <class T>
__device__ void group_norm(const T *__restrict__ x, const float2 *__restrict__ found, const float *__restrict__ weight,
                           const float *__restrict__ bias, T *__restrict__ y, unsigned group, unsigned slice,
                           unsigned pixels, float eps, int silu) {
  found += blockIdx.x * gridDim.y;
  float mean = 0, squares = 0;
  for (unsigned s = 0; s < gridDim.y; s++)
    mean += found[s].x * ((float)(min((s + 1) * slice, group) - s * slice) / (float)group);
  for (unsigned s = 0; s < gridDim.y; s++) {
    float distance = found[s].x - mean;
    squares += found[s].y + distance * distance * (float)(min((s + 1) * slice, group) - s * slice);
  }
  float scale = 1 / sqrtf(squares / (float)group + eps);
  unsigned end = min((blockIdx.y + 1) * slice, group), channels = group / pixels;
  x += (size_t)blockIdx.x * group;
  y += (size_t)blockIdx.x * group;
  for (unsigned i = blockIdx.y * slice + threadIdx.x; i < end; i += blockDim.x) {
    unsigned channel = blockIdx.x * channels + i / pixels;
    float value = (widen(x[i]) - mean) * scale * weight[channel] + bias[channel];
    narrow(silu ? value / (1 + expf(-value)) : value, &y[i]);
  }
}

// Row `blockIdx.x`.
template <class T>
__device__ void layer_norm(const T *__restrict__ x, const float *__restrict__ weight, const float *__restrict__ bias,
                           T *__restrict__ y, unsigned width, float eps) {
  x += (size_t)blockIdx.x * width;
  y += (size_t)blockIdx.x * width;
  float2 row = moments(x, 0, width);
  float scale = 1 / sqrtf(row.y / (float)width + eps);
  for (unsigned i = threadIdx.x; i < width; i += blockDim.x)
    narrow((widen(x[i]) - row.x) * scale * weight[i] + bias[i], &y[i]);
}

#define KERNELS(T, name)                                                                                              \
  extern "C" __global__ void group_moments_##name(const T *x, float2 *found, unsigned group, unsigned slice) {       \
    group_moments(x, found, group, slice);                                                                            \
  }                                                                                                                   \
  extern "C" __global__ void group_norm_##name(const T *x, const float2 *found, const float *weight,                 \
                                               const float *bias, T *y, unsigned group, unsigned slice,              \
                                               unsigned pixels, float eps, int silu) {                                \
    group_norm(x, found, weight, bias, y, group, slice, pixels, eps, silu);                                           \
  }                                                                                                                   \
  extern "C" __global__ void layer_norm_##name(const T *x, const float *weight, const float *bias, T *y,             \
                                               unsigned width, float eps) {                                           \
    layer_norm(x, weight, bias, y, width, eps);                                                                       \
  }
KERNELS(float, f32)
KERNELS(half_t, f16)
KERNELS(bfloat_t, bf16)
