// The kernels of kernels.h, on CUDA those of cuda/rows.h, as operations that autograd knows. Every
// reduction over rows goes through a fixed number of parts that are added in order, so that results do
// not depend on the number of threads.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cstring>
#include <vector>

#include "by_type.h"
#include "checks.h"
#include "cuda/rows.h"
#include "guard.h"
#include "kernels.h"
#include "scratch.h"

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

namespace covalign {
namespace {

constexpr int64_t kParts = 16;

template <typename F>
void over_rows(int64_t rows, F body) {
  at::parallel_for(0, rows, 32, body);
}

// Calls body(begin, end, sums) on a fixed partition of the rows; the sums [width] added up.
template <typename F>
Tensor summed(int64_t rows, int64_t width, F body) {
  auto parts = at::zeros({kParts, width}, at::kFloat);
  float* sums = data<float>(parts);
  at::parallel_for(0, kParts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; part++) {
      body(rows * part / kParts, rows * (part + 1) / kParts, sums + part * width);
    }
  });
  return parts.sum(0);
}

Dropout dropout_of(AutogradContext* ctx) {
  return {static_cast<uint64_t>(ctx->saved_data["key"].toInt()),
          static_cast<float>(ctx->saved_data["p"].toDouble())};
}

void save_dropout(AutogradContext* ctx, Dropout dropout) {
  ctx->saved_data["key"] = static_cast<int64_t>(dropout.key);
  ctx->saved_data["p"] = static_cast<double>(dropout.p);
}

// LayerNorm(dropout(x + bias) + residual). `x` is the output of a matrix product that nothing
// else reads: it is overwritten.
struct AddNormFunction : Function<AddNormFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& bias,
                        const Tensor& residual, const Tensor& gamma, const Tensor& beta,
                        double eps, Dropout dropout) {
    const int64_t width = x.size(-1), rows = x.numel() / width;
    auto y = at::empty_like(x);
    auto rstd = at::empty({rows}, x.options().dtype(at::kFloat));
    auto source = residual.contiguous();
    if (x.is_cuda()) {
      cuda::add_norm(x, bias, source, gamma, beta, y, rstd, eps, dropout);
    } else {
      by_type(x, [&](auto type) {
        using T = decltype(type);
        AddNorm<T> a{data<T>(x),        data<float>(bias), data<T>(source),
                     data<float>(gamma), data<float>(beta), data<T>(y),
                     data<float>(rstd), width,             static_cast<float>(eps),
                     dropout};
        over_rows(rows, [&](int64_t begin, int64_t end) {
          kernels_of<T>().add_norm(a, scratch(width), begin, end);
        });
      });
    }
    // Not `x` as a variable: what it now holds is no longer the product's output.
    ctx->saved_data["xhat"] = x.detach();
    ctx->saved_data["rstd"] = rstd;
    ctx->saved_data["gamma"] = gamma.detach();
    save_dropout(ctx, dropout);
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto xhat = ctx->saved_data["xhat"].toTensor(), rstd = ctx->saved_data["rstd"].toTensor();
    auto gamma = ctx->saved_data["gamma"].toTensor();
    auto dy = grads[0].contiguous();
    const Dropout dropout = dropout_of(ctx);
    const int64_t width = xhat.size(-1), rows = xhat.numel() / width;
    auto dresidual = xhat;  // in its place: the graph is gone through once
    auto dx = dropout.p > 0 ? at::empty_like(xhat) : dresidual;
    Tensor sums;
    if (xhat.is_cuda()) {
      sums = cuda::add_norm_backward(dy, xhat, rstd, gamma, dx, dropout);
    } else {
      by_type(xhat, [&](auto type) {
        using T = decltype(type);
        AddNormBackward<T> a{data<T>(dy), data<T>(xhat),      data<float>(rstd), data<float>(gamma),
                             data<T>(dx), data<T>(dresidual), width,             dropout};
        sums = summed(rows, 3 * width, [&](int64_t begin, int64_t end, float* part) {
          kernels_of<T>().add_norm_backward(a, part, scratch(width), begin, end);
        });
      });
    }
    ctx->saved_data.clear();  // memory goes back while the pass goes on
    auto each = sums.view({3, width}).unbind(0);
    return {dx, each[2], dresidual, each[0], each[1], Tensor(), Tensor()};
  }
};

