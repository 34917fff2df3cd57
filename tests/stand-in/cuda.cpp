// A CUDA without a device, for tests of everything but numbers. Loaded ahead of NVIDIA's libraries
// (LD_PRELOAD), it answers in their place: device memory is host memory, copies are made, kernels and
// products are written down and not run. What it does not know goes to NVIDIA's, which find no driver.
//
//   STANDIN_DEVICES  compute capabilities: `90`, or `70,90` for two devices
//   STANDIN_MEMORY   bytes of each device
//   STANDIN_NO_ROOM_FOR_GRAPHS  where it is there, no graph is made
//   STANDIN_LOG      a file that gets a line for each event:
//     context D              the first use of device D, as it is numbered without CUDA_VISIBLE_DEVICES
//     launch NAME            a kernel or a product begins
//     recorded NAME          the same, into a graph that is being recorded
//     replay COUNT           a graph of so many is replayed
//     copy FROM TO           the host does not wait for it
//     wait WHAT < OPERATORS  the host waits; libtorch's operators are those that it is in, inner ones first
//     allocate, free         memory of a device; freeing waits, too

#include <cxxabi.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "cuda.h"

namespace {

// cudaError_t.
enum {
  kInvalidValue = 1,
  kOutOfMemory = 2,
  kInvalidConfiguration = 9,
  kNoDevice = 100,
  kInvalidDevice = 101,
  kNoKernelImage = 209,
  kInvalidHandle = 400,
  kSymbolNotFound = 500,
  kNotSupported = 801,
  kCaptureUnsupported = 900,
};

struct Device {
  int number, capability;
  bool used = false;
  size_t allocated = 0;
};

struct Stream {
  int device;
  bool recording = false;
};

struct Graph {
  size_t launches;
};

struct Block {
  size_t size;
  int device;  // or kPinned
};
constexpr int kPinned = -1, kPageable = -2;

struct State {
  std::mutex mutex;
  int log = -1;
  std::vector<Device> devices;
  size_t memory = size_t(80) << 30;
  std::map<uintptr_t, Block> blocks;  // by address
  std::unordered_map<const void*, const char*> kernels;
  Stream first_streams[16] = {};

  State() {
    if (const char* path = getenv("STANDIN_LOG")) log = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (const char* bytes = getenv("STANDIN_MEMORY")) memory = strtoull(bytes, nullptr, 10);
    const auto all = numbers(getenv("STANDIN_DEVICES"));
    const char* visible = getenv("CUDA_VISIBLE_DEVICES");
    std::vector<int> seen = numbers(visible);
    for (int i = 0; !visible && i < int(all.size()); i++) seen.push_back(i);
    for (int number : seen) {
      if (number < 0 || number >= int(all.size())) break;
      devices.push_back({number, all[number]});
      first_streams[devices.size() - 1].device = devices.size() - 1;
    }
  }

