// See layer.h. Products go to the library that is taken, one thread each.

#include "layer.h"

#include <algorithm>

#include "products.h"

using at::Tensor;

namespace covalign {
namespace {

// Room for a matrix in float32.
Matrix<float> floats(const Matrix<bf16>& x, float*& memory) {
  const Matrix<float> wide{memory, x.rows, x.columns, x.columns};
  memory += lines(x.rows * x.columns);
  return wide;
}

Matrix<float> widened(const Matrix<bf16>& x, float*& memory) {
  const Matrix<float> wide = floats(x, memory);
  bf16_kernels().widen(x.p, x.stride, wide.data(), x.rows, x.columns);
  return wide;
}

void narrow(const Matrix<float>& x, const Matrix<bf16>& y) {
  bf16_kernels().narrow(x.p, y.data(), y.stride, x.rows, x.columns);
}

// out = a W or a Wᵀ, or added to out.
template <typename T>
void product(const Matrix<T>& a, const Factor<T>& weight, bool transposed, const Matrix<T>& out, bool add) {
  const auto factor = [&](const auto& w) { return transposed ? w.transposed() : w.tensor(); };
  if constexpr (std::is_same_v<T, bf16>) {
    if (weight.widened.p) {
      float* memory = scratch<1>(lines(a.rows * a.columns) + lines(out.rows * out.columns));
      const Matrix<float> wide = widened(a, memory), sum = add ? widened(out, memory) : floats(out, memory);
      Tensor y = sum.tensor();
      multiply(wide.tensor(), factor(weight.widened), y, add);
      narrow(sum, out);
      return;
    }
  }
  Tensor y = out.tensor();
  multiply(a.tensor(), factor(weight.own), y, add);
}

// y = x Wᵀ.
template <typename T>
void forward(const Matrix<T>& x, const Factor<T>& weight, const Matrix<T>& y) {
  product(x, weight, true, y, false);
}

// dx = dy W.
template <typename T>
void backward(const Matrix<T>& dy, const Factor<T>& weight, const Matrix<T>& dx) {
  product(dy, weight, false, dx, false);
}

// dx += dy W.
template <typename T>
void add_backward(const Matrix<T>& dy, const Factor<T>& weight, const Matrix<T>& dx) {
  product(dy, weight, false, dx, true);
}

template <typename T>
Attention<T> attention_of(const Layer<T>& l, const Passed<T>& p) {
  Attention<T> a{};
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
template <typename T>
void queries_keys_values(const Layer<T>& l, const Passed<T>& p, const Part& part, T* spare) {
  const int64_t w = l.width;
  const Range tokens = part.tokens.with_gap(), rows = part.rows.range;
  if (!l.first) {
    return forward(slice(p.x, tokens, w), l.matrix(kQkv), slice<T>(p.qkv, tokens, 3 * w));
  }
  forward(slice(p.x, tokens, w), l.key_value(), {p.qkv + tokens.begin * 3 * w + w, tokens.size(), 2 * w, 3 * w});
  for (int64_t row = rows.begin; row < rows.end; row++) {
    std::copy_n(p.x + l.begins()[row] * w, w, p.first + row * w);
  }
  const Range asked = part.rows.with_gap();
  forward(slice<T>(p.first, asked, w), l.query(), slice<T>(spare, asked, w));
  for (int64_t row = rows.begin; row < rows.end; row++) {
    std::copy_n(spare + row * w, w, p.qkv + l.begins()[row] * 3 * w);
  }
}

}  // namespace

template <typename T>
void forward(const Layer<T>& l, const Passed<T>& p, const Part& part, float* spare) {
  const int64_t w = l.width, inner = l.inner;
  const Range asked = l.asked(part).range, rows = part.rows.range;
  const auto& kernels = kernels_of<T>();
  const auto some = [&](const T* array, int64_t width) { return slice(array, l.asked(part).with_gap(), width); };
  queries_keys_values(l, p, part, p.hat1);
  kernels.attention(attention_of(l, p), spare, rows.begin * l.heads, rows.end * l.heads);
  forward(some(p.context, w), l.matrix(kAttention), some(p.hat1, w));
  const T* residual = l.first ? p.first : p.x;
  kernels.add_norm({p.hat1, l.of(kAttentionBias), residual, l.of(kGamma1), l.of(kBeta1), p.y1, p.rstd1, w,
                    l.eps, l.dropouts[1]},
                   spare, asked.begin, asked.end);
  forward(some(p.y1, w), l.matrix(kWide), some(p.slope, inner));
  kernels.gelu(p.slope, l.of(kWideBias), p.wide, inner, asked.begin, asked.end);
  forward(some(p.wide, inner), l.matrix(kNarrow), some(p.hat2, w));
  kernels.add_norm({p.hat2, l.of(kNarrowBias), p.y1, l.of(kGamma2), l.of(kBeta2), p.y, p.rstd2, w, l.eps,
                    l.dropouts[2]},
                   spare, asked.begin, asked.end);
}

namespace {

// Back through a sum and its norm: `hat` becomes the gradient of what is dropped from, `residual` that of what is
// added.
template <typename T>
struct SumBackward {
  const T* dy;
  T* hat;
  const float *rstd, *gamma;
  T* residual;
  float* sums;
  Dropout dropout;

