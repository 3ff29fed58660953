// A CUDA driver that computes nothing, in the place of libcuda.so.1: memory is the host's, a launch is counted under the
// kernel's name. A name that the loaded PTX does not have, and a launch of an impossible size, are errors. What was
// counted is written to the file that STAND_IN_LOG names when the process ends.
#include <cuda.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#define API extern "C" __attribute__((visibility("default")))
#define DONE(name, parameters) \
  API CUresult name parameters { return count("call " #name), CUDA_SUCCESS; }

static std::mutex lock;
static std::map<std::string, long> counts;
static void count(const std::string &what) {
  std::lock_guard<std::mutex> guard(lock);
  counts[what]++;
}
// For the libraries beside this one.
API void stand_in_count(const char *what) { count(what); }

static struct Report {
  ~Report() {
    const char *path = getenv("STAND_IN_LOG");
    FILE *file = path ? fopen(path, "w") : nullptr;
    if (!file) return;
    for (auto &[what, times] : counts) fprintf(file, "%ld %s\n", times, what.c_str());
    fclose(file);
  }
} report;

// Memory. Pieces are kept and given out again, as a pool does.
static std::map<CUdeviceptr, size_t> sizes;
static std::map<size_t, std::vector<void *>> pool;
static CUresult allocate(CUdeviceptr *pointer, size_t size) {
  count("allocation");
  std::lock_guard<std::mutex> guard(lock);
  auto &free = pool[size];
  void *memory = nullptr;
  if (free.empty()) {
    memory = calloc(size ? size : 1, 1);
  } else {
    memory = free.back();
    free.pop_back();
  }
  if (!memory) return CUDA_ERROR_OUT_OF_MEMORY;
  *pointer = (CUdeviceptr)memory;
  sizes[*pointer] = size;
  return CUDA_SUCCESS;
}
static CUresult release(CUdeviceptr pointer) {
  std::lock_guard<std::mutex> guard(lock);
  auto found = sizes.find(pointer);
  if (found == sizes.end()) return CUDA_ERROR_INVALID_VALUE;
  pool[found->second].push_back((void *)pointer);
  sizes.erase(found);
  return CUDA_SUCCESS;
}
API CUresult cuMemAllocAsync(CUdeviceptr *pointer, size_t size, CUstream) { return allocate(pointer, size); }
API CUresult cuMemFreeAsync(CUdeviceptr pointer, CUstream) { return release(pointer); }
#undef cuMemAlloc
#undef cuMemFree
API CUresult cuMemAlloc_v2(CUdeviceptr *pointer, size_t size) { return allocate(pointer, size); }
API CUresult cuMemFree_v2(CUdeviceptr pointer) { return release(pointer); }
API CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t size, CUstream) {
  count(size <= 4096 ? "upload of up to 4 KiB" : "upload of more");
  memcpy((void *)to, from, size);
  return CUDA_SUCCESS;
}
API CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr, size_t size, CUstream) {
  count("download");
  memset(to, 0, size);
  return CUDA_SUCCESS;
}
API CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t size, CUstream) {
  count("copy");
  memcpy((void *)to, (void *)from, size);
  return CUDA_SUCCESS;
}
API CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t size, CUstream) {
  count("fill");
  memset((void *)to, value, size);
  return CUDA_SUCCESS;
}

// Modules and kernels.
struct Module { std::string text; };
struct Kernel { std::string name; };
API CUresult cuModuleLoadData(CUmodule *module, const void *text) {
  *module = (CUmodule) new Module{(const char *)text};
  return CUDA_SUCCESS;
}
API CUresult cuModuleUnload(CUmodule) { return CUDA_SUCCESS; }
API CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
  count("look-up of a kernel");
  static std::map<std::pair<CUmodule, std::string>, Kernel *> known;
  std::lock_guard<std::mutex> guard(lock);
  auto &kernel = known[{module, name}];
  if (!kernel) {
    if (((Module *)module)->text.find(std::string(".entry ") + name + "(") == std::string::npos) {
      fprintf(stderr, "stand-in: the module has no kernel %s\n", name);
      return CUDA_ERROR_NOT_FOUND;
    }
    kernel = new Kernel{name};
  }
  *function = (CUfunction)kernel;
  return CUDA_SUCCESS;
}
API CUresult cuLaunchKernel(CUfunction function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                            unsigned bz, unsigned, CUstream, void **, void **) {
  const std::string &name = ((Kernel *)function)->name;
  unsigned long threads = (unsigned long)bx * by * bz;
  if (!gx || !gy || !gz || gy > 65535 || gz > 65535 || !threads || threads > 1024) {
    fprintf(stderr, "stand-in: %s can't be started as %ux%ux%u blocks of %ux%ux%u\n", name.c_str(), gx, gy, gz, bx, by, bz);
    return CUDA_ERROR_INVALID_VALUE;
  }
  count("kernel " + name);
  return CUDA_SUCCESS;
}

// One GPU of compute capability 9.0.
API CUresult cuDeviceGetCount(int *devices) { return *devices = 1, CUDA_SUCCESS; }
API CUresult cuDeviceGet(CUdevice *device, int ordinal) {
  *device = 0;
  return ordinal == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}
API CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice) {
  switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED: *value = 1; break;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: *value = 9; break;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: *value = 0; break;
    default: *value = 132;
  }
  return CUDA_SUCCESS;
}
API CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice) { return *context = (CUcontext)8, CUDA_SUCCESS; }
static thread_local CUcontext current;
API CUresult cuCtxGetCurrent(CUcontext *context) { return *context = current, CUDA_SUCCESS; }
API CUresult cuCtxSetCurrent(CUcontext context) { return current = context, CUDA_SUCCESS; }
API CUresult cuEventCreate(CUevent *event, unsigned) {
  count("event");
  return *event = (CUevent)16, CUDA_SUCCESS;
}
API CUresult cuStreamCreate(CUstream *stream, unsigned) {
  count("stream");
  return *stream = (CUstream)24, CUDA_SUCCESS;
}
API CUresult cuStreamIsCapturing(CUstream, CUstreamCaptureStatus *status) {
  return *status = CU_STREAM_CAPTURE_STATUS_NONE, CUDA_SUCCESS;
}
API CUresult cuGetErrorString(CUresult, const char **text) { return *text = "refused by the stand-in", CUDA_SUCCESS; }
API CUresult cuGetErrorName(CUresult, const char **name) { return *name = "STAND_IN", CUDA_SUCCESS; }
API CUresult cuDriverGetVersion(int *version) { return *version = 13000, CUDA_SUCCESS; }
DONE(cuInit, (unsigned))
DONE(cuEventDestroy_v2, (CUevent))
DONE(cuEventRecord, (CUevent, CUstream))
DONE(cuEventSynchronize, (CUevent))
DONE(cuStreamWaitEvent, (CUstream, CUevent, unsigned))
DONE(cuStreamSynchronize, (CUstream))
DONE(cuStreamDestroy_v2, (CUstream))
DONE(cuCtxSynchronize, (void))
DONE(cuCtxDestroy_v2, (CUcontext))
DONE(cuDevicePrimaryCtxRelease_v2, (CUdevice))
API CUresult cuMemcpyPeerAsync(CUdeviceptr, CUcontext, CUdeviceptr, CUcontext, size_t, CUstream) {
  return CUDA_ERROR_NOT_SUPPORTED;
}
API CUresult cuModuleLoad(CUmodule *, const char *) { return CUDA_ERROR_NOT_SUPPORTED; }
