#include "nccl.h"

#include <dlfcn.h>

#include <cstring>

#include "runtime.h"

namespace covalign::cuda {
namespace {

// ncclUniqueId, which is passed by value.
struct Id {
  char bytes[128];
};

template <typename F>
F function(const char* name) {
  // libtorch_cuda needs it, so it is there by its search path.
  static void* library = dlopen("libnccl.so.2", RTLD_NOW | RTLD_GLOBAL);
  void* address = library ? dlsym(library, name) : nullptr;
  if (!address) address = dlsym(RTLD_DEFAULT, name);
  TORCH_CHECK(address, "NCCL (libnccl.so.2) is not loaded: several GPUs need it");
  return reinterpret_cast<F>(address);
}

void check(int status, const char* what) {
  if (status == 0) return;
  static auto text = function<const char* (*)(int)>("ncclGetErrorString");
  TORCH_CHECK(false, "NCCL: ", what, ": ", text(status));
}

// ncclDataType_t.
int kind(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kHalf: return 6;
    case at::kFloat: return 7;
    case at::kDouble: return 8;
    case at::kBFloat16: return 9;
    default: TORCH_CHECK(false, "NCCL: no sum of ", tensor.scalar_type());
  }
}

}  // namespace

std::string Nccl::fresh_id() {
  Id id{};
  check(function<int (*)(Id*)>("ncclGetUniqueId")(&id), "no id");
  return {id.bytes, sizeof id.bytes};
}

Nccl::Nccl(const std::string& id, int rank, int size) {
  Id given{};
  TORCH_CHECK(id.size() == sizeof given.bytes, "NCCL: another id than was made");
  memcpy(given.bytes, id.data(), id.size());
  check(function<int (*)(void**, int, Id, int)>("ncclCommInitRank")(&communicator_, size, given, rank),
        "the processes do not meet");
}

Nccl::~Nccl() { function<int (*)(void*)>("ncclCommAbort")(communicator_); }

void Nccl::sum(const std::vector<at::Tensor>& tensors) {
  static auto begin = function<int (*)()>("ncclGroupStart");
  static auto end = function<int (*)()>("ncclGroupEnd");
  static auto reduce =
      function<int (*)(const void*, void*, size_t, int, int, void*, void*)>("ncclAllReduce");
  constexpr int sum = 0;
  void* stream = current_stream(tensors[0].device());
  check(begin(), "a sum");
  for (const auto& tensor : tensors) {
    TORCH_CHECK(tensor.is_contiguous(), "NCCL: a tensor is not contiguous");
    check(reduce(tensor.data_ptr(), tensor.data_ptr(), tensor.numel(), kind(tensor), sum,
                 communicator_, stream),
          "a sum");
  }
  check(end(), "a sum");
}

}  // namespace covalign::cuda
