// A convolution over text and its pooling (Kim 2014), and pooling alone, over packed rows on the CPU,
// as operations that autograd knows. What each token gives at each place of a window is one product
// over all tokens; backwards only each filter's largest window counts.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <limits>

#include "checks.h"
#include "convolution_kernels.h"
#include "guard.h"

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

namespace covalign {
namespace {

float* floats(const Tensor& x) { return static_cast<float*>(x.data_ptr()); }
int32_t* places(const Tensor& x) { return static_cast<int32_t*>(x.data_ptr()); }
const int64_t* row_starts(const Tensor& x) { return static_cast<int64_t*>(x.data_ptr()); }

// Each filter's largest window of each row [rows, filters], and which it is.
std::pair<Tensor, Tensor> largest(const Windows& windows, int64_t rows, const Tensor& answers) {
  auto best = at::empty({rows, windows.filters}, at::kFloat);
  auto at = at::empty({rows, windows.filters}, at::kInt);
  at::parallel_for(0, rows, 4, [&](int64_t begin, int64_t end) {
    convolution_kernels().largest(windows, floats(answers), floats(best), places(at), begin, end);
  });
  return {best, at};
}

struct ConvMaxFunction : Function<ConvMaxFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& weight,
                        const Tensor& bias, const Tensor& starts) {
    const int64_t filters = weight.size(0), input = weight.size(1), window = weight.size(2);
    auto by_place = weight.permute({2, 0, 1}).contiguous();
    auto answers = at::mm(x, by_place.view({window * filters, input}).t());
    auto [best, at] =
        largest({row_starts(starts), window, filters, input}, starts.numel() - 1, answers);
    auto out = best.add_(bias).relu_();
    ctx->save_for_backward({x});
    // Not the output itself, which would keep its own graph alive.
    ctx->saved_data["tensors"] = std::vector<Tensor>{by_place, starts, at, out.detach()};
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
    auto x = ctx->get_saved_variables()[0];
    auto saved = ctx->saved_data["tensors"].toTensorVector();
    auto &weight = saved[0], &starts = saved[1], &at = saved[2];
    // What ReLU has let through.
    auto dbest = at::where(saved[3] > 0, grads[0], at::zeros({}, at::kFloat)).contiguous();
    const int64_t rows = starts.numel() - 1, filters = weight.size(1);
    const Windows windows{row_starts(starts), weight.size(0), filters, weight.size(2)};
    const auto& kernels = convolution_kernels();
    Tensor dx, dweight, dbias;
    if (ctx->needs_input_grad(0)) {
      dx = at::zeros_like(x);
      at::parallel_for(0, rows, 1, [&](int64_t begin, int64_t end) {
        kernels.input_gradient(windows, floats(dbest), places(at), floats(weight), floats(dx), begin,
                               end);
      });
    }
    if (ctx->needs_input_grad(1)) {
      auto by_place = at::zeros_like(weight);
      at::parallel_for(0, filters, 1, [&](int64_t begin, int64_t end) {
        kernels.weight_gradient(windows, floats(dbest), places(at), floats(x), rows,
                                floats(by_place), begin, end);
      });
      dweight = by_place.permute({1, 2, 0}).contiguous();
    }
    if (ctx->needs_input_grad(2)) dbias = dbest.sum(0);
    return {dx, dweight, dbias, Tensor()};
  }
};

struct RowMaxFunction : Function<RowMaxFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& starts) {
    // A window of one token whose answers are the token.
    auto [best, at] = largest({row_starts(starts), 1, x.size(1), 0}, starts.numel() - 1, x);
    ctx->saved_data["tensors"] = std::vector<Tensor>{starts, at};
    return best;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto saved = ctx->saved_data["tensors"].toTensorVector();
    const int64_t* starts = row_starts(saved[0]);
    const int32_t* at = places(saved[1]);
    const int64_t rows = saved[1].size(0), width = saved[1].size(1);
    auto dbest = grads[0].contiguous();
    auto dx = at::zeros({starts[rows], width}, at::kFloat);
    const float* from = floats(dbest);
    float* to = floats(dx);
    for (int64_t row = 0; row < rows; row++) {
      for (int64_t j = 0; j < width; j++) {
        to[(starts[row] + at[row * width + j]) * width + j] = from[row * width + j];
      }
    }
    return {dx, Tensor()};
  }
};

struct RowMeanFunction : Function<RowMeanFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& starts) {
    const int64_t rows = starts.numel() - 1, width = x.size(1);
    const int64_t* at = row_starts(starts);
    auto mean = at::zeros({rows, width}, at::kFloat);
    for (int64_t row = 0; row < rows; row++) {
      float* to = floats(mean) + row * width;
      for (int64_t token = at[row]; token < at[row + 1]; token++) {
        const float* from = floats(x) + token * width;
        for (int64_t j = 0; j < width; j++) to[j] += from[j];
      }
      const float share = 1.0f / static_cast<float>(at[row + 1] - at[row]);
      for (int64_t j = 0; j < width; j++) to[j] *= share;
    }
    ctx->saved_data["starts"] = starts;
    return mean;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto starts = ctx->saved_data["starts"].toTensor();
    auto dmean = grads[0].contiguous();
    const int64_t rows = dmean.size(0), width = dmean.size(1);
    const int64_t* at = row_starts(starts);
    auto dx = at::empty({at[rows], width}, at::kFloat);
    for (int64_t row = 0; row < rows; row++) {
      const float* from = floats(dmean) + row * width;
      const float share = 1.0f / static_cast<float>(at[row + 1] - at[row]);
      for (int64_t token = at[row]; token < at[row + 1]; token++) {
        float* to = floats(dx) + token * width;
        for (int64_t j = 0; j < width; j++) to[j] = from[j] * share;
      }
    }
    return {dx, Tensor()};
  }
};

void check_rows(const Tensor& x, const Tensor& starts) {
  TORCH_CHECK(x.dim() == 2, "packed rows are [tokens, width], not ", x.sizes());
  check_dense(x, at::kFloat, x.numel(), "packed rows");
  check_starts(starts, x.size(0), std::numeric_limits<int32_t>::max());
}

}  // namespace
}  // namespace covalign

using namespace covalign;

extern "C" {

char* covalign_conv_max(const Tensor* x, const Tensor* starts, const Tensor* weight,
                        const Tensor* bias, Tensor** out) {
  return guarded([&] {
    c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
    auto rows = x->contiguous();
    check_rows(rows, *starts);
    TORCH_CHECK(weight->dim() == 3 && weight->size(1) == rows.size(1) && weight->size(2) > 0,
                "the filters are ", weight->sizes(), ", not [filters, ", rows.size(1),
                ", window]");
    check_dense(*weight, at::kFloat, weight->numel(), "the filters");
    check_dense(*bias, at::kFloat, weight->size(0), "the filters' bias");
    *out = new Tensor(ConvMaxFunction::apply(rows, *weight, *bias, *starts));
  });
}

char* covalign_row_max(const Tensor* x, const Tensor* starts, Tensor** out) {
  return guarded([&] {
    auto rows = x->contiguous();
    check_rows(rows, *starts);
    *out = new Tensor(RowMaxFunction::apply(rows, *starts));
  });
}

char* covalign_row_mean(const Tensor* x, const Tensor* starts, Tensor** out) {
  return guarded([&] {
    auto rows = x->contiguous();
    check_rows(rows, *starts);
    *out = new Tensor(RowMeanFunction::apply(rows, *starts));
  });
}
}
