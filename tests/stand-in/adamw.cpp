// The optimiser's kernels for CUDA, compiled by g++ and run by threads in place of a device's, beside
// libtorch's fused AdamW. Prints the largest differences.

#include <ATen/ATen.h>
#include <pthread.h>

#include <cmath>
#include <cstdio>
#include <thread>
#include <vector>

// --- CUDA's words ---

#define __global__
#define __device__
#define __shared__ static
#define asm(...) abort()  // numbers of 16 bits that are no bf16: none here

using std::isfinite;

struct Place {
  unsigned x;
};
constexpr unsigned kThreads = 64;
thread_local Place threadIdx;
Place blockIdx;
const Place blockDim{kThreads};

pthread_barrier_t block_barrier, warp_barriers[kThreads / 32];
void __syncthreads() { pthread_barrier_wait(&block_barrier); }
float __shfl_xor_sync(unsigned, float x, int offset) {
  static float lanes[kThreads];
  auto* barrier = &warp_barriers[threadIdx.x / 32];
  lanes[threadIdx.x] = x;
  pthread_barrier_wait(barrier);
  const float y = lanes[threadIdx.x ^ offset];
  pthread_barrier_wait(barrier);
  return y;
}
template <typename To, typename From>
To same_bits(From x) {
  To y;
  memcpy(&y, &x, sizeof y);
  return y;
}
float __uint_as_float(unsigned x) { return same_bits<float>(x); }
unsigned __float_as_uint(float x) { return same_bits<unsigned>(x); }

// Calls a kernel for every thread of every block, a block at a time.
template <typename F>
void launch(unsigned blocks, F kernel) {
  for (blockIdx.x = 0; blockIdx.x < blocks; blockIdx.x++) {
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < kThreads; i++) {
      threads.emplace_back([=] {
        threadIdx.x = i;
        kernel();
      });
    }
    for (auto& thread : threads) thread.join();
  }
}

namespace kernels {
#include "../../src/libtorch/cuda/numbers.cu"
#include "../../src/libtorch/cuda/optimizer.cu"
}  // namespace kernels

// --- Both on the same parameters ---

using at::Tensor;

// |a − b|, relative to the largest |b|.
double difference(const Tensor& a, const Tensor& b) {
  return ((a - b).abs().max() / b.abs().max().clamp_min(1e-30)).item().toDouble();
}

int main() {
  pthread_barrier_init(&block_barrier, nullptr, kThreads);
  for (auto& barrier : warp_barriers) pthread_barrier_init(&barrier, nullptr, 32);

  constexpr double rate = 1e-2, beta1 = 0.9, beta2 = 0.999, decay = 0.1, clip = 5;
  constexpr float eps = 1e-8;
  double norms = 0, values = 0, moments = 0;
  for (const bool half : {false, true}) {
    const auto kind = half ? at::kBFloat16 : at::kFloat;
    std::vector<Tensor> value, leaf, m, v, t, other, other_m, other_v, other_t;
    // More than a run, no multiple of what a thread takes, less than that.
    for (const int64_t size : {70001, 1030, 3}) {
      value.push_back(at::randn({size}, at::kFloat));
      leaf.push_back(value.back().to(kind));
      for (auto* zeros : {&m, &v, &other_m, &other_v}) zeros->push_back(at::zeros_like(value.back()));
      for (auto* count : {&t, &other_t}) count->push_back(at::full({}, 0.0f));
      other.push_back(value.back().clone());
    }
    for (int step = 0; step < 3; step++) {
      std::vector<Tensor> gradient, wide, lengths;
      std::vector<kernels::Parameter> table;
      std::vector<kernels::Run> runs;
      for (int i = 0; i < int(value.size()); i++) {
        gradient.push_back(at::randn_like(value[i]).to(kind));
        wide.push_back(gradient[i].to(at::kFloat));
        lengths.push_back(at::linalg_vector_norm(wide[i].to(at::kDouble)));
        table.push_back({value[i].data_ptr<float>(), half ? leaf[i].data_ptr() : nullptr,
                         gradient[i].data_ptr(), m[i].data_ptr<float>(), v[i].data_ptr<float>(),
                         t[i].data_ptr<float>(), half, half, float(rate), float(decay)});
        for (int64_t begin = 0; begin < value[i].numel(); begin += 1 << 16) {
          const int64_t rest = value[i].numel() - begin;
          runs.push_back({i, int(std::min<int64_t>(rest, 1 << 16)), begin});
        }
      }
      std::vector<float> sums(runs.size());
      std::vector<kernels::Correction> corrections(table.size());
      kernels::Norm norm;
      const kernels::AdamW a{beta1, beta2, eps};
      launch(runs.size(), [&] { kernels::sums_of_squares(table.data(), runs.data(), sums.data()); });
      launch(1, [&] {
        kernels::gradient_norm(table.data(), table.size(), sums.data(), sums.size(), clip, nullptr, a,
                               &norm, corrections.data());
      });
      launch(runs.size(), [&] {
        kernels::adamw(table.data(), runs.data(), &norm, corrections.data(), a);
      });

      const double length = at::linalg_vector_norm(at::stack(lengths)).item().toDouble();
      norms = std::max(norms, std::abs(norm.norm - length) / length);
      for (auto& g : wide) g *= norm.multiplier;
      for (auto& count : other_t) count += 1;
      at::_fused_adamw_(other, wide, other_m, other_v, {}, other_t, rate, beta1, beta2, decay, eps,
                        /*amsgrad=*/false, /*maximize=*/false);
      for (size_t i = 0; i < value.size(); i++) {
        values = std::max(values, difference(value[i], other[i]));
        moments = std::max({moments, difference(m[i], other_m[i]), difference(v[i], other_v[i])});
        TORCH_CHECK(t[i].item().toFloat() == step + 1 && leaf[i].equal(half ? value[i].to(kind) : leaf[i]));
      }
    }
  }
  printf("norm %g values %g moments %g\n", norms, values, moments);
}
