// What lies between matrix products on CUDA, each in one pass; the same operations as the CPU's in
// ../kernels.cpp, with the same dropout masks. ELEMENT is the type of activations (float, bf16 or f16),
// WIDTH that of a row of hidden states, a multiple of 8. Sums over rows are taken in a fixed order: the
// same batch gives the same bits.

typedef ELEMENT element;

// --- Dropout: a hash of the key and the element's place, as in ../kernels.cpp, by ../mix.h ---

struct Dropout {
  u64 key;
  u32 threshold;  // 0 for no dropout
  float scale;    // 1 / (1 - p)
};

// What the elements of a row are multiplied by: 0, or 1 / (1 - p).
struct Mask {
  u32 first, second, threshold;
  float scale;

  // `seed` is what the keys of this step are counted from.
  __device__ Mask(const Dropout& dropout, const u64* seed, i64 row) {
    const u64 key = mix64((dropout.key + *seed) ^ mix64(u64(row)));
    first = u32(key);
    second = u32(key >> 32);
    threshold = dropout.threshold;
    scale = dropout.scale;
  }
  __device__ float at(u32 column) const {
    return mix32((first + column * 0x9e3779b9u) ^ second) >= threshold ? scale : 0.0f;
  }
};

// --- Rows of hidden states: a warp each, eight elements a lane at a time ---

constexpr int kWarps = 4;  // in a block
constexpr int kChunks = (WIDTH + 8 * kLanes - 1) / (8 * kLanes);

// Calls body(values of this lane, their first column) for every piece of a row.
template <typename F>
__device__ inline void over_row(F body) {
#pragma unroll
  for (int chunk = 0; chunk < kChunks; chunk++) {
    const int column = (chunk * kLanes + threadIdx.x % kLanes) * 8;
    if (WIDTH % (8 * kLanes) == 0 || column < WIDTH) body(chunk, column);
  }
}

// 1 / sqrt(variance + eps) of a row in `row`, which becomes its deviations from the mean times that.
__device__ inline float normalise(float (&row)[kChunks][8], float eps) {
  float total = 0;
  over_row([&](int chunk, int) {
#pragma unroll
    for (int i = 0; i < 8; i++) total += row[chunk][i];
  });
  const float mean = warp_sum(total) / WIDTH;
  float squares = 0;
  over_row([&](int chunk, int) {
#pragma unroll
    for (int i = 0; i < 8; i++) {
      row[chunk][i] -= mean;
      squares += row[chunk][i] * row[chunk][i];
    }
  });
  const float rstd = rsqrtf(warp_sum(squares) / WIDTH + eps);
  over_row([&](int chunk, int) {
#pragma unroll
    for (int i = 0; i < 8; i++) row[chunk][i] *= rstd;
  });
  return rstd;
}

// Writes a normalised row, and its scaled and shifted self times `factor` of each column.
template <typename F>
__device__ inline void put_norm(const float (&row)[kChunks][8], const float* gamma,
                                const float* beta, element* xhat, element* y, F factor) {
  over_row([&](int chunk, int column) {
    float g[8], b[8];
    read<8>(gamma + column, g);
    read<8>(beta + column, b);
    write<8>(xhat + column, row[chunk]);
#pragma unroll
    for (int i = 0; i < 8; i++) b[i] = (b[i] + row[chunk][i] * g[i]) * factor(column + i);
    write<8>(y + column, b);
  });
}

// y = LayerNorm(dropout(x + bias) + residual); x becomes the normalised rows.
extern "C" __global__ void add_norm(element* x, const float* bias, const element* residual,
                                    const float* gamma, const float* beta, element* y, float* rstds,
                                    i64 rows, float eps, Dropout dropout, const u64* seed) {
  const i64 at = i64(blockIdx.x) * kWarps + threadIdx.x / kLanes;
  if (at >= rows) return;
  const Mask mask(dropout, seed, at);
  const i64 begin = at * WIDTH;
  float row[kChunks][8];
  over_row([&](int chunk, int column) {
    float b[8], r[8];
    read<8>(x + begin + column, row[chunk]);
    read<8>(bias + column, b);
    read<8>(residual + begin + column, r);
#pragma unroll
    for (int i = 0; i < 8; i++) {
      row[chunk][i] = (row[chunk][i] + b[i]) * mask.at(column + i) + r[i];
    }
  });
  const float rstd = normalise(row, eps);
  if (threadIdx.x % kLanes == 0) rstds[at] = rstd;
  put_norm(row, gamma, beta, x + begin, y + begin, [](int) { return 1.0f; });
}

