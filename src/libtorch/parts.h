// How threads share packed rows out among themselves, so that each takes some through several operations.

#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <vector>

#ifdef _OPENMP
#include <omp.h>
#endif

namespace covalign {

// So much more than its share of the tokens the busiest thread may get.
constexpr double kUneven = 1.15;

struct Range {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

// Tokens that a thread takes at a time: of fewer, products would repack the weights too often; more leave the cache
// that each core has for itself.
inline int64_t together() {
#ifdef _SC_LEVEL2_CACHE_SIZE
  static const bool is_large = sysconf(_SC_LEVEL2_CACHE_SIZE) >= 1 << 20;
  return is_large ? 512 : 256;
#else
  return 256;
#endif
}

// How a library of products wants rows cut.
struct Grain {
  int64_t together = covalign::together();
  // Multiples that the numbers of a part's rows and tokens are filled up to, and that of all parts' tokens.
  int64_t rows = 1, tokens = 1, all = 1;
};
// For one that compiles a product for each size, and should meet few; its calls cost more, too.
constexpr Grain kFewSizes{1024, 8, 16, 32};

inline int64_t rounded_up(int64_t n, int64_t grain) { return (n + grain - 1) / grain * grain; }

// Rows or tokens, and where they lie in arrays that have a gap behind each part: `before` further than their number
// says, in a place for `room`.
struct Span {
  Range range;
  int64_t before = 0, room = 0;
  Range with_gap() const { return {range.begin, range.begin + room}; }
  bool has_gap() const { return room > range.size(); }
};

// Rows that go through the layer together.
struct Part {
  Span rows, tokens;
};

struct Parts {
  std::vector<Part> each;
  // What arrays with gaps hold.
  int64_t rows = 0, tokens = 0;
  bool has_gaps = false;
};

// Parts of nearly as many tokens each, as many for each thread.
inline Parts parts_of(const int64_t* starts, int64_t rows, Grain grain) {
  const int64_t tokens = starts[rows], threads = at::get_num_threads();
  const int64_t share = threads * grain.together;
  const int64_t count = threads * std::max<int64_t>(1, (tokens + share / 2) / share);
  Parts parts;
  const auto span = [](Range range, int64_t grain, int64_t& end) {
    const Span s{range, end - range.begin, rounded_up(range.size(), grain)};
    end += s.room;
    return s;
  };
  int64_t row = 0;
  for (int64_t i = 1; i <= count; i++) {
    const int64_t begin = row, target = tokens * i / count;
    while (row < rows && starts[row] + starts[row + 1] <= 2 * target) row++;
    if (row == begin) continue;
    parts.each.push_back({span({begin, row}, grain.rows, parts.rows),
                          span({starts[begin], starts[row]}, grain.tokens, parts.tokens)});
  }
  parts.tokens = rounded_up(parts.tokens, grain.all);
  parts.has_gaps = grain.all > 1;
  return parts;
}

// Whether threads that take the parts in turn end at about the same time.
inline bool is_even(const Parts& parts) {
  std::vector<int64_t> loads(at::get_num_threads(), 0);
  for (const Part& part : parts.each) {
    *std::min_element(loads.begin(), loads.end()) += part.tokens.range.size();
  }
  const double share = static_cast<double>(parts.each.back().tokens.range.end) / loads.size();
  return *std::max_element(loads.begin(), loads.end()) <= kUneven * share;
}

// While it lives, libraries that this thread calls take no others. That none are there would not do: a product is cut
// as for the threads that are allowed, which are not the same for each thread, and so are its bits.
class Alone {
 public:
  Alone() {
    if (auto set = mkl()) mkl_before_ = set(1);
#ifdef _OPENMP
    openmp_before_ = omp_get_max_threads();
    omp_set_num_threads(1);
#endif
  }
  ~Alone() {
    if (auto set = mkl()) set(mkl_before_);
#ifdef _OPENMP
    omp_set_num_threads(openmp_before_);
#endif
  }

 private:
  // MKL's setting for the thread that calls it, in libtorch_cpu; null where that has another BLAS.
  using Set = int (*)(int);
  static Set mkl() {
    static const auto set = reinterpret_cast<Set>(dlsym(RTLD_DEFAULT, "MKL_Set_Num_Threads_Local"));
    return set;
  }
  int mkl_before_ = 0, openmp_before_ = 1;
};

// Calls body(i) for each i below `count`, which the threads take in turn.
template <typename F>
void shared_out(int64_t count, F body) {
  std::atomic<int64_t> next{0};
  at::parallel_for(0, std::min<int64_t>(count, at::get_num_threads()), 1, [&](int64_t, int64_t) {
    at::AutoDispatchBelowADInplaceOrView no_autograd;
    const Alone alone;
    for (int64_t i = next++; i < count; i = next++) body(i);
  });
}

}  // namespace covalign
