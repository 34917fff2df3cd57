// What tch 0.17 (made for libtorch 2.4) calls and libtorch 2.11 no longer declares.
//
// torch-sys compiles one C function per ATen operator. Three operators changed their parameter
// lists after 2.4, which breaks the compilation of the whole file although nothing here uses them.
// The overloads below have the old parameter lists and raise when called.
#pragma once
// The kernels (kernels.cpp) are compiled for several instruction sets and know nothing of libtorch.
#if defined(__cplusplus) && !defined(COVALIGN_ISA)
#if __has_include(<torch/types.h>)
#include <c10/util/Exception.h>
#include <torch/types.h>

namespace torch {

inline std::tuple<at::Tensor, at::Tensor, at::Tensor> _scaled_dot_product_cudnn_attention_backward(
    const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&,
    const at::Tensor&, const at::Tensor&, const at::Tensor&, int64_t, int64_t, double, bool,
    const at::Tensor&, const at::Tensor&, std::optional<double>) {
  TORCH_CHECK(false, "_scaled_dot_product_cudnn_attention_backward has another signature since 2.4");
}

inline std::tuple<at::Tensor, at::Tensor> _scaled_mm(
    const at::Tensor&, const at::Tensor&, const at::Tensor&, std::optional<at::ScalarType>,
    const at::Tensor&, const at::Tensor&, const at::Tensor&, bool) {
  TORCH_CHECK(false, "_scaled_mm has another signature since 2.4");
}

inline std::tuple<at::Tensor&, at::Tensor&> _scaled_mm_out(
    at::Tensor&, at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&,
    std::optional<at::ScalarType>, const at::Tensor&, const at::Tensor&, const at::Tensor&, bool) {
  TORCH_CHECK(false, "_scaled_mm_out has another signature since 2.4");
}

}  // namespace torch

// torch-sys says which strings libtorch has; other packages' C++ needs no libtorch.
#elif defined(_GLIBCXX_USE_CXX11_ABI)
#error "libtorch is not there: type `make setup`, or set LIBTORCH=/path/to/libtorch"
#endif
#endif