// dropout(LayerNorm(words[i] + positions[j] + segments[k])) for every token.
struct EmbedFunction : Function<EmbedFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& words, const Tensor& positions,
                        const Tensor& segments, const Tensor& gamma, const Tensor& beta,
                        const Tensor& word_at, const Tensor& position_at, const Tensor& segment_at,
                        double eps, Dropout dropout, at::ScalarType kind) {
    const int64_t rows = word_at.numel(), width = words.size(1);
    auto y = at::empty({rows, width}, words.options().dtype(kind)), xhat = at::empty_like(y);
    auto rstd = at::empty({rows}, words.options());
    if (y.is_cuda()) {
      const Tensor* tables[] = {&words, &positions, &segments};
      const Tensor* places[] = {&word_at, &position_at, &segment_at};
      cuda::embed(tables, places, gamma, beta, xhat, y, rstd, eps, dropout);
    } else {
      by_type(y, [&](auto type) {
        using T = decltype(type);
        auto a = arguments<T>(words, positions, segments, word_at, position_at, segment_at, gamma,
                              beta, xhat, y, rstd, eps, dropout);
        over_rows(rows, [&](int64_t begin, int64_t end) {
          kernels_of<T>().embed(a, scratch(width), begin, end);
        });
      });
    }
    ctx->saved_data["xhat"] = xhat;
    ctx->saved_data["rstd"] = rstd;
    ctx->saved_data["places"] = std::vector<Tensor>{word_at, position_at, segment_at};
    ctx->saved_data["sizes"] =
        std::vector<int64_t>{words.size(0), positions.size(0), segments.size(0)};
    ctx->saved_data["gamma"] = gamma.detach();
    save_dropout(ctx, dropout);
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto xhat = ctx->saved_data["xhat"].toTensor(), rstd = ctx->saved_data["rstd"].toTensor();
    auto gamma = ctx->saved_data["gamma"].toTensor();
    auto dy = grads[0].contiguous();
    const int64_t width = xhat.size(1), rows = xhat.size(0);
    const Dropout dropout = dropout_of(ctx);
    auto ds = at::empty({rows, width}, rstd.options());
    Tensor sums;
    if (xhat.is_cuda()) {
      sums = cuda::embed_backward(dy, xhat, rstd, gamma, ds, dropout);
    } else {
      by_type(xhat, [&](auto type) {
        using T = decltype(type);
        Embed<T> a{};
        a.gamma = data<float>(gamma);
        a.xhat = data<T>(xhat);
        a.rstd = data<float>(rstd);
        a.width = width;
        a.dropout = dropout;
        sums = summed(rows, 2 * width, [&](int64_t begin, int64_t end, float* part) {
          kernels_of<T>().embed_backward(a, data<T>(dy), data<float>(ds), part, nullptr, begin,
                                          end);
        });
      });
    }
    auto each = sums.view({2, width}).unbind(0);
    auto places = ctx->saved_data["places"].toTensorVector();
    auto sizes = ctx->saved_data["sizes"].toIntVector();
    ctx->saved_data.clear();
    variable_list out;
    for (int table = 0; table < 3; table++) {
      out.push_back(scatter(ds, places[table], sizes[table]));
    }
    out.insert(out.end(), {each[0], each[1]});
    out.resize(11);
    return out;
  }

 private:
  template <typename T>
  static Embed<T> arguments(const Tensor& words, const Tensor& positions, const Tensor& segments,
                            const Tensor& word_at, const Tensor& position_at,
                            const Tensor& segment_at, const Tensor& gamma, const Tensor& beta,
                            const Tensor& xhat, const Tensor& y, const Tensor& rstd, double eps,
                            Dropout dropout) {
    return {data<int64_t>(word_at),
            data<int64_t>(position_at),
            data<int64_t>(segment_at),
            data<float>(words),
            data<float>(positions),
            data<float>(segments),
            data<float>(gamma),
            data<float>(beta),
            data<T>(xhat),
            data<T>(y),
            data<float>(rstd),
            words.size(1),
            static_cast<float>(eps),
            dropout};
  }

  // Adds the rows of `ds` up by table row, each thread over some of the columns.
  static Tensor scatter(const Tensor& ds, const Tensor& place, int64_t size) {
    if (ds.is_cuda()) return at::embedding_dense_backward(ds, place, size, -1, false);
    const int64_t rows = ds.size(0), width = ds.size(1);
    auto table = at::zeros({size, width}, at::kFloat);
    const float* from = data<float>(ds);
    float* to = data<float>(table);
    const int64_t* at = data<int64_t>(place);
    at::parallel_for(0, width, 64, [&](int64_t begin, int64_t end) {
      for (int64_t i = 0; i < rows; i++) {
        const float* source = from + i * width;
        float* target = to + at[i] * width;
        for (int64_t j = begin; j < end; j++) target[j] += source[j];
      }
    });
    return table;
  }
};

