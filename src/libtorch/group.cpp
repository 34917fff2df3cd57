// Processes that train together: PyTorch's own c10d, its TCPStore and Gloo; and NCCL (cuda/nccl.cpp)
// between tensors on CUDA devices.

#define USE_C10D_GLOO
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <c10/util/Logging.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cuda/nccl.h"
#include "guard.h"

using at::Tensor;

namespace {

struct Group {
  int rank, size;
  std::chrono::seconds patience;
  c10::intrusive_ptr<c10d::Store> store;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> gloo;
  std::unique_ptr<covalign::cuda::Nccl> nccl;
  // Tensors of a type one after the other, kept from step to step.
  std::map<at::ScalarType, Tensor> flat;

  void sum_on_host(Tensor& x) {
    c10d::AllreduceOptions options;
    options.timeout = patience;
    std::vector<Tensor> tensors{x};
    gloo->allreduce(tensors, options)->wait();
  }

  void sum_on_host(at::ScalarType kind, const std::vector<Tensor>& tensors) {
    std::vector<Tensor> rows;
    int64_t numbers = 0;
    for (const auto& tensor : tensors) {
      rows.push_back(tensor.reshape({-1}));
      numbers += tensor.numel();
    }
    Tensor& room = flat[kind];
    if (!room.defined() || room.numel() < numbers) room = at::empty({numbers}, tensors[0].options());
    Tensor all = room.narrow(0, 0, numbers);
    at::cat_out(all, rows);
    sum_on_host(all);
    int64_t start = 0;
    for (const auto& tensor : tensors) {
      tensor.copy_(all.narrow(0, start, tensor.numel()).view(tensor.sizes()));
      start += tensor.numel();
    }
  }

  void sum_on_cuda(const std::vector<Tensor>& tensors) {
    if (!nccl) {
      std::string id;
      if (rank == 0) {
        id = covalign::cuda::Nccl::fresh_id();
        store->set("nccl", std::vector<uint8_t>(id.begin(), id.end()));
      } else {
        store->wait({"nccl"}, patience);
        const auto given = store->get("nccl");
        id.assign(given.begin(), given.end());
      }
      nccl = std::make_unique<covalign::cuda::Nccl>(id, rank, size);
    }
    nccl->sum(tensors);
  }
};

// The network that processes talk over: that of GLOO_SOCKET_IFNAME, which PyTorch reads too, the machine
// itself where the store is on it, else that of the machine's name.
auto device(const std::string& host) {
  using Gloo = c10d::ProcessGroupGloo;
  const char* interface = getenv("GLOO_SOCKET_IFNAME");
  if (interface && *interface) return Gloo::createDeviceForInterface(interface);
  const bool one_machine = host == "localhost" || host.rfind("127.", 0) == 0 || host == "::1";
  return one_machine ? Gloo::createDeviceForHostname(host) : Gloo::createDefaultDevice();
}

}  // namespace

extern "C" {

// Meets the other processes at a store, which this one offers where `serves`. They wait for each other
// `meet` seconds, and in an operation that all take part in `patience` seconds.
char* covalign_group_join(const char* host, uint16_t port, const char* prefix, bool serves, int rank,
                          int size, int meet, int patience, Group** out) {
  return guarded([&] {
    // Its warnings carry libtorch's stack, as of a store that has gone; covalign says that itself.
    setenv("TORCH_CPP_LOG_LEVEL", "ERROR", /*overwrite=*/0);
    c10::initLogging();
    c10d::TCPStoreOptions options;
    options.port = port;
    options.isServer = serves;
    options.numWorkers = size;
    options.waitWorkers = false;
    options.timeout = std::chrono::seconds(meet);
    auto tcp = c10::make_intrusive<c10d::TCPStore>(host, options);
    auto group = std::make_unique<Group>();
    group->rank = rank;
    group->size = size;
    group->patience = std::chrono::seconds(patience);
    group->store = c10::make_intrusive<c10d::PrefixStore>(prefix, tcp);
    using Gloo = c10d::ProcessGroupGloo;
    auto how = Gloo::Options::create(std::chrono::seconds(meet));
    how->devices.push_back(device(host));
    group->gloo = c10::make_intrusive<Gloo>(group->store, rank, size, how);
    group->gloo->barrier()->wait();
    *out = group.release();
  });
}

void covalign_group_leave(Group* group) { delete group; }

// Puts the sum of what all processes have in its place. Those of a device are on its current stream, and
// nobody waits for them.
char* covalign_group_sum(Group* group, const Tensor* const* tensors, size_t count) {
  return guarded([&] {
    const at::NoGradGuard no_grad;
    std::map<at::ScalarType, std::vector<Tensor>> on_host;
    std::vector<Tensor> on_cuda;
    for (size_t i = 0; i < count; i++) {
      const Tensor tensor = tensors[i]->detach();
      if (tensor.is_cuda()) on_cuda.push_back(tensor);
      else on_host[tensor.scalar_type()].push_back(tensor);
    }
    for (const auto& [kind, some] : on_host) group->sum_on_host(kind, some);
    if (!on_cuda.empty()) group->sum_on_cuda(on_cuda);
  });
}

char* covalign_group_set(Group* group, const char* key, const char* value, size_t length) {
  return guarded([&] { group->store->set(key, std::vector<uint8_t>(value, value + length)); });
}

// The value under `key`, to be freed, or null where there is none yet.
char* covalign_group_get(Group* group, const char* key, char** value, size_t* length) {
  return guarded([&] {
    *value = nullptr;
    if (!group->store->check({key})) return;
    const auto found = group->store->get(key);
    *length = found.size();
    *value = static_cast<char*>(malloc(found.size() + 1));
    memcpy(*value, found.data(), found.size());
  });
}

}  // extern "C"
