// cuBLAS, and what is used of cuSOLVER, for the stand-in: each call is a launch.

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "cuda.h"

namespace {

// The stream of a handle lies before it. Behind it lies nothing that can be read: NVIDIA's own functions,
// where one that is not here is called, fail at once.
void*& stream_of(void* handle) { return static_cast<void**>(handle)[-1]; }

// CUBLAS_STATUS_EXECUTION_FAILED, or cuSOLVER's like, where it does not begin.
int begin(const char* name, void* stream) {
  return standin_launch(name, {1, 1, 1}, {1, 1, 1}, stream) ? 13 : 0;
}

}  // namespace

#define LAUNCH(NAME) \
  int NAME(void* handle, ...) { return begin(#NAME, stream_of(handle)); }

// What is described, nobody reads.
#define DESCRIPTION(NAME)                \
  int NAME##Create(void** to, ...) {     \
    *to = malloc(1);                     \
    return 0;                            \
  }                                      \
  int NAME##Destroy(void* description) { \
    free(description);                   \
    return 0;                            \
  }                                      \
  int NAME##SetAttribute(void*, int, const void*, size_t) { return 0; }

extern "C" {

int cublasCreate_v2(void** handle) {
  const size_t page = sysconf(_SC_PAGESIZE);
  void* pages = mmap(nullptr, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) abort();
  *handle = static_cast<char*>(pages) + page;
  mprotect(*handle, page, PROT_NONE);
  return 0;
}
int cublasDestroy_v2(void*) { return 0; }
int cublasSetStream_v2(void* handle, void* stream) {
  stream_of(handle) = stream;
  return 0;
}
int cublasSetWorkspace_v2(void*, void*, size_t) { return 0; }
int cublasGetMathMode(void*, int* mode) { return *mode = 0; }
int cublasSetMathMode(void*, int) { return 0; }
int cublasGetPointerMode_v2(void*, int* mode) { return *mode = 0; }
int cublasSetPointerMode_v2(void*, int) { return 0; }

LAUNCH(cublasDotEx)
LAUNCH(cublasGemmEx)
LAUNCH(cublasGemmStridedBatchedEx)
LAUNCH(cublasSdot_v2)
LAUNCH(cublasSgemm_v2)
LAUNCH(cublasSgemmStridedBatched)
LAUNCH(cublasSgemv_v2)
LAUNCH(cublasStrsm_v2)
LAUNCH(cublasStrsmBatched)

DESCRIPTION(cublasLtMatmulDesc)
DESCRIPTION(cublasLtMatmulPreference)
DESCRIPTION(cublasLtMatrixLayout)
int cublasLtMatmulAlgoGetHeuristic(void*, void*, void*, void*, void*, void*, void*, int, void* found,
                                   int* count) {
  memset(found, 0, 96);
  *count = 1;
  return 0;
}
int cublasLtMatmul(void*, void*, const void*, const void*, void*, const void*, void*, const void*,
                   const void*, void*, void*, void*, const void*, void*, size_t, void* stream) {
  return begin("cublasLtMatmul", stream);
}

int cusolverDnCreate(void** handle) { return cublasCreate_v2(handle); }
int cusolverDnDestroy(void*) { return 0; }
int cusolverDnSetStream(void* handle, void* stream) { return cublasSetStream_v2(handle, stream); }
int cusolverDnSgetrf_bufferSize(void*, int, int, float*, int, int* size) {
  *size = 16;
  return 0;
}
LAUNCH(cusolverDnSgetrf)
LAUNCH(cusolverDnSgetrs)
}