  static std::vector<int> numbers(const char* list) {
    std::vector<int> found;
    for (char* end; list && *list; list = *end ? end + 1 : end) found.push_back(strtol(list, &end, 10));
    return found;
  }
};

// Never destroyed: threads may be at work to the end.
State& state() {
  static State& state = *new State;
  return state;
}

thread_local int current = 0;
thread_local int last_error = 0;
thread_local bool records = false;
// Launches of the graph that is being recorded: one at a time.
size_t recorded = 0;

int failed(int error) { return last_error = error; }

void note(const char* format, ...) {
  if (state().log < 0) return;
  char line[1000];
  va_list values;
  va_start(values, format);
  int size = vsnprintf(line, sizeof line - 1, format, values);
  va_end(values);
  size = std::min<int>(size, sizeof line - 2);
  line[size] = '\n';
  if (write(state().log, line, size + 1) < 0) abort();
}

// libtorch's operators on the stack, inner ones first.
std::string operators() {
  void* frames[100];
  const int count = backtrace(frames, 100);
  std::string found;
  for (int i = 0; i < count && found.size() < 300; i++) {
    Dl_info info;
    if (!dladdr(frames[i], &info) || !info.dli_sname) continue;
    char* name = abi::__cxa_demangle(info.dli_sname, nullptr, nullptr, nullptr);
    const std::string text = name ? name : "";
    free(name);
    const size_t end = text.find("::call(");
    if (text.rfind("at::_ops::", 0) == 0 && end != std::string::npos) found += " < " + text.substr(10, end - 10);
  }
  return found;
}

void use(int device) {
  auto& of = state().devices[device];
  if (of.used) return;
  of.used = true;
  note("context %d", of.number);
}

Stream& stream_of(void* handle) {
  // Handles 0, 1 and 2 are the current device's first stream.
  return uintptr_t(handle) < 16 ? state().first_streams[current] : *static_cast<Stream*>(handle);
}

// The host waits: for what is on a stream, or for everything where that is null.
int wait(const char* what, const Stream* stream = nullptr) {
  note("wait %s%s", what, operators().c_str());
  if (records || (stream && stream->recording)) return failed(kCaptureUnsupported);
  return 0;
}

Block block_of(const void* address) {
  std::lock_guard<std::mutex> lock(state().mutex);
  auto after = state().blocks.upper_bound(uintptr_t(address));
  if (after == state().blocks.begin()) return {0, kPageable};
  const auto& [begin, block] = *--after;
  return uintptr_t(address) < begin + block.size ? block : Block{0, kPageable};
}

int take(void** to, size_t size, int device) {
  std::lock_guard<std::mutex> lock(state().mutex);
  // At the same addresses in each run: what is never computed is then the same as well.
  static uintptr_t next = uintptr_t(1) << 44;
  size = (size + 4095) & ~size_t(4095);
  if (device >= 0) {
    auto& allocated = state().devices[device].allocated;
    if (allocated + size > state().memory) return failed(kOutOfMemory);
    allocated += size;
  }
  void* at = mmap(reinterpret_cast<void*>(next), size, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) return failed(kOutOfMemory);
  next += size;
  state().blocks[uintptr_t(at)] = {size, device};
  *to = at;
  return 0;
}

int give(void* address) {
  std::lock_guard<std::mutex> lock(state().mutex);
  auto found = state().blocks.find(uintptr_t(address));
  if (found == state().blocks.end()) return address ? failed(kInvalidValue) : 0;
  const auto [size, device] = found->second;
  if (device >= 0) state().devices[device].allocated -= size;
  munmap(address, size);
  state().blocks.erase(found);
  return 0;
}

const char* place(const Block& block) {
  return block.device >= 0 ? "device" : block.device == kPinned ? "pinned" : "pageable";
}

int copy(void* to, const void* from, size_t size, void* handle) {
  const auto source = block_of(from), target = block_of(to);
  const auto& stream = stream_of(handle);
  if (source.device == kPageable || target.device == kPageable) {
    const auto what = std::string("copy ") + place(source) + " " + place(target);
    if (int error = wait(what.c_str(), &stream)) return error;
  } else {
    note("copy %s %s", place(source), place(target));
  }
  if (!stream.recording) memmove(to, from, size);
  return 0;
}

}  // namespace

int standin_launch(const char* name, Dim3 grid, Dim3 block, void* handle) {
  const auto& stream = stream_of(handle);
  if (state().devices[current].capability < 75) return failed(kNoKernelImage);
  if (stream.device != current) return failed(kInvalidHandle);
  const bool fits = grid.x && grid.y && grid.z && grid.y < 65536 && grid.z < 65536 && block.x &&
                    block.y && block.z && block.x * block.y * block.z <= 1024;
  if (!fits) return failed(kInvalidConfiguration);
  recorded += stream.recording;
  note("%s %s", stream.recording ? "recorded" : "launch", name);
  return 0;
}

