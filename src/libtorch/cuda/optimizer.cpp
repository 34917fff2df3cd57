// AdamW on CUDA in three launches, whatever the number of parameters; see optimizer.cu.

#include <ATen/ATen.h>

#include <cstring>
#include <vector>

#include "../guard.h"
#include "runtime.h"

using at::Tensor;

namespace covalign::cuda {
namespace {

// As optimizer.cu has them.
struct Parameter {
  float* value;
  void* leaf;
  const void* gradient;
  float *m, *v, *steps;
  int leaf_kind, gradient_kind;
  float learning_rate, weight_decay;
};

struct Run {
  int parameter, count;
  int64_t begin;
};

struct Constants {
  double beta1, beta2;
  float eps;
};

// Elements that one block takes.
constexpr int64_t kRun = 1 << 16;

int kind_of(const Tensor& x) {
  switch (x.scalar_type()) {
    case at::kFloat: return 0;
    case at::kBFloat16: return 1;
    case at::kHalf: return 2;
    default: TORCH_CHECK(false, "a gradient of ", x.scalar_type());
  }
}

template <typename T>
Tensor bytes_on(const at::Device& device, int64_t count) {
  return at::empty({count * static_cast<int64_t>(sizeof(T))},
                   at::TensorOptions().device(device).dtype(at::kByte));
}

// Copies without the host's waiting.
template <typename T>
void upload(const std::vector<T>& values, const Tensor& to) {
  const int64_t size = values.size() * sizeof(T);
  auto pinned = at::empty({size}, at::TensorOptions().dtype(at::kByte).pinned_memory(true));
  std::memcpy(pinned.data_ptr(), values.data(), size);
  to.copy_(pinned, /*non_blocking=*/true);
}

}  // namespace

// What a step of these parameters needs on the device, kept from step to step.
struct Steps {
  std::vector<const void*> known;  // the parameters that `runs` cuts up
  std::vector<Parameter> table;
  int64_t run_count = 0;
  Tensor table_on_device, runs, sums, corrections, norm;
  // Alive until the step is taken.
  std::vector<Tensor> gradients;
};

namespace {

void cut_up(Steps& steps, const std::vector<Tensor>& values) {
  std::vector<Run> runs;
  for (size_t i = 0; i < values.size(); i++) {
    for (int64_t begin = 0; begin < values[i].numel(); begin += kRun) {
      runs.push_back({static_cast<int>(i),
                      static_cast<int>(std::min(kRun, values[i].numel() - begin)), begin});
    }
  }
  const auto device = values[0].device();
  const auto floats = at::TensorOptions().device(device).dtype(at::kFloat);
  steps.run_count = runs.size();
  steps.runs = bytes_on<Run>(device, runs.size());
  upload(runs, steps.runs);
  steps.sums = at::empty({steps.run_count}, floats);
  steps.table_on_device = bytes_on<Parameter>(device, values.size());
  steps.corrections = at::empty({static_cast<int64_t>(values.size()), 2}, floats);
  steps.norm = at::empty({3}, floats);
}

void check(const Tensor& x, const Tensor& value, const char* what) {
  TORCH_CHECK(x.device() == value.device() && x.is_contiguous() && x.numel() == value.numel(), what,
              " is not in one piece, on its parameter's device and of its size");
}

Tensor dense(const Tensor& gradient) {
  auto x = gradient.contiguous();
  return reinterpret_cast<uintptr_t>(x.data_ptr()) % 16 == 0 ? x : x.clone();
}

}  // namespace
}  // namespace covalign::cuda

using namespace covalign::cuda;

