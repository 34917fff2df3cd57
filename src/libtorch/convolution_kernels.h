// What is left of a convolution over text besides its product, as kernels.h's: compiled once for each
// instruction set.

#pragma once

#include <cstdint>

namespace covalign {

// Filters over packed rows. A window is as many tokens as `window`, or a row that is shorter.
struct Windows {
  const int64_t* starts;  // [rows + 1]
  int64_t window, filters, input;

  int64_t length(int64_t row) const { return starts[row + 1] - starts[row]; }
  // Windows of a row.
  int64_t count(int64_t row) const { return length(row) > window ? length(row) - window + 1 : 1; }
  // Tokens in one.
  int64_t tokens(int64_t row) const { return length(row) < window ? length(row) : window; }
};

struct ConvolutionKernels {
  // The largest sum over a window's tokens, `answers` [tokens, window, filters] being what each token
  // gives at each place of a window: `best` [rows, filters], and which window it was, the first
  // of equals, `at` [rows, filters]. NaN is larger than everything.
  void (*largest)(const Windows&, const float* answers, float* best, int32_t* at, int64_t begin,
                  int64_t end);
  // The gradient `dx` [tokens, input], zero so far, of the rows [begin, end) from `dbest`;
  // `weight` is [window, filters, input].
  void (*input_gradient)(const Windows&, const float* dbest, const int32_t* at, const float* weight,
                         float* dx, int64_t begin, int64_t end);
  // The gradient `dweight`, zero so far, of the filters [begin, end) from `rows` rows.
  void (*weight_gradient)(const Windows&, const float* dbest, const int32_t* at, const float* x,
                          int64_t rows, float* dweight, int64_t begin, int64_t end);
};

// The best for this machine.
const ConvolutionKernels& convolution_kernels();

}  // namespace covalign
