// A layer of an encoder over packed rows, in float32 on a CPU. Operation by operation (fused.cpp), the
// threads wait for each other at the end of each product and each pass between two; here a thread takes
// some rows through the whole layer, and what it computes from is in its cache.
//
// Products go to libtorch's own library, one thread each. Sums over rows are taken part by part and added in
// order: results depend on how many threads there are, and on nothing else.

#include <ATen/ATen.h>
#include <ATen/CPUFunctions.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <array>
#include <vector>

#include "checks.h"
#include "guard.h"
#include "kernels.h"
#include "parts.h"
#include "scratch.h"

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

namespace covalign {
namespace {

// A matrix in memory, [rows, columns], `stride` from one row to the next.
struct Matrix {
  const float* p;
  int64_t rows, columns, stride;
  Tensor tensor() const {
    return at::from_blob(const_cast<float*>(p), {rows, columns}, {stride, 1}, at::kFloat);
  }
  Tensor transposed() const {
    return at::from_blob(const_cast<float*>(p), {columns, rows}, {1, stride}, at::kFloat);
  }
};

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

enum Weight { kQkv, kQkvBias, kAttention, kAttentionBias, kGamma1, kBeta1, kWide, kWideBias, kNarrow,
              kNarrowBias, kGamma2, kBeta2, kWeights };

// What a call is about.
struct Layer {
  std::array<Tensor, kWeights> weights;
  Tensor x, starts;
  int64_t width, inner, heads, longest;
  bool first;  // of each row only its first token is computed
  float eps;
  Dropout dropouts[3];  // attention's, and what comes after it and after the layer's other half

