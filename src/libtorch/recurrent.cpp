// An LSTM's layer over packed rows on the CPU, as an operation that autograd knows. The products
// with the input, and all gradients of weights, are one product over all tokens; the recurrence runs
// row by row in groups, one for each thread, which never wait for each other.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
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

// Packed rows, and which way they are read.
struct Rows {
  const int64_t* starts;
  bool backward;

  int64_t length(int64_t row) const { return starts[row + 1] - starts[row]; }
  // The token that a row's step reads.
  int64_t token(int64_t row, int64_t step) const {
    return backward ? starts[row + 1] - 1 - step : starts[row] + step;
  }
};

// Calls body(rows of a group, the longest first), the groups side by side. Rows are dealt to as many
// groups as there are threads, so that all have as much to do.
template <typename F>
void by_groups(const Rows& rows, int64_t count, F body) {
  std::vector<int64_t> order(count);
  for (int64_t i = 0; i < count; i++) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return rows.length(a) > rows.length(b);
  });
  const int64_t groups = std::min<int64_t>(at::get_num_threads(), count);
  at::parallel_for(0, groups, 1, [&](int64_t begin, int64_t end) {
    // Threads of the pool have a grad mode of their own; nothing here is to be recorded.
    at::AutoDispatchBelowADInplaceOrView guard;
    for (int64_t group = begin; group < end; group++) {
      std::vector<int64_t> own;
      for (int64_t i = group; i < count; i += groups) own.push_back(order[i]);
      body(own);
    }
  });
}

// How many of a group's rows have a step of this number.
int64_t alive(const Rows& rows, const std::vector<int64_t>& group, int64_t step) {
  const auto ended = [&](int64_t row) { return rows.length(row) > step; };
  return std::partition_point(group.begin(), group.end(), ended) - group.begin();
}

