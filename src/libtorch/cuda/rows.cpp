#include "rows.h"

#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>

#include "runtime.h"

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

namespace covalign::cuda {
namespace {

// As rows.cu has them.
constexpr int64_t kWarps = 4, kLanes = 32;
// Parts in which sums over rows are taken: fixed, so that they do not depend on the device.
constexpr int64_t kParts = 256;

struct DeviceDropout {
  uint64_t key;
  uint32_t threshold;
  float scale;
};

DeviceDropout on_device(Dropout dropout) {
  const double p = dropout.p;
  return {dropout.key, static_cast<uint32_t>(std::lrint(p * 4294967295.0)), 1.0f / (1.0f - dropout.p)};
}

void check(const Tensor& x, const at::Device& device, at::ScalarType kind, int64_t count,
           const char* what) {
  TORCH_CHECK(x.device() == device && x.is_contiguous() && x.scalar_type() == kind &&
                  x.numel() == count,
              what, " must be ", count, " numbers of ", kind, " in one piece on ", device, ", not ",
              x.sizes(), " of ", x.scalar_type(), " on ", x.device());
}

const char* element(at::ScalarType kind) {
  switch (kind) {
    case at::kFloat: return "ELEMENT=float";
    case at::kBFloat16: return "ELEMENT=bf16";
    case at::kHalf: return "ELEMENT=f16";
    default: TORCH_CHECK(false, "the fused operations take fp32, bf16 and fp16, not ", kind);
  }
}

Module& module(const at::Device& device, at::ScalarType kind, int64_t width) {
  TORCH_CHECK(width % 8 == 0 && width > 0, "rows of ", width, " numbers; a multiple of 8 is taken");
  return Module::of(device, {sources().numbers, sources().rows},
                    {element(kind), "WIDTH=" + std::to_string(width)});
}

// Kernels that take rows of any width; those of hidden states in it are not asked for.
Module& of_any_width(const Tensor& x) {
  TORCH_CHECK(x.size(-1) % 8 == 0, "rows of ", x.size(-1), " numbers; a multiple of 8 is taken");
  return module(x.device(), x.scalar_type(), 8);
}

const uint64_t* seed_of(const at::Device& device) {
  return reinterpret_cast<const uint64_t*>(seed(device).data_ptr<int64_t>());
}

// Blocks that take a warp for each row.
Grid over(int64_t rows) { return {static_cast<unsigned>((rows + kWarps - 1) / kWarps), 1, 1}; }
constexpr Grid kBlock{kWarps * kLanes, 1, 1};

// The sums of the columns of `parts` [count, columns].
Tensor sums_of(Module& module, const Tensor& parts) {
  const int count = parts.size(0), columns = parts.size(1);
  auto sums = at::empty({columns}, parts.options());
  launch(module, "column_sums", parts.device(),
         {static_cast<unsigned>((columns + kLanes - 1) / kLanes), 1, 1}, {kLanes, 8, 1},
         parts.const_data_ptr<float>(), sums.data_ptr<float>(), count, columns);
  return sums;
}

Dropout dropout_of(AutogradContext* ctx) {
  return {static_cast<uint64_t>(ctx->saved_data["key"].toInt()),
          static_cast<float>(ctx->saved_data["p"].toDouble())};
}

void save_dropout(AutogradContext* ctx, Dropout dropout) {
  ctx->saved_data["key"] = static_cast<int64_t>(dropout.key);
  ctx->saved_data["p"] = static_cast<double>(dropout.p);
}

struct AddNormFunction : Function<AddNormFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& bias,
                        const Tensor& residual, const Tensor& gamma, const Tensor& beta,
                        double eps, Dropout dropout) {
    const int64_t width = x.size(-1), rows = x.numel() / width;
    auto y = at::empty_like(x), source = residual.contiguous();
    auto rstd = at::empty({rows}, x.options().dtype(at::kFloat));
    launch(module(x.device(), x.scalar_type(), width), "add_norm", x.device(), over(rows), kBlock,
           x.data_ptr(), bias.const_data_ptr<float>(), source.const_data_ptr(),
           gamma.const_data_ptr<float>(), beta.const_data_ptr<float>(), y.data_ptr(),
           rstd.data_ptr<float>(), rows, static_cast<float>(eps), on_device(dropout),
           seed_of(x.device()));
    ctx->saved_data["xhat"] = x.detach();
    ctx->saved_data["rstd"] = rstd;
    ctx->saved_data["gamma"] = gamma.detach();
    save_dropout(ctx, dropout);
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto xhat = ctx->saved_data["xhat"].toTensor(), rstd = ctx->saved_data["rstd"].toTensor();
    auto gamma = ctx->saved_data["gamma"].toTensor();
    auto dy = grads[0].contiguous(), dx = at::empty_like(xhat);
    const int64_t width = xhat.size(-1), rows = xhat.numel() / width;
    const auto device = xhat.device();
    auto& kernels = module(device, xhat.scalar_type(), width);
    const Grid grid{static_cast<unsigned>(std::min<int64_t>(kParts, over(rows).x)), 1, 1};
    auto parts = at::empty({grid.x, 3 * width}, rstd.options());
    launch(kernels, "add_norm_backward", device, grid, kBlock, dy.const_data_ptr(), xhat.data_ptr(),
           rstd.const_data_ptr<float>(), gamma.const_data_ptr<float>(), dx.data_ptr(),
           parts.data_ptr<float>(), rows, on_device(dropout_of(ctx)), seed_of(device));
    auto each = sums_of(kernels, parts).view({3, width}).unbind(0);
    ctx->saved_data.clear();
    return {dx, each[2], xhat, each[0], each[1], Tensor(), Tensor()};
  }
};

