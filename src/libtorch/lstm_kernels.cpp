// See lstm_kernels.h. Compiled with COVALIGN_ISA as the name of the instruction set.

#include "lstm_kernels.h"

#include <algorithm>
#include <vector>

#include "vectors.h"

namespace covalign {
namespace {

INLINE vf sigmoid(vf x) { return 1.0f / (exp(-x) + 1.0f); }

INLINE vf tanh(vf x) {
  // Cephes' tanhf: a polynomial near zero, where 1 - 2 / (e^2x + 1) would cancel.
  vf far = 1.0f - 2.0f / (exp(x + x) + 1.0f);
  vf z = x * x;
  vf y = splat(-5.70498872745e-3f);
  y = y * z + 2.06390887954e-2f;
  y = y * z - 5.37397155531e-2f;
  y = y * z + 1.33314422036e-1f;
  y = y * z - 3.33332819422e-1f;
  return z < 0.390625f ? y * z * x + x : far;
}

// A block of a product's result that stays in registers: 24 of 32, or 12 of 16.
constexpr int kRows = 6;
#ifdef __AVX512F__
constexpr int kVectors = 4;
#else
constexpr int kVectors = 2;
#endif
constexpr int64_t kPanel = kVectors * kLanes;

int64_t packed_floats(int64_t rows, int64_t columns) { return rows * padded(columns); }

// Panels of kPanel columns (the last is narrower), each row of a panel after the other; what is
// beyond the columns is zero.
void pack(const float* x, int64_t row, int64_t column, int64_t rows, int64_t columns, float* out) {
  for (int64_t from = 0; from < columns; from += kPanel) {
    const int64_t count = std::min(kPanel, columns - from), wide = padded(count);
    for (int64_t i = 0; i < rows; i++, out += wide) {
      const float* source = x + i * row + from * column;
      for (int64_t j = 0; j < count; j++) out[j] = source[j * column];
      for (int64_t j = count; j < wide; j++) out[j] = 0;
    }
  }
}

// c[i] = a[i] B, or c[i] + a[i] B, for M rows and N vectors of which `columns` numbers exist. Every
// number is summed in the same order whatever M and N are.
template <int M, int N, bool Add>
void tile(const float* const* a, const float* b, float* const* c, int64_t depth, int64_t columns) {
  vf sums[M][N];
  for (int i = 0; i < M; i++)
    for (int j = 0; j < N; j++)
      sums[i][j] = Add ? load(c[i] + j * kLanes, columns - j * kLanes) : vf{};
  for (int64_t k = 0; k < depth; k++) {
    vf row[N];
    for (int j = 0; j < N; j++) row[j] = load(b + (k * N + j) * kLanes);
    for (int i = 0; i < M; i++) {
      const float x = a[i][k];
      for (int j = 0; j < N; j++) sums[i][j] += x * row[j];
    }
  }
  for (int i = 0; i < M; i++)
    for (int j = 0; j < N; j++) store(c[i] + j * kLanes, sums[i][j], columns - j * kLanes);
}

template <int N, bool Add>
void tile(int64_t rows, const float* const* a, const float* b, float* const* c, int64_t depth,
          int64_t columns) {
  switch (rows) {
    case 1: return tile<1, N, Add>(a, b, c, depth, columns);
    case 2: return tile<2, N, Add>(a, b, c, depth, columns);
    case 3: return tile<3, N, Add>(a, b, c, depth, columns);
    case 4: return tile<4, N, Add>(a, b, c, depth, columns);
    case 5: return tile<5, N, Add>(a, b, c, depth, columns);
    default: return tile<kRows, N, Add>(a, b, c, depth, columns);
  }
}

// c(i) = a(i) B, or c(i) + a(i) B, for each of `rows`; B [depth, columns] is packed.
template <bool Add, typename A, typename C>
void product(int64_t rows, A a, const float* b, C c, int64_t depth, int64_t columns) {
  for (int64_t from = 0; from < columns; from += kPanel) {
    const int64_t count = std::min(kPanel, columns - from);
    for (int64_t i = 0; i < rows; i += kRows) {
      const int64_t m = std::min<int64_t>(kRows, rows - i);
      const float* inputs[kRows];
      float* outputs[kRows];
      for (int64_t r = 0; r < m; r++) {
        inputs[r] = a(i + r);
        outputs[r] = c(i + r) + from;
      }
      switch ((count + kLanes - 1) / kLanes) {
        case 1: tile<1, Add>(m, inputs, b, outputs, depth, count); break;
        case 2: tile<2, Add>(m, inputs, b, outputs, depth, count); break;
#ifdef __AVX512F__
        case 3: tile<3, Add>(m, inputs, b, outputs, depth, count); break;
        default: tile<4, Add>(m, inputs, b, outputs, depth, count);
#endif
      }
    }
    b += depth * padded(count);
  }
}

// How many rows go on at time t: they are sorted.
INLINE int64_t alive(const Lstm& a, int64_t t, int64_t before) {
  while (before < a.rows && a.length[before] > t) before++;
  while (before > 0 && a.length[before - 1] <= t) before--;
  return before;
}

void lstm(const Lstm& a) {
  const int64_t w = a.width;
  int64_t rows = 0;
  for (int64_t t = 0; (rows = alive(a, t, rows)) > 0; t++) {
    auto token = [&](int64_t row) { return a.first[row] + t * a.step; };
    if (t > 0) {
      product<true>(
          rows, [&](int64_t i) { return a.states + (token(i) - a.step) * w; }, a.weight,
          [&](int64_t i) { return a.gates + token(i) * 4 * w; }, w, 4 * w);
    }
    for (int64_t i = 0; i < rows; i++) {
      float* gates = a.gates + token(i) * 4 * w;
      float* cells = a.cells + token(i) * w;
      float* states = a.states + token(i) * w;
      for (int64_t j = 0; j < w; j += kLanes) {
        const int64_t n = w - j;
        vf in = sigmoid(load(gates + j, n)), forget = sigmoid(load(gates + w + j, n));
        vf fresh = tanh(load(gates + 2 * w + j, n)), out = sigmoid(load(gates + 3 * w + j, n));
        vf cell = in * fresh;
        if (t > 0) cell += forget * load(cells - a.step * w + j, n);
        store(gates + j, in, n);
        store(gates + w + j, forget, n);
        store(gates + 2 * w + j, fresh, n);
        store(gates + 3 * w + j, out, n);
        store(cells + j, cell, n);
        store(states + j, out * tanh(cell), n);
      }
    }
  }
}

void lstm_backward(const Lstm& a) {
  const int64_t w = a.width, wide = padded(w);
  // What the later steps of each row leave to the one before them.
  std::vector<float> memory(2 * a.rows * wide);
  float *dstates = memory.data(), *dcells = dstates + a.rows * wide;
  int64_t rows = 0;
  for (int64_t t = a.rows > 0 ? a.length[0] - 1 : -1; t >= 0; t--) {
    rows = alive(a, t, rows);
    auto token = [&](int64_t row) { return a.first[row] + t * a.step; };
    for (int64_t i = 0; i < rows; i++) {
      float* gates = a.gates + token(i) * 4 * w;
      const float* cells = a.cells + token(i) * w;
      const float* dy = a.dstates + token(i) * w;
      for (int64_t j = 0; j < w; j += kLanes) {
        const int64_t n = w - j;
        vf in = load(gates + j, n), forget = load(gates + w + j, n);
        vf fresh = load(gates + 2 * w + j, n), out = load(gates + 3 * w + j, n);
        vf squashed = tanh(load(cells + j, n));
        vf dstate = load(dy + j, n) + load(dstates + i * wide + j);
        vf dcell = load(dcells + i * wide + j) + dstate * out * (1.0f - squashed * squashed);
        vf before = t > 0 ? load(cells - a.step * w + j, n) : vf{};
        store(gates + j, dcell * fresh * in * (1.0f - in), n);
        store(gates + w + j, dcell * before * forget * (1.0f - forget), n);
        store(gates + 2 * w + j, dcell * in * (1.0f - fresh * fresh), n);
        store(gates + 3 * w + j, dstate * squashed * out * (1.0f - out), n);
        store(dcells + i * wide + j, dcell * forget);
      }
    }
    if (t > 0) {
      product<false>(
          rows, [&](int64_t i) { return a.gates + token(i) * 4 * w; }, a.weight,
          [&](int64_t i) { return dstates + i * wide; }, 4 * w, wide);
    }
  }
}

}  // namespace

#define JOIN(a, b) a##b
#define NAME(a, b) JOIN(a, b)
extern const LstmKernels NAME(lstm_kernels_, COVALIGN_ISA);
constexpr LstmKernels NAME(lstm_kernels_, COVALIGN_ISA) = {packed_floats, pack, lstm,
                                                                     lstm_backward};

}  // namespace covalign
