// See kernels.h. Compiled with COVALIGN_ISA as the name of the instruction set.

#include "kernels.h"
#include "vectors.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace covalign {
namespace {

#include "mix.h"

// What a row's elements are multiplied by: 0, or 1 / (1 - p).
class Mask {
 public:
  INLINE Mask(const Dropout& dropout, int64_t row) {
    uint64_t key = mix64(dropout.key ^ mix64((uint64_t)row));
    for (uint32_t i = 0; i < kLanes; i++) lanes_[i] = i * 0x9e3779b9u;
    lanes_ += (uint32_t)key;
    second_ = (uint32_t)(key >> 32);
    threshold_ = (uint32_t)std::lrint((double)dropout.p * 4294967295.0);
    scale_ = splat(1.0f / (1.0f - dropout.p));
  }
  INLINE vf at(int64_t column) const {
    vu hash = mix32((lanes_ + (uint32_t)column * 0x9e3779b9u) ^ second_);
    vu keep = (vu)(hash >= threshold_);
    return (vf)(bits(scale_) & keep);
  }

 private:
  vu lanes_;
  uint32_t second_, threshold_;
  vf scale_;
};

// Mean and 1 / sqrt(variance + eps) of a row.
INLINE void moments(const float* row, int64_t width, float eps, float* mean, float* rstd) {
  vf total = {};
  for (int64_t j = 0; j < width; j += kLanes) total += load(row + j, width - j);
  *mean = sum(total) / width;
  vf squares = {};
  int64_t j = 0;
  for (; j + kLanes <= width; j += kLanes) {
    vf d = load(row + j) - *mean;
    squares += d * d;
  }
  float tail = 0;
  for (; j < width; j++) tail += (row[j] - *mean) * (row[j] - *mean);
  *rstd = 1.0f / std::sqrt((sum(squares) + tail) / width + eps);
}

template <typename T>
void add_norm(const AddNorm<T>& a, float* row, int64_t begin, int64_t end) {
  const int64_t w = a.width;
  for (int64_t i = begin; i < end; i++) {
    T* x = a.x + i * w;
    const T* residual = a.residual + i * w;
    const Mask mask(a.dropout, i);
    const bool drops = a.dropout.p > 0;
    for (int64_t j = 0; j < w; j += kLanes) {
      vf v = load(x + j, w - j) + load(a.bias + j, w - j);
      if (drops) v *= mask.at(j);
      store(row + j, v + load(residual + j, w - j), w - j);
    }
    float mean, rstd;
    moments(row, w, a.eps, &mean, &rstd);
    a.rstd[i] = rstd;
    for (int64_t j = 0; j < w; j += kLanes) {
      vf hat = (load(row + j, w - j) - mean) * rstd;
      store(x + j, hat, w - j);
      store(a.y + i * w + j, hat * load(a.gamma + j, w - j) + load(a.beta + j, w - j), w - j);
    }
  }
}

// The gradient of a LayerNorm's input from that of its output, `dy(j)`, into `row`; adds the
// gradients of gamma and beta to `sums`.
template <typename T, typename F>
INLINE void norm_backward(F dy, const T* xhat, const float* gamma, float rstd, int64_t w,
                          float* sums, float* row) {
  vf total = {}, product = {};
  for (int64_t j = 0; j < w; j += kLanes) {
    vf g = dy(j), hat = load(xhat + j, w - j);
    store(sums + j, load(sums + j, w - j) + g * hat, w - j);
    store(sums + w + j, load(sums + w + j, w - j) + g, w - j);
    g *= load(gamma + j, w - j);
    total += g;
    product += g * hat;
    store(row + j, g, w - j);
  }
  const float mean = sum(total) / w, slope = sum(product) / w;
  for (int64_t j = 0; j < w; j += kLanes) {
    vf hat = load(xhat + j, w - j);
    store(row + j, rstd * (load(row + j, w - j) - mean - hat * slope), w - j);
  }
}

template <typename T>
void add_norm_backward(const AddNormBackward<T>& a, float* sums, float* row, int64_t begin,
                       int64_t end) {
  const int64_t w = a.width;
  for (int64_t i = begin; i < end; i++) {
    const T* dy = a.dy + i * w;
    norm_backward([&](int64_t j) { return load(dy + j, w - j); }, a.xhat + i * w, a.gamma,
                  a.rstd[i], w, sums, row);
    const Mask mask(a.dropout, i);
    const bool drops = a.dropout.p > 0;
    float* dbias = sums + 2 * w;
    for (int64_t j = 0; j < w; j += kLanes) {
      vf d = load(row + j, w - j);
      store(a.dresidual + i * w + j, d, w - j);
      if (drops) {
        d *= mask.at(j);
        store(a.dx + i * w + j, d, w - j);
      }
      store(dbias + j, load(dbias + j, w - j) + d, w - j);
    }
  }
}

template <typename T>
void embed(const Embed<T>& a, float* row, int64_t begin, int64_t end) {
  const int64_t w = a.width;
  for (int64_t i = begin; i < end; i++) {
    const float* word = a.word_table + a.words[i] * w;
    const float* position = a.position_table + a.positions[i] * w;
    const float* segment = a.segment_table + a.segments[i] * w;
    for (int64_t j = 0; j < w; j += kLanes) {
      vf s = load(word + j, w - j) + load(position + j, w - j) + load(segment + j, w - j);
      store(row + j, s, w - j);
    }
    float mean, rstd;
    moments(row, w, a.eps, &mean, &rstd);
    a.rstd[i] = rstd;
    const Mask mask(a.dropout, i);
    const bool drops = a.dropout.p > 0;
    for (int64_t j = 0; j < w; j += kLanes) {
      vf hat = (load(row + j, w - j) - mean) * rstd;
      store(a.xhat + i * w + j, hat, w - j);
      vf y = hat * load(a.gamma + j, w - j) + load(a.beta + j, w - j);
      if (drops) y *= mask.at(j);
      store(a.y + i * w + j, y, w - j);
    }
  }
}

template <typename T>
void embed_backward(const Embed<T>& a, const T* dy, float* ds, float* sums, float*, int64_t begin,
                    int64_t end) {
  const int64_t w = a.width;
  for (int64_t i = begin; i < end; i++) {
    const Mask mask(a.dropout, i);
    const bool drops = a.dropout.p > 0;
    auto gradient = [&](int64_t j) {
      vf g = load(dy + i * w + j, w - j);
      return drops ? g * mask.at(j) : g;
    };
    norm_backward(gradient, a.xhat + i * w, a.gamma, a.rstd[i], w, sums, ds + i * w);
  }
}

template <typename T>
void gelu(T* x, const float* bias, T* y, int64_t w, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; i++) {
    for (int64_t j = 0; j < w; j += kLanes) {
      vf u = load(x + i * w + j, w - j) + load(bias + j, w - j);
      // erf after Abramowitz and Stegun 7.1.26, within 1.5e-7.
      vf magnitude = (vf)(bits(u) & 0x7fffffffu) * 0.70710678118654752f;
      vf t = 1.0f / (magnitude * 0.3275911f + 1.0f);
      vf bell = exp(u * u * -0.5f);
      vf tail = ((((t * 1.061405429f - 1.453152027f) * t + 1.421413741f) * t - 0.284496736f) * t +
                 0.254829592f) *
                t * bell * 0.5f;
      vf cdf = u < 0.0f ? tail : 1.0f - tail;
      store(y + i * w + j, u * cdf, w - j);
      store(x + i * w + j, cdf + u * bell * 0.398942280401432678f, w - j);
    }
  }
}