// gelu(x + bias); `x` is overwritten, as in AddNormFunction.
struct GeluFunction : Function<GeluFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& bias) {
    const int64_t width = x.size(-1), rows = x.numel() / width;
    auto y = at::empty_like(x);
    if (x.is_cuda()) {
      cuda::gelu(x, bias, y);
    } else {
      by_type(x, [&](auto type) {
        using T = decltype(type);
        over_rows(rows, [&](int64_t begin, int64_t end) {
          kernels_of<T>().gelu(data<T>(x), data<float>(bias), data<T>(y), width, begin, end);
        });
      });
    }
    ctx->saved_data["slope"] = x.detach();
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto slope = ctx->saved_data["slope"].toTensor();
    auto dy = grads[0].contiguous();
    const int64_t width = slope.size(-1), rows = slope.numel() / width;
    Tensor sums;
    if (slope.is_cuda()) {
      sums = cuda::gelu_backward(dy, slope);
    } else {
      by_type(slope, [&](auto type) {
        using T = decltype(type);
        sums = summed(rows, width, [&](int64_t begin, int64_t end, float* part) {
          kernels_of<T>().gelu_backward(data<T>(dy), data<T>(slope), part, width, begin, end);
        });
      });
    }
    ctx->saved_data.clear();
    return {slope, sums};
  }
};

// Multi-head attention over packed rows; `qkv` without its bias.
struct AttentionFunction : Function<AttentionFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& qkv, const Tensor& bias,
                        const Tensor& starts, int64_t longest, int64_t heads, bool first,
                        Dropout dropout) {
    const int64_t rows = starts.numel() - 1, width = qkv.size(1) / 3;
    const int64_t queries = first ? rows : qkv.size(0);
    auto context = at::empty({queries, width}, qkv.scalar_type());
    auto lse = at::empty({queries, heads}, at::kFloat);
    by_type(qkv, [&](auto type) {
      using T = decltype(type);
      Attention<T> a = arguments<T>(qkv, bias, starts, longest, heads, first, lse, dropout);
      a.context = data<T>(context);
      run(a, rows, kernels_of<T>().attention);
    });
    ctx->saved_data["tensors"] =
        std::vector<Tensor>{qkv.detach(), bias.detach(), starts, lse};
    ctx->saved_data["shape"] = std::vector<int64_t>{longest, heads, first};
    save_dropout(ctx, dropout);
    return context;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto saved = ctx->saved_data["tensors"].toTensorVector();
    auto shape = ctx->saved_data["shape"].toIntVector();
    auto &qkv = saved[0], &bias = saved[1], &starts = saved[2], &lse = saved[3];
    const int64_t rows = starts.numel() - 1;
    auto dcontext = grads[0].contiguous();
    auto dqkv = at::empty_like(qkv);
    auto dbias = at::empty({rows, qkv.size(1)}, at::kFloat);
    by_type(qkv, [&](auto type) {
      using T = decltype(type);
      Attention<T> a =
          arguments<T>(qkv, bias, starts, shape[0], shape[1], shape[2], lse, dropout_of(ctx));
      a.dcontext = data<T>(dcontext);
      a.dqkv = data<T>(dqkv);
      a.dbias = data<float>(dbias);
      run(a, rows, kernels_of<T>().attention_backward);
    });
    ctx->saved_data.clear();
    return {dqkv, dbias.sum(0), Tensor(), Tensor(), Tensor(), Tensor(), Tensor()};
  }

 private:
  template <typename T>
  static Attention<T> arguments(const Tensor& qkv, const Tensor& bias, const Tensor& starts,
                                int64_t longest, int64_t heads, bool first, const Tensor& lse,
                                Dropout dropout) {
    Attention<T> a{};
    a.qkv = data<T>(qkv);
    a.bias = data<float>(bias);
    a.starts = data<int64_t>(starts);
    a.heads = heads;
    a.depth = qkv.size(1) / 3 / heads;
    a.longest = longest;
    a.first = first;
    a.lse = data<float>(lse);
    a.dropout = dropout;
    return a;
  }

  template <typename T, typename Kernel>
  static void run(const Attention<T>& a, int64_t rows, Kernel kernel) {
    const int64_t floats = kernels_of<T>().attention_scratch(a.longest, a.depth);
    at::parallel_for(0, rows * a.heads, 1, [&](int64_t begin, int64_t end) {
      kernel(a, scratch(floats), begin, end);
    });
  }
};

