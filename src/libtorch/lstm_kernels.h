// The pointwise part of an LSTM's step, as kernels.h's: compiled once for each instruction set.

#pragma once

#include <cstdint>

namespace covalign {

// One row's step. Gates are input, forget, cell, output, `width` of each.
struct LstmStep {
  // [4 width]; before: the product with the input, after: the gates.
  float* gates;
  // [4 width]: the product with the state before, or null at the first step.
  const float* recurrent;
  const float* bias;    // [4 width]
  const float* before;  // the cell before, [width], or null at the first step
  float* cell;          // [width]
  float* state;         // [width]
  float* output;        // [width]: the state once more
};

struct LstmStepBackward {
  const float* gates;   // as the step has left them
  const float* before;  // or null
  const float* cell;
  const float* doutput;  // [width]
  const float* dstate;   // [width], from the step after, or null at the last step
  float* dcell;          // [width]; before: from the step after, after: for the step before
  float* dgates;         // [4 width]: the gradient of what the gates were made of
};

struct LstmKernels {
  void (*step)(const LstmStep&, int64_t width);
  void (*step_backward)(const LstmStepBackward&, int64_t width);
};

// The best for this machine.
const LstmKernels& lstm_kernels();

}  // namespace covalign
