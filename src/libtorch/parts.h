// How threads share packed rows out among themselves, so that each takes some through several operations.

#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <vector>

namespace covalign {

// Tokens that a thread takes at a time: of fewer, products would repack the weights too often; more leave the
// cache.
constexpr int64_t kTogether = 256;

// So much more than its share of the tokens the busiest thread may get.
constexpr double kUneven = 1.15;

struct Range {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

// Rows that go through the layer together.
struct Part {
  Range rows, tokens;
};

// Parts of nearly as many tokens each, as many for each thread.
inline std::vector<Part> parts_of(const int64_t* starts, int64_t rows) {
  const int64_t tokens = starts[rows], threads = at::get_num_threads();
  const int64_t share = threads * kTogether;
  const int64_t count = threads * std::max<int64_t>(1, (tokens + share / 2) / share);
  std::vector<Part> parts;
  int64_t row = 0;
  for (int64_t i = 1; i <= count; i++) {
    const int64_t begin = row, target = tokens * i / count;
    while (row < rows && starts[row] + starts[row + 1] <= 2 * target) row++;
    if (row > begin) parts.push_back({{begin, row}, {starts[begin], starts[row]}});
  }
  return parts;
}

// Whether threads that take the parts in turn end at about the same time.
inline bool is_even(const std::vector<Part>& parts) {
  std::vector<int64_t> loads(at::get_num_threads(), 0);
  for (const Part& part : parts) *std::min_element(loads.begin(), loads.end()) += part.tokens.size();
  const double share = static_cast<double>(parts.back().tokens.end) / loads.size();
  return *std::max_element(loads.begin(), loads.end()) <= kUneven * share;
}

// Calls body(i) for each i below `count`, which the threads take in turn.
template <typename F>
void shared_out(int64_t count, F body) {
  std::atomic<int64_t> next{0};
  at::parallel_for(0, std::min<int64_t>(count, at::get_num_threads()), 1, [&](int64_t, int64_t) {
    at::AutoDispatchBelowADInplaceOrView no_autograd;
    for (int64_t i = next++; i < count; i = next++) body(i);
  });
}

}  // namespace covalign
