// Kernels of our own on CUDA: compiled at run time by NVRTC, launched through the CUDA runtime that
// libtorch_cuda brought with it. Neither is linked: where there is no CUDA, the program starts all the
// same.

#pragma once

#include <ATen/ATen.h>
#include <c10/core/DeviceGuard.h>

#include <array>
#include <string>
#include <vector>

namespace covalign::cuda {

// Functions that were compiled together for one device's kind.
class Module {
 public:
  // `sources` one after the other, with preprocessor `definitions` such as "WIDTH=1024"; compiled once
  // in a process for each kind of device.
  static Module& of(const at::Device& device, const std::vector<const char*>& sources,
                    const std::vector<std::string>& definitions);

  void* kernel(const char* name);

 private:
  void* library_ = nullptr;
  std::vector<std::pair<std::string, void*>> kernels_;
};

struct Grid {
  unsigned x, y, z;
};

// The cudaStream_t behind a device's current stream.
void* current_stream(const at::Device& device);

void launch_raw(void* kernel, const at::Device& device, Grid grid, Grid block, void** arguments);

// Launches on the device's current stream; arguments are passed as the kernel declares them.
template <typename... Arguments>
void launch(Module& module, const char* kernel, const at::Device& device, Grid grid, Grid block,
            Arguments... arguments) {
  void* pointers[] = {&arguments...};
  launch_raw(module.kernel(kernel), device, grid, block, pointers);
}

// A device's compute capability: 90 for 9.0.
int capability(const at::Device& device);

// What the dropout keys of a step are counted from, one int64 on the device.
at::Tensor seed(const at::Device& device);

// The address that the CUDA runtime or libtorch_cuda exports under a name; raises where it does not.
void* symbol(const char* name);

// The kernels' sources, as covalign_cuda_sources gave them.
struct Sources {
  const char *numbers, *rows, *optimizer;
};
const Sources& sources();

}  // namespace covalign::cuda
