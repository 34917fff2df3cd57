// The passes of ../fused.cpp on CUDA, without autograd; shapes and meaning are theirs. Outputs are given
// by the caller; sums over rows come back.

#pragma once

#include <ATen/ATen.h>

#include "../kernels.h"

namespace covalign::cuda {

void add_norm(const at::Tensor& x, const at::Tensor& bias, const at::Tensor& residual,
              const at::Tensor& gamma, const at::Tensor& beta, const at::Tensor& y,
              const at::Tensor& rstd, double eps, Dropout dropout);

// `xhat` becomes the residual's gradient; `dx` may be `xhat` where nothing is dropped. The gradients of
// gamma, beta and the bias, [3 * width].
at::Tensor add_norm_backward(const at::Tensor& dy, const at::Tensor& xhat, const at::Tensor& rstd,
                             const at::Tensor& gamma, const at::Tensor& dx, Dropout dropout);

// `tables` are words, positions, segments; `places` the row of each for every token.
void embed(const at::Tensor* const* tables, const at::Tensor* const* places,
           const at::Tensor& gamma, const at::Tensor& beta, const at::Tensor& xhat,
           const at::Tensor& y, const at::Tensor& rstd, double eps, Dropout dropout);

// `ds` takes the gradient of the sum of the three. Those of gamma and beta, [2 * width].
at::Tensor embed_backward(const at::Tensor& dy, const at::Tensor& xhat, const at::Tensor& rstd,
                          const at::Tensor& gamma, const at::Tensor& ds, Dropout dropout);

void gelu(const at::Tensor& x, const at::Tensor& bias, const at::Tensor& y);

// `slope` becomes the gradient of x. That of the bias, [width].
at::Tensor gelu_backward(const at::Tensor& dy, const at::Tensor& slope);

// An operation that autograd knows by libtorch's own. `qkv` has its bias; what is dropped comes from
// libtorch's generator.
at::Tensor packed_attention(const at::Tensor& qkv, const at::Tensor& starts, int64_t longest,
                            int64_t heads, bool first, double p);

}  // namespace covalign::cuda
