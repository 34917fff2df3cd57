// What the kernels take for granted of their tensors, checked where these come in: a kernel reads
// and writes where it is told. Costs nothing beside the work on a row.

#pragma once

#include <ATen/ATen.h>

namespace covalign {

// `count` numbers of a kind, one after the other.
inline void check_dense(const at::Tensor& x, at::ScalarType kind, int64_t count, const char* what,
                        const at::Device& device = at::kCPU) {
  TORCH_CHECK(x.device() == device && x.is_contiguous() && x.scalar_type() == kind &&
                  x.numel() == count,
              what, " must be ", count, " numbers of ", kind, " in one piece on ",
              device.is_cpu() ? "the CPU" : device.str(), ", not ", x.sizes(), " of ",
              x.scalar_type());
}

// `places` are rows of a table of `size` rows.
inline void check_places(const at::Tensor& places, int64_t count, int64_t size, const char* what) {
  check_dense(places, at::kLong, count, what);
  const auto* at = static_cast<const int64_t*>(places.data_ptr());
  for (int64_t i = 0; i < count; i++) {
    TORCH_CHECK(at[i] >= 0 && at[i] < size, what, " number ", i, " is ", at[i],
                ", but their table has the rows 0 to ", size - 1);
  }
}

// `starts` cut `tokens` tokens into rows of 1 to `longest`.
inline void check_starts(const at::Tensor& starts, int64_t tokens, int64_t longest) {
  check_dense(starts, at::kLong, starts.numel(), "the rows' starts");
  const auto* at = static_cast<const int64_t*>(starts.data_ptr());
  const int64_t rows = starts.numel() - 1;
  TORCH_CHECK(rows >= 0 && at[0] == 0 && at[rows] == tokens, "the rows' starts do not cover the ",
              tokens, " tokens");
  for (int64_t i = 0; i < rows; i++) {
    const int64_t length = at[i + 1] - at[i];
    TORCH_CHECK(length >= 1 && length <= longest, "row ", i, " has ", length,
                " tokens; it must have 1 to ", longest);
  }
}

}  // namespace covalign
