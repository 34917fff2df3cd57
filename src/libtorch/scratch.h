// Memory that a thread keeps for the next call.

#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace covalign {

// Floats to a whole line of the cache: what begins behind them begins at a line, too.
inline int64_t lines(int64_t floats) { return (floats + 15) / 16 * 16; }

// `floats` of this thread's own, which begin at a line of the cache. What the last call with this number wrote to
// them is gone.
template <int Number = 0>
inline float* scratch(int64_t floats) {
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  thread_local std::unique_ptr<float, Free> memory;
  thread_local int64_t size = 0;
  if (size < floats) {
    memory.reset();
    size = lines(floats);
    memory.reset(static_cast<float*>(std::aligned_alloc(64, sizeof(float) * size)));
    if (!memory) {
      size = 0;
      throw std::bad_alloc();
    }
  }
  return memory.get();
}

}  // namespace covalign