// The gradient of a LayerNorm's input, into `row`, from that of its output, `dy`; adds the gradients
// of gamma and beta to `sums`.
__device__ inline void norm_backward(float (&dy)[kChunks][8], const element* xhat,
                                     const float* gamma, float rstd, float (&sums)[2][kChunks][8]) {
  float total = 0, product = 0;
  float hat[kChunks][8];
  over_row([&](int chunk, int column) {
    float g[8];
    read<8>(xhat + column, hat[chunk]);
    read<8>(gamma + column, g);
#pragma unroll
    for (int i = 0; i < 8; i++) {
      sums[0][chunk][i] += dy[chunk][i] * hat[chunk][i];
      sums[1][chunk][i] += dy[chunk][i];
      dy[chunk][i] *= g[i];
      total += dy[chunk][i];
      product += dy[chunk][i] * hat[chunk][i];
    }
  });
  const float mean = warp_sum(total) / WIDTH, slope = warp_sum(product) / WIDTH;
  over_row([&](int chunk, int) {
#pragma unroll
    for (int i = 0; i < 8; i++) {
      dy[chunk][i] = rstd * (dy[chunk][i] - mean - hat[chunk][i] * slope);
    }
  });
}

// Adds up the warps' sums of a block, one after the other, into parts[block][S * WIDTH].
template <int S>
__device__ inline void block_sums(const float (&sums)[S][kChunks][8], float* parts) {
  __shared__ float block[S * WIDTH];
  const int warp = threadIdx.x / kLanes;
  for (int turn = 0; turn < kWarps; turn++) {
    if (warp == turn) {
      over_row([&](int chunk, int column) {
#pragma unroll
        for (int s = 0; s < S; s++) {
#pragma unroll
          for (int i = 0; i < 8; i++) {
            float* place = block + s * WIDTH + column + i;
            *place = turn == 0 ? sums[s][chunk][i] : *place + sums[s][chunk][i];
          }
        }
      });
    }
    __syncthreads();
  }
  for (int j = threadIdx.x; j < S * WIDTH; j += blockDim.x) {
    parts[i64(blockIdx.x) * S * WIDTH + j] = block[j];
  }
}

// The gradients of add_norm: `dx`, and into `xhat` the residual's. `parts` [blocks, 3 WIDTH] takes the
// sums of gamma's, beta's and the bias's over each block's rows.
extern "C" __global__ void __launch_bounds__(kWarps* kLanes)
    add_norm_backward(const element* dy, element* xhat, const float* rstds, const float* gamma,
                      element* dx, float* parts, i64 rows, Dropout dropout, const u64* seed) {
  float sums[2][kChunks][8] = {}, dbias[kChunks][8] = {};
  const i64 step = i64(gridDim.x) * kWarps;
  for (i64 at = i64(blockIdx.x) * kWarps + threadIdx.x / kLanes; at < rows; at += step) {
    const Mask mask(dropout, seed, at);
    const i64 begin = at * WIDTH;
    float row[kChunks][8];
    over_row([&](int chunk, int column) { read<8>(dy + begin + column, row[chunk]); });
    norm_backward(row, xhat + begin, gamma, rstds[at], sums);
    over_row([&](int chunk, int column) {
      write<8>(xhat + begin + column, row[chunk]);
#pragma unroll
      for (int i = 0; i < 8; i++) {
        row[chunk][i] *= mask.at(column + i);
        dbias[chunk][i] += row[chunk][i];
      }
      write<8>(dx + begin + column, row[chunk]);
    });
  }
  float all[3][kChunks][8];
#pragma unroll
  for (int chunk = 0; chunk < kChunks; chunk++) {
#pragma unroll
    for (int i = 0; i < 8; i++) {
      all[0][chunk][i] = sums[0][chunk][i];
      all[1][chunk][i] = sums[1][chunk][i];
      all[2][chunk][i] = dbias[chunk][i];
    }
  }
  block_sums(all, parts);
}

