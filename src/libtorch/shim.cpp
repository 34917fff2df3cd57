// What tch 0.17 lacks and libtorch has. Every function catches what libtorch throws: those that
// can fail return null when they succeed, else a message that the caller frees with
// `covalign_free`.

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <torch/version.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <dlfcn.h>

using at::Tensor;

namespace {

template <typename F>
char* guarded(F body) {
  try {
    body();
    return nullptr;
  } catch (const c10::Error& error) {
    return strdup(error.what_without_backtrace());
  } catch (const std::exception& error) {
    return strdup(error.what());
  }
}

std::vector<Tensor> gather(Tensor** tensors, int64_t count) {
  std::vector<Tensor> all;
  all.reserve(count);
  for (int64_t i = 0; i < count; i++) all.push_back(*tensors[i]);
  return all;
}

std::vector<Tensor> gradients(const std::vector<Tensor>& parameters) {
  std::vector<Tensor> all;
  all.reserve(parameters.size());
  for (const auto& parameter : parameters) all.push_back(parameter.grad());
  return all;
}

}  // namespace

extern "C" {

void covalign_free(char* text) { free(text); }

const char* covalign_version() { return TORCH_VERSION; }

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

// Free and total bytes of the current CUDA device, through the CUDA runtime that libtorch_cuda
// brought with it.
char* covalign_cuda_memory(size_t* free_bytes, size_t* total_bytes) {
  using MemGetInfo = int (*)(size_t*, size_t*);
  auto function = reinterpret_cast<MemGetInfo>(dlsym(RTLD_DEFAULT, "cudaMemGetInfo"));
  if (!function) return strdup("the CUDA runtime is not loaded");
  int status = function(free_bytes, total_bytes);
  return status == 0 ? nullptr : strdup(("CUDA error " + std::to_string(status)).c_str());
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

char* covalign_float32_matmul_precision(const char* precision) {
  return guarded([&] { at::globalContext().setFloat32MatmulPrecision(precision); });
}

// One AdamW step over parameters whose gradients are all defined. The gradients are divided by
// `grad_scale` (a scalar tensor or null) and the step is left out where `found_inf` (likewise)
// is 1; both stay on the device. `steps` are the counters, already incremented.
char* covalign_fused_adamw(Tensor** parameters, Tensor** exp_avgs, Tensor** exp_avg_sqs,
                           Tensor** steps, int64_t count, double learning_rate, double beta1,
                           double beta2, double weight_decay, double eps, Tensor* grad_scale,
                           Tensor* found_inf) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    auto params = gather(parameters, count);
    auto grads = gradients(params);
    auto scale = grad_scale ? std::optional<Tensor>(*grad_scale) : std::nullopt;
    auto inf = found_inf ? std::optional<Tensor>(*found_inf) : std::nullopt;
    at::_fused_adamw_(params, grads, gather(exp_avgs, count), gather(exp_avg_sqs, count), {},
                      gather(steps, count), learning_rate, beta1, beta2, weight_decay, eps,
                      /*amsgrad=*/false, /*maximize=*/false, scale, inf);
  });
}

// The 2-norm of all gradients together, a scalar tensor on their device.
char* covalign_gradient_norm(Tensor** parameters, int64_t count, Tensor** norm) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    auto norms = at::_foreach_norm(gradients(gather(parameters, count)), 2);
    *norm = new Tensor(at::linalg_vector_norm(at::stack(norms), 2));
  });
}

// Adds `amount` to every tensor in one call.
char* covalign_foreach_add(Tensor** tensors, int64_t count, double amount) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    at::_foreach_add_(gather(tensors, count), amount);
  });
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

// Drops the gradients, so that the next backward pass writes instead of adding.
void covalign_clear_gradients(Tensor** tensors, int64_t count) {
  for (int64_t i = 0; i < count; i++) tensors[i]->mutable_grad().reset();
}
}