struct LstmFunction : Function<LstmFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& w_ih,
                        const Tensor& w_hh, const Tensor& b_ih, const Tensor& b_hh,
                        const Tensor& starts, bool backward) {
    const int64_t width = w_hh.size(1), count = starts.numel() - 1;
    const auto source = x.detach().contiguous(), across = w_hh.detach().t();
    auto gates = at::mm(source, w_ih.detach().t());
    auto cells = at::empty({x.size(0), width}, at::kFloat);
    auto output = at::empty({x.size(0), width}, at::kFloat);
    const auto bias = (b_ih.detach() + b_hh.detach()).contiguous();
    const Rows rows{static_cast<const int64_t*>(starts.data_ptr()), backward};
    const auto& kernels = lstm_kernels();
    by_groups(rows, count, [&](const std::vector<int64_t>& group) {
      const auto size = static_cast<int64_t>(group.size());
      auto states = at::empty({size, width}, at::kFloat);
      auto products = at::empty({size, 4 * width}, at::kFloat);
      for (int64_t step = 0; step < rows.length(group[0]); step++) {
        const int64_t n = alive(rows, group, step);
        if (step > 0) {
          auto out = products.narrow(0, 0, n);
          at::mm_out(out, states.narrow(0, 0, n), across);
        }
        for (int64_t i = 0; i < n; i++) {
          const int64_t token = rows.token(group[i], step);
          const float* before =
              step > 0 ? floats(cells) + rows.token(group[i], step - 1) * width : nullptr;
          kernels.step({floats(gates) + token * 4 * width,
                        step > 0 ? floats(products) + i * 4 * width : nullptr, floats(bias),
                        before, floats(cells) + token * width, floats(states) + i * width,
                        floats(output) + token * width},
                       width);
        }
      }
    });
    ctx->save_for_backward({source, w_ih, w_hh});
    // Not the output itself, which would keep its own graph alive.
    ctx->saved_data["output"] = output.detach();
    ctx->saved_data["gates"] = gates;
    ctx->saved_data["cells"] = cells;
    ctx->saved_data["starts"] = starts;
    ctx->saved_data["backward"] = backward;
    return output;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const auto &source = saved[0], &w_ih = saved[1], &w_hh = saved[2];
    const auto output = ctx->saved_data["output"].toTensor();
    const auto gates = ctx->saved_data["gates"].toTensor();
    const auto cells = ctx->saved_data["cells"].toTensor();
    const auto starts = ctx->saved_data["starts"].toTensor();
    const Rows rows{static_cast<const int64_t*>(starts.data_ptr()),
                    ctx->saved_data["backward"].toBool()};
    const auto doutput = grads[0].contiguous();
    const int64_t width = w_hh.size(1), count = starts.numel() - 1, tokens = source.size(0);
    auto dgates = at::empty({tokens, 4 * width}, at::kFloat);
    const auto across = w_hh.detach();
    const auto& kernels = lstm_kernels();
    by_groups(rows, count, [&](const std::vector<int64_t>& group) {
      const auto size = static_cast<int64_t>(group.size());
      auto dstates = at::zeros({size, width}, at::kFloat);
      auto dcells = at::zeros({size, width}, at::kFloat);
      auto dsums = at::empty({size, 4 * width}, at::kFloat);
      for (int64_t step = rows.length(group[0]) - 1; step >= 0; step--) {
        const int64_t n = alive(rows, group, step), after = alive(rows, group, step + 1);
        for (int64_t i = 0; i < n; i++) {
          const int64_t token = rows.token(group[i], step);
          const float* before =
              step > 0 ? floats(cells) + rows.token(group[i], step - 1) * width : nullptr;
          float* own = floats(dsums) + i * 4 * width;
          kernels.step_backward(
              {floats(gates) + token * 4 * width, before, floats(cells) + token * width,
               floats(doutput) + token * width, i < after ? floats(dstates) + i * width : nullptr,
               floats(dcells) + i * width, own},
              width);
          std::copy(own, own + 4 * width, floats(dgates) + token * 4 * width);
        }
        if (step > 0) {
          auto out = dstates.narrow(0, 0, n);
          at::mm_out(out, dsums.narrow(0, 0, n), across);
        }
      }
    });
    ctx->saved_data.clear();
    Tensor dx, dw_ih, dw_hh, db;
    if (ctx->needs_input_grad(0)) dx = at::mm(dgates, w_ih.detach());
    if (ctx->needs_input_grad(1)) dw_ih = at::mm(dgates.t(), source);
    if (ctx->needs_input_grad(2)) {
      // The state before each token, zero before a row's first.
      auto states = at::zeros({tokens, width}, at::kFloat);
      for (int64_t row = 0; row < count; row++) {
        const int64_t others = rows.length(row) - 1;
        const int64_t from = starts.data_ptr<int64_t>()[row] + (rows.backward ? 1 : 0);
        const int64_t to = starts.data_ptr<int64_t>()[row] + (rows.backward ? 0 : 1);
        std::copy(floats(output) + from * width, floats(output) + (from + others) * width,
                  floats(states) + to * width);
      }
      dw_hh = at::mm(dgates.t(), states);
    }
    if (ctx->needs_input_grad(3) || ctx->needs_input_grad(4)) db = dgates.sum(0);
    return {dx, dw_ih, dw_hh, db, db.defined() ? db.clone() : db, Tensor(), Tensor()};
  }
};

void check_lstm(const Tensor& x, const Tensor* const* weights, const Tensor& starts) {
  const int64_t width = weights[1]->dim() == 2 ? weights[1]->size(1) : 0;
  TORCH_CHECK(x.dim() == 2 && width > 0, "an LSTM takes rows of embeddings, not ", x.sizes());
  check_dense(x.contiguous(), at::kFloat, x.numel(), "the embeddings");
  check_dense(*weights[0], at::kFloat, 4 * width * x.size(1), "the weights of the input");
  TORCH_CHECK(weights[0]->dim() == 2 && weights[0]->size(1) == x.size(1),
              "the weights of the input are ", weights[0]->sizes(), ", the embeddings ", x.sizes());
  check_dense(*weights[1], at::kFloat, 4 * width * width, "the weights of the state");
  check_dense(*weights[2], at::kFloat, 4 * width, "the bias of the input");
  check_dense(*weights[3], at::kFloat, 4 * width, "the bias of the state");
  check_starts(starts, x.size(0), x.size(0));
}

}  // namespace
}  // namespace covalign

using namespace covalign;

extern "C" {

// `weights` are torch.nn.LSTM's of one layer and direction: weight_ih, weight_hh, bias_ih, bias_hh.
char* covalign_lstm(const Tensor* x, const Tensor* const* weights, const Tensor* starts,
                    bool backward, Tensor** out) {
  return guarded([&] {
    check_lstm(*x, weights, *starts);
    *out = new Tensor(LstmFunction::apply(*x, *weights[0], *weights[1], *weights[2], *weights[3],
                                          *starts, backward));
  });
}
}
