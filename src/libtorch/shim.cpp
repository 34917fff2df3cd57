// What tch 0.17 lacks and libtorch has.

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/autocast_mode.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/version.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <dlfcn.h>

#include "guard.h"

using at::Tensor;

extern "C" {

void covalign_free(char* text) { free(text); }

const char* covalign_version() { return TORCH_VERSION; }

char* covalign_cpu_capability() { return strdup(at::get_cpu_capability().c_str()); }

// The file that libtorch_cpu was loaded from, or null.
const char* covalign_library_path() {
  Dl_info info;
  auto function = static_cast<bool (*)(at::DeviceType)>(&at::autocast::is_autocast_enabled);
  return dladdr(reinterpret_cast<void*>(function), &info) ? info.dli_fname : nullptr;
}

// Loads a library for the whole process; its static initialisers register kernels.
char* covalign_load_library(const char* path) {
  if (dlopen(path, RTLD_NOW | RTLD_GLOBAL)) return nullptr;
  return strdup(dlerror());
}

// How many threads covalign's own passes over memory run in.
int covalign_pass_threads() {
  const int64_t threads = at::get_num_threads();
  std::vector<char> seen(threads, 0);
  at::parallel_for(0, threads, 1, [&](int64_t, int64_t) { seen[at::get_thread_num()] = 1; });
  return static_cast<int>(std::count(seen.begin(), seen.end(), 1));
}

// What libtorch decides about CUDA and covalign decides otherwise. On compute capability 9.0 and 10.0
// attention would go to cuDNN, which builds a plan for each new shape and rounds dropout to sixteenths.
void covalign_cuda_choices() { at::globalContext().setSDPUseCuDNN(false); }

// A copy in page-locked memory, from which a device copies without the host's waiting.
char* covalign_pinned(const Tensor* x, Tensor** out) {
  return guarded([&] { *out = new Tensor(x->pin_memory()); });
}

// Takes only algorithms that give the same bits each time, or whatever is fastest. `fill` fills memory
// that nothing has been written to with NaN.
char* covalign_deterministic(bool on, bool fill) {
  return guarded([&] {
    auto& context = at::globalContext();
    context.setDeterministicAlgorithms(on, /*warn_only=*/false);
    context.setDeterministicFillUninitializedMemory(fill);
  });
}

// A copy in the host's memory, in one piece; from a device into page-locked memory, and nobody waits for
// it, unless the host has no such memory left.
char* covalign_host_copy(const Tensor* x, Tensor** out) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    const auto options = x->options().device(at::kCPU).requires_grad(false);
    Tensor copy;
    if (x->is_cuda()) {
      try {
        copy = at::empty(x->sizes(), options.pinned_memory(true));
      } catch (const c10::Error&) {
      }
    }
    if (!copy.defined()) copy = at::empty(x->sizes(), options);
    copy.copy_(*x, /*non_blocking=*/true);
    *out = new Tensor(copy);
  });
}

char* covalign_copy_non_blocking(const Tensor* to, const Tensor* from) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    to->copy_(*from, /*non_blocking=*/true);
  });
}

// Free and total bytes of the current CUDA device, through the CUDA runtime that libtorch_cuda
// brought with it.
char* covalign_cuda_memory(size_t* free_bytes, size_t* total_bytes) {
  using MemGetInfo = int (*)(size_t*, size_t*);
  auto function = reinterpret_cast<MemGetInfo>(dlsym(RTLD_DEFAULT, "cudaMemGetInfo"));
  if (!function) return strdup("the CUDA runtime is not loaded");
  int status = function(free_bytes, total_bytes);
  return status == 0 ? nullptr : strdup(("CUDA error " + std::to_string(status)).c_str());
}

// Gives the memory that libtorch keeps for later back to the device, where less than a quarter of it is
// free: what a CUDA graph needs comes from there.
char* covalign_make_room() {
  size_t free_bytes = 0, total_bytes = 0;
  if (char* message = covalign_cuda_memory(&free_bytes, &total_bytes)) return message;
  if (free_bytes >= total_bytes / 4) return nullptr;
  return guarded([&] { c10::getDeviceAllocator(c10::DeviceType::CUDA)->emptyCache(); });
}

char* covalign_autocast(int device_type, bool enabled, int scalar_type) {
  return guarded([&] {
    auto device = static_cast<at::DeviceType>(device_type);
    if (!enabled) at::autocast::clear_cache();
    at::autocast::set_autocast_dtype(device, static_cast<at::ScalarType>(scalar_type));
    at::autocast::set_autocast_enabled(device, enabled);
    at::autocast::set_autocast_cache_enabled(enabled);
  });
}

// y = x wᵀ in bfloat16 from factors in bfloat16, computed in float32, whatever autocast says.
char* covalign_widened_product(const Tensor* x, const Tensor* weight, Tensor** out) {
  return guarded([&] {
    c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::DispatchKey::AutocastCPU);
    auto product = at::linear(x->to(at::kFloat), weight->to(at::kFloat));
    *out = new Tensor(product.to(at::kBFloat16));
  });
}

char* covalign_float32_matmul_precision(const char* precision) {
  return guarded([&] { at::globalContext().setFloat32MatmulPrecision(precision); });
}

// The backward pass from a tensor whose gradient is known.
char* covalign_backward(const Tensor* output, const Tensor* gradient) {
  return guarded([&] { output->backward(*gradient); });
}

// softmax(QKᵀ/√d) V with dropout on the weights; `mask` is null or true where attended.
char* covalign_attention(const Tensor* query, const Tensor* key, const Tensor* value,
                         const Tensor* mask, double dropout, Tensor** out) {
  return guarded([&] {
    auto maybe_mask = mask ? std::optional<Tensor>(*mask) : std::nullopt;
    *out = new Tensor(
        at::scaled_dot_product_attention(*query, *key, *value, maybe_mask, dropout));
  });
}
}