  void run(int64_t width, Range range, float* spare) const {
    const bool drops = dropout.p > 0;
    T* undropped = drops ? residual : hat;
    kernels_of<T>().add_norm_backward({dy, hat, rstd, gamma, hat, undropped, width, dropout}, sums, spare,
                                      range.begin, range.end);
    const int64_t begin = range.begin * width;
    if (!drops) std::copy_n(hat + begin, range.size() * width, residual + begin);
  }
};

// dx of a part's tokens from the gradients of query, key and value and of what was added to attention's output,
// which lies in dx already, or of first tokens in `residual`.
template <typename T>
void input_backward(const Layer<T>& l, const Passed<T>& p, const Gradients<T>& g, const Part& part, T* residual) {
  const int64_t w = l.width;
  const Range tokens = part.tokens.with_gap(), asked = part.rows.with_gap();
  const Matrix<T> dx = slice<T>(g.dx, tokens, w), dqkv = slice<T>(p.qkv, tokens, 3 * w);
  if (!l.first) return add_backward(dqkv, l.matrix(kQkv), dx);
  backward({dqkv.p + w, dqkv.rows, 2 * w, 3 * w}, l.key_value(), dx);
  const Matrix<T> of_first = slice<T>(residual, asked, w);
  add_backward(slice<T>(g.queries, asked, w), l.query(), of_first);
  for (int64_t row = part.rows.range.begin; row < part.rows.range.end; row++) {
    const Range token{l.begins()[row], l.begins()[row] + 1}, at{row, row + 1};
    slice<T>(g.dx, token, w).tensor().add_(slice<T>(residual, at, w).tensor());
  }
}

}  // namespace

template <typename T>
void backward(const Layer<T>& l, const Passed<T>& p, const Gradients<T>& g, const Part& part, float* memory) {
  const int64_t w = l.width, inner = l.inner;
  const Range asked = l.asked(part).range, rows = part.rows.range;
  const auto& kernels = kernels_of<T>();
  const auto some = [&](const T* array, int64_t width) { return slice(array, l.asked(part).with_gap(), width); };
  Pieces pieces(memory, l, part);
  T *dy1 = pieces.asked<T>(w), *dwide = pieces.asked<T>(inner), *first = pieces.asked<T>(w);
  T *dcontext = dy1, *residual = l.first ? first : g.dx;
  float* spare = pieces.rest();
  SumBackward<T>{g.dy, p.hat2, p.rstd2, l.of(kGamma2), dy1, g.norm2, l.dropouts[2]}.run(w, asked, spare);
  backward(some(p.hat2, w), l.matrix(kNarrow), some(dwide, inner));
  kernels.gelu_backward(dwide, p.slope, g.wide_bias, inner, asked.begin, asked.end);
  add_backward(some(p.slope, inner), l.matrix(kWide), some(dy1, w));
  SumBackward<T>{dy1, p.hat1, p.rstd1, l.of(kGamma1), residual, g.norm1, l.dropouts[1]}.run(w, asked, spare);
  backward(some(p.hat1, w), l.matrix(kAttention), some(dcontext, w));
  Attention<T> a = attention_of(l, p);
  a.dcontext = dcontext;
  a.dqkv = p.qkv;
  a.dbias = g.dbias;
  kernels.attention_backward(a, spare, rows.begin * l.heads, rows.end * l.heads);
  for (int64_t row = rows.begin; l.first && row < rows.end; row++) {
    std::copy_n(p.qkv + l.begins()[row] * 3 * w, w, g.queries + row * w);
  }
  if (g.goes_on) input_backward(l, p, g, part, residual);
}

// Tokens whose factors are widened at a time.
constexpr int64_t kWidened = 512;

template <typename T>
void Outer<T>::run() const {
  const Matrix<T> out{dw, dy.columns, x.columns, x.columns};
  if constexpr (std::is_same_v<T, bf16>) {
    if (widens) {
      const int64_t most = std::min(dy.rows, kWidened);
      float* memory = scratch<1>(lines(out.rows * out.columns) + lines(most * dy.columns) + lines(most * x.columns));
      const Matrix<float> whole = floats(out, memory);
      Tensor sum = whole.tensor();
      for (int64_t i = 0; i < dy.rows; i += kWidened) {
        const int64_t rows = std::min(kWidened, dy.rows - i);
        float* rest = memory;
        const auto some = [&](const Matrix<T>& m) {
          return widened({m.p + i * m.stride, rows, m.columns, m.stride}, rest);
        };
        const Matrix<float> wide = some(dy);
        multiply(wide.transposed(), some(x).tensor(), sum, i > 0);
      }
      narrow(whole, out);
      return;
    }
  }
  Tensor y = out.tensor();
  multiply(dy.transposed(), x.tensor(), y, false);
}

#define COVALIGN_LAYER(T)                                                                       \
  template void forward(const Layer<T>&, const Passed<T>&, const Part&, float*);                \
  template void backward(const Layer<T>&, const Passed<T>&, const Gradients<T>&, const Part&, float*); \
  template struct Outer<T>
COVALIGN_LAYER(float);
COVALIGN_LAYER(bf16);

}  // namespace covalign
