// Loops over rows that training on a CPU spends its time in, besides matrix products. No libtorch
// here: the file is compiled once for each instruction set, and the best one is taken at run time.
//
// Activations are float or bfloat16 (as its bits), parameters float; all sums are in float. A
// kernel works on the rows [begin, end), so that a caller may share rows out over threads; what
// it gives does not depend on how.

#pragma once

#include <cstdint>

namespace covalign {

struct bf16 {
  uint16_t bits;
};

// Dropout whose mask is a hash of the key and the element's place: nothing is stored, and the
// backward pass makes the same mask again.
struct Dropout {
  uint64_t key;
  float p;  // probability of zero; 0 for no dropout
};

// Rows of x: y = LayerNorm(dropout(x + bias) + residual); x becomes the normalised rows.
template <typename T>
struct AddNorm {
  T* x;  // [rows, width]
  const float* bias;
  const T* residual;
  const float *gamma, *beta;
  T* y;
  float* rstd;  // [rows]
  int64_t width;
  float eps;
  Dropout dropout;
};

// Its gradients, one of which may lie in `xhat`. Where nothing is dropped they are one, in `dresidual`.
template <typename T>
struct AddNormBackward {
  const T* dy;
  const T* xhat;
  const float *rstd, *gamma;
  T *dx, *dresidual;
  int64_t width;
  Dropout dropout;
};

// y = dropout(LayerNorm(word + position + segment)).
template <typename T>
struct Embed {
  const int64_t *words, *positions, *segments;  // rows of the tables, for each token
  const float *word_table, *position_table, *segment_table;
  const float *gamma, *beta;
  T *xhat, *y;
  float* rstd;
  int64_t width;
  float eps;
  Dropout dropout;
};

// Multi-head attention over rows of different length, one after the other in `qkv`.
template <typename T>
struct Attention {
  const T* qkv;        // [tokens, 3 * heads * depth], without bias
  const float* bias;   // [3 * heads * depth]
  const int64_t* starts;  // [rows + 1]
  int64_t heads, depth, longest;
  bool first;    // only the first token of each row asks
  float* lse;    // [tokens or rows, heads]: logarithm of the softmax's sum
  T* context;    // [tokens or rows, heads * depth]
  // Backward only.
  const T* dcontext;
  T* dqkv;  // may be `qkv`
  float* dbias;  // [rows, 3 * heads * depth]
  Dropout dropout;
};

// One AdamW step on a run of elements.
struct AdamW {
  float decay;      // 1 - learning rate * weight decay
  float step_size;  // learning rate / (1 - beta1^t)
  float beta1, beta2, eps;
  float correction;  // sqrt(1 - beta2^t)
  float grad_scale;  // gradients are multiplied by it
};

template <typename T>
struct Kernels {
  void (*add_norm)(const AddNorm<T>&, float* scratch, int64_t begin, int64_t end);
  // `sums` [3, width] takes the gradients of gamma, beta and bias of these rows.
  void (*add_norm_backward)(const AddNormBackward<T>&, float* sums, float* scratch, int64_t begin,
                            int64_t end);
  void (*embed)(const Embed<T>&, float* scratch, int64_t begin, int64_t end);
  // `ds` [rows, width] takes the gradient of the sum of the three; `sums` [2, width].
  void (*embed_backward)(const Embed<T>&, const T* dy, float* ds, float* sums, float* scratch,
                         int64_t begin, int64_t end);
  // y = gelu(x + bias); x becomes gelu'(x + bias).
  void (*gelu)(T* x, const float* bias, T* y, int64_t width, int64_t begin, int64_t end);
  // d becomes dy * d; `sums` [width] takes its column sums.
  void (*gelu_backward)(const T* dy, T* d, float* sums, int64_t width, int64_t begin, int64_t end);
  // `jobs` are pairs (row, head).
  void (*attention)(const Attention<T>&, float* scratch, int64_t begin, int64_t end);
  void (*attention_backward)(const Attention<T>&, float* scratch, int64_t begin, int64_t end);
  int64_t (*attention_scratch)(int64_t longest, int64_t depth);  // floats
  // y = x, and back, [rows, width]; rows of T begin `stride` after each other, the others lie close.
  void (*widen)(const T* x, int64_t stride, float* y, int64_t rows, int64_t width);
  void (*narrow)(const float* x, T* y, int64_t stride, int64_t rows, int64_t width);
  double (*sum_of_squares)(const T*, int64_t count);
  // `copy`, where not null, gets the parameter in bfloat16.
  void (*adamw)(const AdamW&, float* parameter, const T* gradient, float* m, float* v, bf16* copy,
                int64_t count);
  // `steps` of them without a gradient; moments that are all zero stay so.
  void (*adamw_idle)(const AdamW* steps, int64_t steps_count, float* parameter, float* m, float* v,
                     int64_t count);
};

// The best for this machine, and their instruction set's name as ATEN_CPU_CAPABILITY has it.
const Kernels<float>& float_kernels();
const Kernels<bf16>& bf16_kernels();
template <typename T>
const Kernels<T>& kernels_of();
template <>
inline const Kernels<float>& kernels_of() {
  return float_kernels();
}
template <>
inline const Kernels<bf16>& kernels_of() {
  return bf16_kernels();
}
const char* kernel_name();

// Whether attention in bfloat16 multiplies pairs of numbers, where the processor has AVX512-BF16. All that it
// multiplies is rounded to bfloat16 then.
void take_pairs(bool takes);

}  // namespace covalign
