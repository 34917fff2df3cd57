// AdamW on the CPU, and the gradients' norm.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>
#include <vector>

#include "by_type.h"
#include "checks.h"
#include "guard.h"
#include "kernels.h"

using at::Tensor;
using covalign::check_dense;
using covalign::check_places;
using covalign::data;

namespace {

// Elements that one thread takes at a time.
constexpr int64_t kRun = 1 << 14;

std::vector<Tensor> gather(Tensor** tensors, int64_t count) {
  std::vector<Tensor> all;
  all.reserve(count);
  for (int64_t i = 0; i < count; i++) all.push_back(*tensors[i]);
  return all;
}

// A part of one of several tensors.
struct Run {
  int64_t tensor, begin, count;
};

std::vector<Run> runs(const std::vector<Tensor>& tensors) {
  std::vector<Run> all;
  for (size_t i = 0; i < tensors.size(); i++) {
    const int64_t size = tensors[i].numel();
    for (int64_t begin = 0; begin < size; begin += kRun) {
      all.push_back({static_cast<int64_t>(i), begin, std::min(kRun, size - begin)});
    }
  }
  return all;
}

template <typename F>
void over(const std::vector<Run>& runs, F body) {
  at::parallel_for(0, runs.size(), 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) body(runs[i], i);
  });
}

bool is_half(const Tensor& x) { return x.scalar_type() == at::kBFloat16; }

// The kind of a tensor that may hold either.
at::ScalarType number_kind(const Tensor& x) { return is_half(x) ? at::kBFloat16 : at::kFloat; }

// A parameter and its moments.
void check_state(const Tensor& parameter, const Tensor& exp_avg, const Tensor& exp_avg_sq) {
  for (const Tensor* x : {&parameter, &exp_avg, &exp_avg_sq}) {
    check_dense(*x, at::kFloat, parameter.numel(), "a parameter and its moments each");
  }
}

}  // namespace

using covalign::AdamW;
using covalign::bf16;

extern "C" {

// One AdamW step on the CPU. Gradients are the leaves', float or bfloat16; a leaf that is not its
// parameter gets the new value. `constants` has one entry for each tensor.
char* covalign_adamw_cpu(Tensor** parameters, Tensor** leaves, Tensor** exp_avgs,
                         Tensor** exp_avg_sqs, const AdamW* constants, int64_t count) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    auto values = gather(parameters, count), copies = gather(leaves, count);
    auto m = gather(exp_avgs, count), v = gather(exp_avg_sqs, count);
    std::vector<Tensor> gradients;
    for (const auto& leaf : copies) gradients.push_back(leaf.grad().contiguous());
    for (int64_t i = 0; i < count; i++) {
      const int64_t size = values[i].numel();
      check_state(values[i], m[i], v[i]);
      check_dense(gradients[i], number_kind(gradients[i]), size, "a gradient");
      if (copies[i].is_same(values[i])) continue;
      check_dense(copies[i], at::kBFloat16, size, "a parameter's copy");
    }
    over(runs(values), [&](const Run& run, int64_t) {
      const int64_t i = run.tensor, at = run.begin;
      const bool copied = !copies[i].is_same(values[i]);
      float* value = data<float>(values[i]) + at;
      float *first = data<float>(m[i]) + at, *second = data<float>(v[i]) + at;
      bf16* copy = copied ? data<bf16>(copies[i]) + at : nullptr;
      if (is_half(gradients[i])) {
        covalign::bf16_kernels().adamw(constants[i], value, data<bf16>(gradients[i]) + at, first,
                                       second, copy, run.count);
      } else {
        covalign::float_kernels().adamw(constants[i], value, data<float>(gradients[i]) + at, first,
                                        second, copy, run.count);
      }
    });
  });
}

