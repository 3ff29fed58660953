// The kernels of src/after.cu against plain formulas in float64.
#include "../src/after.cu"
#include "compare.h"

// Heads of `rows` rows each; the mask is causal from key `first` on, if there is one.
template <class T, class Softmax>
Worst of_softmax(Softmax softmax, unsigned heads, unsigned rows, unsigned keys, float scale, bool causal, unsigned first) {
  auto x = numbers<T>((size_t)heads * rows * keys, 20);
  auto y = x;
  launch({heads * rows}, {64}, [&] { softmax(x.data(), y.data(), keys, scale, causal ? rows : 0, first); });
  Worst worst;
  for (unsigned row = 0; row < heads * rows; row++) {
    unsigned seen = causal ? std::min(first + row % rows + 1, keys) : keys;
    double sum = 0;
    for (unsigned i = 0; i < seen; i++) sum += std::exp((widen(x[row * keys + i]) - 20.) * scale);
    for (unsigned i = 0; i < keys; i++)
      compare(worst, i < seen ? std::exp((widen(x[row * keys + i]) - 20.) * scale) / sum : 0, y[row * keys + i]);
  }
  return worst;
}

template <class T, class Geglu>
Worst of_geglu(Geglu geglu, unsigned rows, unsigned width) {
  auto x = numbers<T>((size_t)rows * 2 * width, 0), bias = numbers<T>(2 * width, 0);
  std::vector<T> y(rows * width);
  launch({(rows * width + 63) / 64}, {64}, [&] { geglu(x.data(), bias.data(), y.data(), rows * width, width); });
  Worst worst;
  for (unsigned row = 0; row < rows; row++)
    for (unsigned i = 0; i < width; i++) {
      double value = (double)widen(x[row * 2 * width + i]) + widen(bias[i]);
      double gate = (double)widen(x[row * 2 * width + width + i]) + widen(bias[width + i]);
      compare(worst, value * gate * .5 * (1 + std::erf(gate / std::sqrt(2))), y[row * width + i]);
    }
  return worst;
}

template <class T, class Add>
Worst of_add(Add add, unsigned channels, unsigned pixels, unsigned tokens) {
  unsigned count = tokens * channels * pixels;
  auto x = numbers<T>(count, 1), bias = numbers<T>(channels, 0), residual = numbers<T>(count, -1);
  std::vector<T> y(count);
  launch({(count + 63) / 64}, {64}, [&] { add(x.data(), bias.data(), residual.data(), y.data(), count, channels, pixels); });
  Worst worst;
  for (unsigned token = 0; token < tokens; token++)
    for (unsigned c = 0; c < channels; c++)
      for (unsigned p = 0; p < pixels; p++) {
        unsigned i = (token * channels + c) * pixels + p;
        compare(worst, (double)widen(x[i]) + widen(bias[c]) + widen(residual[i]), y[i]);
      }
  return worst;
}

#define EACH(T, name)                                                                                                 \
  report("softmax, " #name, of_softmax<T>(softmax_##name, 2, 3, 77, 1.3f, false, 0));                                 \
  report("softmax, causal, " #name, of_softmax<T>(softmax_##name, 2, 5, 70, 1, true, 63));                            \
  report("GEGLU, " #name, of_geglu<T>(geglu_##name, 3, 75));                                                          \
  report("bias, residual, tokens, " #name, of_add<T>(add_##name, 40, 1, 5));                                          \
  report("bias, residual, map, " #name, of_add<T>(add_##name, 7, 30, 1));

int main() {
  EACH(float, f32)
  EACH(half_t, f16)
  EACH(bfloat_t, bf16)
  return failed != 0;
}
