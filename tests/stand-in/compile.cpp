// Compiles a CUDA program as covalign does, for every kind of device that NVRTC knows from Turing on:
//   compile LIBNVRTC PROGRAM DEFINITION…
// Prints the kinds; on a program that is refused, what the compiler says.

#include <dlfcn.h>

#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

int main(int count, char** arguments) {
  void* library = dlopen(arguments[1], RTLD_NOW);
  if (!library) return fprintf(stderr, "%s\n", dlerror()), 1;
  auto function = [&](const char* name) { return dlsym(library, name); };
  auto kind_count = reinterpret_cast<int (*)(int*)>(function("nvrtcGetNumSupportedArchs"));
  auto known = reinterpret_cast<int (*)(int*)>(function("nvrtcGetSupportedArchs"));
  auto create = reinterpret_cast<int (*)(void**, const char*, const char*, int, void*, void*)>(
      function("nvrtcCreateProgram"));
  auto compile =
      reinterpret_cast<int (*)(void*, int, const char* const*)>(function("nvrtcCompileProgram"));
  auto log_size = reinterpret_cast<int (*)(void*, size_t*)>(function("nvrtcGetProgramLogSize"));
  auto log = reinterpret_cast<int (*)(void*, char*)>(function("nvrtcGetProgramLog"));

  std::stringstream program;
  program << std::ifstream(arguments[2]).rdbuf();
  int size = 0;
  kind_count(&size);
  std::vector<int> kinds(size);
  known(kinds.data());
  for (int kind : kinds) {
    if (kind < 75) continue;
    const auto architecture = "--gpu-architecture=sm_" + std::to_string(kind);
    std::vector<const char*> options{architecture.c_str(), "--std=c++17",
                                     "--device-as-default-execution-space"};
    options.insert(options.end(), arguments + 3, arguments + count);
    void* handle = nullptr;
    create(&handle, program.str().c_str(), "covalign.cu", 0, nullptr, nullptr);
    if (compile(handle, options.size(), options.data()) != 0) {
      size_t length = 0;
      log_size(handle, &length);
      std::string text(length, ' ');
      log(handle, text.data());
      return fprintf(stderr, "sm_%d: %s\n", kind, text.c_str()), 1;
    }
    printf("sm_%d\n", kind);
  }
}
