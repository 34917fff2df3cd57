// See lstm_kernels.h. Compiled with COVALIGN_ISA as the name of the instruction set.

#include "lstm_kernels.h"
#include "vectors.h"

namespace covalign {
namespace {

INLINE vf sigmoid(vf x) { return 1.0f / (1.0f + exp(-x)); }
INLINE vf tanh(vf x) { return 2.0f / (1.0f + exp(-2.0f * x)) - 1.0f; }

void step(const LstmStep& s, int64_t width) {
  for (int64_t j = 0; j < width; j += kLanes) {
    const int64_t n = width - j < kLanes ? width - j : kLanes;
    vf sums[4];
    for (int64_t gate = 0; gate < 4; gate++) {
      const int64_t at = gate * width + j;
      sums[gate] = load(s.gates + at, n) + load(s.bias + at, n);
      if (s.recurrent) sums[gate] += load(s.recurrent + at, n);
    }
    const vf input = sigmoid(sums[0]), forget = sigmoid(sums[1]);
    const vf candidate = tanh(sums[2]), output = sigmoid(sums[3]);
    vf cell = input * candidate;
    if (s.before) cell += forget * load(s.before + j, n);
    const vf state = output * tanh(cell);
    store(s.gates + j, input, n);
    store(s.gates + width + j, forget, n);
    store(s.gates + 2 * width + j, candidate, n);
    store(s.gates + 3 * width + j, output, n);
    store(s.cell + j, cell, n);
    store(s.state + j, state, n);
    store(s.output + j, state, n);
  }
}

void step_backward(const LstmStepBackward& s, int64_t width) {
  for (int64_t j = 0; j < width; j += kLanes) {
    const int64_t n = width - j < kLanes ? width - j : kLanes;
    const vf input = load(s.gates + j, n), forget = load(s.gates + width + j, n);
    const vf candidate = load(s.gates + 2 * width + j, n);
    const vf output = load(s.gates + 3 * width + j, n);
    const vf squashed = tanh(load(s.cell + j, n));
    vf dstate = load(s.doutput + j, n);
    if (s.dstate) dstate += load(s.dstate + j, n);
    const vf dcell = load(s.dcell + j, n) + dstate * output * (1.0f - squashed * squashed);
    const vf before = s.before ? load(s.before + j, n) : vf{};
    store(s.dgates + j, dcell * candidate * input * (1.0f - input), n);
    store(s.dgates + width + j, dcell * before * forget * (1.0f - forget), n);
    store(s.dgates + 2 * width + j, dcell * input * (1.0f - candidate * candidate), n);
    store(s.dgates + 3 * width + j, dstate * squashed * output * (1.0f - output), n);
    store(s.dcell + j, dcell * forget, n);
  }
}

}  // namespace

#define JOIN(a, b) a##b
#define NAME(a, b) JOIN(a, b)
extern const LstmKernels NAME(lstm_kernels_, COVALIGN_ISA);
constexpr LstmKernels NAME(lstm_kernels_, COVALIGN_ISA) = {step, step_backward};

}  // namespace covalign
