// See layer.h. Products go to libtorch's own library, one thread each.

#include "layer.h"

#include <ATen/CPUFunctions.h>

#include <algorithm>

using at::Tensor;

namespace covalign {
namespace {

// y = x Wᵀ.
void forward(Matrix x, Matrix weight, Matrix y) {
  Tensor out = y.tensor();
  at::cpu::mm_out(out, x.tensor(), weight.transposed());
}

// dx = dy W.
void backward(Matrix dy, Matrix weight, Matrix dx) {
  Tensor out = dx.tensor();
  at::cpu::mm_out(out, dy.tensor(), weight.tensor());
}

// dx += dy W.
void add_backward(Matrix dy, Matrix weight, Matrix dx) {
  Tensor out = dx.tensor();
  at::cpu::addmm_(out, dy.tensor(), weight.tensor(), 1, 1);
}

Attention<float> attention_of(const Layer& l, const Passed& p) {
  Attention<float> a{};
  a.qkv = p.qkv;
  a.bias = l.of(kQkvBias);
  a.starts = l.begins();
  a.heads = l.heads;
  a.depth = l.width / l.heads;
  a.longest = l.longest;
  a.first = l.first;
  a.lse = p.lse;
  a.context = p.context;
  a.dropout = l.dropouts[0];
  return a;
}

// Query, key and value of a part's tokens, without their bias; where only first tokens ask, of them alone
// the queries.
void queries_keys_values(const Layer& l, const Passed& p, const Part& part, float* spare) {
  const int64_t w = l.width;
  const float* x = p.x;
  if (!l.first) {
    return forward(slice(x, part.tokens, w), l.matrix(kQkv), slice(p.qkv, part.tokens, 3 * w));
  }
  Matrix keys = slice(p.qkv, part.tokens, 3 * w);
  keys.p += w;
  keys.columns = 2 * w;
  forward(slice(x, part.tokens, w), l.key_value(), keys);
  for (int64_t row = part.rows.begin; row < part.rows.end; row++) {
    std::copy_n(x + l.begins()[row] * w, w, p.first + row * w);
  }
  const Matrix queries{spare, part.rows.size(), w, w};
  forward(slice(p.first, part.rows, w), l.query(), queries);
  for (int64_t row = part.rows.begin; row < part.rows.end; row++) {
    std::copy_n(spare + (row - part.rows.begin) * w, w, p.qkv + l.begins()[row] * 3 * w);
  }
}

}  // namespace

void forward(const Layer& l, const Passed& p, const Part& part, float* spare) {
  const int64_t w = l.width, inner = l.inner;
  const Range asked = l.asked(part);
  const auto& kernels = float_kernels();
  queries_keys_values(l, p, part, p.hat1 + asked.begin * w);
  kernels.attention(attention_of(l, p), spare, part.rows.begin * l.heads, part.rows.end * l.heads);
  forward(slice(p.context, asked, w), l.matrix(kAttention), slice(p.hat1, asked, w));
  const float* residual = l.first ? p.first : p.x;
  kernels.add_norm({p.hat1, l.of(kAttentionBias), residual, l.of(kGamma1), l.of(kBeta1), p.y1, p.rstd1, w,
                    l.eps, l.dropouts[1]},
                   spare, asked.begin, asked.end);
  forward(slice(p.y1, asked, w), l.matrix(kWide), slice(p.slope, asked, inner));
  kernels.gelu(p.slope, l.of(kWideBias), p.wide, inner, asked.begin, asked.end);
  forward(slice(p.wide, asked, inner), l.matrix(kNarrow), slice(p.hat2, asked, w));
  kernels.add_norm({p.hat2, l.of(kNarrowBias), p.y1, l.of(kGamma2), l.of(kBeta2), p.y, p.rstd2, w, l.eps,
                    l.dropouts[2]},
                   spare, asked.begin, asked.end);
}

namespace {

// Back through a sum and its norm: `hat` becomes the gradient of what is dropped from, `residual` that of what is
// added.
struct SumBackward {
  const float* dy;
  float* hat;
  const float *rstd, *gamma;
  float *residual, *sums;
  Dropout dropout;

  void run(int64_t width, Range range, float* spare) const {
    const bool drops = dropout.p > 0;
    float* undropped = drops ? residual : hat;
    float_kernels().add_norm_backward({dy, hat, rstd, gamma, hat, undropped, width, dropout}, sums, spare,
                                      range.begin, range.end);
    const int64_t begin = range.begin * width;
    if (!drops) std::copy_n(hat + begin, range.size() * width, residual + begin);
  }
};

// dx of a part's tokens from the gradients of query, key and value and of what was added to attention's output,
// which lies in dx already, or of first tokens in `residual`.
void input_backward(const Layer& l, const Passed& p, const Gradients& g, const Part& part, float* residual) {
  const int64_t w = l.width;
  const Matrix dx = slice(g.dx, part.tokens, w), dqkv = slice(p.qkv, part.tokens, 3 * w);
  if (!l.first) return add_backward(dqkv, l.matrix(kQkv), dx);
  backward({dqkv.p + w, dqkv.rows, 2 * w, 3 * w}, l.key_value(), dx);
  add_backward(slice(g.queries, part.rows, w), l.query(), slice(residual, part.rows, w));
  for (int64_t row = part.rows.begin; row < part.rows.end; row++) {
    const float* from = residual + row * w;
    float* to = g.dx + l.begins()[row] * w;
    for (int64_t j = 0; j < w; j++) to[j] += from[j];
  }
}

}  // namespace

int64_t backward_floats(const Layer& l, const Part& part) {
  return Pieces::floats(l, part, 2 * l.width + l.inner, 3);
}

void backward(const Layer& l, const Passed& p, const Gradients& g, const Part& part, float* memory) {
  const int64_t w = l.width, inner = l.inner;
  const Range asked = l.asked(part);
  const auto& kernels = float_kernels();
  Pieces pieces(memory, l, part);
  float *dy1 = pieces.asked(w), *dwide = pieces.asked(inner), *first = pieces.asked(w);
  float *dcontext = dy1, *residual = l.first ? first : g.dx, *spare = pieces.rest();
  SumBackward{g.dy, p.hat2, p.rstd2, l.of(kGamma2), dy1, g.norm2, l.dropouts[2]}.run(w, asked, spare);
  backward(slice(p.hat2, asked, w), l.matrix(kNarrow), slice(dwide, asked, inner));
  kernels.gelu_backward(dwide, p.slope, g.wide_bias, inner, asked.begin, asked.end);
  add_backward(slice(p.slope, asked, inner), l.matrix(kWide), slice(dy1, asked, w));
  SumBackward{dy1, p.hat1, p.rstd1, l.of(kGamma1), residual, g.norm1, l.dropouts[1]}.run(w, asked, spare);
  backward(slice(p.hat1, asked, w), l.matrix(kAttention), slice(dcontext, asked, w));
  Attention<float> a = attention_of(l, p);
  a.dcontext = dcontext;
  a.dqkv = p.qkv;
  a.dbias = g.dbias;
  kernels.attention_backward(a, spare, part.rows.begin * l.heads, part.rows.end * l.heads);
  for (int64_t row = part.rows.begin; l.first && row < part.rows.end; row++) {
    std::copy_n(p.qkv + l.begins()[row] * 3 * w, w, g.queries + row * w);
  }
  if (g.goes_on) input_backward(l, p, g, part, residual);
}

void Outer::run() const {
  Tensor out = Matrix{dw, dy.columns, x.columns, x.columns}.tensor();
  at::cpu::mm_out(out, dy.transposed(), x.tensor());
}

}  // namespace covalign