struct EmbedFunction : Function<EmbedFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& words, const Tensor& positions,
                        const Tensor& segments, const Tensor& gamma, const Tensor& beta,
                        const Tensor& word_at, const Tensor& position_at, const Tensor& segment_at,
                        double eps, Dropout dropout, at::ScalarType kind) {
    const int64_t rows = word_at.numel(), width = words.size(1);
    const auto device = words.device();
    auto y = at::empty({rows, width}, words.options().dtype(kind)), xhat = at::empty_like(y);
    auto rstd = at::empty({rows}, words.options());
    launch(module(device, kind, width), "embed", device, over(rows), kBlock,
           words.const_data_ptr<float>(), positions.const_data_ptr<float>(),
           segments.const_data_ptr<float>(), word_at.const_data_ptr<int64_t>(),
           position_at.const_data_ptr<int64_t>(), segment_at.const_data_ptr<int64_t>(),
           gamma.const_data_ptr<float>(), beta.const_data_ptr<float>(), xhat.data_ptr(),
           y.data_ptr(), rstd.data_ptr<float>(), rows, static_cast<float>(eps), on_device(dropout),
           seed_of(device));
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
    const auto device = xhat.device();
    auto& kernels = module(device, xhat.scalar_type(), width);
    const Grid grid{static_cast<unsigned>(std::min<int64_t>(kParts, over(rows).x)), 1, 1};
    auto ds = at::empty({rows, width}, rstd.options());
    auto parts = at::empty({grid.x, 2 * width}, rstd.options());
    launch(kernels, "embed_backward", device, grid, kBlock, dy.const_data_ptr(),
           xhat.const_data_ptr(), rstd.const_data_ptr<float>(), gamma.const_data_ptr<float>(),
           ds.data_ptr<float>(), parts.data_ptr<float>(), rows, on_device(dropout_of(ctx)),
           seed_of(device));
    auto each = sums_of(kernels, parts).view({2, width}).unbind(0);
    auto places = ctx->saved_data["places"].toTensorVector();
    auto sizes = ctx->saved_data["sizes"].toIntVector();
    ctx->saved_data.clear();
    variable_list out;
    for (int table = 0; table < 3; table++) {
      out.push_back(at::embedding_dense_backward(ds, places[table], sizes[table], -1, false));
    }
    out.insert(out.end(), {each[0], each[1]});
    out.resize(11);
    return out;
  }
};

