// A layer of an encoder over packed rows, in float32 or bfloat16 on a CPU: what a thread computes of some rows,
// forward and back. layers.cpp shares the rows out.

#pragma once

#include <ATen/ATen.h>

#include <array>
#include <vector>

#include "by_type.h"
#include "kernels.h"
#include "parts.h"
#include "scratch.h"

namespace covalign {

// A matrix in memory, [rows, columns], `stride` from one row to the next.
template <typename T>
struct Matrix {
  const T* p;
  int64_t rows, columns, stride;
  // Where a product is written to.
  T* data() const { return const_cast<T*>(p); }
  at::Tensor tensor() const { return at::from_blob(data(), {rows, columns}, {stride, 1}, kind_of<T>); }
  at::Tensor transposed() const { return at::from_blob(data(), {columns, rows}, {1, stride}, kind_of<T>); }
};

template <typename T>
Matrix<T> slice(const T* array, Range range, int64_t width) {
  return {array + range.begin * width, range.size(), width, width};
}

enum Weight { kQkv, kQkvBias, kAttention, kAttentionBias, kGamma1, kBeta1, kWide, kWideBias, kNarrow,
              kNarrowBias, kGamma2, kBeta2, kWeights };
constexpr Weight kMatrices[] = {kQkv, kAttention, kWide, kNarrow};

// Some rows of a weight's matrix.
template <typename T>
struct Factor {
  Matrix<T> own;
  // The same in float32, or null where products are taken in T.
  Matrix<float> widened;
};

template <typename T>
struct Layer {
  // Matrices in T, all else in float32.
  std::array<at::Tensor, kWeights> weights;
  // The matrices in float32, where what is in bfloat16 is multiplied in it.
  std::array<at::Tensor, kWeights> widened;
  at::Tensor starts;
  int64_t width, inner, heads, longest;
  bool first;  // of each row only its first token is computed
  float eps;
  Dropout dropouts[3];  // attention's, and what comes after it and after the layer's other half

  const float* of(Weight weight) const { return weights[weight].template const_data_ptr<float>(); }
  Factor<T> matrix(Weight weight) const { return matrix(weight, {0, weights[weight].size(0)}); }
  Factor<T> matrix(Weight weight, Range rows) const {
    const at::Tensor &w = weights[weight], &wide = widened[weight];
    const int64_t columns = w.size(1);
    Factor<T> factor{slice(static_cast<const T*>(w.const_data_ptr()), rows, columns), {}};
    if (wide.defined()) factor.widened = slice(wide.template const_data_ptr<float>(), rows, columns);
    return factor;
  }
  // Query's, and key's and value's rows of the joined matrix.
  Factor<T> query() const { return matrix(kQkv, {0, width}); }
  Factor<T> key_value() const { return matrix(kQkv, {width, 3 * width}); }
  const int64_t* begins() const { return starts.template const_data_ptr<int64_t>(); }
  int64_t rows() const { return starts.numel() - 1; }
  int64_t tokens() const { return begins()[rows()]; }
  // Tokens that are computed whole.
  int64_t asked() const { return first ? rows() : tokens(); }
  const Span& asked(const Part& part) const { return first ? part.rows : part.tokens; }
  // Floats that a kernel wants of a thread.
  int64_t spare() const {
    return std::max(kernels_of<T>().attention_scratch(longest, width / heads), width);
  }
};

// A layer's arrays, each of which begins at the first token, or at the first of those that are computed whole.
template <typename T>
struct Passed {
  const T* x;  // [tokens, width]
  T* y;        // [asked, width]; may be x where all are asked
  // What the pass back reads of the one forward. It leaves gradients there: of query, key and value in `qkv`, of
  // what the two sums drop from in `hat1` and `hat2`, of the wide product in `slope`.
  T *qkv, *first;
  float* lse;
  T *context, *hat1;
  float* rstd1;
  T *y1, *slope, *wide, *hat2;
  float* rstd2;
};

// Lays all but x and y out: `place` gives memory for so many numbers of a type of each token.
template <typename T, typename Place>
Passed<T> laid_out(const Layer<T>& l, Place& place) {
  Passed<T> p{};
  p.qkv = place.template all<T>(3 * l.width);
  p.first = l.first ? place.template asked<T>(l.width) : nullptr;
  p.lse = place.template asked<float>(l.heads);
  p.context = place.template asked<T>(l.width);
  p.hat1 = place.template asked<T>(l.width);
  p.rstd1 = place.template asked<float>(1);
  p.y1 = place.template asked<T>(l.width);
  p.slope = place.template asked<T>(l.inner);
  p.wide = place.template asked<T>(l.inner);
  p.hat2 = place.template asked<T>(l.width);
  p.rstd2 = place.template asked<float>(1);
  return p;
}

// Gives memory of a thread piece by piece; the arrays in it begin at a part's first token.
class Pieces {
 public:
  template <typename T>
  Pieces(float* memory, const Layer<T>& l, const Part& part)
      : tokens_(part.tokens), asked_(l.asked(part)), next_(memory) {}
  // For so many pieces, of so many numbers of a token together, and for a kernel.
  template <typename T>
  static int64_t floats(const Layer<T>& l, const Part& part, int64_t numbers, int64_t pieces) {
    return part.tokens.room * numbers + 16 * pieces + l.spare();
  }
  template <typename E>
  E* all(int64_t width) {
    return piece<E>(tokens_, width);
  }
  template <typename E>
  E* asked(int64_t width) {
    return piece<E>(asked_, width);
  }
  // What is left.
  float* rest() const { return next_; }

