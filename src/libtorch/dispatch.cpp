// Takes the kernels of the best instruction set that both the build and the machine have.

#include "kernels.h"

namespace covalign {

#define DECLARE(isa)                              \
  extern const Kernels<float> float_kernels_##isa; \
  extern const Kernels<bf16> bf16_kernels_##isa

DECLARE(base);

#ifdef COVALIGN_X86
DECLARE(avx2);
DECLARE(avx512);

namespace {

enum class Isa { base, avx2, avx512 };

Isa isa() {
  static const Isa best = [] {
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
      return Isa::avx512;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Isa::avx2;
    return Isa::base;
  }();
  return best;
}

}  // namespace

#define CHOOSE(kind)                                                                          \
  (isa() == Isa::avx512 ? kind##_avx512 : isa() == Isa::avx2 ? kind##_avx2 : kind##_base)
#else
#define CHOOSE(kind) kind##_base
#endif

const Kernels<float>& float_kernels() { return CHOOSE(float_kernels); }
const Kernels<bf16>& bf16_kernels() { return CHOOSE(bf16_kernels); }

}  // namespace covalign