struct GeluFunction : Function<GeluFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& bias) {
    const int width = x.size(-1);
    const int64_t pieces = x.numel() / 8;
    auto y = at::empty_like(x);
    launch(of_any_width(x), "gelu", x.device(),
           {static_cast<unsigned>((pieces + 255) / 256), 1, 1}, {256, 1, 1}, x.data_ptr(),
           bias.const_data_ptr<float>(), y.data_ptr(), pieces, width);
    ctx->saved_data["slope"] = x.detach();
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto slope = ctx->saved_data["slope"].toTensor();
    auto dy = grads[0].contiguous();
    const int width = slope.size(-1);
    const int64_t rows = slope.numel() / width;
    const auto device = slope.device();
    auto& kernels = of_any_width(slope);
    const unsigned threads = 128, across = (width / 8 + threads - 1) / threads;
    const unsigned down = std::max<int64_t>(1, std::min<int64_t>(rows, kParts));
    auto parts = at::empty({down, width}, slope.options().dtype(at::kFloat));
    launch(kernels, "gelu_backward", device, {across, down, 1}, {threads, 1, 1},
           dy.const_data_ptr(), slope.data_ptr(), parts.data_ptr<float>(), rows, width);
    ctx->saved_data.clear();
    return {slope, sums_of(kernels, parts)};
  }
};

}  // namespace

Tensor add_norm(const Tensor& x, const Tensor& bias, const Tensor& residual, const Tensor& gamma,
                const Tensor& beta, double eps, Dropout dropout) {
  const int64_t width = x.size(-1);
  check(x, x.device(), x.scalar_type(), x.numel(), "x");
  check(residual.contiguous(), x.device(), x.scalar_type(), x.numel(), "the residual");
  check(bias, x.device(), at::kFloat, width, "the bias");
  check(gamma, x.device(), at::kFloat, width, "gamma");
  check(beta, x.device(), at::kFloat, width, "beta");
  return AddNormFunction::apply(x, bias, residual, gamma, beta, eps, dropout);
}

Tensor gelu(const Tensor& x, const Tensor& bias) {
  check(x, x.device(), x.scalar_type(), x.numel(), "x");
  check(bias, x.device(), at::kFloat, x.size(-1), "the bias");
  return GeluFunction::apply(x, bias);
}

Tensor embed(const Tensor* const* tables, const Tensor* const* places, const Tensor& gamma,
             const Tensor& beta, double eps, Dropout dropout, at::ScalarType kind) {
  const auto device = tables[0]->device();
  const int64_t width = gamma.numel();
  for (int i = 0; i < 3; i++) {
    check(*tables[i], device, at::kFloat, tables[i]->size(0) * width, "a table of embeddings");
    check(*places[i], device, at::kLong, places[0]->numel(), "the rows of a table");
  }
  check(gamma, device, at::kFloat, width, "gamma");
  check(beta, device, at::kFloat, width, "beta");
  return EmbedFunction::apply(*tables[0], *tables[1], *tables[2], gamma, beta, *places[0],
                              *places[1], *places[2], eps, dropout, kind);
}

Tensor packed_attention(const Tensor& qkv, const Tensor& starts, int64_t longest, int64_t heads,
                        bool first, double p) {
  const int64_t rows = starts.numel() - 1, width = qkv.size(1) / 3;
  auto parts = qkv.view({qkv.size(0), 3, heads, width / heads}).unbind(1);
  auto &query = parts[0], &key = parts[1], &value = parts[2];
  auto keys = starts.to(at::kInt), queries = keys;
  int64_t longest_query = longest;
  if (first) {
    query = query.index_select(0, starts.narrow(0, 0, rows));
    queries = at::arange(rows + 1, keys.options());
    longest_query = 1;
  }
  Tensor context;
  if (qkv.scalar_type() == at::kFloat || capability(qkv.device()) < 80) {
    context = std::get<0>(at::_efficient_attention_forward(
        query.unsqueeze(0), key.unsqueeze(0), value.unsqueeze(0), {}, queries, keys, longest_query,
        longest, p, /*custom_mask_type=*/0, /*compute_log_sumexp=*/qkv.requires_grad()));
  } else {
    context = std::get<0>(at::_flash_attention_forward(query, key, value, queries, keys,
                                                       longest_query, longest, p,
                                                       /*is_causal=*/false,
                                                       /*return_debug_mask=*/false));
  }
  return context.reshape({-1, width});
}

}  // namespace covalign::cuda
