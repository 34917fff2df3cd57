// The gradients' norm and AdamW over all parameters at once; the formulas are those of libtorch's
// fused AdamW (Loshchilov and Hutter 2019) and of torch.nn.utils.clip_grad_norm_.

// A parameter. Kinds of numbers: 0 float, 1 bfloat16, 2 half.
struct Parameter {
  float* value;
  void* leaf;  // null, or its copy in half precision, which is renewed
  const void* gradient;
  float *m, *v;
  float* steps;  // taken so far
  int leaf_kind, gradient_kind;
  float learning_rate, weight_decay;
};

// Elements [begin, begin + count) of a parameter.
struct Run {
  int parameter, count;
  i64 begin;
};

// What a step's length depends on.
struct Norm {
  float norm;        // of all gradients together, before clipping
  float multiplier;  // of the gradients
  float not_finite;  // 1 where nothing may move, else 0
};

struct AdamW {
  double beta1, beta2;
  float eps;
};

// Of one parameter's step: learning rate / (1 - beta1^t), sqrt(1 - beta2^t).
struct Correction {
  float step_size, root;
};

constexpr int kAtOnce = 4;

template <typename F>
__device__ inline void by_kind(int kind, const void* numbers, F body) {
  if (kind == 1) return body(static_cast<const bf16*>(numbers));
  if (kind == 2) return body(static_cast<const f16*>(numbers));
  body(static_cast<const float*>(numbers));
}

__device__ inline float block_sum(float x) {
  __shared__ float shared[kLanes];
  x = warp_sum(x);
  if (threadIdx.x % kLanes == 0) shared[threadIdx.x / kLanes] = x;
  __syncthreads();
  if (threadIdx.x < kLanes) {
    x = warp_sum(threadIdx.x < blockDim.x / kLanes ? shared[threadIdx.x] : 0.0f);
  }
  return x;
}

// sums[block] takes the sum of squares of the gradients of runs[block].
extern "C" __global__ void sums_of_squares(const Parameter* parameters, const Run* runs,
                                           float* sums) {
  const Run run = runs[blockIdx.x];
  const Parameter parameter = parameters[run.parameter];
  float total = 0;
  by_kind(parameter.gradient_kind, parameter.gradient, [&](auto* all) {
    auto* gradient = all + run.begin;
    const int whole = run.count / 8 * 8;
    for (int i = threadIdx.x * 8; i < whole; i += blockDim.x * 8) {
      float g[8];
      read<8>(gradient + i, g);
#pragma unroll
      for (int j = 0; j < 8; j++) total += g[j] * g[j];
    }
    for (int i = whole + threadIdx.x; i < run.count; i += blockDim.x) {
      const float g = number(gradient[i]);
      total += g * g;
    }
  });
  total = block_sum(total);
  if (threadIdx.x == 0) sums[blockIdx.x] = total;
}

// One block: the norm from `count` sums; and where all is finite, every parameter's next step begins.
// `loss_scale` may be null.
extern "C" __global__ void gradient_norm(const Parameter* parameters, int parameter_count,
                                         const float* sums, int count, float clip_norm,
                                         const float* loss_scale, AdamW a, Norm* norm,
                                         Correction* corrections) {
  __shared__ double shared[1024];
  __shared__ float moves;
  double total = 0;
  for (int i = threadIdx.x; i < count; i += blockDim.x) total += sums[i];
  shared[threadIdx.x] = total;
  __syncthreads();
  for (int half = blockDim.x / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
    __syncthreads();
  }
  if (threadIdx.x == 0) {
    const float scale = loss_scale ? *loss_scale : 1.0f;
    const float length = float(sqrt(shared[0])) / scale;
    const float divisor = clip_norm > 0 ? fmaxf((length + 1e-6f) / clip_norm, 1.0f) : 1.0f;
    moves = isfinite(length) ? 1.0f : 0.0f;
    norm->norm = length;
    norm->multiplier = 1.0f / (divisor * scale);
    norm->not_finite = 1.0f - moves;
  }
  __syncthreads();
  for (int i = threadIdx.x; i < parameter_count; i += blockDim.x) {
    const double t = *parameters[i].steps += moves;
    corrections[i].step_size = float(parameters[i].learning_rate / (1.0 - pow(a.beta1, t)));
    corrections[i].root = float(sqrt(1.0 - pow(a.beta2, t)));
  }
}

template <int N>
__device__ inline void copy(const Parameter& p, i64 at, const float* values) {
  if (p.leaf_kind == 1) write<N>(static_cast<bf16*>(p.leaf) + at, values);
  if (p.leaf_kind == 2) write<N>(static_cast<f16*>(p.leaf) + at, values);
}

// One AdamW step; see gradient_norm.
extern "C" __global__ void adamw(const Parameter* parameters, const Run* runs, const Norm* norm,
                                 const Correction* corrections, AdamW a) {
  if (norm->not_finite != 0) return;
  const Run run = runs[blockIdx.x];
  const Parameter p = parameters[run.parameter];
  const Correction correction = corrections[run.parameter];
  const float beta2 = float(a.beta2), rest1 = float(1.0 - a.beta1), rest2 = float(1.0 - a.beta2);
  const float decay = 1.0f - p.learning_rate * p.weight_decay, scale = norm->multiplier;
  auto step = [&](float g, float& value, float& m, float& v) {
    g *= scale;
    value *= decay;
    m += rest1 * (g - m);
    v = beta2 * v + rest2 * g * g;
    value -= correction.step_size * m / (sqrtf(v) / correction.root + a.eps);
  };
  by_kind(p.gradient_kind, p.gradient, [&](auto* gradients) {
    const int whole = run.count / kAtOnce * kAtOnce;
    for (int i = threadIdx.x * kAtOnce; i < whole; i += blockDim.x * kAtOnce) {
      const i64 at = run.begin + i;
      float g[kAtOnce], value[kAtOnce], m[kAtOnce], v[kAtOnce];
      read<kAtOnce>(gradients + at, g);
      read<kAtOnce>(p.value + at, value);
      read<kAtOnce>(p.m + at, m);
      read<kAtOnce>(p.v + at, v);
#pragma unroll
      for (int j = 0; j < kAtOnce; j++) step(g[j], value[j], m[j], v[j]);
      write<kAtOnce>(p.value + at, value);
      write<kAtOnce>(p.m + at, m);
      write<kAtOnce>(p.v + at, v);
      copy<kAtOnce>(p, at, value);
    }
    for (int i = whole + threadIdx.x; i < run.count; i += blockDim.x) {
      const i64 at = run.begin + i;
      float value = p.value[at];
      step(number(gradients[at]), value, p.m[at], p.v[at]);
      p.value[at] = value;
      copy<1>(p, at, &value);
    }
  });
}
