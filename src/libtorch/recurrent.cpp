// One layer and direction of torch.nn.LSTM over packed rows, as an operation that autograd knows, on
// the CPU. What does not depend on the step before is one product over all tokens; the steps are
// lstm_kernels.h's, each thread taking its rows from end to end.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

#include "checks.h"
#include "guard.h"
#include "lstm_kernels.h"

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

namespace covalign {
namespace {

float* floats(const Tensor& x) { return static_cast<float*>(x.data_ptr()); }

// Calls body(first tokens, lengths) on groups of rows, the longest first, one for each thread.
template <typename F>
void over_groups(const Tensor& starts, bool reverse, F body) {
  const auto* at = static_cast<const int64_t*>(starts.data_ptr());
  const int64_t rows = starts.numel() - 1;
  auto length = [&](int64_t row) { return at[row + 1] - at[row]; };
  std::vector<int64_t> order(rows);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return length(a) > length(b); });
  // Fewer rows than this do not pay for reading the weight at every step.
  constexpr int64_t kFewest = 4;
  const int64_t groups =
      std::max<int64_t>(1, std::min<int64_t>(at::get_num_threads(), rows / kFewest));
  at::parallel_for(0, groups, 1, [&](int64_t begin, int64_t end) {
    for (int64_t group = begin; group < end; group++) {
      std::vector<int64_t> first, lengths;
      for (int64_t i = group; i < rows; i += groups) {
        first.push_back(reverse ? at[order[i] + 1] - 1 : at[order[i]]);
        lengths.push_back(length(order[i]));
      }
      body(first, lengths);
    }
  });
}

// `weight` [4 width, width] as the kernels take it, or its transpose.
Tensor packed(const Tensor& weight, bool transposed) {
  const auto& kernels = lstm_kernels();
  const int64_t gates = weight.size(0), width = weight.size(1);
  if (transposed) {
    auto out = at::empty({kernels.packed_floats(width, gates)}, at::kFloat);
    kernels.pack(floats(weight), 1, width, width, gates, floats(out));
    return out;
  }
  auto out = at::empty({kernels.packed_floats(gates, width)}, at::kFloat);
  kernels.pack(floats(weight), width, 1, gates, width, floats(out));
  return out;
}

// The states before each token's own: zero where a row begins.
Tensor states_before(const Tensor& states, const Tensor& starts, bool reverse) {
  auto before = at::empty_like(states);
  const auto* at = static_cast<const int64_t*>(starts.data_ptr());
  const int64_t width = states.size(1);
  const float* from = floats(states);
  float* to = floats(before);
  for (int64_t row = 0; row + 1 < starts.numel(); row++) {
    const int64_t begin = at[row] * width, end = at[row + 1] * width;
    const int64_t blank = reverse ? end - width : begin;
    std::fill(to + blank, to + blank + width, 0.0f);
    if (reverse) {
      std::copy(from + begin + width, from + end, to + begin);
    } else {
      std::copy(from + begin, from + end - width, to + begin + width);
    }
  }
  return before;
}

struct LstmFunction : Function<LstmFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& weight_ih,
                        const Tensor& weight_hh, const Tensor& bias_ih, const Tensor& bias_hh,
                        const Tensor& starts, bool reverse) {
    const int64_t tokens = x.size(0), width = weight_hh.size(1);
    auto gates = at::addmm(bias_ih + bias_hh, x, weight_ih.t());
    auto cells = at::empty({tokens, width}, at::kFloat), states = at::empty_like(cells);
    auto weight = packed(weight_hh, true);
    over_groups(starts, reverse, [&](const auto& first, const auto& lengths) {
      lstm_kernels().lstm({first.data(), lengths.data(), (int64_t)first.size(),
                                reverse ? -1 : 1, width, floats(gates), floats(cells),
                                floats(states), floats(weight), nullptr});
    });
    ctx->save_for_backward({x, weight_ih, weight_hh});
    // Not the states themselves, which would keep their own graph alive.
    ctx->saved_data["tensors"] = std::vector<Tensor>{starts, gates, cells, states.detach()};
    ctx->saved_data["reverse"] = reverse;
    return states;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
    auto inputs = ctx->get_saved_variables();
    auto saved = ctx->saved_data["tensors"].toTensorVector();
    const bool reverse = ctx->saved_data["reverse"].toBool();
    auto &x = inputs[0], &weight_ih = inputs[1], &weight_hh = inputs[2];
    auto &starts = saved[0], &gates = saved[1], &cells = saved[2], &states = saved[3];
    auto dstates = grads[0].contiguous();
    auto weight = packed(weight_hh, false);
    over_groups(starts, reverse, [&](const auto& first, const auto& lengths) {
      lstm_kernels().lstm_backward({first.data(), lengths.data(), (int64_t)first.size(),
                                         reverse ? -1 : 1, states.size(1), floats(gates),
                                         floats(cells), nullptr, floats(weight), floats(dstates)});
    });
    variable_list out(7);
    if (ctx->needs_input_grad(0)) out[0] = at::mm(gates, weight_ih);
    if (ctx->needs_input_grad(1)) out[1] = at::mm(gates.t(), x);
    if (ctx->needs_input_grad(2)) {
      out[2] = at::mm(gates.t(), states_before(states, starts, reverse));
    }
    if (ctx->needs_input_grad(3) || ctx->needs_input_grad(4)) {
      auto sums = gates.sum(0);
      out[3] = sums;
      out[4] = sums.clone();
    }
    ctx->saved_data.clear();
    return out;
  }
};

void check_lstm(const Tensor& x, const Tensor* const* weights, const Tensor& starts) {
  TORCH_CHECK(x.dim() == 2, "an LSTM takes embeddings [tokens, in], not ", x.sizes());
  TORCH_CHECK(weights[1]->dim() == 2 && weights[1]->size(0) == 4 * weights[1]->size(1) &&
                  weights[1]->size(1) > 0,
              "the weights of the states are ", weights[1]->sizes(), ", not [4 width, width]");
  TORCH_CHECK(weights[0]->dim() == 2 && weights[0]->size(1) == x.size(1),
              "the weights of the input are ", weights[0]->sizes(), ", the embeddings ", x.sizes());
  const int64_t gates = weights[1]->size(0);
  check_dense(x, at::kFloat, x.numel(), "the embeddings");
  check_dense(*weights[0], at::kFloat, gates * x.size(1), "the weights of the input");
  check_dense(*weights[1], at::kFloat, weights[1]->numel(), "the weights of the states");
  check_dense(*weights[2], at::kFloat, gates, "the bias of the input");
  check_dense(*weights[3], at::kFloat, gates, "the bias of the states");
  check_starts(starts, x.size(0), std::numeric_limits<int64_t>::max());
}

}  // namespace
}  // namespace covalign

using namespace covalign;

extern "C" char* covalign_lstm(const Tensor* x, const Tensor* const* weights, const Tensor* starts,
                               bool reverse, Tensor** out) {
  return guarded([&] {
    c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
    auto rows = x->contiguous();
    check_lstm(rows, weights, *starts);
    *out = new Tensor(LstmFunction::apply(rows, *weights[0], *weights[1], *weights[2], *weights[3],
                                          *starts, reverse));
  });
}
