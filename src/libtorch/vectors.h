// Vectors of floats as wide as the instruction set's registers, for files that are compiled once for
// each (see kernels.h). Everything here is local to the file that includes it.

#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#ifdef __AVX512F__
#include <immintrin.h>
#endif

#include "kernels.h"

namespace covalign {
namespace {

// Floats in a register of the instruction set: of wider vectors, compilers take comparisons and
// selections apart into single elements.
#if defined(__AVX512F__)
constexpr int64_t kLanes = 16;
#elif defined(__AVX2__)
constexpr int64_t kLanes = 8;
#else
constexpr int64_t kLanes = 4;
#endif

typedef float vf __attribute__((vector_size(4 * kLanes)));
typedef int32_t vi __attribute__((vector_size(4 * kLanes)));
typedef uint32_t vu __attribute__((vector_size(4 * kLanes)));
typedef uint16_t vh __attribute__((vector_size(2 * kLanes)));

#define INLINE inline __attribute__((always_inline))

INLINE vf splat(float x) { return x - vf{}; }
INLINE vu bits(vf x) { return (vu)x; }

INLINE vf load(const float* p) {
  vf x;
  memcpy(&x, p, sizeof x);
  return x;
}

INLINE vf load(const bf16* p) {
  vh half;
  memcpy(&half, p, sizeof half);
  return (vf)(__builtin_convertvector(half, vu) << 16);
}

INLINE void store(float* p, vf x) { memcpy(p, &x, sizeof x); }

// To nearest, ties to even; NaN stays NaN.
INLINE void store(bf16* p, vf x) {
#ifdef __AVX512BF16__
  // Of what is too small to be a normal number, zero.
  const __m256bh half = _mm512_cvtneps_pbh((__m512)x);
  memcpy(p, &half, sizeof half);
#else
  vu u = bits(x);
  vu rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
  vu nan = (vu)(x != x);
  vh half = __builtin_convertvector((rounded & ~nan) | (nan & 0x7fc0u), vh);
  memcpy(p, &half, sizeof half);
#endif
}

#ifdef __AVX512F__
INLINE __mmask16 first_lanes(int64_t n) { return (__mmask16)((1u << n) - 1); }
INLINE vf load(const float* p, int64_t n) {
  return n >= kLanes ? load(p) : (vf)_mm512_maskz_loadu_ps(first_lanes(n), p);
}
INLINE void store(float* p, vf x, int64_t n) {
  if (n >= kLanes) return store(p, x);
  _mm512_mask_storeu_ps(p, first_lanes(n), (__m512)x);
}
#endif

// The first n lanes; the others are zero.
template <typename T>
INLINE vf load(const T* p, int64_t n) {
  if (n >= kLanes) return load(p);
  T some[kLanes] = {};
  memcpy(some, p, n * sizeof(T));
  return load(some);
}

template <typename T>
INLINE void store(T* p, vf x, int64_t n) {
  if (n >= kLanes) return store(p, x);
  T some[kLanes];
  store(some, x);
  memcpy(p, some, n * sizeof(T));
}

// Two numbers in bfloat16, the first in the lower half, whose products are added up together.
struct __attribute__((may_alias)) Pair {
  uint32_t bits;
};

// sum + x y.
INLINE vf add_product(vf sum, float x, vf y) { return sum + x * y; }

#ifdef __AVX512BF16__
INLINE vu load(const Pair* p) {
  vu x;
  memcpy(&x, p, sizeof x);
  return x;
}

// Of pairs of numbers.
INLINE void store(Pair* p, vf first, vf second) {
  const auto half = [](vf x) { return (vu)_mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)x)); };
  const vu x = half(first) | half(second) << 16;
  memcpy(p, &x, sizeof x);
}

INLINE vf add_product(vf sum, Pair x, vu y) {
  return (vf)_mm512_dpbf16_ps((__m512)sum, (__m512bh)(x.bits + vu{}), (__m512bh)y);
}
#endif

INLINE float sum(vf x) {
  float total = 0;
  for (int i = 0; i < kLanes; i++) total += x[i];
  return total;
}

INLINE float largest(vf x) {
  float top = x[0];
  for (int i = 1; i < kLanes; i++) top = x[i] > top ? x[i] : top;
  return top;
}

INLINE vf exp(vf x) {
  // Cephes' expf: 2^n times a polynomial in the rest.
  x = x < -87.0f ? splat(-87.0f) : x;
  x = x > 88.0f ? splat(88.0f) : x;
  const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number
  vf shifted = x * 1.44269504088896341f + magic;
  vf n = shifted - magic;
  vf r = x - n * 0.693359375f + n * 2.12194440e-4f;
  vf y = splat(1.9875691500e-4f);
  y = y * r + 1.3981999507e-3f;
  y = y * r + 8.3334519073e-3f;
  y = y * r + 4.1665795894e-2f;
  y = y * r + 1.6666665459e-1f;
  y = y * r + 5.0000001201e-1f;
  y = y * r * r + r + 1.0f;
  return (vf)((vi)bits(y) + (((vi)bits(shifted) - 0x4b400000) << 23));
}

template <int... At>
INLINE vf shuffle(vf a, vf b) {
#ifdef __clang__
  return __builtin_shufflevector(a, b, At...);
#else
  return __builtin_shuffle(a, b, vi{At...});
#endif
}

// Swaps the bit S of the rows' numbers with that of the lanes'.
template <int S, int... Lane>
INLINE void exchange(vf* rows, std::integer_sequence<int, Lane...>) {
  for (int i = 0; i < kLanes; i++) {
    if (i & S) continue;
    const vf a = rows[i], b = rows[i | S];
    rows[i] = shuffle<(Lane & S ? (int)kLanes + (Lane ^ S) : Lane)...>(a, b);
    rows[i | S] = shuffle<(Lane & S ? (int)kLanes + Lane : Lane | S)...>(a, b);
  }
}

// As many rows as there are lanes become columns.
INLINE void transpose(vf* rows) {
  const auto lanes = std::make_integer_sequence<int, (int)kLanes>();
  exchange<1>(rows, lanes);
  exchange<2>(rows, lanes);
  if constexpr (kLanes > 4) exchange<4>(rows, lanes);
  if constexpr (kLanes > 8) exchange<8>(rows, lanes);
}

INLINE int64_t padded(int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

}  // namespace
}  // namespace covalign
