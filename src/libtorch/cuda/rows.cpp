#include "rows.h"

#include <algorithm>
#include <cmath>

#include "runtime.h"

using at::Tensor;

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

// Blocks that share rows out, each with sums of its own.
Grid parts_of(int64_t rows) {
  return {static_cast<unsigned>(std::min<int64_t>(kParts, over(rows).x)), 1, 1};
}

// The sums of the columns of `parts` [count, columns].
Tensor sums_of(Module& module, const Tensor& parts) {
  const int count = parts.size(0), columns = parts.size(1);
  auto sums = at::empty({columns}, parts.options());
  launch(module, "column_sums", parts.device(),
         {static_cast<unsigned>((columns + kLanes - 1) / kLanes), 1, 1}, {kLanes, 8, 1},
         parts.const_data_ptr<float>(), sums.data_ptr<float>(), count, columns);
  return sums;
}

}  // namespace

void add_norm(const Tensor& x, const Tensor& bias, const Tensor& residual, const Tensor& gamma,
              const Tensor& beta, const Tensor& y, const Tensor& rstd, double eps,
              Dropout dropout) {
  const auto device = x.device();
  const int64_t rows = rstd.numel();
  launch(module(device, x.scalar_type(), gamma.numel()), "add_norm", device, over(rows), kBlock,
         x.data_ptr(), bias.const_data_ptr<float>(), residual.const_data_ptr(),
         gamma.const_data_ptr<float>(), beta.const_data_ptr<float>(), y.data_ptr(),
         rstd.data_ptr<float>(), rows, static_cast<float>(eps), on_device(dropout),
         seed_of(device));
}

Tensor add_norm_backward(const Tensor& dy, const Tensor& xhat, const Tensor& rstd,
                         const Tensor& gamma, const Tensor& dx, Dropout dropout) {
  const auto device = xhat.device();
  const int64_t width = gamma.numel(), rows = rstd.numel();
  auto& kernels = module(device, xhat.scalar_type(), width);
  const Grid grid = parts_of(rows);
  auto parts = at::empty({grid.x, 3 * width}, rstd.options());
  launch(kernels, "add_norm_backward", device, grid, kBlock, dy.const_data_ptr(), xhat.data_ptr(),
         rstd.const_data_ptr<float>(), gamma.const_data_ptr<float>(), dx.data_ptr(),
         parts.data_ptr<float>(), rows, on_device(dropout), seed_of(device));
  return sums_of(kernels, parts);
}

void embed(const Tensor* const* tables, const Tensor* const* places, const Tensor& gamma,
           const Tensor& beta, const Tensor& xhat, const Tensor& y, const Tensor& rstd, double eps,
           Dropout dropout) {
  const auto device = y.device();
  const int64_t rows = rstd.numel();
  auto table = [&](int i) { return tables[i]->const_data_ptr<float>(); };
  auto place = [&](int i) { return places[i]->const_data_ptr<int64_t>(); };
  launch(module(device, y.scalar_type(), gamma.numel()), "embed", device, over(rows), kBlock,
         table(0), table(1), table(2), place(0), place(1), place(2), gamma.const_data_ptr<float>(),
         beta.const_data_ptr<float>(), xhat.data_ptr(), y.data_ptr(), rstd.data_ptr<float>(), rows,
         static_cast<float>(eps), on_device(dropout), seed_of(device));
}

Tensor embed_backward(const Tensor& dy, const Tensor& xhat, const Tensor& rstd,
                      const Tensor& gamma, const Tensor& ds, Dropout dropout) {
  const auto device = xhat.device();
  const int64_t width = gamma.numel(), rows = rstd.numel();
  auto& kernels = module(device, xhat.scalar_type(), width);
  const Grid grid = parts_of(rows);
  auto parts = at::empty({grid.x, 2 * width}, rstd.options());
  launch(kernels, "embed_backward", device, grid, kBlock, dy.const_data_ptr(),
         xhat.const_data_ptr(), rstd.const_data_ptr<float>(), gamma.const_data_ptr<float>(),
         ds.data_ptr<float>(), parts.data_ptr<float>(), rows, on_device(dropout), seed_of(device));
  return sums_of(kernels, parts);
}

void gelu(const Tensor& x, const Tensor& bias, const Tensor& y) {
  const int width = x.size(-1);
  const int64_t pieces = x.numel() / 8;
  launch(of_any_width(x), "gelu", x.device(), {static_cast<unsigned>((pieces + 255) / 256), 1, 1},
         {256, 1, 1}, x.data_ptr(), bias.const_data_ptr<float>(), y.data_ptr(), pieces, width);
}

Tensor gelu_backward(const Tensor& dy, const Tensor& slope) {
  const int width = slope.size(-1);
  const int64_t rows = slope.numel() / width;
  auto& kernels = of_any_width(slope);
  const unsigned threads = 128, across = (width / 8 + threads - 1) / threads;
  const unsigned down = std::max<int64_t>(1, std::min<int64_t>(rows, kParts));
  auto parts = at::empty({down, width}, slope.options().dtype(at::kFloat));
  launch(kernels, "gelu_backward", slope.device(), {across, down, 1}, {threads, 1, 1},
         dy.const_data_ptr(), slope.data_ptr(), parts.data_ptr<float>(), rows, width);
  return sums_of(kernels, parts);
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