template <typename T>
void gelu_backward(const T* dy, T* d, float* sums, int64_t w, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; i++) {
    for (int64_t j = 0; j < w; j += kLanes) {
      vf g = load(dy + i * w + j, w - j) * load(d + i * w + j, w - j);
      store(d + i * w + j, g, w - j);
      store(sums + j, load(sums + j, w - j) + g, w - j);
    }
  }
}

template <typename T>
void widen(const T* x, int64_t stride, float* y, int64_t rows, int64_t w) {
  for (int64_t i = 0; i < rows; i++) {
    for (int64_t j = 0; j < w; j += kLanes) store(y + i * w + j, load(x + i * stride + j, w - j), w - j);
  }
}

template <typename T>
void narrow(const float* x, T* y, int64_t stride, int64_t rows, int64_t w) {
  for (int64_t i = 0; i < rows; i++) {
    for (int64_t j = 0; j < w; j += kLanes) store(y + i * stride + j, load(x + i * w + j, w - j), w - j);
  }
}

// --- Attention: small matrix products in the cache ---

// Rows and vectors of a block of the result that stays in registers: 16 of 32, or 12 of 16.
#ifdef __AVX512F__
constexpr int kRows = 8;
#else
constexpr int kRows = 6;
#endif

// What a product takes at a time of what it sums over: a number, or a pair of numbers in bfloat16.
template <typename E>
constexpr int64_t kPer = 1;
template <>
constexpr int64_t kPer<Pair> = 2;

