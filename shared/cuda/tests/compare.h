// Numbers to compute with, and how far what a kernel gives is from float64's.
#pragma once
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

static int failed = 0;
static void report(const char *what, Worst worst) {
  bool well = worst.ours <= worst.rounding + 2e-5;
  failed += !well;
  printf("%-32s off by at most %.1e, rounding alone by %.1e%s\n", what, worst.ours, worst.rounding, well ? "" : ": too far");
}
