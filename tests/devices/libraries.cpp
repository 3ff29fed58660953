// cuBLAS and cuRAND that compute nothing, beside driver.cpp. Products are counted as what they sum in, so that a product
// of halves that were summed in halves would show.
#include <cstdio>

#define API extern "C" __attribute__((visibility("default")))
API void stand_in_count(const char *);

API int cublasCreate_v2(void **handle) { return *handle = (void *)8, 0; }
API int cublasDestroy_v2(void *) { return 0; }
API int cublasSetStream_v2(void *, void *) { return 0; }
API int cublasDgemmStridedBatched() { return 13; }
API int cublasGemmStridedBatchedEx(void *, int, int, int, int, int, const void *, const void *, int type, int, long long,
                                   const void *, int, int, long long, const void *, void *, int, int, long long, int,
                                   int compute, int) {
  char text[80];
  snprintf(text, sizeof text, "kernel product of type %d, summed in type %d", type, compute);
  stand_in_count(text);
  return 0;
}
API int curandCreateGenerator(void **generator, int) { return *generator = (void *)8, 0; }
API int curandDestroyGenerator(void *) { return 0; }
API int curandSetPseudoRandomGeneratorSeed(void *, unsigned long long) { return 0; }
API int curandSetStream(void *, void *) { return 0; }
