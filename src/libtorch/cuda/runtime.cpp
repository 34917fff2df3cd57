#include "runtime.h"

#include <c10/core/impl/VirtualGuardImpl.h>

#include <atomic>
#include <map>
#include <mutex>

#include <dlfcn.h>

#include "../guard.h"

namespace covalign::cuda {
namespace {

Sources all_sources{};

// NVRTC's interface, of which no header is needed: codes are int, 0 for success.
struct Nvrtc {
  template <typename F>
  static F function(const char* name) {
    void* library = dlopen("libnvrtc.so.13", RTLD_NOW | RTLD_NOLOAD);
    void* address = library ? dlsym(library, name) : nullptr;
    TORCH_CHECK(address, "CUDA's compiler (libnvrtc.so.13) is not loaded");
    return reinterpret_cast<F>(address);
  }
};

void check(int status, const char* what) {
  if (status == 0) return;
  static auto text = reinterpret_cast<const char* (*)(int)>(symbol("cudaGetErrorString"));
  TORCH_CHECK(false, "CUDA error: ", what, ": ", text(status));
}

// The machine code of a program for a compute capability such as 90.
std::vector<char> compiled(const std::string& program, int capability,
                           const std::vector<std::string>& definitions) {
  using Handle = void*;
  auto create = Nvrtc::function<int (*)(Handle*, const char*, const char*, int, const char* const*,
                                        const char* const*)>("nvrtcCreateProgram");
  auto compile = Nvrtc::function<int (*)(Handle, int, const char* const*)>("nvrtcCompileProgram");
  auto log_size = Nvrtc::function<int (*)(Handle, size_t*)>("nvrtcGetProgramLogSize");
  auto log = Nvrtc::function<int (*)(Handle, char*)>("nvrtcGetProgramLog");
  auto size_of = Nvrtc::function<int (*)(Handle, size_t*)>("nvrtcGetCUBINSize");
  auto code_of = Nvrtc::function<int (*)(Handle, char*)>("nvrtcGetCUBIN");
  auto destroy = Nvrtc::function<int (*)(Handle*)>("nvrtcDestroyProgram");

  std::vector<std::string> options{"--gpu-architecture=sm_" + std::to_string(capability),
                                   "--std=c++17", "--device-as-default-execution-space"};
  for (const auto& definition : definitions) options.push_back("-D" + definition);
  std::vector<const char*> given;
  for (const auto& option : options) given.push_back(option.c_str());
  Handle handle = nullptr;
  TORCH_CHECK(create(&handle, program.c_str(), "covalign.cu", 0, nullptr, nullptr) == 0,
              "CUDA's compiler does not start");
  if (compile(handle, given.size(), given.data()) != 0) {
    size_t size = 0;
    log_size(handle, &size);
    std::string text(size, ' ');
    log(handle, text.data());
    destroy(&handle);
    TORCH_CHECK(false, "CUDA's compiler refuses a kernel: ", text);
  }
  size_t size = 0;
  size_of(handle, &size);
  std::vector<char> code(size);
  code_of(handle, code.data());
  destroy(&handle);
  return code;
}

}  // namespace

int capability(const at::Device& device) {
  static std::atomic<int> known[64] = {};
  auto& found = known[device.index() % 64];
  if (found) return found;
  static auto attribute =
      reinterpret_cast<int (*)(int*, int, int)>(symbol("cudaDeviceGetAttribute"));
  int major = 0, minor = 0;
  check(attribute(&major, 75, device.index()), "no compute capability");
  check(attribute(&minor, 76, device.index()), "no compute capability");
  return found = 10 * major + minor;
}

void* symbol(const char* name) {
  void* address = dlsym(RTLD_DEFAULT, name);
  TORCH_CHECK(address, "libtorch's CUDA part lacks `", name, "`: covalign is made for libtorch 2.11");
  return address;
}

at::Tensor seed(const at::Device& device) {
  static std::mutex mutex;
  // Never destroyed: CUDA is gone before what is static.
  static auto& seeds = *new std::map<int, at::Tensor>;
  std::lock_guard<std::mutex> lock(mutex);
  auto& seed = seeds[device.index()];
  if (!seed.defined()) seed = at::zeros({1}, at::TensorOptions().device(device).dtype(at::kLong));
  return seed;
}

const Sources& sources() { return all_sources; }

Module& Module::of(const at::Device& device, const std::vector<const char*>& sources,
                   const std::vector<std::string>& definitions) {
  static std::mutex mutex;
  static std::map<std::string, Module> modules;
  const int kind = capability(device);
  std::string key = std::to_string(kind);
  for (const char* source : sources) key += " " + std::to_string(reinterpret_cast<uintptr_t>(source));
  for (const auto& definition : definitions) key += " " + definition;
  std::lock_guard<std::mutex> lock(mutex);
  auto found = modules.find(key);
  if (found != modules.end()) return found->second;
  std::string program;
  for (const char* source : sources) program += source;
  const auto code = compiled(program, kind, definitions);
  Module module;
  static auto load = reinterpret_cast<int (*)(void**, const void*, void*, void**, unsigned, void*,
                                              void**, unsigned)>(symbol("cudaLibraryLoadData"));
  check(load(&module.library_, code.data(), nullptr, nullptr, 0, nullptr, nullptr, 0),
        "the kernels are not loaded");
  return modules.emplace(key, std::move(module)).first->second;
}

void* Module::kernel(const char* name) {
  static std::mutex mutex;
  std::lock_guard<std::mutex> lock(mutex);
  for (auto& [known, kernel] : kernels_) {
    if (known == name) return kernel;
  }
  static auto get =
      reinterpret_cast<int (*)(void**, void*, const char*)>(symbol("cudaLibraryGetKernel"));
  void* kernel = nullptr;
  check(get(&kernel, library_, name), name);
  kernels_.emplace_back(name, kernel);
  return kernel;
}

void* current_stream(const at::Device& device) {
  const c10::impl::VirtualGuardImpl guard(c10::DeviceType::CUDA);
  const c10::Stream stream = guard.getStream(device);
  // c10::cuda::CUDAStream::stream() const; a CUDAStream is a c10::Stream with that method.
  static auto handle = reinterpret_cast<void* (*)(const c10::Stream*)>(
      symbol("_ZNK3c104cuda10CUDAStream6streamEv"));
  return handle(&stream);
}

void launch_raw(void* kernel, const at::Device& device, Grid grid, Grid block, void** arguments) {
  static auto function = reinterpret_cast<int (*)(const void*, Grid, Grid, void**, size_t, void*)>(
      symbol("cudaLaunchKernel"));
  const c10::DeviceGuard guard(device);
  check(function(kernel, grid, block, arguments, 0, current_stream(device)), "a kernel's launch");
}

}  // namespace covalign::cuda

extern "C" {

// Major and minor compute capability of a CUDA device.
char* covalign_compute_capability(int device, int* major, int* minor) {
  return guarded([&] {
    const int kind = covalign::cuda::capability(
        {c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(device)});
    *major = kind / 10;
    *minor = kind % 10;
  });
}

// The kernels' sources, which live as long as the process; and CUDA's compiler, which libtorch keeps
// beside itself in `nvrtc`.
char* covalign_cuda_sources(const char* numbers, const char* rows, const char* optimizer,
                            const char* nvrtc) {
  covalign::cuda::all_sources = {numbers, rows, optimizer};
  // Brings libnvrtc.so.13 by its own search path.
  if (dlopen(nvrtc, RTLD_LAZY | RTLD_GLOBAL) || dlopen("libnvrtc.so.13", RTLD_LAZY | RTLD_GLOBAL)) {
    return nullptr;
  }
  return strdup(dlerror());
}
}