template <typename E>
INLINE int64_t steps(int64_t count) {
  return (count + kPer<E> - 1) / kPer<E>;
}

// A matrix whose element (i, k) is at p[i * row + k * column].
template <typename E>
struct Strided {
  const E* p;
  int64_t row, column;
  INLINE Strided from(int64_t i) const { return {p + i * row, row, column}; }
};

template <int M, int N, bool Add, typename E>
INLINE void tile(Strided<E> a, const E* b, int64_t ldb, float* c, int64_t ldc, int64_t k_count) {
  vf acc[M][N];
  for (int i = 0; i < M; i++)
    for (int j = 0; j < N; j++) acc[i][j] = Add ? load(c + i * ldc + j * kLanes) : vf{};
  for (int64_t k = 0; k < k_count; k++) {
    decltype(load(b)) row[N];
    for (int j = 0; j < N; j++) row[j] = load(b + k * ldb + j * kLanes);
    for (int i = 0; i < M; i++) {
      const E x = a.p[i * a.row + k * a.column];
      for (int j = 0; j < N; j++) acc[i][j] = add_product(acc[i][j], x, row[j]);
    }
  }
  for (int i = 0; i < M; i++)
    for (int j = 0; j < N; j++) store(c + i * ldc + j * kLanes, acc[i][j]);
}

template <int M, bool Add, typename E>
INLINE void strip(Strided<E> a, const E* b, int64_t ldb, float* c, int64_t ldc, int64_t n,
                  int64_t k) {
  int64_t j = 0;
  for (; j + 2 * kLanes <= n; j += 2 * kLanes) tile<M, 2, Add>(a, b + j, ldb, c + j, ldc, k);
  if (j < n) tile<M, 1, Add>(a, b + j, ldb, c + j, ldc, k);
}

// The last rows of a product, fewer than M + 1, all at once.
template <int M, bool Add, typename E>
INLINE void rest(Strided<E> a, const E* b, int64_t ldb, float* c, int64_t ldc, int64_t m, int64_t n,
                 int64_t k) {
  if constexpr (M > 0) {
    if (m == M) return strip<M, Add>(a, b, ldb, c, ldc, n, k);
    rest<M - 1, Add>(a, b, ldb, c, ldc, m, n, k);
  }
}

// C [m, n] = A [m, k] B [k, n], or C + A B; n is a multiple of the lanes, and k a number of `steps`.
template <bool Add, typename E>
void product(Strided<E> a, const E* b, int64_t ldb, float* c, int64_t ldc, int64_t m, int64_t n,
             int64_t k) {
  int64_t i = 0;
  for (; i + kRows <= m; i += kRows) strip<kRows, Add>(a.from(i), b, ldb, c + i * ldc, ldc, n, k);
  rest<kRows - 1, Add>(a.from(i), b, ldb, c + i * ldc, ldc, m - i, n, k);
}

constexpr int64_t kBlock = 32;  // queries at a time

// Rows of one head: source + bias, times scale, [rows, padded(depth)].
template <typename T>
INLINE void unpack(const T* source, int64_t stride, const float* bias, float scale, int64_t rows,
                   int64_t depth, float* out) {
  const int64_t d = padded(depth);
  for (int64_t i = 0; i < rows; i++) {
    for (int64_t j = 0; j < depth; j += kLanes) {
      vf x = load(source + i * stride + j, depth - j);
      if (bias) x += load(bias + j, depth - j);
      store(out + i * d + j, x * scale);
    }
  }
}

