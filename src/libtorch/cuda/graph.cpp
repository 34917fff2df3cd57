// A step recorded as a CUDA graph, through libtorch's own at::cuda::CUDAGraph: its header needs CUDA's,
// so the class is reached by its exported symbols.

#include <ATen/ATen.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <cstddef>

#include "../guard.h"
#include "runtime.h"

using at::Tensor;
using namespace covalign::cuda;

namespace {

// The memory that all graphs of a process share: one is replayed after the other, and nobody reads
// what one left behind once another has begun.
c10::MempoolId_t pool() {
  static const auto id = reinterpret_cast<c10::MempoolId_t (*)()>(
      symbol("_ZN2at4cuda17graph_pool_handleEv"))();
  return id;
}

// at::cuda::CUDAGraph of libtorch 2.11 has 160 bytes or so.
constexpr size_t kRoom = 4096;

struct Graph {
  alignas(std::max_align_t) char object[kRoom] = {};

  Graph() {
    reinterpret_cast<void (*)(void*, bool)>(symbol("_ZN2at4cuda9CUDAGraphC1Eb"))(object, false);
  }
  ~Graph() { reinterpret_cast<void (*)(void*)>(symbol("_ZN2at4cuda9CUDAGraphD1Ev"))(object); }

  // Other threads may allocate page-locked memory meanwhile.
  void begin() {
    constexpr int thread_local_mode = 1;
    reinterpret_cast<void (*)(void*, c10::MempoolId_t, int)>(
        symbol("_ZN2at4cuda9CUDAGraph13capture_beginESt4pairIyyE21cudaStreamCaptureMode"))(
        object, pool(), thread_local_mode);
  }
  void end() {
    reinterpret_cast<void (*)(void*)>(symbol("_ZN2at4cuda9CUDAGraph11capture_endEv"))(object);
  }
  void replay() {
    reinterpret_cast<void (*)(void*)>(symbol("_ZN2at4cuda9CUDAGraph6replayEv"))(object);
  }
};

}  // namespace

extern "C" {

// Works on a device from now on, on this thread, and on a stream other than its first one: on that
// nothing can be recorded.
char* covalign_cuda_own_stream(int index) {
  return guarded([&] {
    // Once: what has been begun on one stream is not waited for by another.
    thread_local int chosen = -1;
    if (chosen == index) return;
    chosen = index;
    const c10::impl::VirtualGuardImpl guard(c10::DeviceType::CUDA);
    const c10::Device device(c10::DeviceType::CUDA, index);
    guard.setDevice(device);
    guard.exchangeStream(guard.getStreamFromGlobalPool(device));
  });
}

// Counts the dropout keys of the next step from `value`; nobody waits for it.
char* covalign_cuda_seed(int index, int64_t value) {
  return guarded([&] {
    auto pinned = at::full({1}, value, at::TensorOptions().dtype(at::kLong).pinned_memory(true));
    seed({c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(index)})
        .copy_(pinned, /*non_blocking=*/true);
  });
}

char* covalign_cuda_graph_begin(void** graph) {
  return guarded([&] {
    auto made = std::make_unique<Graph>();
    made->begin();
    *graph = made.release();
  });
}

char* covalign_cuda_graph_end(void* graph) {
  return guarded([&] { static_cast<Graph*>(graph)->end(); });
}

char* covalign_cuda_graph_replay(void* graph) {
  return guarded([&] { static_cast<Graph*>(graph)->replay(); });
}

void covalign_cuda_graph_free(void* graph) { delete static_cast<Graph*>(graph); }
}
