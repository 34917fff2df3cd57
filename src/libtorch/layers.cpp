// Layers of an encoder over packed rows, one after the other, in float32 or bfloat16 on a CPU. Operation by operation
// (fused.cpp), the threads wait for each other at the end of each product and each pass between two; here a thread
// takes some rows through all layers, forward or back, and what it computes from is in its cache. Only the gradients
// of matrices are products over all rows.
//
// Sums over rows are taken part by part and added in order: results depend on how many threads there are, and on
// nothing else.

#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "checks.h"
#include "guard.h"
#include "kept.h"

using at::Tensor;
using at::TensorList;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

namespace covalign {
namespace {

// Some rows through all layers; nothing is kept.
template <typename T>
void through(const Layers<T>& layers, const Part& part, const T* x, T* y) {
  const Layer<T>& any = layers.front();
  const int64_t floats = Pieces::floats(any, part, 9 * any.width + 2 * any.inner + any.heads + 2, 12);
  Pieces whole(scratch(floats), any, part);
  // What one layer puts out and the next one takes.
  T* states = whole.all<T>(any.width);
  const Range& tokens = part.tokens.range;
  const int64_t begin = tokens.begin * any.width;
  if (part.tokens.has_gap()) std::copy_n(x + begin, tokens.size() * any.width, states + begin);
  for (const Layer<T>& l : layers) {
    Pieces pieces(whole.rest(), l, part);
    Passed<T> p = laid_out(l, pieces);
    p.x = &l == &layers.front() && !part.tokens.has_gap() ? x : states;
    p.y = &l == &layers.back() ? y : states;
    forward(l, p, part, pieces.rest());
  }
}

template <typename T>
Tensor run(const Layers<T>& layers, const Tensor& x) {
  const Layer<T>& last = layers.back();
  Tensor y = room<T>(last.asked(), last.width);
  const Parts parts = parts_of(layers);
  shared_out(parts.each.size(), [&](int64_t i) { through(layers, parts.each[i], data<T>(x), data<T>(y)); });
  return y;
}

// What threads add up on the way back through one layer.
template <typename T>
struct Sums {
  Tensor dbias, queries, norm2, norm1, wide_bias;
  Sums(const Layer<T>& l, const Parts& parts) : dbias(room<float>(l.rows(), 3 * l.width)) {
    const auto zeros = [&](int64_t width) {
      return at::zeros({static_cast<int64_t>(parts.each.size()), width}, at::kFloat);
    };
    Maker maker{parts, l.first, {}};
    maker.asked<T>(l.first ? l.width : 0);
    queries = maker.made[0];
    norm2 = zeros(3 * l.width);
    norm1 = zeros(3 * l.width);
    wide_bias = zeros(l.inner);
  }
  Gradients<T> of(int64_t part, const Span& rows) {
    const auto row = [&](Tensor& sums) { return data<float>(sums) + part * sums.size(1); };
    Gradients<T> g{};
    g.queries = data<T>(queries) + rows.before * queries.size(1);
    g.dbias = data<float>(dbias);
    g.norm2 = row(norm2);
    g.norm1 = row(norm1);
    g.wide_bias = row(wide_bias);
    return g;
  }
};

// oneDNN shares each product out over the threads by itself; others are taken in as many pieces as there are threads.
template <typename T>
void run_outer(const std::vector<Outer<T>>& products) {
  if (takes_onednn()) {
    for (const Outer<T>& product : products) product.run();
    return;
  }
  const int64_t threads = at::get_num_threads();
  shared_out(products.size() * threads, [&](int64_t i) {
    const Outer<T>& whole = products[i / threads];
    const int64_t rows = whole.dy.columns, piece = i % threads;
    whole.some({rows * piece / threads, rows * (piece + 1) / threads}).run();
  });
}

template <typename T>
struct LayersFunction : Function<LayersFunction<T>> {
  // The tensors are x and all layers' weights, for autograd to see.
  static Tensor forward(AutogradContext* ctx, TensorList tensors, const Layers<T>& layers) {
    auto kept = c10::make_intrusive<Kept<T>>(layers, tensors[0].detach());
    const Layer<T>& last = layers.back();
    Tensor y = room<T>(last.asked(), last.width);
    shared_out(kept->parts.each.size(), [&](int64_t i) {
      const Part& part = kept->parts.each[i];
      for (size_t n = 0; n < layers.size(); n++) {
        Passed<T> p = kept->at(n, part);
        if (n + 1 == layers.size()) p.y = data<T>(y);
        covalign::forward(layers[n], p, part, scratch(last.spare()));
      }
    });
    ctx->saved_data["kept"] = at::IValue::make_capsule(kept);
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto holder = ctx->saved_data["kept"].toCapsule();
    ctx->saved_data.clear();
    auto& kept = static_cast<Kept<T>&>(*holder);
    const Layers<T>& layers = kept.layers;
    const Layer<T>& any = layers.front();
    std::vector<Sums<T>> sums;
    for (const Layer<T>& l : layers) sums.emplace_back(l, kept.parts);
    // And none for `layers`.
    variable_list out(1 + kWeights * layers.size() + 1);
    const bool goes_on = ctx->needs_input_grad(0);
    if (goes_on) out[0] = room<T>(any.tokens(), any.width);
    const Tensor dy = grads[0].contiguous();
    shared_out(kept.parts.each.size(), [&](int64_t i) {
      const Part& part = kept.parts.each[i];
      const Range& tokens = part.tokens.range;
      const int64_t states = lines(part.tokens.room * any.width), begin = tokens.begin * any.width;
      float* memory = scratch(states + backward_floats(any, part));
      T* dstates = reinterpret_cast<T*>(memory) - begin;
      // What nobody asks for, and what has a gap behind it, does not go where all parts' gradients go.
      T* dx = goes_on && !part.tokens.has_gap() ? data<T>(out[0]) : dstates;
      const T* from = data<T>(dy);
      for (int64_t n = layers.size() - 1; n >= 0; n--) {
        Gradients<T> g = sums[n].of(i, part.rows);
        g.dy = from;
        g.dx = n == 0 ? dx : dstates;
        g.goes_on = n > 0 || goes_on;
        covalign::backward(layers[n], kept.at(n, part), g, part, memory + states);
        from = g.dx;
      }
      if (goes_on && dx == dstates) std::copy_n(dstates + begin, tokens.size() * any.width, data<T>(out[0]) + begin);
    });
    for (; !kept.layers.empty(); kept.drop_last()) collect(ctx, kept, sums[kept.layers.size() - 1], out);
    return out;
  }