// x [rows, width] in E, for a product that sums along its rows, or across them. `room` is of as many numbers of E, and
// may be x; numbers in float32 stay where they are.
template <typename E>
INLINE const E* along(const float* x, int64_t rows, int64_t width, float* room) {
  if constexpr (kPer<E> == 1) {
    return x;
  } else {
    for (int64_t i = 0; i < rows * width; i += kLanes) store(reinterpret_cast<bf16*>(room) + i, load(x + i));
    return reinterpret_cast<const E*>(room);
  }
}

template <typename E>
INLINE const E* across(const float* x, int64_t rows, int64_t width, float* room) {
  if constexpr (kPer<E> == 1) {
    return x;
  } else {
    E* pairs = reinterpret_cast<E*>(room);
    for (int64_t i = 0; i < rows; i += 2) {
      const float *first = x + i * width, *second = first + width;
      for (int64_t j = 0; j < width; j += kLanes) {
        store(pairs + i / 2 * width + j, load(first + j), i + 1 < rows ? load(second + j) : vf{});
      }
    }
    return pairs;
  }
}

// x [rows, padded(depth)] to [steps(depth), ld] of E, where zeros stand behind the rows; ld is a multiple of the lanes.
// `room` is as `along`'s.
template <typename E>
INLINE const E* transposed(const float* x, int64_t rows, int64_t depth, float* out, int64_t ld, float* room) {
  const int64_t d = padded(depth), count = steps<E>(depth), stride = d / kPer<E>;
  const float* source = reinterpret_cast<const float*>(along<E>(x, rows, d, room));
  for (int64_t i = 0; i < ld; i += kLanes) {
    for (int64_t j = 0; j < count; j += kLanes) {
      vf block[kLanes];
      for (int64_t r = 0; r < kLanes; r++) {
        block[r] = i + r < rows ? load(source + (i + r) * stride + j) : vf{};
      }
      transpose(block);
      const int64_t columns = std::min(kLanes, count - j);
      for (int64_t c = 0; c < columns; c++) store(out + (j + c) * ld + i, block[c]);
    }
  }
  return reinterpret_cast<const E*>(out);
}

// Where one pair (row, head) lies.
struct Job {
  int64_t start, length, head, queries, width, stride, out;
  INLINE uint64_t place(int64_t query, int64_t heads) const {
    return (uint64_t)((start + query) * heads + head);
  }
};

template <typename T>
INLINE Job job_at(const Attention<T>& a, int64_t index) {
  Job job;
  const int64_t row = index / a.heads;
  job.head = index % a.heads;
  job.start = a.starts[row];
  job.length = a.starts[row + 1] - job.start;
  job.queries = a.first ? 1 : job.length;
  job.width = a.heads * a.depth;
  job.stride = 3 * job.width;
  job.out = a.first ? row : job.start;
  return job;
}

template <typename E>
int64_t attention_scratch(int64_t longest, int64_t depth) {
  const int64_t l = padded(longest), d = padded(depth);
  // q, kT, v, k, vT, do, dk, dv; scores and their gradient; dq and its sums.
  const int64_t floats = 8 * l * d + 2 * kBlock * l + kBlock * d + d;
  // q, k and do, and the gradient of scores, once more.
  return kPer<E> == 1 ? floats : floats + (3 * l * d + kBlock * l) / kPer<E>;
}

