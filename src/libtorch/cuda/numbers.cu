// Numbers in memory for the kernels here, read and written as floats. Compiled at run time by NVRTC for
// the device at hand, in front of each of the other files. No headers.

typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

// --- Numbers in memory: read and written as floats ---

struct bf16 {
  u16 bits;
};
struct f16 {
  u16 bits;
};

__device__ inline float number(float x) { return x; }
__device__ inline float number(bf16 x) { return __uint_as_float(u32(x.bits) << 16); }
__device__ inline float number(f16 x) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
  return y;
}

__device__ inline void put(float* to, float x) { *to = x; }
__device__ inline void put(bf16* to, float x) {
  // To the nearest, ties to even; NaN stays NaN.
  const u32 bits = __float_as_uint(x);
  to->bits = x != x ? 0x7fff : u16((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
__device__ inline void put(f16* to, float x) { asm("cvt.rn.f16.f32 %0, %1;" : "=h"(to->bits) : "f"(x)); }

// N numbers that lie side by side, read and written in pieces of up to 16 bytes.
template <int N, typename T>
struct alignas(sizeof(T) * N < 16 ? sizeof(T) * N : 16) Piece {
  T at[N];
};

template <int N, typename T>
__device__ inline void read(const T* from, float* to) {
  const Piece<N, T> piece = *reinterpret_cast<const Piece<N, T>*>(from);
#pragma unroll
  for (int i = 0; i < N; i++) to[i] = number(piece.at[i]);
}

template <int N, typename T>
__device__ inline void write(T* to, const float* from) {
  Piece<N, T> piece;
#pragma unroll
  for (int i = 0; i < N; i++) put(piece.at + i, from[i]);
  *reinterpret_cast<Piece<N, T>*>(to) = piece;
}

constexpr int kLanes = 32;

__device__ inline float warp_sum(float x) {
#pragma unroll
  for (int offset = 16; offset > 0; offset >>= 1) x += __shfl_xor_sync(~0u, x, offset);
  return x;
}
