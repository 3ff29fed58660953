// The kernels of src/norms.cu against plain sums in float64, on maps with a large mean.
#include "../src/norms.cu"
#include <cstdio>

static uint32_t state = 1;
static float uniform() {  // in [-0.5, 0.5)
  state = state * 1664525 + 1013904223;
  return (float)(state >> 8) / 16777216.f - .5f;
}

// The largest difference, and that of what the type can hold of the right value.
struct Worst { double ours = 0, rounding = 0; };

template <class T>
void compare(Worst &worst, double right, T found) {
  T rounded;
  narrow((float)right, &rounded);
  worst.ours = std::max(worst.ours, std::abs(right - (double)widen(found)));
  worst.rounding = std::max(worst.rounding, std::abs(right - (double)widen(rounded)));
}

template <class T>
std::vector<T> numbers(size_t count, float mean) {
  std::vector<T> x(count);
  for (auto &v : x) narrow(4 * uniform() + mean, &v);
  return x;
}

static std::vector<float> floats(size_t count, float mean) { return numbers<float>(count, mean); }

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

static int failed = 0;
static void report(const char *what, Worst worst) {
  bool well = worst.ours <= worst.rounding + 2e-5;
  failed += !well;
  printf("%-24s off by at most %.1e, rounding alone by %.1e%s\n", what, worst.ours, worst.rounding, well ? "" : ": too far");
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