// y = dropout(LayerNorm(word + position + segment)).
extern "C" __global__ void embed(const float* words, const float* positions, const float* segments,
                                 const i64* word_at, const i64* position_at, const i64* segment_at,
                                 const float* gamma, const float* beta, element* xhat, element* y,
                                 float* rstds, i64 rows, float eps, Dropout dropout,
                                 const u64* seed) {
  const i64 at = i64(blockIdx.x) * kWarps + threadIdx.x / kLanes;
  if (at >= rows) return;
  const Mask mask(dropout, seed, at);
  const float* word = words + word_at[at] * WIDTH;
  const float* position = positions + position_at[at] * WIDTH;
  const float* segment = segments + segment_at[at] * WIDTH;
  float row[kChunks][8];
  over_row([&](int chunk, int column) {
    float p[8], s[8];
    read<8>(word + column, row[chunk]);
    read<8>(position + column, p);
    read<8>(segment + column, s);
#pragma unroll
    for (int i = 0; i < 8; i++) row[chunk][i] += p[i] + s[i];
  });
  const float rstd = normalise(row, eps);
  if (threadIdx.x % kLanes == 0) rstds[at] = rstd;
  put_norm(row, gamma, beta, xhat + at * WIDTH, y + at * WIDTH, [&](int column) { return mask.at(column); });
}

// `ds` [rows, WIDTH] takes the gradient of the sum of the three tables' rows; `parts` [blocks, 2
// WIDTH] gamma's and beta's.
extern "C" __global__ void __launch_bounds__(kWarps* kLanes)
    embed_backward(const element* dy, const element* xhat, const float* rstds, const float* gamma,
                   float* ds, float* parts, i64 rows, Dropout dropout, const u64* seed) {
  float sums[2][kChunks][8] = {};
  const i64 step = i64(gridDim.x) * kWarps;
  for (i64 at = i64(blockIdx.x) * kWarps + threadIdx.x / kLanes; at < rows; at += step) {
    const Mask mask(dropout, seed, at);
    const i64 begin = at * WIDTH;
    float row[kChunks][8];
    over_row([&](int chunk, int column) {
      read<8>(dy + begin + column, row[chunk]);
#pragma unroll
      for (int i = 0; i < 8; i++) row[chunk][i] *= mask.at(column + i);
    });
    norm_backward(row, xhat + begin, gamma, rstds[at], sums);
    over_row([&](int chunk, int column) { write<8>(ds + begin + column, row[chunk]); });
  }
  block_sums(sums, parts);
}

// --- GELU over rows of any width that is a multiple of 8 ---

// y = gelu(x + bias), the exact one; x becomes gelu'(x + bias).
extern "C" __global__ void gelu(element* x, const float* bias, element* y, i64 pieces, int width) {
  const i64 piece = i64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (piece >= pieces) return;
  const i64 at = piece * 8;
  float u[8], b[8], out[8];
  read<8>(x + at, u);
  read<8>(bias + int(at % width), b);
#pragma unroll
  for (int i = 0; i < 8; i++) {
    const float v = u[i] + b[i];
    const float cdf = 0.5f + 0.5f * erff(v * 0.70710678118654752f);
    out[i] = v * cdf;
    u[i] = cdf + v * expf(-0.5f * v * v) * 0.398942280401432678f;
  }
  write<8>(y + at, out);
  write<8>(x + at, u);
}

// d, the slope, becomes dy * d; `parts` [gridDim.y, width] takes its sums over each block's rows.
extern "C" __global__ void gelu_backward(const element* dy, element* d, float* parts, i64 rows,
                                         int width) {
  const int column = (blockIdx.x * blockDim.x + threadIdx.x) * 8;
  if (column >= width) return;
  float sums[8] = {};
#pragma unroll 2
  for (i64 row = blockIdx.y; row < rows; row += gridDim.y) {
    float g[8], s[8];
    read<8>(dy + row * width + column, g);
    read<8>(d + row * width + column, s);
#pragma unroll
    for (int i = 0; i < 8; i++) {
      g[i] *= s[i];
      sums[i] += g[i];
    }
    write<8>(d + row * width + column, g);
  }
  write<8>(parts + i64(blockIdx.y) * width + column, sums);
}

// The sums of the columns of `parts` [count, columns]. Blocks of 32 columns by 8 threads.
extern "C" __global__ void column_sums(const float* parts, float* sums, int count, int columns) {
  __shared__ float shared[8][kLanes + 1];
  const int column = blockIdx.x * kLanes + threadIdx.x;
  float total = 0;
  if (column < columns) {
#pragma unroll 4
    for (int i = threadIdx.y; i < count; i += 8) total += parts[i64(i) * columns + column];
  }
  shared[threadIdx.y][threadIdx.x] = total;
  __syncthreads();
  if (threadIdx.y == 0 && column < columns) {
    for (int i = 1; i < 8; i++) total += shared[i][threadIdx.x];
    sums[column] = total;
  }
}