extern "C" {

// --- Kernels that were compiled ahead ---

void** __cudaRegisterFatBinary(void*) {
  static void* handle;
  return &handle;
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
char __cudaInitModule(void**) { return 1; }
void __cudaRegisterVar(void**, char*, char*, const char*, int, size_t, int, int) {}
void __cudaRegisterFunction(void**, const char* function, char*, const char* name, int, void*, void*,
                            void*, void*, int*) {
  std::lock_guard<std::mutex> lock(state().mutex);
  state().kernels[function] = name;
}
int __cudaGetKernel(void** kernel, const void* function) {
  *kernel = const_cast<void*>(function);
  return 0;
}

struct Configuration {
  Dim3 grid, block;
  size_t shared;
  void* stream;
};
static thread_local std::vector<Configuration> configurations;
unsigned __cudaPushCallConfiguration(Dim3 grid, Dim3 block, size_t shared, void* stream) {
  configurations.push_back({grid, block, shared, stream});
  return 0;
}
int __cudaPopCallConfiguration(Dim3* grid, Dim3* block, size_t* shared, void** stream) {
  const auto last = configurations.back();
  configurations.pop_back();
  *grid = last.grid, *block = last.block, *shared = last.shared, *stream = last.stream;
  return 0;
}

int cudaLaunchKernel(const void* kernel, Dim3 grid, Dim3 block, void**, size_t, void* stream) {
  const char* name = nullptr;
  {
    std::lock_guard<std::mutex> lock(state().mutex);
    auto found = state().kernels.find(kernel);
    if (found == state().kernels.end()) return failed(kInvalidHandle);
    name = found->second;
  }
  return standin_launch(name, grid, block, stream);
}
int __cudaLaunchKernel(void* kernel, Dim3 grid, Dim3 block, void** arguments, size_t shared,
                       void* stream) {
  return cudaLaunchKernel(kernel, grid, block, arguments, shared, stream);
}
struct LaunchConfiguration {
  Dim3 grid, block;
  size_t shared;
  void* stream;
};
int cudaLaunchKernelExC(const LaunchConfiguration* c, const void* kernel, void** arguments) {
  return cudaLaunchKernel(kernel, c->grid, c->block, arguments, c->shared, c->stream);
}
int cudaFuncSetAttribute(const void*, int, int) { return 0; }
int cudaFuncGetAttributes(int* attributes, const void*) {
  memset(attributes, 0, 144);
  attributes[24 / 4] = 1024;                                                  // maxThreadsPerBlock
  attributes[28 / 4] = 32;                                                    // numRegs
  attributes[32 / 4] = attributes[36 / 4] = state().devices[current].capability;  // ptx, binary
  return 0;
}
int cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* count, const void*, int, size_t,
                                                           unsigned) {
  *count = 2;
  return 0;
}
int cudaGetSymbolAddress(void** to, const void*) {
  static char zeros[1 << 16];
  *to = zeros;
  return 0;
}

// --- Kernels that NVRTC compiled: an ELF file that names them ---

int cudaLibraryLoadData(void** library, const char* code, void*, void**, unsigned, void*, void**,
                        unsigned) {
  const auto sections = *reinterpret_cast<const uint64_t*>(code + 40);  // come last in the file
  *library = new std::string(code, sections);
  return 0;
}
int cudaLibraryGetKernel(void** kernel, const std::string* library, const char* name) {
  if (library->find(std::string(".text.") + name + '\0') == std::string::npos) return failed(kSymbolNotFound);
  std::lock_guard<std::mutex> lock(state().mutex);
  state().kernels[*kernel = new char] = strdup(name);
  return 0;
}

// --- Devices ---

int cudaGetDeviceCount(int* count) {
  *count = state().devices.size();
  return *count ? 0 : failed(kNoDevice);
}
int cudaGetDevice(int* device) {
  *device = current;
  return 0;
}
int cudaSetDevice(int device) {
  if (device < 0 || device >= int(state().devices.size())) return failed(kInvalidDevice);
  use(current = device);
  return 0;
}
int cudaDriverGetVersion(int* version) {
  *version = 13000;
  return 0;
}
int cudaRuntimeGetVersion(int* version) { return cudaDriverGetVersion(version); }
const char* cudaGetErrorString(int error) {
  switch (error) {
    case 0: return "no error";
    case kOutOfMemory: return "out of memory";
    case kInvalidConfiguration: return "invalid configuration argument";
    case kNoDevice: return "no CUDA-capable device is detected";
    case kInvalidDevice: return "invalid device ordinal";
    case kNoKernelImage: return "no kernel image is available for execution on the device";
    case kInvalidHandle: return "invalid resource handle";
    case kSymbolNotFound: return "named symbol not found";
    case kCaptureUnsupported: return "operation not permitted when stream is capturing";
    default: return "invalid argument";
  }
}
const char* cudaGetErrorName(int error) { return cudaGetErrorString(error); }
int cudaPeekAtLastError() { return last_error; }
int cudaGetLastError() {
  const int error = last_error;
  last_error = 0;
  return error;
}
// cudaDeviceProp of CUDA 13: what libtorch reads of it, by its place.
int cudaGetDeviceProperties(char* properties, int device) {
  memset(properties, 0, 1008);
  strcpy(properties, "Stand-in");
  auto set = [&](size_t at, auto value) { memcpy(properties + at, &value, sizeof value); };
  set(288, state().memory);
  set(296, size_t(49152));                                       // shared memory of a block
  set(304, 65536);                                               // registers of a block
  set(308, 32);                                                  // lanes of a warp
  set(320, 1024);                                                // threads of a block
  for (int axis : {0, 1}) set(324 + 4 * axis, 1024);             // and by axis
  set(332, 64);
  set(336, 2147483647);                                          // blocks of a grid by axis
  for (int axis : {1, 2}) set(336 + 4 * axis, 65535);
  set(360, state().devices[device].capability / 10);
  set(364, state().devices[device].capability % 10);
  set(368, size_t(512));                                         // alignment of textures
  set(384, 108);                                                 // multiprocessors
  set(588, 1);                                                   // unified addressing
  set(596, 40 << 20);                                            // L2 cache
  set(604, 2048);                                                // threads of a multiprocessor
  set(624, size_t(167936));                                      // its shared memory
  set(632, 65536);                                               // its registers
  set(672, size_t(166912));                                      // shared memory of a block at most
  set(688, 32);                                                  // blocks of a multiprocessor
  return 0;
}
int cudaDeviceGetAttribute(int* value, int attribute, int device) {
  const int capability = state().devices[device].capability;
  switch (attribute) {
    case 1: case 2: case 3: *value = 1024; break;  // threads of a block, and by axis
    case 4: *value = 64; break;
    case 5: *value = 2147483647; break;            // blocks of a grid by axis
    case 6: case 7: *value = 65535; break;
    case 8: *value = 49152; break;                 // shared memory of a block
    case 10: *value = 32; break;                   // lanes of a warp
    case 12: *value = 65536; break;                // registers of a block
    case 16: *value = 108; break;                  // multiprocessors
    case 39: *value = 2048; break;                 // threads of a multiprocessor
    case 75: *value = capability / 10; break;
    case 76: *value = capability % 10; break;
    case 81: *value = 167936; break;               // shared memory of a multiprocessor
    case 97: *value = 166912; break;               // shared memory of a block at most
    default: *value = 1;
  }
  return 0;
}
int cudaDeviceCanAccessPeer(int* can, int, int) {
  *can = 0;
  return 0;
}
int cudaDeviceGetPCIBusId(char* to, int size, int device) {
  snprintf(to, size, "0000:%02x:00.0", state().devices[device].number);
  return 0;
}
int cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0, *greatest = -5;
  return 0;
}
int cudaDeviceSynchronize() { return wait("cudaDeviceSynchronize"); }