template <typename T, typename E>
void attention(const Attention<T>& a, float* scratch, int64_t begin, int64_t end) {
  const float scale = 1.0f / std::sqrt((float)a.depth);
  const int64_t d = padded(a.depth);
  for (int64_t index = begin; index < end; index++) {
    const Job job = job_at(a, index);
    const int64_t length = job.length, l = padded(length);
    float *q = scratch, *k = q + l * d, *kt = k + l * d, *v = kt + l * d;
    float *scores = v + l * d, *out = scores + kBlock * l;
    const int64_t step = d / kPer<E>;
    const T* source = a.qkv + job.start * job.stride + job.head * a.depth;
    const float* bias = a.bias + job.head * a.depth;
    unpack(source, job.stride, bias, scale, job.queries, a.depth, q);
    const E* queries = along<E>(q, job.queries, d, q);
    unpack(source + job.width, job.stride, bias + job.width, 1.0f, length, a.depth, k);
    const E* keys = transposed<E>(k, length, a.depth, kt, l, k);
    unpack(source + 2 * job.width, job.stride, bias + 2 * job.width, 1.0f, length, a.depth, v);
    const E* values = across<E>(v, length, d, v);
    for (int64_t first = 0; first < job.queries; first += kBlock) {
      const int64_t count = std::min(kBlock, job.queries - first);
      product<false, E>({queries + first * step, step, 1}, keys, l, scores, l, count, l, steps<E>(a.depth));
      for (int64_t i = 0; i < count; i++) {
        float* row = scores + i * l;
        for (int64_t j = length; j < l; j++) row[j] = -INFINITY;
        vf top = load(row);
        for (int64_t j = kLanes; j < l; j += kLanes) {
          vf x = load(row + j);
          top = x > top ? x : top;
        }
        const float most = largest(top);
        vf total = {};
        for (int64_t j = 0; j < l; j += kLanes) {
          vf x = exp(load(row + j) - most);
          store(row + j, x);
          total += x;
        }
        // The padding's share, exp of the smallest number that exp takes, is below float's grain,
        // but the values there are no rows.
        for (int64_t j = length; j < l; j++) row[j] = 0;
        const float all = sum(total);
        a.lse[(job.out + first + i) * a.heads + job.head] = most + std::log(all);
        if (a.dropout.p > 0) {
          const Mask mask(a.dropout, job.place(first + i, a.heads));
          for (int64_t j = 0; j < l; j += kLanes) {
            store(row + j, load(row + j) * mask.at(j) * (1.0f / all));
          }
        } else {
          for (int64_t j = 0; j < l; j += kLanes) store(row + j, load(row + j) * (1.0f / all));
        }
      }
      const E* weights = along<E>(scores, count, l, scores);
      product<false, E>({weights, l / kPer<E>, 1}, values, d, out, d, count, d, steps<E>(length));
      for (int64_t i = 0; i < count; i++) {
        T* row = a.context + (job.out + first + i) * job.width + job.head * a.depth;
        for (int64_t j = 0; j < a.depth; j += kLanes) {
          store(row + j, load(out + i * d + j), a.depth - j);
        }
      }
    }
  }
}

// Writes [rows, depth] times scale into dqkv and its column sums into dbias.
template <typename T>
INLINE void pack(const float* x, float scale, int64_t rows, int64_t depth, T* out, int64_t stride,
                 float* dbias) {
  const int64_t d = padded(depth);
  for (int64_t j = 0; j < depth; j += kLanes) {
    vf total = {};
    for (int64_t i = 0; i < rows; i++) {
      vf g = load(x + i * d + j) * scale;
      store(out + i * stride + j, g, depth - j);
      total += g;
    }
    store(dbias + j, total, depth - j);
  }
}

