// Products of matrices on a CPU, by the library that is taken for them.

#pragma once

#include <ATen/ATen.h>

namespace covalign {

// Whether oneDNN multiplies: float32 then, and bfloat16 as it is. Where it does not, MKL (or another BLAS) does, which
// knows float32 alone.
bool takes_onednn();

// out = a b, or out + a b, in float32 or, where oneDNN multiplies, in bfloat16. Each lies row by row or column by column.
void multiply(const at::Tensor& a, const at::Tensor& b, at::Tensor& out, bool add);

}  // namespace covalign