// --- Memory ---

int cudaMalloc(void** to, size_t size) {
  use(current);
  note("allocate %zu", size);
  return take(to, size, current);
}
int cudaFree(void* address) {
  if (address) note("free");
  return give(address);
}
int cudaHostAlloc(void** to, size_t size, unsigned) {
  use(current);
  return take(to, size, kPinned);
}
int cudaFreeHost(void* address) { return give(address); }
int cudaMemGetInfo(size_t* free, size_t* total) {
  use(current);
  *total = state().memory;
  *free = *total - state().devices[current].allocated;
  return 0;
}
struct PointerAttributes {
  int type, device;
  void *on_device, *on_host;
};
int cudaPointerGetAttributes(PointerAttributes* attributes, const void* address) {
  const auto block = block_of(address);
  memset(attributes, 0, 88);
  attributes->type = block.device >= 0 ? 2 : block.device == kPinned ? 1 : 0;
  attributes->device = std::max(block.device, 0);
  attributes->on_device = attributes->on_host = const_cast<void*>(address);
  return 0;
}
int cudaMemcpyAsync(void* to, const void* from, size_t size, int, void* stream) {
  return copy(to, from, size, stream);
}
int cudaMemcpyPeerAsync(void* to, int, const void* from, int, size_t size, void* stream) {
  return copy(to, from, size, stream);
}
int cudaMemcpy(void* to, const void* from, size_t size, int) {
  if (int error = wait("cudaMemcpy")) return error;
  memmove(to, from, size);
  return 0;
}
int cudaMemsetAsync(void* to, int value, size_t size, void* stream) {
  if (int error = standin_launch("memset", {1, 1, 1}, {1, 1, 1}, stream)) return error;
  if (!stream_of(stream).recording) memset(to, value, size);
  return 0;
}
int cudaMemset(void* to, int value, size_t size) { return cudaMemsetAsync(to, value, size, nullptr); }

// --- Streams and events ---