void check_add_norm(const Tensor& x, const Tensor& bias, const Tensor& residual,
                    const Tensor& gamma, const Tensor& beta) {
  const int64_t width = x.size(-1);
  const auto device = x.device();
  check_dense(x, x.scalar_type(), x.numel(), "x", device);
  check_dense(residual.contiguous(), x.scalar_type(), x.numel(), "the residual", device);
  check_dense(bias, at::kFloat, width, "the bias", device);
  check_dense(gamma, at::kFloat, width, "gamma", device);
  check_dense(beta, at::kFloat, width, "beta", device);
}

void check_attention(const Tensor& qkv, const Tensor& bias, const Tensor& starts, int64_t longest,
                     int64_t heads) {
  TORCH_CHECK(qkv.dim() == 2 && heads > 0 && qkv.size(1) % (3 * heads) == 0,
              "queries, keys and values are ", qkv.sizes(), ", which ", heads,
              " heads cannot share");
  check_dense(qkv, qkv.scalar_type(), qkv.numel(), "queries, keys and values");
  check_dense(bias, at::kFloat, qkv.size(1), "their bias");
  check_starts(starts, qkv.size(0), longest);
}

void check_embed(const Tensor* const* tables, const Tensor* const* places, const Tensor& gamma,
                 const Tensor& beta) {
  const int64_t tokens = places[0]->numel(), width = gamma.numel();
  const auto device = gamma.device();
  const char* names[] = {"word ids", "positions", "segments"};
  for (int i = 0; i < 3; i++) {
    const int64_t rows = tables[i]->size(0);
    check_dense(*tables[i], at::kFloat, rows * width, "a table of embeddings", device);
    // Whether a device's places are rows of their tables, only waiting for it would tell.
    if (device.is_cpu()) {
      check_places(*places[i], tokens, rows, names[i]);
    } else {
      check_dense(*places[i], at::kLong, tokens, names[i], device);
    }
  }
  check_dense(gamma, at::kFloat, width, "gamma", device);
  check_dense(beta, at::kFloat, width, "beta", device);
}

}  // namespace
}  // namespace covalign

using namespace covalign;

extern "C" {

const char* covalign_kernel_name() { return kernel_name(); }

char* covalign_add_norm(const Tensor* x, const Tensor* bias, const Tensor* residual,
                        const Tensor* gamma, const Tensor* beta, double eps, double p,
                        uint64_t key, Tensor** out) {
  return guarded([&] {
    check_add_norm(*x, *bias, *residual, *gamma, *beta);
    Dropout dropout{key, static_cast<float>(p)};
    *out = new Tensor(AddNormFunction::apply(*x, *bias, *residual, *gamma, *beta, eps, dropout));
  });
}

char* covalign_gelu(const Tensor* x, const Tensor* bias, Tensor** out) {
  return guarded([&] {
    check_dense(*x, x->scalar_type(), x->numel(), "x", x->device());
    check_dense(*bias, at::kFloat, x->size(-1), "the bias", x->device());
    *out = new Tensor(GeluFunction::apply(*x, *bias));
  });
}

char* covalign_packed_attention(const Tensor* qkv, const Tensor* bias, const Tensor* starts,
                                int64_t longest, int64_t heads, bool first, double p, uint64_t key,
                                Tensor** out) {
  return guarded([&] {
    check_attention(*qkv, *bias, *starts, longest, heads);
    Dropout dropout{key, static_cast<float>(p)};
    *out = new Tensor(
        AttentionFunction::apply(*qkv, *bias, *starts, longest, heads, first, dropout));
  });
}

// Multi-head attention over packed rows on CUDA; `qkv` has its bias.
char* covalign_packed_attention_cuda(const Tensor* qkv, const Tensor* starts, int64_t longest,
                                     int64_t heads, bool first, double p, Tensor** out) {
  return guarded([&] {
    *out = new Tensor(cuda::packed_attention(*qkv, *starts, longest, heads, first, p));
  });
}

// `tables` are words, positions, segments; `places` the row of each for every token. The result is of
// the scalar type `kind`.
char* covalign_embed(const Tensor* const* tables, const Tensor* const* places, const Tensor* gamma,
                     const Tensor* beta, double eps, double p, uint64_t key, int kind,
                     Tensor** out) {
  return guarded([&] {
    check_embed(tables, places, *gamma, *beta);
    Dropout dropout{key, static_cast<float>(p)};
    *out = new Tensor(EmbedFunction::apply(*tables[0], *tables[1], *tables[2], *gamma, *beta,
                                           *places[0], *places[1], *places[2], eps, dropout,
                                           static_cast<at::ScalarType>(kind)));
  });
}
}