 private:
  template <typename E>
  E* piece(const Span& span, int64_t width) {
    E* begin = reinterpret_cast<E*>(next_);
    next_ += lines(span.room * width * sizeof(E) / sizeof(float) + 1);
    return begin - span.range.begin * width;
  }
  Span tokens_, asked_;
  float* next_;
};

// y of a part from x. `spare` is memory for a kernel. Products write to the gaps behind the part, too.
template <typename T>
void forward(const Layer<T>&, const Passed<T>&, const Part&, float* spare);

// Gradients on the way back, each from its first token on.
template <typename T>
struct Gradients {
  const T* dy;     // [asked, width]
  T* dx;           // [tokens, width]; may be dy where all are asked
  bool goes_on;    // whether anybody reads dx
  T* queries;      // [rows, width], where only first tokens ask
  float* dbias;    // of query, key and value, [rows, 3 width]
  // This part's, added to: gamma, beta and the bias before them; the wide product's bias.
  float *norm2, *norm1, *wide_bias;
};

// Floats of a part that `backward` wants.
template <typename T>
int64_t backward_floats(const Layer<T>& l, const Part& part) {
  return Pieces::floats(l, part, 2 * l.width + l.inner, 3);
}

// dx of a part from dy. `memory` is of `backward_floats`.
template <typename T>
void backward(const Layer<T>&, const Passed<T>&, const Gradients<T>&, const Part&, float* memory);

// dW = dyᵀ x, all or some rows of it.
template <typename T>
struct Outer {
  Matrix<T> dy, x;
  T* dw;
  // Whether factors are multiplied in float32, whatever they are in.
  bool widens;
  void run() const;
  Outer some(Range range) const {
    return {{dy.p + range.begin, dy.rows, range.size(), dy.stride}, x, dw + range.begin * x.columns, widens};
  }
};

// The products that the gradients of a layer's matrices are, once all parts have come back. `made` gives the memory
// for that of a weight, or null where nobody asks for it.
template <typename T, typename Made>
void add_outer(const Layer<T>& l, const Passed<T>& p, const Parts& parts, const T* queries, Made made,
               std::vector<Outer<T>>* products) {
  const int64_t w = l.width;
  const Range all{0, parts.tokens}, asked{0, l.first ? parts.rows : parts.tokens};
  const auto add = [&](Weight weight, Matrix<T> dy, Matrix<T> x, int64_t from = 0) {
    T* dw = made(weight);
    if (dw) products->push_back({dy, x, dw + from * w, l.widened[weight].defined()});
  };
  add(kNarrow, slice(p.hat2, asked, w), slice(p.wide, asked, l.inner));
  add(kWide, slice(p.slope, asked, l.inner), slice(p.y1, asked, w));
  add(kAttention, slice(p.hat1, asked, w), slice(p.context, asked, w));
  const Matrix<T> x = slice(p.x, all, w);
  if (!l.first) return add(kQkv, slice(p.qkv, all, 3 * w), x);
  add(kQkv, {p.qkv + w, all.size(), 2 * w, 3 * w}, x, w);
  add(kQkv, slice(queries, asked, w), slice<T>(p.first, asked, w));
}

}  // namespace covalign