int cudaStreamCreateWithPriority(void** stream, unsigned, int) {
  *stream = new Stream{current};
  return 0;
}
int cudaStreamCreate(void** stream) { return cudaStreamCreateWithPriority(stream, 0, 0); }
int cudaStreamDestroy(Stream* stream) {
  delete stream;
  return 0;
}
int cudaStreamSynchronize(void* stream) { return wait("cudaStreamSynchronize", &stream_of(stream)); }
int cudaStreamQuery(void* stream) { return stream_of(stream).recording ? failed(kCaptureUnsupported) : 0; }
int cudaStreamWaitEvent(void*, void*, unsigned) { return 0; }
int cudaEventCreateWithFlags(void** event, unsigned) {
  *event = new char;
  return 0;
}
int cudaEventCreate(void** event) { return cudaEventCreateWithFlags(event, 0); }
int cudaEventDestroy(char* event) {
  delete event;
  return 0;
}
int cudaEventQuery(void*) { return 0; }
int cudaEventRecord(void*, void*) { return 0; }
int cudaEventRecordWithFlags(void*, void*, unsigned) { return 0; }
int cudaEventSynchronize(void*) { return wait("cudaEventSynchronize"); }
int cudaEventElapsedTime(float* milliseconds, void*, void*) {
  *milliseconds = 1;
  return 0;
}

// --- Graphs ---

int cudaThreadExchangeStreamCaptureMode(int*) { return 0; }
int cudaStreamBeginCapture(void* handle, int) {
  auto& stream = stream_of(handle);
  if (&stream == &state().first_streams[current]) return failed(kCaptureUnsupported);
  stream.recording = records = true;
  recorded = 0;
  return 0;
}
int cudaStreamEndCapture(void* handle, Graph** graph) {
  stream_of(handle).recording = records = false;
  *graph = new Graph{recorded};
  return 0;
}
int cudaStreamIsCapturing(void* stream, int* status) {
  *status = stream_of(stream).recording;
  return 0;
}
int cudaStreamGetCaptureInfo(void* stream, int* status, unsigned long long* id, void**, void**, void**,
                             size_t* count) {
  *status = stream_of(stream).recording;
  if (id) *id = *status;
  if (count) *count = 0;
  return 0;
}
int cudaGraphInstantiateWithFlags(Graph** instance, Graph* graph, unsigned long long) {
  if (getenv("STANDIN_NO_ROOM_FOR_GRAPHS")) return failed(kOutOfMemory);
  *instance = new Graph(*graph);
  return 0;
}
int cudaGraphGetNodes(Graph* graph, void*, size_t* count) {
  *count = graph->launches;
  return 0;
}
int cudaGraphLaunch(Graph* graph, void* stream) {
  if (stream_of(stream).device != current) return failed(kInvalidHandle);
  note("replay %zu", graph->launches);
  return 0;
}
int cudaGraphDestroy(Graph* graph) {
  delete graph;
  return 0;
}
int cudaGraphExecDestroy(Graph* graph) { return cudaGraphDestroy(graph); }

// --- The driver, as which libtorch finds this library by its name ---

int cuDevicePrimaryCtxGetState(int device, unsigned* flags, int* active) {
  *flags = 0;
  *active = state().devices[device].used;
  return 0;
}
int cuCtxGetCurrent(void** context) {
  auto& device = state().devices[current];
  *context = device.used ? &device : nullptr;
  return 0;
}
int cuGetErrorString(int error, const char** text) {
  *text = cudaGetErrorString(error);
  return 0;
}
int cuDriverGetVersion(int* version) { return cudaDriverGetVersion(version); }
// What libtorch wants to be there and does not call here.
#define UNUSED(NAME) \
  int NAME() { return kNotSupported; }
UNUSED(cuCtxSetCurrent)
UNUSED(cuDeviceGet)
UNUSED(cuDeviceGetAttribute)
UNUSED(cuDevicePrimaryCtxRetain)
UNUSED(cuFuncGetAttribute)
UNUSED(cuFuncSetAttribute)
UNUSED(cuFuncSetCacheConfig)
UNUSED(cuLaunchCooperativeKernel)
UNUSED(cuLaunchKernel)
UNUSED(cuLinkAddData_v2)
UNUSED(cuLinkComplete)
UNUSED(cuLinkCreate_v2)
UNUSED(cuModuleGetFunction)
UNUSED(cuModuleLoad)
UNUSED(cuModuleLoadData)
UNUSED(cuModuleLoadDataEx)
UNUSED(cuModuleUnload)
UNUSED(cuOccupancyMaxActiveBlocksPerMultiprocessor)
UNUSED(cuPointerGetAttribute)
UNUSED(cuTensorMapEncodeTiled)
int cudaGetDriverEntryPointByVersion(const char* name, void** function, unsigned, unsigned long long,
                                     int* status) {
  void* found = dlsym(RTLD_DEFAULT, name);
  *function = found ? found : reinterpret_cast<void*>(&cuModuleLoad);
  if (status) *status = 0;
  return 0;
}
}
