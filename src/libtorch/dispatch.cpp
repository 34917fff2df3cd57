// Takes the kernels of the best instruction set that both the build and the machine have; of none
// better than ATEN_CPU_CAPABILITY allows (default, avx2 or avx512), which holds for libtorch's too. That a processor
// with AVX-512 has AVX512-BF16 besides, libtorch has no word for.

#include "convolution_kernels.h"
#include "kernels.h"
#include "lstm_kernels.h"

#include <atomic>
#include <cstdlib>
#include <string>

namespace covalign {

#define DECLARE(isa)                               \
  extern const Kernels<float> float_kernels_##isa; \
  extern const Kernels<bf16> bf16_kernels_##isa;   \
  extern const LstmKernels lstm_kernels_##isa;     \
  extern const ConvolutionKernels convolution_kernels_##isa

DECLARE(base);

#ifdef COVALIGN_X86
DECLARE(avx2);
DECLARE(avx512);
extern const Kernels<bf16> bf16_kernels_avx512_bf16;
extern const Kernels<bf16> paired_kernels_avx512_bf16;

namespace {

enum class Isa { base, avx2, avx512, avx512_bf16 };

Isa isa() {
  static const Isa best = [] {
    __builtin_cpu_init();
    const char* given = std::getenv("ATEN_CPU_CAPABILITY");
    const std::string most = given ? given : "avx512_bf16";
    if (most == "default") return Isa::base;
    if (most != "avx2" && __builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl")) {
      return most != "avx512" && __builtin_cpu_supports("avx512bf16") ? Isa::avx512_bf16 : Isa::avx512;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Isa::avx2;
    return Isa::base;
  }();
  return best;
}

std::atomic<bool> pairs{false};

}  // namespace

#define CHOOSE(kind)                                                                          \
  (isa() >= Isa::avx512 ? kind##_avx512 : isa() == Isa::avx2 ? kind##_avx2 : kind##_base)
const char* kernel_name() {
  static const char* const names[] = {"default", "avx2", "avx512", "avx512_bf16"};
  return names[static_cast<int>(isa())];
}

void take_pairs(bool takes) { pairs = takes; }
const Kernels<bf16>& bf16_kernels() {
  if (isa() != Isa::avx512_bf16) return CHOOSE(bf16_kernels);
  return pairs ? paired_kernels_avx512_bf16 : bf16_kernels_avx512_bf16;
}
#else
#define CHOOSE(kind) kind##_base

const char* kernel_name() { return "default"; }

void take_pairs(bool) {}
const Kernels<bf16>& bf16_kernels() { return bf16_kernels_base; }
#endif

const Kernels<float>& float_kernels() { return CHOOSE(float_kernels); }
const LstmKernels& lstm_kernels() { return CHOOSE(lstm_kernels); }
const ConvolutionKernels& convolution_kernels() { return CHOOSE(convolution_kernels); }

}  // namespace covalign
