// See convolution_kernels.h. Compiled with COVALIGN_ISA as the name of the instruction set.

#include "convolution_kernels.h"

#include <cmath>

#include "vectors.h"

namespace covalign {
namespace {

void largest(const Windows& w, const float* answers, float* best, int32_t* at, int64_t begin,
             int64_t end) {
  const int64_t token = w.window * w.filters;
  for (int64_t row = begin; row < end; row++) {
    const float* source = answers + w.starts[row] * token;
    const int64_t count = w.count(row), places = w.tokens(row);
    for (int64_t j = 0; j < w.filters; j += kLanes) {
      const int64_t n = w.filters - j;
      vf top = splat(-INFINITY);
      vi where = {};
      for (int64_t i = 0; i < count; i++) {
        vf sum = {};
        for (int64_t k = 0; k < places; k++) {
          sum += load(source + (i + k) * token + k * w.filters + j, n);
        }
        const vi larger = (vi)(sum > top) | (vi)(sum != sum);
        top = (vf)(((vi)top & ~larger) | ((vi)sum & larger));
        where = (where & ~larger) | (((vi){} + (int32_t)i) & larger);
      }
      store(best + row * w.filters + j, top, n);
      store((float*)at + row * w.filters + j, (vf)where, n);
    }
  }
}

INLINE void add_scaled(float* y, const float* x, float scale, int64_t count) {
  for (int64_t j = 0; j < count; j += kLanes) {
    store(y + j, load(y + j, count - j) + load(x + j, count - j) * scale, count - j);
  }
}

void input_gradient(const Windows& w, const float* dbest, const int32_t* at, const float* weight,
                    float* dx, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; row++) {
    const int64_t places = w.tokens(row);
    for (int64_t f = 0; f < w.filters; f++) {
      const float gradient = dbest[row * w.filters + f];
      if (gradient == 0) continue;
      float* to = dx + (w.starts[row] + at[row * w.filters + f]) * w.input;
      for (int64_t k = 0; k < places; k++) {
        const float* from = weight + (k * w.filters + f) * w.input;
        add_scaled(to + k * w.input, from, gradient, w.input);
      }
    }
  }
}

void weight_gradient(const Windows& w, const float* dbest, const int32_t* at, const float* x,
                     int64_t rows, float* dweight, int64_t begin, int64_t end) {
  for (int64_t f = begin; f < end; f++) {
    for (int64_t row = 0; row < rows; row++) {
      const float gradient = dbest[row * w.filters + f];
      if (gradient == 0) continue;
      const float* from = x + (w.starts[row] + at[row * w.filters + f]) * w.input;
      const int64_t places = w.tokens(row);
      for (int64_t k = 0; k < places; k++) {
        float* to = dweight + (k * w.filters + f) * w.input;
        add_scaled(to, from + k * w.input, gradient, w.input);
      }
    }
  }
}

}  // namespace

#define JOIN(a, b) a##b
#define NAME(a, b) JOIN(a, b)
extern const ConvolutionKernels NAME(convolution_kernels_, COVALIGN_ISA);
constexpr ConvolutionKernels NAME(convolution_kernels_, COVALIGN_ISA) = {largest, input_gradient,
                                                                         weight_gradient};

}  // namespace covalign
