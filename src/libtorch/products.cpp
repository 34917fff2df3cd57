// See products.h. In float32 libtorch itself takes MKL, which on AMD's processors with AVX-512 uses AVX2 alone. Where
// oneDNN is taken, `aten::mm` and `aten::addmm`, to which linear layers and their gradients come, get kernels of ours,
// which hand on what oneDNN does not gain by.

#include "products.h"

#include <ATen/CPUFunctions.h>
#include <ATen/Context.h>
#include <c10/util/Exception.h>
#include <torch/library.h>

#include <atomic>
#include <mutex>

#include "guard.h"
#include "kernels.h"

using at::Scalar;
using at::Tensor;

// libtorch_cpu has it, and no header of it. out = beta out + alpha a b.
namespace at::native {
void mkldnn_matmul(const Tensor& a, const Tensor& b, const Tensor& out, float beta, float alpha);
}

namespace {

// Multiplications below which finding oneDNN's kernel for a size takes longer than it gains.
constexpr int64_t LEAST = 1 << 24;

bool is_dense(const Tensor& x) { return x.is_contiguous() || x.t().is_contiguous(); }

bool gains(const Tensor& a, const Tensor& b) {
  const auto is_float = [](const Tensor& x) {
    return x.scalar_type() == at::kFloat && x.layout() == at::kStrided && x.dim() == 2;
  };
  return is_float(a) && is_float(b) && a.size(1) == b.size(0) &&
         a.size(0) * a.size(1) * b.size(1) >= LEAST && is_dense(a) && is_dense(b);
}

// Whether oneDNN multiplies.
std::atomic<bool> taken{false};

Tensor by_onednn(const Tensor& a, const Tensor& b) {
  Tensor out = at::empty({a.size(0), b.size(1)}, a.options());
  at::native::mkldnn_matmul(a, b, out, /*beta=*/0, /*alpha=*/1);
  return out;
}

Tensor mm(const Tensor& a, const Tensor& b) {
  return taken && gains(a, b) ? by_onednn(a, b) : at::cpu::mm(a, b);
}

Tensor addmm(const Tensor& c, const Tensor& a, const Tensor& b, const Scalar& beta,
             const Scalar& alpha) {
  // A beta of 0 passes over what is not finite.
  if (!taken || !gains(a, b) || c.scalar_type() != at::kFloat || beta.toFloat() == 0) {
    return at::cpu::addmm(c, a, b, beta, alpha);
  }
  Tensor out = at::empty({a.size(0), b.size(1)}, a.options());
  out.copy_(c);
  at::native::mkldnn_matmul(a, b, out, beta.toFloat(), alpha.toFloat());
  return out;
}

// Says nothing of a kernel that is put in another's place.
struct Silent : c10::WarningHandler {
  void process(const c10::Warning&) override {}
};

// Puts our kernels in libtorch's place, once and for good.
void register_kernels() {
  static std::once_flag once;
  std::call_once(once, [] {
    Silent silent;
    c10::WarningUtils::WarningHandlerGuard guard(&silent);
    auto* ours = new torch::Library(torch::Library::IMPL, "aten", c10::DispatchKey::CPU, __FILE__,
                                    __LINE__);
    ours->impl("mm", mm);
    ours->impl("addmm", addmm);
  });
}

}  // namespace

namespace covalign {

bool takes_onednn() { return taken; }

void multiply(const Tensor& a, const Tensor& b, Tensor& out, bool add) {
  if (a.scalar_type() == at::kBFloat16 || (taken && gains(a, b))) {
    at::native::mkldnn_matmul(a, b, out, /*beta=*/add ? 1 : 0, /*alpha=*/1);
  } else if (add) {
    at::cpu::addmm_(out, a, b, 1, 1);
  } else {
    at::cpu::mm_out(out, a, b);
  }
}

}  // namespace covalign

extern "C" {

// Whether oneDNN takes float32, or bfloat16, here: libtorch 2.11 lets nobody but processors with AVX-512 have it.
bool covalign_has_onednn(bool half) {
  const auto takes = [](at::ScalarType kind) {
    if (!at::globalContext().hasMKLDNN()) return false;
    at::NoGradGuard no_grad;
    const Tensor one = at::ones({1, 1}, kind);
    try {
      by_onednn(one, one);
      return true;
    } catch (const c10::Error&) {
      return false;
    }
  };
  static const bool has[] = {takes(at::kFloat), takes(at::kBFloat16)};
  return has[half];
}

bool covalign_takes_onednn() { return taken; }

// With `pairs` AVX512-BF16 multiplies in attention, too.
char* covalign_take_onednn(bool takes, bool pairs) {
  return guarded([&] {
    if (takes) register_kernels();
    taken = takes;
    covalign::take_pairs(pairs);
  });
}

// a b by one of the libraries, whichever is taken; libtorch's own multiplies in float32.
char* covalign_product(const Tensor* a, const Tensor* b, bool onednn, Tensor** out) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    const auto own = [&] { return at::cpu::mm(a->to(at::kFloat), b->to(at::kFloat)).to(a->scalar_type()); };
    *out = new Tensor(onednn ? by_onednn(*a, *b) : own());
  });
}
}