template <typename T, typename E>
void attention_backward(const Attention<T>& a, float* scratch, int64_t begin, int64_t end) {
  const float scale = 1.0f / std::sqrt((float)a.depth);
  const int64_t d = padded(a.depth);
  for (int64_t index = begin; index < end; index++) {
    const Job job = job_at(a, index);
    const int64_t length = job.length, l = padded(length);
    float *q = scratch, *k = q + l * d, *kt = k + l * d, *v = kt + l * d, *vt = v + l * d;
    float *dout = vt + l * d, *dk = dout + l * d, *dv = dk + l * d;
    float *scores = dv + l * d, *ds = scores + kBlock * l, *dq = ds + kBlock * l;
    float* query_sums = dq + kBlock * d;
    // Where numbers become pairs; those that are summed across their rows become so where they lie.
    const int64_t step = d / kPer<E>;
    float *q_room = query_sums + d, *k_room = q_room + l * step, *dout_room = k_room + l * step;
    float* ds_room = dout_room + l * step;
    const T* source = a.qkv + job.start * job.stride + job.head * a.depth;
    const float* bias = a.bias + job.head * a.depth;
    unpack(source, job.stride, bias, scale, job.queries, a.depth, q);
    unpack(source + job.width, job.stride, bias + job.width, 1.0f, length, a.depth, k);
    unpack(source + 2 * job.width, job.stride, bias + 2 * job.width, 1.0f, length, a.depth, v);
    const int64_t at = job.out * job.width + job.head * a.depth;
    unpack(a.dcontext + at, job.width, nullptr, 1.0f, job.queries, a.depth, dout);
    const E* queries = along<E>(q, job.queries, d, q_room);
    const E* summed_queries = across<E>(q, job.queries, d, q);
    const E* keys = transposed<E>(k, length, a.depth, kt, l, k_room);
    const E* summed_keys = across<E>(k, length, d, k);
    const E* values = transposed<E>(v, length, a.depth, vt, l, v);
    const E* douts = along<E>(dout, job.queries, d, dout_room);
    const E* summed_douts = across<E>(dout, job.queries, d, dout);
    memset(dk, 0, sizeof(float) * 2 * l * d);  // and dv
    T* target = a.dqkv + job.start * job.stride + job.head * a.depth;
    float* dbias = a.dbias + index / a.heads * job.stride + job.head * a.depth;
    memset(query_sums, 0, sizeof(float) * d);
    for (int64_t first = 0; first < job.queries; first += kBlock) {
      const int64_t count = std::min(kBlock, job.queries - first);
      product<false, E>({queries + first * step, step, 1}, keys, l, scores, l, count, l, steps<E>(a.depth));
      product<false, E>({douts + first * step, step, 1}, values, l, ds, l, count, l, steps<E>(a.depth));
      for (int64_t i = 0; i < count; i++) {
        float *p = scores + i * l, *g = ds + i * l;
        const float lse = a.lse[(job.out + first + i) * a.heads + job.head];
        // delta = dO · O = sum of dP over the (dropped) weights.
        vf delta = {};
        if (a.dropout.p > 0) {
          const Mask mask(a.dropout, job.place(first + i, a.heads));
          for (int64_t j = 0; j < l; j += kLanes) {
            vf weight = exp(load(p + j) - lse), kept = mask.at(j);
            vf gradient = load(g + j) * kept;
            delta += weight * gradient;
            store(g + j, gradient);
            store(p + j, weight);
          }
          for (int64_t j = length; j < l; j++) p[j] = 0;
          const float shift = sum(delta);
          for (int64_t j = 0; j < l; j += kLanes) {
            vf weight = load(p + j);
            store(g + j, weight * (load(g + j) - shift));
            store(p + j, weight * mask.at(j));
          }
        } else {
          for (int64_t j = 0; j < l; j += kLanes) {
            vf weight = exp(load(p + j) - lse);
            delta += weight * load(g + j);
            store(p + j, weight);
          }
          for (int64_t j = length; j < l; j++) p[j] = 0;
          const float shift = sum(delta);
          for (int64_t j = 0; j < l; j += kLanes) {
            store(g + j, load(p + j) * (load(g + j) - shift));
          }
        }
      }
      const E* dscores = along<E>(ds, count, l, ds_room);
      const E* summed_dscores = across<E>(ds, count, l, ds);
      const E* summed_weights = across<E>(scores, count, l, scores);
      product<true, E>({summed_weights, 1, l}, summed_douts + first * step, d, dv, d, length, d, steps<E>(count));
      product<true, E>({summed_dscores, 1, l}, summed_queries + first * step, d, dk, d, length, d, steps<E>(count));
      product<false, E>({dscores, l / kPer<E>, 1}, summed_keys, d, dq, d, count, d, steps<E>(length));
      for (int64_t i = 0; i < count; i++) {
        T* row = target + (first + i) * job.stride;
        for (int64_t j = 0; j < a.depth; j += kLanes) {
          vf x = load(dq + i * d + j) * scale;
          store(row + j, x, a.depth - j);
          store(query_sums + j, load(query_sums + j) + x);
        }
      }
    }
    memcpy(dbias, query_sums, sizeof(float) * a.depth);
    for (int64_t i = job.queries; i < length; i++) {
      memset(target + i * job.stride, 0, sizeof(T) * a.depth);
    }
    // q came scaled, so dk is whole.
    pack(dk, 1.0f, length, a.depth, target + job.width, job.stride, dbias + job.width);
    pack(dv, 1.0f, length, a.depth, target + 2 * job.width, job.stride, dbias + 2 * job.width);
  }
}