  // The gradients of the topmost layer's weights.
  static void collect(AutogradContext* ctx, const Kept<T>& kept, const Sums<T>& sums, variable_list& out) {
    const size_t layer = kept.layers.size() - 1, at = 1 + kWeights * layer;
    const Layer<T>& l = kept.layers[layer];
    std::vector<Outer<T>> products;
    const auto made = [&](Weight weight) -> T* {
      if (!ctx->needs_input_grad(at + weight)) return nullptr;
      const Tensor& w = l.weights[weight];
      Tensor& gradient = out[at + weight];
      if (!gradient.defined()) gradient = room<T>(w.size(0), w.size(1));
      return data<T>(gradient);
    };
    add_outer(l, kept.at(layer), kept.parts, data<T>(sums.queries), made, &products);
    run_outer(products);
    const auto norm = [&](const Tensor& parts, Weight gamma, Weight beta, Weight bias) {
      const auto each = parts.sum(0).view({3, l.width}).unbind(0);
      out[at + gamma] = each[0];
      out[at + beta] = each[1];
      out[at + bias] = each[2];
    };
    norm(sums.norm2, kGamma2, kBeta2, kNarrowBias);
    norm(sums.norm1, kGamma1, kBeta1, kAttentionBias);
    out[at + kWideBias] = sums.wide_bias.sum(0);
    out[at + kQkvBias] = sums.dbias.sum(0);
  }
};

bool is_matrix(int weight) {
  return std::find(std::begin(kMatrices), std::end(kMatrices), weight) != std::end(kMatrices);
}

template <typename T>
void check_layer(const Layer<T>& l) {
  const int64_t w = l.width, inner = l.inner;
  TORCH_CHECK(l.heads > 0 && w % l.heads == 0, l.heads, " heads cannot share a width of ", w);
  const int64_t sizes[] = {3 * w * w, 3 * w, w * w, w, w, w, w * inner, inner, w * inner, w, w, w};
  for (int i = 0; i < kWeights; i++) {
    check_dense(l.weights[i], is_matrix(i) ? kind_of<T> : at::kFloat, sizes[i], "a layer's parameter");
  }
}

bool any_learns(TensorList tensors) {
  return std::any_of(tensors.begin(), tensors.end(), [](const Tensor& t) { return t.requires_grad(); });
}

// The layers' output. Those at the bottom through which no gradient goes keep nothing.
template <typename T>
Tensor run_layers(const std::vector<Tensor>& tensors, const Layers<T>& layers) {
  const TensorList weights = TensorList(tensors).slice(1);
  if (!at::GradMode::is_enabled() || !any_learns(tensors)) return run(layers, tensors[0].detach());
  size_t still = 0;
  while (!tensors[0].requires_grad() && !any_learns(weights.slice(kWeights * still, kWeights))) still++;
  if (still == 0) return LayersFunction<T>::apply(TensorList(tensors), layers);
  const auto lowest = layers.begin() + still;
  std::vector<Tensor> upper{run(Layers<T>(layers.begin(), lowest), tensors[0].detach())};
  upper.insert(upper.end(), tensors.begin() + 1 + kWeights * still, tensors.end());
  return LayersFunction<T>::apply(TensorList(upper), Layers<T>(lowest, layers.end()));
}

}  // namespace
}  // namespace covalign

