// From a tensor to the type that the kernels take its numbers as, and back.

#pragma once

#include <ATen/ATen.h>

#include "kernels.h"

namespace covalign {

// Calls `body` with a value of the type that the tensor holds.
template <typename F>
auto by_type(const at::Tensor& x, F body) {
  if (x.scalar_type() == at::kBFloat16) return body(bf16{});
  TORCH_CHECK(x.scalar_type() == at::kFloat, "the fused operations take fp32 and bf16");
  return body(0.0f);
}

template <typename T>
constexpr at::ScalarType kind_of = at::kFloat;
template <>
constexpr at::ScalarType kind_of<bf16> = at::kBFloat16;

template <typename T>
T* data(const at::Tensor& x) {
  return static_cast<T*>(x.data_ptr());
}

}  // namespace covalign