extern "C" {

void* covalign_cuda_steps_new() { return new Steps; }

void covalign_cuda_steps_free(void* steps) { delete static_cast<Steps*>(steps); }

// Writes down where `count` parameters, whose leaves all have gradients, and their states lie. While the
// device is `recording`, they must be those of the step before.
char* covalign_cuda_steps_take(void* memory, Tensor** parameters, Tensor** leaves,
                               Tensor** exp_avgs, Tensor** exp_avg_sqs, Tensor** counters,
                               const double* learning_rates, const double* weight_decays,
                               int64_t count, bool recording) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    auto& steps = *static_cast<Steps*>(memory);
    std::vector<Tensor> values;
    std::vector<const void*> known;
    steps.table.clear();
    steps.gradients.clear();
    for (int64_t i = 0; i < count; i++) {
      const Tensor &value = *parameters[i], &leaf = *leaves[i];
      auto gradient = dense(leaf.grad());
      for (const Tensor* x : std::initializer_list<const Tensor*>{&value, exp_avgs[i], exp_avg_sqs[i]}) {
        check(*x, value, "a parameter's state");
        TORCH_CHECK(x->scalar_type() == at::kFloat, "a parameter's state is not in float32");
      }
      check(leaf, value, "a parameter's copy");
      check(gradient, value, "a gradient");
      const bool copied = !leaf.is_same(value);
      steps.table.push_back({value.data_ptr<float>(), copied ? leaf.data_ptr() : nullptr,
                             gradient.const_data_ptr(), exp_avgs[i]->data_ptr<float>(),
                             exp_avg_sqs[i]->data_ptr<float>(), counters[i]->data_ptr<float>(),
                             copied ? kind_of(leaf) : 0, kind_of(gradient),
                             static_cast<float>(learning_rates[i]),
                             static_cast<float>(weight_decays[i])});
      steps.gradients.push_back(gradient);
      known.push_back(value.const_data_ptr());
      values.push_back(value);
    }
    if (known != steps.known) {
      TORCH_CHECK(!recording, "a step that is recorded has other parameters than the one before it");
      cut_up(steps, values);
    }
    steps.known = std::move(known);
  });
}

// Renews the learning rates of what covalign_cuda_steps_take wrote down.
void covalign_cuda_steps_rates(void* memory, const double* learning_rates) {
  for (auto& parameter : static_cast<Steps*>(memory)->table) {
    parameter.learning_rate = static_cast<float>(*learning_rates++);
  }
}

// Brings what was written down to the device.
char* covalign_cuda_steps_upload(void* memory) {
  return guarded([&] {
    auto& steps = *static_cast<Steps*>(memory);
    upload(steps.table, steps.table_on_device);
  });
}

// Takes the step, by what is written down on the device when the kernels run. `loss_scale` is null or a
// scalar.
char* covalign_cuda_steps_run(void* memory, double beta1, double beta2, double eps,
                              double clip_norm, const Tensor* loss_scale) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    auto& steps = *static_cast<Steps*>(memory);
    const auto device = steps.runs.device();
    auto& module = Module::of(device, {sources().numbers, sources().optimizer}, {});
    const Constants constants{beta1, beta2, static_cast<float>(eps)};
    const unsigned blocks = steps.run_count;
    const void *table = steps.table_on_device.const_data_ptr(), *runs = steps.runs.const_data_ptr();
    float* sums = steps.sums.data_ptr<float>();
    float* state = steps.norm.data_ptr<float>();
    float* corrections = steps.corrections.data_ptr<float>();
    launch(module, "sums_of_squares", device, {blocks, 1, 1}, {512, 1, 1}, table, runs, sums);
    launch(module, "gradient_norm", device, {1, 1, 1}, {1024, 1, 1}, table,
           static_cast<int>(steps.table.size()), sums, static_cast<int>(steps.run_count),
           static_cast<float>(clip_norm),
           loss_scale ? loss_scale->const_data_ptr<float>() : nullptr, constants, state,
           corrections);
    launch(module, "adamw", device, {blocks, 1, 1}, {512, 1, 1}, table, runs, state, corrections,
           constants);
    steps.gradients.clear();
  });
}

// What became of the last step: the gradients' norm before clipping, the gradients' multiplier, and 1
// where the norm is not finite, so that nothing has moved. Memory that the next step writes.
void covalign_cuda_steps_taken(void* memory, Tensor** taken) {
  *taken = new Tensor(static_cast<Steps*>(memory)->norm);
}
}