using namespace covalign;

extern "C" {

// `tensors` are x and the parameters of `count` layers, each in the order of `Weight`; `p` and `keys` the three
// places' of each layer where something is dropped. With `first`, of each row only its first token is computed by the
// last layer. `out` becomes null where the rows cannot be shared out evenly.
char* covalign_layers(const Tensor* const* tensors, int64_t count, const Tensor* starts, int64_t longest,
                      int64_t heads, bool first, double eps, const double* p, const uint64_t* keys,
                      Tensor** out) {
  return guarded([&] {
    std::vector<Tensor> all;
    for (int64_t i = 0; i < 1 + kWeights * count; i++) all.push_back(*tensors[i]);
    const Tensor& x = all[0];
    *out = nullptr;
    by_type(x, [&](auto type) {
      using T = decltype(type);
      check_dense(x, kind_of<T>, x.size(0) * x.size(-1), "x");
      check_starts(*starts, x.size(0), longest);
      if (count == 0 || starts->numel() == 1) return;
      const bool widens = kind_of<T> != at::kFloat && !takes_onednn();
      Layers<T> layers(count);
      for (int64_t n = 0; n < count; n++) {
        Layer<T>& l = layers[n];
        for (int i = 0; i < kWeights; i++) l.weights[i] = all[1 + kWeights * n + i].detach();
        l.starts = *starts;
        l.width = x.size(-1);
        l.inner = l.weights[kWideBias].numel();
        l.heads = heads;
        l.longest = longest;
        l.first = first && n == count - 1;
        l.eps = static_cast<float>(eps);
        for (int i = 0; i < 3; i++) l.dropouts[i] = {keys[3 * n + i], static_cast<float>(p[3 * n + i])};
        check_layer(l);
        TORCH_CHECK(l.inner == layers[0].inner, "layers of several inner widths");
      }
      if (!is_even(parts_of(layers))) return;
      for (Layer<T>& l : layers) {
        for (Weight weight : kMatrices) {
          if (widens) l.widened[weight] = l.weights[weight].to(at::kFloat);
        }
      }
      *out = new Tensor(run_layers(all, layers));
    });
  });
}
}
