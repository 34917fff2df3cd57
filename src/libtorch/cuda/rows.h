// The operations of ../fused.cpp on CUDA; shapes and meaning are theirs.

#pragma once

#include <ATen/ATen.h>

#include "../kernels.h"

namespace covalign::cuda {

at::Tensor add_norm(const at::Tensor& x, const at::Tensor& bias, const at::Tensor& residual,
                    const at::Tensor& gamma, const at::Tensor& beta, double eps, Dropout dropout);

at::Tensor gelu(const at::Tensor& x, const at::Tensor& bias);

at::Tensor embed(const at::Tensor* const* tables, const at::Tensor* const* places,
                 const at::Tensor& gamma, const at::Tensor& beta, double eps, Dropout dropout,
                 at::ScalarType kind);

// `qkv` has its bias; what is dropped comes from libtorch's generator.
at::Tensor packed_attention(const at::Tensor& qkv, const at::Tensor& starts, int64_t longest,
                            int64_t heads, bool first, double p);

}  // namespace covalign::cuda