// --- Optimiser ---

template <typename T>
double sum_of_squares(const T* x, int64_t count) {
  double total = 0;
  for (int64_t i = 0; i < count; i += 4096) {
    vf part = {};
    const int64_t end = std::min(count, i + 4096);
    for (int64_t j = i; j < end; j += kLanes) {
      vf v = load(x + j, end - j);
      part += v * v;
    }
    total += sum(part);
  }
  return total;
}

INLINE vf square_root(vf x) {
  vf y;
  for (int i = 0; i < kLanes; i++) y[i] = std::sqrt(x[i]);
  return y;
}

INLINE void adamw_vector(const AdamW& a, vf g, vf& p, vf& m, vf& v) {
  p *= a.decay;
  m += (g - m) * (1.0f - a.beta1);
  v = v * a.beta2 + g * g * (1.0f - a.beta2);
  p -= m * a.step_size / (square_root(v) / a.correction + a.eps);
}

template <typename T>
void adamw(const AdamW& a, float* parameter, const T* gradient, float* m, float* v, bf16* copy,
           int64_t count) {
  for (int64_t j = 0; j < count; j += kLanes) {
    const int64_t n = count - j;
    vf p = load(parameter + j, n), first = load(m + j, n), second = load(v + j, n);
    adamw_vector(a, load(gradient + j, n) * a.grad_scale, p, first, second);
    store(parameter + j, p, n);
    store(m + j, first, n);
    store(v + j, second, n);
    if (copy) store(copy + j, p, n);
  }
}

void adamw_idle(const AdamW* steps, int64_t steps_count, float* parameter, float* m, float* v,
                int64_t count) {
  for (int64_t j = 0; j < count; j += kLanes) {
    const int64_t n = count - j;
    vf p = load(parameter + j, n), first = load(m + j, n), second = load(v + j, n);
    const bool still = sum((vf)(bits(first) & 0x7fffffffu)) == 0 && sum(second) == 0;
    if (still) {
      for (int64_t s = 0; s < steps_count; s++) p *= steps[s].decay;
    } else {
      for (int64_t s = 0; s < steps_count; s++) adamw_vector(steps[s], vf{}, p, first, second);
      store(m + j, first, n);
      store(v + j, second, n);
    }
    store(parameter + j, p, n);
  }
}

// With attention's products in E.
template <typename T, typename E = float>
constexpr Kernels<T> kernels() {
  return {add_norm<T>,          add_norm_backward<T>, embed<T>,        embed_backward<T>,
          gelu<T>,              gelu_backward<T>,     attention<T, E>, attention_backward<T, E>,
          attention_scratch<E>, widen<T>,             narrow<T>,       sum_of_squares<T>,
          adamw<T>,             adamw_idle};
}

}  // namespace

#define JOIN(a, b) a##b
#define NAME(a, b) JOIN(a, b)
// Constants, so that no code of this instruction set runs at start on a machine that lacks it.
extern const Kernels<bf16> NAME(bf16_kernels_, COVALIGN_ISA);
constexpr Kernels<bf16> NAME(bf16_kernels_, COVALIGN_ISA) = kernels<bf16>();
#ifdef __AVX512BF16__
extern const Kernels<bf16> NAME(paired_kernels_, COVALIGN_ISA);
constexpr Kernels<bf16> NAME(paired_kernels_, COVALIGN_ISA) = kernels<bf16, Pair>();
#else
// float32 gains nothing by AVX512-BF16.
extern const Kernels<float> NAME(float_kernels_, COVALIGN_ISA);
constexpr Kernels<float> NAME(float_kernels_, COVALIGN_ISA) = kernels<float>();
#endif

}  // namespace covalign
