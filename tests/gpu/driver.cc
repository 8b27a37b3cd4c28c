// A CUDA driver without a device, for cuda.core: memory is the host's, and kernels are the sources
// compiled for the host, run when they are launched. What cuda.core asks for beyond this succeeds and
// does nothing.
#include "host_kernels.cc"

#include <dlfcn.h>

#include <cstdlib>
#include <string>

using Address = unsigned long long;
using Status = int;

enum { OK = 0, INVALID = 1, FULL = 2 };
// CUdevice_attribute.
enum { MULTIPROCESSORS = 16, MAJOR = 75, MINOR = 76 };

static void *context;

// SPARK_CTR_DRIVER_MEMORY: the most bytes of an allocation.
static void *memory_of(size_t bytes) {
    const char *most = getenv("SPARK_CTR_DRIVER_MEMORY");
    if (most && bytes > strtoull(most, nullptr, 10)) return nullptr;
    return aligned_alloc(256, (bytes + 255) / 256 * 256);
}

extern "C" {

Status cuInit(unsigned) { return OK; }
Status cuDriverGetVersion(int *version) { return *version = 13000, OK; }
Status cuDeviceGetCount(int *count) { return *count = 1, OK; }
Status cuDeviceGet(int *device, int ordinal) { return *device = ordinal, OK; }
Status cuDeviceGetName(char *name, int length, int) { return strncpy(name, "host", length), OK; }
Status cuDeviceGetUuid_v2(char *uuid, int) { return memset(uuid, 1, 16), OK; }
Status cuDeviceGetAttribute(int *value, int what, int) {
    return *value = what == MAJOR ? 9 : what == MINOR ? 0 : what == MULTIPROCESSORS ? 132 : 1, OK;
}
Status cuDevicePrimaryCtxRetain(void **made, int) { return *made = &context, OK; }
Status cuCtxSetCurrent(void *made) { return context = made, OK; }
Status cuCtxGetCurrent(void **made) { return *made = context, OK; }
Status cuCtxGetDevice(int *device) { return *device = 0, OK; }
Status cuCtxGetStreamPriorityRange(int *least, int *most) { return *least = *most = 0, OK; }
Status cuStreamCreateWithPriority(void **stream, unsigned, int) { return *stream = malloc(8), OK; }
Status cuStreamDestroy_v2(void *stream) { return free(stream), OK; }

Status cuMemAlloc_v2(Address *at, size_t bytes) {
    *at = reinterpret_cast<Address>(memory_of(bytes));
    return *at ? OK : FULL;
}
Status cuMemFree_v2(Address at) { return free(reinterpret_cast<void *>(at)), OK; }
Status cuMemAllocHost_v2(void **at, size_t bytes) {
    return *at = memory_of(bytes), *at ? OK : FULL;
}
Status cuMemFreeHost(void *at) { return free(at), OK; }
Status cuMemcpyHtoDAsync_v2(Address to, const void *from, size_t bytes, void *) {
    return memcpy(reinterpret_cast<void *>(to), from, bytes), OK;
}
Status cuMemcpyDtoHAsync_v2(void *to, Address from, size_t bytes, void *) {
    return memcpy(to, reinterpret_cast<void *>(from), bytes), OK;
}
Status cuMemsetD8Async(Address at, unsigned char byte, size_t bytes, void *) {
    return memset(reinterpret_cast<void *>(at), byte, bytes), OK;
}

Status cuLibraryLoadData(void **library, const void *, void *, void *, unsigned, void *, void *,
                         unsigned) {
    return *library = malloc(8), OK;
}
// A kernel is its name.
Status cuLibraryGetKernel(void **kernel, void *, const char *name) {
    return *kernel = strdup(name), OK;
}
Status cuKernelGetFunction(void **function, void *kernel) { return *function = kernel, OK; }
Status cuGetErrorName(int error, const char **name) {
    return *name = error == FULL ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_INVALID_VALUE", OK;
}
Status cuGetErrorString(int, const char **text) { return *text = "said by a stand-in", OK; }

struct Config {
    unsigned grid[3], block[3], shared_bytes;
};
Status cuLaunchKernelEx(const Config *config, void *kernel, void **parameters, void **) {
    const std::string name = static_cast<const char *>(kernel);
    const auto count = reinterpret_cast<int (*)()>(dlsym(RTLD_DEFAULT, ("count_" + name).c_str()));
    void *found = dlsym(RTLD_DEFAULT, ("host_" + name).c_str());
    const unsigned *grid = config->grid, *block = config->block;
    if (!count || !found || block[0] != 128 || block[1] * block[2] * grid[1] * grid[2] != 1)
        return INVALID;
    // All numbers travel in registers or slots of 8 bytes, of which a kernel takes what it declares.
    Address v[16] = {};
    for (int i = 0; i < count(); i++) memcpy(&v[i], parameters[i], sizeof v[i]);
    shared_bytes = config->shared_bytes;
    using Function = void (*)(unsigned, unsigned, Address, Address, Address, Address, Address,
                              Address, Address, Address, Address, Address, Address, Address);
    reinterpret_cast<Function>(found)(0, grid[0], v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7],
                                      v[8], v[9], v[10], v[11]);
    return OK;
}

static Status nothing() { return OK; }

Status cuGetProcAddress_v2(const char *name, void **function, int, Address, int *found) {
    *function = nullptr;
    for (const char *version : {"_v2", ""})
        if (!*function) *function = dlsym(RTLD_DEFAULT, (std::string(name) + version).c_str());
    if (!*function) *function = reinterpret_cast<void *>(nothing);
    if (found) *found = 0;
    return OK;
}
}
