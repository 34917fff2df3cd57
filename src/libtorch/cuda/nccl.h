// Sums over CUDA devices of several processes by NCCL, which libtorch_cuda brings with it: by its C
// interface alone, so that nothing is linked.

#pragma once

#include <ATen/ATen.h>

#include <string>
#include <vector>

namespace covalign::cuda {

class Nccl {
 public:
  // What one process makes and all must have.
  static std::string fresh_id();

  // Meets the others; this thread's current device is the one that takes part.
  Nccl(const std::string& id, int rank, int size);
  ~Nccl();
  Nccl(const Nccl&) = delete;

  // Puts the sums in their places, on the current stream; can be recorded in a CUDA graph.
  void sum(const std::vector<at::Tensor>& tensors);

 private:
  void* communicator_ = nullptr;
};

}  // namespace covalign::cuda
