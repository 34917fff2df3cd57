// A layer of an encoder over packed rows, in float32 on a CPU: what a thread computes of some rows, forward and
// back. layers.cpp shares the rows out.

#pragma once

#include <ATen/ATen.h>

#include <array>
#include <vector>

#include "kernels.h"
#include "parts.h"
#include "scratch.h"

namespace covalign {

// A matrix in memory, [rows, columns], `stride` from one row to the next.
struct Matrix {
  const float* p;
  int64_t rows, columns, stride;
  at::Tensor tensor() const {
    return at::from_blob(const_cast<float*>(p), {rows, columns}, {stride, 1}, at::kFloat);
  }
  at::Tensor transposed() const {
    return at::from_blob(const_cast<float*>(p), {columns, rows}, {1, stride}, at::kFloat);
  }
};

inline Matrix slice(const float* array, Range range, int64_t width) {
  return {array + range.begin * width, range.size(), width, width};
}

enum Weight { kQkv, kQkvBias, kAttention, kAttentionBias, kGamma1, kBeta1, kWide, kWideBias, kNarrow,
              kNarrowBias, kGamma2, kBeta2, kWeights };

struct Layer {
  std::array<at::Tensor, kWeights> weights;
  at::Tensor starts;
  int64_t width, inner, heads, longest;
  bool first;  // of each row only its first token is computed
  float eps;
  Dropout dropouts[3];  // attention's, and what comes after it and after the layer's other half

  const float* of(Weight weight) const { return weights[weight].const_data_ptr<float>(); }
  Matrix matrix(Weight weight) const {
    const at::Tensor& w = weights[weight];
    return {of(weight), w.size(0), w.size(1), w.size(1)};
  }
  // Query's, and key's and value's rows of the joined matrix.
  Matrix query() const { return {of(kQkv), width, width, width}; }
  Matrix key_value() const { return {of(kQkv) + width * width, 2 * width, width, width}; }
  const int64_t* begins() const { return starts.const_data_ptr<int64_t>(); }
  int64_t rows() const { return starts.numel() - 1; }
  int64_t tokens() const { return begins()[rows()]; }
  // Tokens that are computed whole.
  int64_t asked() const { return first ? rows() : tokens(); }
  Range asked(const Part& part) const { return first ? part.rows : part.tokens; }
  // Floats that a kernel wants of a thread.
  int64_t spare() const {
    return std::max(float_kernels().attention_scratch(longest, width / heads), width);
  }
};

// A layer's arrays, each of which begins at the first token, or at the first of those that are computed whole.
struct Passed {
  const float* x;  // [tokens, width]
  float* y;        // [asked, width]; may be x where all are asked
  // What the pass back reads of the one forward. It leaves gradients there: of query, key and value in `qkv`, of
  // what the two sums drop from in `hat1` and `hat2`, of the wide product in `slope`.
  float *qkv, *first, *lse, *context, *hat1, *rstd1, *y1, *slope, *wide, *hat2, *rstd2;
};

// Lays all but x and y out: `all` and `asked` give memory for so many floats of each token.
template <typename All, typename Asked>
Passed laid_out(const Layer& l, All all, Asked asked) {
  Passed p{};
  p.qkv = all(3 * l.width);
  p.first = l.first ? asked(l.width) : nullptr;
  p.lse = asked(l.heads);
  p.context = asked(l.width);
  p.hat1 = asked(l.width);
  p.rstd1 = asked(1);
  p.y1 = asked(l.width);
  p.slope = asked(l.inner);
  p.wide = asked(l.inner);
  p.hat2 = asked(l.width);
  p.rstd2 = asked(1);
  return p;
}

// Gives memory of a thread piece by piece; the arrays in it begin at a part's first token.
class Pieces {
 public:
  Pieces(float* memory, const Layer& l, const Part& part)
      : tokens_(part.tokens), asked_(l.asked(part)), next_(memory) {}
  // For so many pieces, of so many floats of a token together, and for a kernel.
  static int64_t floats(const Layer& l, const Part& part, int64_t floats_per_token, int64_t pieces) {
    return part.tokens.size() * floats_per_token + 16 * pieces + l.spare();
  }
  float* all(int64_t width) { return piece(tokens_, width); }
  float* asked(int64_t width) { return piece(asked_, width); }
  // What is left.
  float* rest() const { return next_; }

 private:
  float* piece(Range range, int64_t width) {
    float* begin = next_;
    next_ += lines(range.size() * width);
    return begin - range.begin * width;
  }
  Range tokens_, asked_;
  float* next_;
};

// y of a part from x. `spare` is memory for a kernel.
void forward(const Layer&, const Passed&, const Part&, float* spare);

// Gradients on the way back, each from its first token on.
struct Gradients {
  const float* dy;  // [asked, width]
  float* dx;        // [tokens, width]; may be dy where all are asked
  bool goes_on;     // whether anybody reads dx
  float* queries;   // [rows, width], where only first tokens ask
  float* dbias;     // of query, key and value, [rows, 3 width]
  // This part's, added to: gamma, beta and the bias before them; the wide product's bias.
  float *norm2, *norm1, *wide_bias;
};

// Floats of a part that `backward` wants.
int64_t backward_floats(const Layer&, const Part&);

// dx of a part from dy. `memory` is of `backward_floats`.
void backward(const Layer&, const Passed&, const Gradients&, const Part&, float* memory);

// dW = dyᵀ x, all or some rows of it.
struct Outer {
  Matrix dy, x;
  float* dw;
  void run() const;
  Outer some(Range range) const {
    return {{dy.p + range.begin, dy.rows, range.size(), dy.stride}, x, dw + range.begin * x.columns};
  }
};

// The products that the gradients of a layer's matrices are, once all parts have come back. `made` gives the memory
// for that of a weight, or null where nobody asks for it.
template <typename Made>
void add_outer(const Layer& l, const Passed& p, const float* queries, Made made, std::vector<Outer>* products) {
  const int64_t w = l.width;
  const Range all{0, l.tokens()}, asked{0, l.asked()};
  const auto add = [&](Weight weight, Matrix dy, Matrix x) {
    if (float* dw = made(weight)) products->push_back({dy, x, dw});
  };
  add(kNarrow, slice(p.hat2, asked, w), slice(p.wide, asked, l.inner));
  add(kWide, slice(p.slope, asked, l.inner), slice(p.y1, asked, w));
  add(kAttention, slice(p.hat1, asked, w), slice(p.context, asked, w));
  const Matrix x = slice(p.x, all, w);
  if (!l.first) return add(kQkv, slice(p.qkv, all, 3 * w), x);
  if (float* dw = made(kQkv)) {
    products->push_back({{p.qkv + w, all.size(), 2 * w, 3 * w}, x, dw + w * w});
    products->push_back({slice(queries, asked, w), slice(p.first, asked, w), dw});
  }
}

}  // namespace covalign