// One AdamW step on some rows of a table, whose gradients are the rows of `gradient`.
char* covalign_adamw_rows(const Tensor* table, const Tensor* exp_avg, const Tensor* exp_avg_sq,
                          const Tensor* rows, const Tensor* gradient, const AdamW* constants) {
  return guarded([&] {
    const int64_t width = table->size(1);
    auto from = gradient->contiguous();
    check_state(*table, *exp_avg, *exp_avg_sq);
    check_places(*rows, rows->numel(), table->size(0), "rows of a table");
    check_dense(from, at::kFloat, rows->numel() * width, "their gradient");
    const int64_t* at = data<int64_t>(*rows);
    at::parallel_for(0, rows->numel(), 16, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        const int64_t offset = at[i] * width;
        covalign::float_kernels().adamw(*constants, data<float>(*table) + offset,
                                        data<float>(from) + i * width,
                                        data<float>(*exp_avg) + offset,
                                        data<float>(*exp_avg_sq) + offset, nullptr, width);
      }
    });
  });
}

// Takes the steps without a gradient that rows of a table have missed: row r those from last[r] to
// `count`, after which last[r] is `count`. All rows where `rows` is null.
char* covalign_adamw_idle(const Tensor* table, const Tensor* exp_avg, const Tensor* exp_avg_sq,
                          const Tensor* last, const Tensor* rows, const AdamW* steps,
                          int64_t count) {
  return guarded([&] {
    const int64_t width = table->size(1), size = table->size(0);
    check_state(*table, *exp_avg, *exp_avg_sq);
    check_dense(*last, at::kLong, size, "the steps that rows have taken");
    if (rows) check_places(*rows, rows->numel(), size, "rows of a table");
    const int64_t* at = rows ? data<int64_t>(*rows) : nullptr;
    int64_t* done = data<int64_t>(*last);
    at::parallel_for(0, rows ? rows->numel() : size, 16, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        const int64_t row = at ? at[i] : i, offset = row * width;
        TORCH_CHECK(done[row] >= 0 && done[row] <= count, "row ", row, " of a table has taken ",
                    done[row], " of ", count, " steps");
        if (done[row] == count) continue;
        covalign::float_kernels().adamw_idle(steps + done[row], count - done[row],
                                             data<float>(*table) + offset,
                                             data<float>(*exp_avg) + offset,
                                             data<float>(*exp_avg_sq) + offset, width);
        done[row] = count;
      }
    });
  });
}

// The 2-norm of all gradients together, a scalar tensor.
char* covalign_gradient_norm_cpu(Tensor** tensors, int64_t count, Tensor** norm) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    auto gradients = gather(tensors, count);
    for (auto& gradient : gradients) {
      gradient = gradient.contiguous();
      check_dense(gradient, number_kind(gradient), gradient.numel(), "a gradient");
    }
    auto parts = runs(gradients);
    std::vector<double> sums(parts.size());
    over(parts, [&](const Run& run, int64_t i) {
      const auto& x = gradients[run.tensor];
      sums[i] = is_half(x)
          ? covalign::bf16_kernels().sum_of_squares(data<bf16>(x) + run.begin, run.count)
          : covalign::float_kernels().sum_of_squares(data<float>(x) + run.begin, run.count);
    });
    double total = 0;
    for (double sum : sums) total += sum;
    *norm = new Tensor(at::scalar_tensor(std::sqrt(total), at::kFloat));
  });
}

// Makes gradients in half precision float32: what later passes add to them is added in float32, as
// torch.autocast's gradients are.
char* covalign_widen_gradients(Tensor** tensors, int64_t count) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    for (int64_t i = 0; i < count; i++) {
      auto& gradient = tensors[i]->mutable_grad();
      if (gradient.defined()) gradient = gradient.to(at::kFloat);
    }
  });
}

// Drops the gradients, so that the next backward pass writes instead of adding.
void covalign_clear_gradients(Tensor** tensors, int64_t count) {
  for (int64_t i = 0; i < count; i++) tensors[i]->mutable_grad().reset();
}
}
