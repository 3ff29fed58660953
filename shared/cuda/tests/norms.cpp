// The kernels of src/norms.cu against plain sums in float64, on maps with a large mean.
#include "../src/norms.cu"
#include "compare.h"

template <class T, class Moments, class Norm>
Worst group(Moments group_moments, Norm group_norm, unsigned channels, unsigned groups, unsigned pixels, unsigned slice, int silu) {
  unsigned per = channels / groups, size = per * pixels, slices = (size + slice - 1) / slice;
  auto x = numbers<T>((size_t)channels * pixels, 30);
  auto y = x;
  auto weight = floats(channels, 1), bias = floats(channels, 0);
  std::vector<float2> found(groups * slices);
  launch({groups, slices}, {64}, [&] { group_moments(x.data(), found.data(), size, slice); });
  launch({groups, slices}, {64}, [&] {
    group_norm(x.data(), found.data(), weight.data(), bias.data(), y.data(), size, slice, pixels, 1e-5f, silu);
  });
  Worst worst;
  for (unsigned g = 0; g < groups; g++) {
    double mean = 0, variance = 0;
    for (unsigned i = 0; i < size; i++) mean += widen(x[g * size + i]) / (double)size;
    for (unsigned i = 0; i < size; i++) variance += std::pow(widen(x[g * size + i]) - mean, 2) / size;
    for (unsigned i = 0; i < size; i++) {
      unsigned c = g * per + i / pixels;
      double v = (widen(x[g * size + i]) - mean) / std::sqrt(variance + 1e-5) * weight[c] + bias[c];
      compare(worst, silu ? v / (1 + std::exp(-v)) : v, y[g * size + i]);
    }
  }
  return worst;
}

template <class T, class Norm>
Worst layer(Norm layer_norm, unsigned rows, unsigned width) {
  auto x = numbers<T>((size_t)rows * width, 30);
  auto y = x;
  auto weight = floats(width, 1), bias = floats(width, 0);
  launch({rows}, {64}, [&] { layer_norm(x.data(), weight.data(), bias.data(), y.data(), width, 1e-5f); });
  Worst worst;
  for (unsigned r = 0; r < rows; r++) {
    double mean = 0, variance = 0;
    for (unsigned i = 0; i < width; i++) mean += widen(x[r * width + i]) / (double)width;
    for (unsigned i = 0; i < width; i++) variance += std::pow(widen(x[r * width + i]) - mean, 2) / width;
    for (unsigned i = 0; i < width; i++)
      compare(worst, (widen(x[r * width + i]) - mean) / std::sqrt(variance + 1e-5) * weight[i] + bias[i], y[r * width + i]);
  }
  return worst;
}

#define EACH(T, name)                                                                                                 \
  report("group norm, " #name, group<T>(group_moments_##name, group_norm_##name, 12, 4, 77, 100, 0));                 \
  report("group norm, SiLU, " #name, group<T>(group_moments_##name, group_norm_##name, 64, 32, 16, 4096, 1));         \
  report("layer norm, " #name, layer<T>(layer_norm_##name, 3, 320));

int main() {
  EACH(float, f32)
  EACH(half_t, f16)
  EACH(bfloat_t, bf16)
  return failed != 0;
}
