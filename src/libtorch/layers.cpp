// Layers of an encoder over packed rows, one after the other, in float32 on a CPU. Operation by operation (fused.cpp),
// the threads wait for each other at the end of each product and each pass between two; here a thread takes some rows
// through all layers, forward or back, and what it computes from is in its cache. Only the gradients of matrices are
// products over all rows.
//
// Sums over rows are taken part by part and added in order: results depend on how many threads there are, and on
// nothing else.

#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "checks.h"
#include "guard.h"
#include "layer.h"

using at::Tensor;
using at::TensorList;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

namespace covalign {
namespace {

using Layers = std::vector<Layer>;

Tensor room(int64_t rows, int64_t width) { return at::empty({rows, width}, at::kFloat); }

// Some rows through all layers; nothing is kept.
void through(const Layers& layers, const Part& part, const float* x, float* y) {
  const Layer& any = layers.front();
  const int64_t floats = Pieces::floats(any, part, 9 * any.width + 2 * any.inner + any.heads + 2, 12);
  Pieces whole(scratch(floats), any, part);
  // What one layer puts out and the next one takes.
  float* states = whole.all(any.width);
  for (const Layer& l : layers) {
    Pieces pieces(whole.rest(), l, part);
    Passed p = laid_out(l, [&](int64_t width) { return pieces.all(width); },
                        [&](int64_t width) { return pieces.asked(width); });
    p.x = &l == &layers.front() ? x : states;
    p.y = &l == &layers.back() ? y : states;
    forward(l, p, part, pieces.rest());
  }
}

Tensor run(const Layers& layers, const Tensor& x) {
  const Layer& last = layers.back();
  Tensor y = room(last.asked(), last.width);
  const auto parts = parts_of(last.begins(), last.rows());
  shared_out(parts.size(), [&](int64_t i) {
    through(layers, parts[i], x.const_data_ptr<float>(), y.data_ptr<float>());
  });
  return y;
}

// A layer's arrays and the tensors that they lie in.
struct Held {
  Passed passed;
  std::vector<Tensor> tensors;
  Held(const Layer& l, const float* x) {
    const auto keep = [&](int64_t rows, int64_t width) {
      tensors.push_back(room(rows, width));
      return tensors.back().data_ptr<float>();
    };
    passed = laid_out(l, [&](int64_t width) { return keep(l.tokens(), width); },
                      [&](int64_t width) { return keep(l.asked(), width); });
    passed.x = x;
    passed.y = keep(l.asked(), l.width);
  }
};

// What threads add up on the way back through one layer.
struct Sums {
  Tensor dbias, queries, norm2, norm1, wide_bias;
  Sums(const Layer& l, int64_t parts)
      : dbias(room(l.rows(), 3 * l.width)),
        queries(room(l.first ? l.rows() : 0, l.width)),
        norm2(at::zeros({parts, 3 * l.width}, at::kFloat)),
        norm1(at::zeros({parts, 3 * l.width}, at::kFloat)),
        wide_bias(at::zeros({parts, l.inner}, at::kFloat)) {}
  Gradients of(int64_t part) {
    const auto row = [&](Tensor& sums) { return sums.data_ptr<float>() + part * sums.size(1); };
    return {nullptr, nullptr, true, queries.data_ptr<float>(), dbias.data_ptr<float>(),
            row(norm2), row(norm1), row(wide_bias)};
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

struct LayersFunction : Function<LayersFunction> {
  struct Kept : torch::CustomClassHolder {
    Layers layers;
    Tensor x;
    std::vector<Held> held;
  };

  // The tensors are x and all layers' weights, for autograd to see.
  static Tensor forward(AutogradContext* ctx, TensorList tensors, const Layers& layers) {
    auto kept = c10::make_intrusive<Kept>();
    kept->layers = layers;
    kept->x = tensors[0].detach();
    const float* x = kept->x.const_data_ptr<float>();
    for (const Layer& l : layers) {
      kept->held.emplace_back(l, x);
      x = kept->held.back().passed.y;
    }
    const Layer& last = layers.back();
    const auto parts = parts_of(last.begins(), last.rows());
    shared_out(parts.size(), [&](int64_t i) {
      for (size_t n = 0; n < layers.size(); n++) {
        covalign::forward(layers[n], kept->held[n].passed, parts[i], scratch(last.spare()));
      }
    });
    // The pass back does not read it.
    Tensor y = kept->held.back().tensors.back();
    kept->held.back().tensors.pop_back();
    ctx->saved_data["kept"] = at::IValue::make_capsule(kept);
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto holder = ctx->saved_data["kept"].toCapsule();
    ctx->saved_data.clear();
    auto& kept = static_cast<Kept&>(*holder);
    const Layers& layers = kept.layers;
    const Layer& last = layers.back();
    const auto parts = parts_of(last.begins(), last.rows());
    std::vector<Sums> sums;
    for (const Layer& l : layers) sums.emplace_back(l, parts.size());
    // And none for `layers`.
    variable_list out(1 + kWeights * layers.size() + 1);
    const bool goes_on = ctx->needs_input_grad(0);
    if (goes_on) out[0] = room(last.tokens(), last.width);
    const Tensor dy = grads[0].contiguous();
    shared_out(parts.size(), [&](int64_t i) {
      const Layer& first = layers.front();
      const Part& part = parts[i];
      const int64_t states = Pieces::floats(first, part, first.width, 1);
      float* memory = scratch(states + backward_floats(first, part));
      float* dstates = Pieces(memory, first, part).all(first.width);
      const float* from = dy.const_data_ptr<float>();
      for (int64_t n = layers.size() - 1; n >= 0; n--) {
        Gradients g = sums[n].of(i);
        g.dy = from;
        g.goes_on = n > 0 || goes_on;
        g.dx = n == 0 && goes_on ? out[0].data_ptr<float>() : dstates;
        covalign::backward(layers[n], kept.held[n].passed, g, part, memory + states);
        from = g.dx;
      }
    });
    for (int64_t n = layers.size() - 1; n >= 0; n--) {
      collect(ctx, layers[n], kept.held[n].passed, sums[n], 1 + kWeights * n, out);
      kept.held[n].tensors.clear();
    }
    return out;
  }

  // The gradients of a layer's weights, which `out` takes from `at` on.
  static void collect(AutogradContext* ctx, const Layer& l, const Passed& p, const Sums& sums, int64_t at,
                      variable_list& out) {
    std::vector<Outer> products;
    const auto made = [&](Weight weight) -> float* {
      if (!ctx->needs_input_grad(at + weight)) return nullptr;
      const Tensor& w = l.weights[weight];
      out[at + weight] = room(w.size(0), w.size(1));
      return out[at + weight].data_ptr<float>();
    };
    add_outer(l, p, sums.queries.const_data_ptr<float>(), made, &products);
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

void check_layer(const Layer& l) {
  const int64_t w = l.width, inner = l.inner;
  TORCH_CHECK(l.heads > 0 && w % l.heads == 0, l.heads, " heads cannot share a width of ", w);
  const int64_t sizes[] = {3 * w * w, 3 * w, w * w, w, w, w, w * inner, inner, w * inner, w, w, w};
  for (int i = 0; i < kWeights; i++) check_dense(l.weights[i], at::kFloat, sizes[i], "a layer's parameter");
}

bool any_learns(TensorList tensors) {
  return std::any_of(tensors.begin(), tensors.end(), [](const Tensor& t) { return t.requires_grad(); });
}

// The layers' output. Those at the bottom through which no gradient goes keep nothing.
Tensor run_layers(const std::vector<Tensor>& tensors, const Layers& layers) {
  const TensorList weights = TensorList(tensors).slice(1);
  if (!at::GradMode::is_enabled() || !any_learns(tensors)) return run(layers, tensors[0].detach());
  size_t still = 0;
  while (!tensors[0].requires_grad() && !any_learns(weights.slice(kWeights * still, kWeights))) still++;
  if (still == 0) return LayersFunction::apply(TensorList(tensors), layers);
  const auto lowest = layers.begin() + still;
  std::vector<Tensor> upper{run(Layers(layers.begin(), lowest), tensors[0].detach())};
  upper.insert(upper.end(), tensors.begin() + 1 + kWeights * still, tensors.end());
  return LayersFunction::apply(TensorList(upper), Layers(lowest, layers.end()));
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
    check_dense(x, at::kFloat, x.size(0) * x.size(-1), "x");
    check_starts(*starts, x.size(0), longest);
    Layers layers(count);
    for (int64_t n = 0; n < count; n++) {
      Layer& l = layers[n];
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
    *out = nullptr;
    const int64_t rows = starts->numel() - 1;
    if (count == 0 || rows == 0 || !is_even(parts_of(layers[0].begins(), rows))) return;
    *out = new Tensor(run_layers(all, layers));
  });
}
}