  const float* of(Weight weight) const { return weights[weight].const_data_ptr<float>(); }
  Matrix matrix(Weight weight) const {
    const Tensor& w = weights[weight];
    return {of(weight), w.size(0), w.size(1), w.size(1)};
  }
  // Query's, and key's and value's rows of the joined matrix.
  Matrix query() const { return {of(kQkv), width, width, width}; }
  Matrix key_value() const { return {of(kQkv) + width * width, 2 * width, width, width}; }
  const int64_t* begins() const { return starts.const_data_ptr<int64_t>(); }
  int64_t rows() const { return starts.numel() - 1; }
  int64_t tokens() const { return x.size(0); }
  // Tokens that are computed whole.
  int64_t asked() const { return first ? rows() : tokens(); }
  Range asked(const Part& part) const { return first ? part.rows : part.tokens; }
  int64_t spare() const {
    return std::max(float_kernels().attention_scratch(longest, width / heads), width);
  }
};

// What the pass back reads of the one forward. Each array begins at the first token, or of those that are
// computed whole.
struct Passed {
  float *qkv, *first, *lse, *context, *hat1, *rstd1, *y1, *slope, *wide, *hat2, *rstd2;
};

// Lays the arrays out: `all` and `asked` give memory for so many floats of each token.
template <typename All, typename Asked>
Passed laid_out(const Layer& l, All all, Asked asked) {
  Passed p;
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
  Pieces(const Layer& l, const Part& part, int64_t floats_per_token, int64_t pieces)
      : tokens_(part.tokens), asked_(l.asked(part)) {
    next_ = scratch(part.tokens.size() * floats_per_token + 16 * pieces + l.spare());
  }
  float* all(int64_t width) { return piece(tokens_, width); }
  float* asked(int64_t width) { return piece(asked_, width); }
  // What is left is for a kernel.
  float* spare() const { return next_; }

 private:
  float* piece(Range range, int64_t width) {
    float* begin = next_;
    next_ += lines(range.size() * width);
    return begin - range.begin * width;
  }
  Range tokens_, asked_;
  float* next_;
};

Matrix slice(const float* array, Range range, int64_t width) {
  return {array + range.begin * width, range.size(), width, width};
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
  const float* x = l.x.const_data_ptr<float>();
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

void forward(const Layer& l, const Passed& p, float* y, const Part& part, float* spare) {
  const int64_t w = l.width, inner = l.inner;
  const Range asked = l.asked(part);
  const auto& kernels = float_kernels();
  queries_keys_values(l, p, part, p.hat1 + asked.begin * w);
  kernels.attention(attention_of(l, p), spare, part.rows.begin * l.heads, part.rows.end * l.heads);
  forward(slice(p.context, asked, w), l.matrix(kAttention), slice(p.hat1, asked, w));
  const float* residual = l.first ? p.first : l.x.const_data_ptr<float>();
  kernels.add_norm({p.hat1, l.of(kAttentionBias), residual, l.of(kGamma1), l.of(kBeta1), p.y1, p.rstd1, w,
                    l.eps, l.dropouts[1]},
                   spare, asked.begin, asked.end);
  forward(slice(p.y1, asked, w), l.matrix(kWide), slice(p.slope, asked, inner));
  kernels.gelu(p.slope, l.of(kWideBias), p.wide, inner, asked.begin, asked.end);
  forward(slice(p.wide, asked, inner), l.matrix(kNarrow), slice(p.hat2, asked, w));
  kernels.add_norm({p.hat2, l.of(kNarrowBias), p.y1, l.of(kGamma2), l.of(kBeta2), y, p.rstd2, w, l.eps,
                    l.dropouts[2]},
                   spare, asked.begin, asked.end);
}

Tensor room(int64_t rows, int64_t width) { return at::empty({rows, width}, at::kFloat); }

// The layer's output; `kept`, where given, takes what the pass back needs.
Tensor run_forward(const Layer& l, std::vector<Tensor>* kept) {
  Tensor y = room(l.asked(), l.width);
  const auto parts = parts_of(l.begins(), l.rows());
  Passed whole{};
  if (kept) {
    const auto keep = [&](int64_t rows, int64_t width) {
      kept->push_back(room(rows, width));
      return kept->back().data_ptr<float>();
    };
    whole = laid_out(l, [&](int64_t width) { return keep(l.tokens(), width); },
                     [&](int64_t width) { return keep(l.asked(), width); });
  }
  shared_out(parts.size(), [&](int64_t i) {
    if (kept) return forward(l, whole, y.data_ptr<float>(), parts[i], scratch(l.spare()));
    Pieces pieces(l, parts[i], 8 * l.width + 2 * l.inner + l.heads + 2, 11);
    const Passed passed = laid_out(l, [&](int64_t width) { return pieces.all(width); },
                                   [&](int64_t width) { return pieces.asked(width); });
    forward(l, passed, y.data_ptr<float>(), parts[i], pieces.spare());
  });
  return y;
}

// Gradients on the way back, each from its first token on.
struct Gradients {
  const float* dy;
  // Of the products' outputs. Where nothing is dropped, `narrow` is hat2 and `attention` is hat1; that of
  // the wide product lies in `slope`.
  float *narrow, *attention, *qkv;
  float* queries;  // [rows, width], where only first tokens ask
  float* dx;       // null where nobody asks for it
  float* dbias;    // of query, key and value, [rows, 3 width]
  // Of each part: gamma, beta and the bias before them; the wide product's bias.
  float *norm2, *norm1, *wide_bias;
};

// dx of a part's tokens from the gradients of query, key and value and of what was added to attention's
// output, hat1.
void input_backward(const Layer& l, const Passed& p, const Gradients& g, const Part& part, float* spare) {
  const int64_t w = l.width;
  const Matrix dx = slice(g.dx, part.tokens, w), dqkv = slice(g.qkv, part.tokens, 3 * w);
  if (!l.first) {
    std::copy_n(p.hat1 + part.tokens.begin * w, part.tokens.size() * w, g.dx + part.tokens.begin * w);
    return add_backward(dqkv, l.matrix(kQkv), dx);
  }
  backward({dqkv.p + w, dqkv.rows, 2 * w, 3 * w}, l.key_value(), dx);
  const Matrix first{spare, part.rows.size(), w, w};
  std::copy_n(p.hat1 + part.rows.begin * w, part.rows.size() * w, spare);
  add_backward(slice(g.queries, part.rows, w), l.query(), first);
  for (int64_t row = part.rows.begin; row < part.rows.end; row++) {
    const float* from = spare + (row - part.rows.begin) * w;
    float* to = g.dx + l.begins()[row] * w;
    for (int64_t j = 0; j < w; j++) to[j] += from[j];
  }
}

void backward(const Layer& l, const Passed& p, const Gradients& g, const Part& part, int64_t index) {
  const int64_t w = l.width, inner = l.inner;
  const Range asked = l.asked(part);
  const auto& kernels = float_kernels();
  Pieces pieces(l, part, w + inner, 2);
  float *dy1 = pieces.asked(w), *dwide = pieces.asked(inner), *spare = pieces.spare();
  kernels.add_norm_backward({g.dy, p.hat2, p.rstd2, l.of(kGamma2), g.narrow, p.hat2, w, l.dropouts[2]},
                            g.norm2 + index * 3 * w, spare, asked.begin, asked.end);
  backward(slice(g.narrow, asked, w), l.matrix(kNarrow), slice(dwide, asked, inner));
  kernels.gelu_backward(dwide, p.slope, g.wide_bias + index * inner, inner, asked.begin, asked.end);
  std::copy_n(p.hat2 + asked.begin * w, asked.size() * w, dy1 + asked.begin * w);
  add_backward(slice(p.slope, asked, inner), l.matrix(kWide), slice(dy1, asked, w));
  kernels.add_norm_backward(
      {dy1, p.hat1, p.rstd1, l.of(kGamma1), g.attention, p.hat1, w, l.dropouts[1]},
      g.norm1 + index * 3 * w, spare, asked.begin, asked.end);
  float* dcontext = dy1;
  backward(slice(g.attention, asked, w), l.matrix(kAttention), slice(dcontext, asked, w));
  Attention<float> a = attention_of(l, p);
  a.dcontext = dcontext;
  a.dqkv = g.qkv;
  a.dbias = g.dbias;
  kernels.attention_backward(a, spare, part.rows.begin * l.heads, part.rows.end * l.heads);
  for (int64_t row = part.rows.begin; l.first && row < part.rows.end; row++) {
    std::copy_n(g.qkv + l.begins()[row] * 3 * w, w, g.queries + row * w);
  }
  if (g.dx) input_backward(l, p, g, part, dcontext + asked.begin * w);
}

// dW = dyᵀ x, all or some rows of it.
struct Outer {
  Matrix dy, x;
  float* dw;
  void run() const {
    Tensor out = Matrix{dw, dy.columns, x.columns, x.columns}.tensor();
    at::cpu::mm_out(out, dy.transposed(), x.tensor());
  }
  Outer some(Range range) const {
    return {{dy.p + range.begin, dy.rows, range.size(), dy.stride}, x, dw + range.begin * x.columns};
  }
};

// Each product in as many pieces as there are threads.
void run_outer(const std::vector<Outer>& products) {
  const int64_t threads = at::get_num_threads();
  shared_out(products.size() * threads, [&](int64_t i) {
    const Outer& whole = products[i / threads];
    const int64_t rows = whole.dy.columns, piece = i % threads;
    whole.some({rows * piece / threads, rows * (piece + 1) / threads}).run();
  });
}

struct LayerFunction : Function<LayerFunction> {
  struct Kept : torch::CustomClassHolder {
    Layer layer;
    std::vector<Tensor> tensors;
  };

  // The tensors are those of `layer`, for autograd to see.
  static Tensor forward(AutogradContext* ctx, const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                        const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                        const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Layer& layer) {
    auto kept = c10::make_intrusive<Kept>();
    kept->layer = layer;
    Tensor y = run_forward(layer, &kept->tensors);
    ctx->saved_data["kept"] = at::IValue::make_capsule(kept);
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto holder = ctx->saved_data["kept"].toCapsule();
    ctx->saved_data.clear();
    auto& kept = static_cast<Kept&>(*holder);
    const Layer& l = kept.layer;
    const int64_t w = l.width, inner = l.inner;
    auto tensor = kept.tensors.begin();
    const auto next = [&](int64_t) { return (tensor++)->data_ptr<float>(); };
    const Passed p = laid_out(l, next, next);
    const auto parts = parts_of(l.begins(), l.rows());
    const int64_t count = parts.size();
    const bool after_attention = l.dropouts[1].p > 0, after_layer = l.dropouts[2].p > 0;
    const Tensor dy = grads[0].contiguous(), narrow = room(after_layer ? l.asked() : 0, w),
                 attention = room(after_attention ? l.asked() : 0, w), qkv = room(l.tokens(), 3 * w),
                 queries = room(l.first ? l.rows() : 0, w),
                 dbias = room(l.rows(), 3 * w), norm2 = at::zeros({count, 3 * w}, at::kFloat),
                 norm1 = at::zeros({count, 3 * w}, at::kFloat),
                 wide_bias = at::zeros({count, inner}, at::kFloat);
    variable_list out(14);
    if (ctx->needs_input_grad(0)) out[0] = room(l.tokens(), w);
    const auto data = [](const Tensor& x) { return x.data_ptr<float>(); };
    const Gradients g{data(dy),
                      after_layer ? data(narrow) : p.hat2,
                      after_attention ? data(attention) : p.hat1,
                      data(qkv),
                      data(queries),
                      out[0].defined() ? data(out[0]) : nullptr,
                      data(dbias),
                      data(norm2),
                      data(norm1),
                      data(wide_bias)};
    shared_out(count, [&](int64_t i) { covalign::backward(l, p, g, parts[i], i); });
    const Range all{0, l.tokens()}, asked{0, l.asked()};
    std::vector<Outer> products;
    const auto add = [&](Weight weight, Matrix dy, Matrix x) {
      if (!ctx->needs_input_grad(1 + weight)) return;
      out[1 + weight] = room(dy.columns, x.columns);
      products.push_back({dy, x, data(out[1 + weight])});
    };
    add(kNarrow, slice(g.narrow, asked, w), slice(p.wide, asked, inner));
    add(kWide, slice(p.slope, asked, inner), slice(p.y1, asked, w));
    add(kAttention, slice(g.attention, asked, w), slice(p.context, asked, w));
    const Matrix x = slice(l.x.const_data_ptr<float>(), all, w);
    if (!l.first) {
      add(kQkv, slice(g.qkv, all, 3 * w), x);
    } else if (ctx->needs_input_grad(1 + kQkv)) {
      out[1 + kQkv] = room(3 * w, w);
      float* dw = data(out[1 + kQkv]);
      products.push_back({{g.qkv + w, l.tokens(), 2 * w, 3 * w}, x, dw + w * w});
      products.push_back({slice(g.queries, asked, w), slice(p.first, asked, w), dw});
    }
    run_outer(products);
    const auto norms = [&](const Tensor& sums, Weight gamma, Weight beta, Weight bias) {
      auto each = sums.sum(0).view({3, w}).unbind(0);
      out[1 + gamma] = each[0];
      out[1 + beta] = each[1];
      out[1 + bias] = each[2];
    };
    norms(norm2, kGamma2, kBeta2, kNarrowBias);
    norms(norm1, kGamma1, kBeta1, kAttentionBias);
    out[1 + kWideBias] = wide_bias.sum(0);
    out[1 + kQkvBias] = dbias.sum(0);
    return out;
  }
};

void check_layer(const Layer& l) {
  const int64_t w = l.width, inner = l.inner;
  TORCH_CHECK(l.heads > 0 && w % l.heads == 0, l.heads, " heads cannot share a width of ", w);
  check_dense(l.x, at::kFloat, l.x.size(0) * w, "x");
  check_starts(l.starts, l.x.size(0), l.longest);
  const int64_t sizes[] = {3 * w * w, 3 * w, w * w, w, w, w, w * inner, inner, w * inner, w, w, w};
  for (int i = 0; i < kWeights; i++) check_dense(l.weights[i], at::kFloat, sizes[i], "a layer's parameter");
}

}  // namespace
}  // namespace covalign

using namespace covalign;

extern "C" {

// `tensors` are x and the layer's parameters, in the order of `Weight`; `p` and `keys` the three places'
// where something is dropped. `out` becomes null where the rows cannot be shared out evenly.
char* covalign_layer(const Tensor* const* tensors, const Tensor* starts, int64_t longest, int64_t heads,
                     bool first, double eps, const double* p, const uint64_t* keys, Tensor** out) {
  return guarded([&] {
    Layer l;
    l.x = tensors[0]->detach();
    for (int i = 0; i < kWeights; i++) l.weights[i] = tensors[1 + i]->detach();
    l.starts = *starts;
    l.width = l.x.size(-1);
    l.inner = l.weights[kWideBias].numel();
    l.heads = heads;
    l.longest = longest;
    l.first = first;
    l.eps = static_cast<float>(eps);
    for (int i = 0; i < 3; i++) l.dropouts[i] = {keys[i], static_cast<float>(p[i])};
    check_layer(l);
    *out = nullptr;
    if (l.rows() == 0 || !is_even(parts_of(l.begins(), l.rows()))) return;
    const auto t = [&](int i) -> const Tensor& { return *tensors[i]; };
    bool learns = false;
    for (int i = 0; i <= kWeights; i++) learns |= t(i).requires_grad();
    if (!at::GradMode::is_enabled() || !learns) {
      *out = new Tensor(run_forward(l, nullptr));
      return;
    }
    *out = new Tensor(LayerFunction::apply(t(0), t(1), t(2), t(3), t(4), t(5), t(6), t(7), t(8), t(9),
                                           t(10), t(11), t(12), l));
  });
}
}
