// Compiles a CUDA program as covalign does, for devices of several compute capabilities:
//   compile-cuda LIBNVRTC PROGRAM 75,80,90 DEFINITION…
// Where it is refused, says what the compiler says.

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
  auto create = reinterpret_cast<int (*)(void**, const char*, const char*, int, void*, void*)>(
      function("nvrtcCreateProgram"));
  auto compile =
      reinterpret_cast<int (*)(void*, int, const char* const*)>(function("nvrtcCompileProgram"));
  auto log_size = reinterpret_cast<int (*)(void*, size_t*)>(function("nvrtcGetProgramLogSize"));
  auto log = reinterpret_cast<int (*)(void*, char*)>(function("nvrtcGetProgramLog"));

  std::stringstream program;
  program << std::ifstream(arguments[2]).rdbuf();
  std::stringstream kinds(arguments[3]);
  for (std::string kind; std::getline(kinds, kind, ',');) {
    const auto architecture = "--gpu-architecture=sm_" + kind;
    std::vector<const char*> options{architecture.c_str(), "--std=c++17",
                                     "--device-as-default-execution-space"};
    options.insert(options.end(), arguments + 4, arguments + count);
    void* handle = nullptr;
    create(&handle, program.str().c_str(), "covalign.cu", 0, nullptr, nullptr);
    if (compile(handle, options.size(), options.data()) != 0) {
      size_t length = 0;
      log_size(handle, &length);
      std::string text(length, ' ');
      log(handle, text.data());
      return fprintf(stderr, "sm_%s: %s\n", kind.c_str(), text.c_str()), 1;
    }
  }
}
