// Steps of an LSTM along packed rows, of float. No libtorch here: compiled once for each instruction
// set, as kernels.h.
//
// A kernel takes some of a batch's rows from end to end, so that a caller may share rows out over
// threads; what it gives does not depend on how.

#pragma once

#include <cstdint>

namespace covalign {

// Some rows, the longest first. Row r's token at time t is first[r] + t * step.
struct Lstm {
  const int64_t *first, *length;  // [rows]
  int64_t rows, step, width;
  float* gates;  // [tokens, 4 * width]: input, forget, cell, output
  float* cells;  // [tokens, width]
  float* states;  // [tokens, width]
  const float* weight;  // of the step before's states, as `pack` or `pack_backward` lays it out
  // Backward only.
  const float* dstates;  // [tokens, width]
};

struct LstmKernels {
  int64_t (*packed_floats)(int64_t rows, int64_t columns);
  // Lays a matrix [rows, columns], element (i, j) at x[i * row + j * column], out for products.
  void (*pack)(const float* x, int64_t row, int64_t column, int64_t rows, int64_t columns,
               float* out);
  // `gates` come with x W_ih^T and the biases, and become what the activations make of them.
  void (*lstm)(const Lstm&);
  // `gates` become the gradients of what went into the activations.
  void (*lstm_backward)(const Lstm&);
};

const LstmKernels& lstm_kernels();

}  // namespace covalign
