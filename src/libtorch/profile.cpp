// What a run costs: time by operation, and memory.

#include <c10/core/CachingDeviceAllocator.h>
#include <torch/csrc/autograd/profiler_kineto.h>

#include <sys/resource.h>

#include <cstdlib>
#include <set>
#include <string>

#include "guard.h"

using torch::profiler::impl::ActivityType;

extern "C" {

// Records every operation of this thread and what it starts on the device.
char* covalign_profile_start(bool cuda) {
  return guarded([&] {
    using namespace torch::profiler::impl;
    setenv("KINETO_LOG_LEVEL", "99", 0);  // Else it tells of every device that is not there.
    std::set<ActivityType> activities{ActivityType::CPU};
    if (cuda) activities.insert(ActivityType::CUDA);
    ProfilerConfig config(ProfilerState::KINETO);
    torch::autograd::profiler::prepareProfiler(config, activities);
    torch::autograd::profiler::enableProfiler(config, activities);
  });
}

// Ends the recording and writes it as a Chrome trace.
char* covalign_profile_save(const char* path) {
  return guarded([&] { torch::autograd::profiler::disableProfiler()->save(path); });
}

// Most bytes that the process has had in memory.
uint64_t covalign_peak_host_memory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
#ifdef __APPLE__
  return usage.ru_maxrss;
#else
  return uint64_t(usage.ru_maxrss) * 1024;
#endif
}

// Most bytes that tensors have had on a CUDA device.
char* covalign_peak_device_memory(int index, uint64_t* bytes) {
  return guarded([&] {
    auto stats = c10::getDeviceAllocator(c10::DeviceType::CUDA)->getDeviceStats(index);
    *bytes = stats.allocated_bytes[0].peak;
  });
}
}
