// cuBLAS, cuDNN and cuRAND that compute nothing, beside driver.cpp. Products and convolutions are counted as what they sum
// in; what is summed in less than float32, products of float32 that may be TF32's, and shapes that do not fit are errors.
#include <cstddef>
#include <cstdio>

#define API extern "C" __attribute__((visibility("default")))
API void stand_in_count(const char *);

static int refuse(const char *what, const char *why, int status) {
  fprintf(stderr, "stand-in: %s: %s\n", what, why);
  return status;
}

API int cublasCreate_v2(void **handle) { return *handle = (void *)8, 0; }
API int cublasDestroy_v2(void *) { return 0; }
API int cublasSetStream_v2(void *, void *) { return 0; }
API int cublasDgemmStridedBatched() { return 13; }
API int cublasGemmStridedBatchedEx(void *, int, int, int, int, int, const void *, const void *, int type, int, long long,
                                   const void *, int, int, long long, const void *, void *, int, int, long long, int,
                                   int compute, int) {
  char text[80];
  const char *name = type == 0 ? "f32" : type == 2 ? "f16" : type == 14 ? "bf16" : "?";
  const char *sum = compute == 68 ? "f32" : compute == 77 ? "f32 of TF32's products" : "less than f32";
  snprintf(text, sizeof text, "kernel product of %s, summed in %s", name, sum);
  stand_in_count(text);
  return compute == 68 ? 0 : refuse(text, "expected float32's sums", 7);
}

enum { BAD_PARAM = 2000, NOT_SUPPORTED = 3000 };  // of cuDNN 9
struct Tensor { int type, size[4]; };
struct Convolution { int padding[2], stride[2], sum, math; };
API int cudnnCreate(void **handle) { return *handle = (void *)8, 0; }
API int cudnnDestroy(void *) { return 0; }
API int cudnnSetStream(void *, void *) { return 0; }
API int cudnnCreateTensorDescriptor(Tensor **made) { return *made = new Tensor(), 0; }
API int cudnnCreateFilterDescriptor(Tensor **made) { return *made = new Tensor(), 0; }
API int cudnnCreateConvolutionDescriptor(Convolution **made) { return *made = new Convolution(), 0; }
API int cudnnDestroyTensorDescriptor(Tensor *tensor) { return delete tensor, 0; }
API int cudnnDestroyFilterDescriptor(Tensor *tensor) { return delete tensor, 0; }
API int cudnnDestroyConvolutionDescriptor(Convolution *convolution) { return delete convolution, 0; }
API int cudnnSetTensor4dDescriptor(Tensor *tensor, int format, int type, int n, int c, int h, int w) {
  *tensor = {type, {n, c, h, w}};
  return format == 0 ? 0 : NOT_SUPPORTED;  // 0: NCHW
}
API int cudnnSetTensor4dDescriptorEx() { return NOT_SUPPORTED; }
API int cudnnSetFilter4dDescriptor(Tensor *tensor, int type, int format, int k, int c, int h, int w) {
  *tensor = {type, {k, c, h, w}};
  return format == 0 ? 0 : NOT_SUPPORTED;
}
API int cudnnSetConvolution2dDescriptor(Convolution *to, int ph, int pw, int sh, int sw, int dh, int dw, int mode, int sum) {
  *to = {{ph, pw}, {sh, sw}, sum, 0};
  return dh == 1 && dw == 1 && mode == 1 ? 0 : NOT_SUPPORTED;  // 1: cross-correlation
}
API int cudnnSetConvolutionMathType(Convolution *convolution, int math) { return convolution->math = math, 0; }
API int cudnnGetConvolutionForwardAlgorithm_v7(void *, Tensor *, Tensor *, Convolution *, Tensor *, int, int *found, int *first) {
  *found = 1;
  first[0] = 1;  // implicit, precomputed
  first[1] = 0;
  return 0;
}
API int cudnnGetConvolutionForwardWorkspaceSize(void *, Tensor *, Tensor *, Convolution *, Tensor *, int, size_t *size) {
  return *size = 0, 0;
}
API int cudnnConvolutionForward(void *, const float *alpha, const Tensor *x, const void *, const Tensor *w, const void *,
                                const Convolution *how, int, void *, size_t, const float *beta, const Tensor *y, void *) {
  char text[120];
  const char *name = x->type == 0 ? "f32" : x->type == 2 ? "f16" : x->type == 9 ? "bf16" : "?";
  const char *math[] = {"default products", "tensor cores", "tensor cores after rounding", "float32's products"};
  snprintf(text, sizeof text, "kernel convolution of %s by %s, summed in %s", name, math[how->math & 3],
           how->sum == 0 ? "f32" : "less than f32");
  stand_in_count(text);
  if (how->sum != 0) return refuse(text, "expected float32's sums", BAD_PARAM);
  if (how->math != (x->type == 0 ? 3 : 1)) return refuse(text, "expected float32's products of float32, or tensor cores", BAD_PARAM);
  if (w->type != x->type || y->type != x->type) return refuse(text, "types differ", BAD_PARAM);
  bool fits = w->size[1] == x->size[1] && y->size[0] == x->size[0] && y->size[1] == w->size[0];
  for (int side = 0; side < 2; side++)
    fits &= y->size[2 + side] == (x->size[2 + side] + 2 * how->padding[side] - w->size[2 + side]) / how->stride[side] + 1;
  if (!fits) return refuse(text, "shapes do not fit", BAD_PARAM);
  return *alpha == 1 && *beta == 0 ? 0 : refuse(text, "expected 1 and 0 as factors", BAD_PARAM);
}

API int curandCreateGenerator(void **generator, int) { return *generator = (void *)8, 0; }
API int curandDestroyGenerator(void *) { return 0; }
API int curandSetPseudoRandomGeneratorSeed(void *, unsigned long long) { return 0; }
API int curandSetStream(void *, void *) { return 0; }
