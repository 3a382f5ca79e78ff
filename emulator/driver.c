/* The CUDA driver API: device, context, memory, launches, streams and events. */
#include "driver.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "launch.h"
#include "memory.h"

struct driver driver;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

struct CUctx_st {
    int device;
};
static struct CUctx_st primary;

struct CUstream_st {
    unsigned flags;
};

struct CUevent_st {
    double milliseconds; /* of the host's clock when it was recorded */
    bool recorded;
};

void driver_lock(void)
{
    pthread_mutex_lock(&lock);
}

void driver_unlock(void)
{
    pthread_mutex_unlock(&lock);
}

CUresult driver_error(CUresult code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(driver.error, sizeof driver.error, format, args);
    va_end(args);
    return code;
}

CUresult driver_enter(void)
{
    driver_lock();
    driver_configure_once();
    if (!driver.initialized) {
        return driver_error(CUDA_ERROR_NOT_INITIALIZED, "cuInit was not called");
    }
    return (CUresult)driver.sticky; /* with the message of the launch that failed */
}

CUresult driver_leave(CUresult result)
{
    driver_unlock();
    return result;
}

/* ---- Device and context ---- */

API CUresult cuInit(unsigned flags)
{
    driver_lock();
    driver_configure_once();
    CUresult rc = CUDA_SUCCESS;
    if (flags) {
        rc = driver_error(CUDA_ERROR_INVALID_VALUE, "cuInit: flags must be 0");
    } else {
        driver.initialized = true;
    }
    return driver_leave(rc);
}

API CUresult cuDriverGetVersion(int *version)
{
    *version = 13000;
    return CUDA_SUCCESS;
}

API CUresult cuDeviceGetCount(int *count)
{
    CUresult rc = driver_enter();
    *count = 1;
    return driver_leave(rc);
}

API CUresult cuDeviceGet(CUdevice *device, int ordinal)
{
    CUresult rc = driver_enter();
    if (!rc && ordinal) {
        rc = driver_error(CUDA_ERROR_INVALID_DEVICE, "there is one device, number 0");
    } else {
        *device = 0;
    }
    return driver_leave(rc);
}

API CUresult cuDeviceGetName(char *name, int bytes, CUdevice device)
{
    CUresult rc = driver_enter();
    (void)device;
    if (!rc && bytes > 0) {
        snprintf(name, (size_t)bytes, "gpucc PTX emulator (sm_%d)", driver.options.sm);
    }
    return driver_leave(rc);
}

/* Shared memory that a block may have when its kernel asks for it. */
static int shared_optin(int sm)
{
    switch (sm) {
    case 75: return 65536;
    case 80:
    case 87: return 166912;
    case 86:
    case 89:
    case 120:
    case 121: return 101376;
    default: return 232448;
    }
}

API CUresult cuDeviceGetAttribute(int *value, int attribute, CUdevice device)
{
    CUresult rc = driver_enter();
    int optin = shared_optin(driver.options.sm);
    const int values[][2] = {
        {CU_DEVICE_MAX_THREADS_PER_BLOCK, 1024},
        {CU_DEVICE_MAX_BLOCK_DIM_X, 1024},
        {CU_DEVICE_MAX_BLOCK_DIM_Y, 1024},
        {CU_DEVICE_MAX_BLOCK_DIM_Z, 64},
        {CU_DEVICE_MAX_GRID_DIM_X, INT32_MAX},
        {CU_DEVICE_MAX_GRID_DIM_Y, 65535},
        {CU_DEVICE_MAX_GRID_DIM_Z, 65535},
        {CU_DEVICE_MAX_SHARED_MEMORY_PER_BLOCK, 49152},
        {CU_DEVICE_TOTAL_CONSTANT_MEMORY, 65536},
        {CU_DEVICE_WARP_SIZE, 32},
        {CU_DEVICE_MAX_REGISTERS_PER_BLOCK, 65536},
        {CU_DEVICE_CLOCK_RATE, 1000000},
        {CU_DEVICE_MULTIPROCESSOR_COUNT, driver.options.threads},
        {CU_DEVICE_INTEGRATED, 0},
        {CU_DEVICE_CONCURRENT_KERNELS, 1},
        {CU_DEVICE_MEMORY_CLOCK_RATE, 1000000},
        {CU_DEVICE_GLOBAL_MEMORY_BUS_WIDTH, 64},
        {CU_DEVICE_L2_CACHE_SIZE, 1 << 20},
        {CU_DEVICE_MAX_THREADS_PER_MULTIPROCESSOR, 1024},
        {CU_DEVICE_UNIFIED_ADDRESSING, 1},
        {CU_DEVICE_COMPUTE_CAPABILITY_MAJOR, driver.options.sm / 10},
        {CU_DEVICE_COMPUTE_CAPABILITY_MINOR, driver.options.sm % 10},
        {CU_DEVICE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR, optin + 1024},
        {CU_DEVICE_MANAGED_MEMORY, 0},
        {CU_DEVICE_COOPERATIVE_LAUNCH, 0},
        {CU_DEVICE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, optin},
        {CU_DEVICE_MEMORY_POOLS_SUPPORTED, 0},
    };
    (void)device;
    if (rc) {
        return driver_leave(rc);
    }
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        if (values[i][0] == attribute) {
            *value = values[i][1];
            return driver_leave(CUDA_SUCCESS);
        }
    }
    return driver_leave(
        driver_error(CUDA_ERROR_INVALID_VALUE, "device attribute %d is not known", attribute));
}

API CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device)
{
    (void)device;
    *bytes = (size_t)1 << (SLICE_BITS - 1);
    return CUDA_SUCCESS;
}

API CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device)
{
    CUresult rc = driver_enter();
    if (!rc && device) {
        rc = driver_error(CUDA_ERROR_INVALID_DEVICE, "there is one device, number 0");
    }
    *context = &primary;
    return driver_leave(rc);
}

API CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device)
{
    (void)device;
    return CUDA_SUCCESS;
}

API CUresult cuCtxPushCurrent_v2(CUcontext context)
{
    CUresult rc = driver_enter();
    if (!rc && context != &primary) {
        rc = driver_error(CUDA_ERROR_INVALID_CONTEXT, "not the primary context");
    }
    driver.pushed += !rc;
    return driver_leave(rc);
}

API CUresult cuCtxPopCurrent_v2(CUcontext *context)
{
    driver_lock();
    CUresult rc = CUDA_SUCCESS;
    if (driver.pushed == 0) {
        rc = driver_error(CUDA_ERROR_INVALID_CONTEXT, "no context was pushed");
    } else {
        driver.pushed--;
    }
    if (context) {
        *context = &primary;
    }
    return driver_leave(rc);
}

API CUresult cuCtxSetCurrent(CUcontext context)
{
    return !context || context == &primary ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}

API CUresult cuCtxGetCurrent(CUcontext *context)
{
    *context = &primary;
    return CUDA_SUCCESS;
}

API CUresult cuCtxSynchronize(void)
{
    return driver_leave(driver_enter());
}

/* ---- Memory ---- */

API CUresult cuMemAlloc_v2(CUdeviceptr *pointer, size_t bytes)
{
    CUresult rc = driver_enter();
    if (!rc && !bytes) {
        rc = driver_error(CUDA_ERROR_INVALID_VALUE, "cuMemAlloc: 0 bytes");
    } else if (!rc && !(*pointer = memory_alloc(bytes))) {
        rc = driver_error(CUDA_ERROR_OUT_OF_MEMORY, "cuMemAlloc: no %zu bytes", bytes);
    }
    return driver_leave(rc);
}

API CUresult cuMemFree_v2(CUdeviceptr pointer)
{
    driver_lock(); /* also after a failed launch: memory is freed on the way out */
    CUresult rc = CUDA_SUCCESS;
    if (pointer && !memory_free(pointer)) {
        rc = driver_error(CUDA_ERROR_INVALID_VALUE,
                          "cuMemFree: 0x%" PRIx64 " is not the start of living memory", pointer);
    }
    return driver_leave(rc);
}

/* The host's address of device memory, for an operation called what; NULL with an error noted. */
static void *device_bytes(const char *what, CUdeviceptr p, uint64_t bytes, bool write)
{
    char why[256];
    void *host = memory_host(p, bytes, write, why, sizeof why);
    if (!host) {
        driver_error(CUDA_ERROR_INVALID_VALUE, "%s of %" PRIu64 " bytes: %s", what, bytes, why);
    }
    return host;
}

enum direction { TO_DEVICE, TO_HOST, ON_DEVICE };

static CUresult copy(enum direction direction, CUdeviceptr device, void *host, CUdeviceptr from,
                     size_t bytes)
{
    static const char *const names[] = {"copy to the device", "copy to the host",
                                        "copy on the device"};
    CUresult rc = driver_enter();
    if (rc) {
        return driver_leave(rc);
    }
    driver.counters.copies++;
    driver.counters.copied_bytes += bytes;
    if (!bytes) {
        return driver_leave(CUDA_SUCCESS);
    }
    void *d = device_bytes(names[direction], device, bytes, direction != TO_HOST);
    const void *s =
        direction == ON_DEVICE ? device_bytes(names[direction], from, bytes, false) : host;
    if (!d || !s) {
        return driver_leave(s || d ? CUDA_ERROR_INVALID_VALUE
                                   : driver_error(CUDA_ERROR_INVALID_VALUE, "copy from NULL"));
    }
    if (direction == TO_HOST) {
        memcpy(host, d, bytes);
    } else {
        memmove(d, s, bytes);
    }
    return driver_leave(CUDA_SUCCESS);
}

API CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes, CUstream stream)
{
    (void)stream;
    return copy(TO_DEVICE, to, (void *)(uintptr_t)from, 0, bytes);
}

API CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes, CUstream stream)
{
    (void)stream;
    return copy(TO_HOST, from, to, 0, bytes);
}

API CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream)
{
    (void)stream;
    return copy(ON_DEVICE, to, NULL, from, bytes);
}

API CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t bytes)
{
    return cuMemcpyHtoDAsync_v2(to, from, bytes, NULL);
}

API CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t bytes)
{
    return cuMemcpyDtoHAsync_v2(to, from, bytes, NULL);
}

API CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes)
{
    return cuMemcpyDtoDAsync_v2(to, from, bytes, NULL);
}

static CUresult fill(CUdeviceptr to, uint32_t value, unsigned size, size_t count)
{
    CUresult rc = driver_enter();
    if (rc) {
        return driver_leave(rc);
    }
    driver.counters.fills++;
    driver.counters.filled_bytes += count * size;
    if (count > SIZE_MAX / size || to % size) {
        return driver_leave(driver_error(CUDA_ERROR_INVALID_VALUE, "fill: size or alignment"));
    }
    unsigned char *d = count ? device_bytes("fill", to, count * size, true) : NULL;
    if (count && !d) {
        return driver_leave(CUDA_ERROR_INVALID_VALUE);
    }
    for (size_t i = 0; i < count; i++) {
        memcpy(d + i * size, &value, size); /* little-endian */
    }
    return driver_leave(CUDA_SUCCESS);
}

API CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t count, CUstream stream)
{
    (void)stream;
    return fill(to, value, 1, count);
}

API CUresult cuMemsetD16Async(CUdeviceptr to, unsigned short value, size_t count, CUstream stream)
{
    (void)stream;
    return fill(to, value, 2, count);
}

API CUresult cuMemsetD32Async(CUdeviceptr to, unsigned value, size_t count, CUstream stream)
{
    (void)stream;
    return fill(to, value, 4, count);
}

/* ---- Modules ---- */

API CUresult cuModuleLoadData(CUmodule *module, const void *image)
{
    CUresult rc = driver_enter();
    return driver_leave(rc ? rc : module_load(image, module));
}

API CUresult cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned n_options,
                                int *options, void **values)
{
    (void)n_options; /* they tell ptxas how to compile, which does not happen here */
    (void)options;
    (void)values;
    return cuModuleLoadData(module, image);
}

API CUresult cuModuleUnload(CUmodule module)
{
    driver_lock();
    for (struct CUmod_st **m = &driver.modules; *m; m = &(*m)->next) {
        if (*m == module) {
            *m = module->next;
            module_unload(module);
            return driver_leave(CUDA_SUCCESS);
        }
    }
    return driver_leave(driver_error(CUDA_ERROR_INVALID_HANDLE, "cuModuleUnload: not a module"));
}

API CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name)
{
    CUresult rc = driver_enter();
    struct kernel *k = rc ? NULL : module->kernels;
    while (k && strcmp(k->name, name) != 0) {
        k = k->next;
    }
    *function = k;
    if (!rc && !k) {
        rc = driver_error(CUDA_ERROR_NOT_FOUND, "no kernel '%s' in the module", name);
    }
    return driver_leave(rc);
}

API CUresult cuModuleGetGlobal_v2(CUdeviceptr *pointer, size_t *bytes, CUmodule module,
                                  const char *name)
{
    CUresult rc = driver_enter();
    if (rc) {
        return driver_leave(rc);
    }
    struct slice s = {name, (uint32_t)strlen(name)};
    const struct variable *v = module_variable(module->module, NULL, 0, s);
    if (!v || (v->space != SPACE_GLOBAL && v->space != SPACE_CONST)) {
        return driver_leave(
            driver_error(CUDA_ERROR_NOT_FOUND, "no variable '%s' in the module", name));
    }
    if (pointer) {
        *pointer = v->offset;
    }
    if (bytes) {
        *bytes = v->size;
    }
    return driver_leave(CUDA_SUCCESS);
}

API CUresult cuFuncGetAttribute(int *value, int attribute, CUfunction k)
{
    CUresult rc = driver_enter();
    if (rc) {
        return driver_leave(rc);
    }
    switch (attribute) {
    case CU_FUNC_MAX_THREADS_PER_BLOCK:
        *value = k->function->max_threads ? (int)k->function->max_threads : 1024;
        break;
    case CU_FUNC_SHARED_SIZE_BYTES: *value = (int)k->shared_bytes; break;
    case CU_FUNC_CONST_SIZE_BYTES: *value = 0; break;
    case CU_FUNC_LOCAL_SIZE_BYTES: *value = (int)k->local_bytes; break;
    case CU_FUNC_NUM_REGS: *value = (int)(k->register_bytes / 128); break;
    case CU_FUNC_PTX_VERSION:
    case CU_FUNC_BINARY_VERSION: *value = k->module->sm; break;
    case CU_FUNC_MAX_DYNAMIC_SHARED_SIZE_BYTES: *value = k->max_dynamic_shared; break;
    default:
        rc =
            driver_error(CUDA_ERROR_INVALID_VALUE, "function attribute %d is not known", attribute);
    }
    return driver_leave(rc);
}

API CUresult cuFuncSetAttribute(CUfunction k, int attribute, int value)
{
    CUresult rc = driver_enter();
    if (rc || attribute == CU_FUNC_PREFERRED_SHARED_MEMORY_CARVEOUT) {
        return driver_leave(rc);
    }
    int most = shared_optin(driver.options.sm) - (int)k->shared_bytes;
    if (attribute != CU_FUNC_MAX_DYNAMIC_SHARED_SIZE_BYTES) {
        rc = driver_error(CUDA_ERROR_INVALID_VALUE, "function attribute %d cannot be set",
                          attribute);
    } else if (value < 0 || value > most) {
        rc = driver_error(CUDA_ERROR_INVALID_VALUE,
                          "kernel %s: %d bytes of dynamic shared memory, at most %d", k->name,
                          value, most);
    } else {
        k->max_dynamic_shared = value;
    }
    return driver_leave(rc);
}

/* ---- Launches ---- */

/* The kernel's parameter block, from an array of pointers or from one buffer. Owned by the caller.
 */
static unsigned char *gather_params(const struct kernel *k, void **params, void **extra)
{
    uint64_t bytes = k->function->param_bytes;
    unsigned char *block = calloc(1, bytes + 16);
    if (!block) {
        driver_error(CUDA_ERROR_OUT_OF_MEMORY, "out of memory");
        return NULL;
    }
    if (params) {
        uint32_t i = 0;
        for (const struct variable *v = k->function->formals; v; v = v->next) {
            memcpy(block + v->offset, params[i++], v->size);
        }
        return block;
    }
    const void *buffer = NULL;
    size_t size = 0;
    for (void **e = extra; e && *e != CU_LAUNCH_PARAM_END; e += 2) {
        if (*e == CU_LAUNCH_PARAM_BUFFER_POINTER) {
            buffer = e[1];
        } else if (*e == CU_LAUNCH_PARAM_BUFFER_SIZE) {
            size = *(const size_t *)e[1];
        }
    }
    if (size < bytes || (bytes && !buffer)) {
        driver_error(CUDA_ERROR_INVALID_VALUE,
                     "kernel %s: %zu bytes of parameters, %" PRIu64 " are wanted", k->name, size,
                     bytes);
        free(block);
        return NULL;
    }
    if (bytes) {
        memcpy(block, buffer, bytes);
    }
    return block;
}

API CUresult cuLaunchKernel(CUfunction k, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                            unsigned block_x, unsigned block_y, unsigned block_z,
                            unsigned shared_bytes, CUstream stream, void **params, void **extra)
{
    CUresult rc = driver_enter();
    (void)stream;
    if (rc) {
        return driver_leave(rc);
    }
    if (!k) {
        return driver_leave(driver_error(CUDA_ERROR_INVALID_HANDLE, "launch of no kernel"));
    }
    struct launch_shape shape = {
        {grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared_bytes};
    unsigned char *block = gather_params(k, params, extra);
    if (!block) {
        return driver_leave(CUDA_ERROR_INVALID_VALUE);
    }
    struct gpucc_emu_counters counted = {.launches = 1};
    rc = (CUresult)launch_run(k, &shape, block, &driver.options, &counted, driver.error,
                              sizeof driver.error);
    free(block);
    if (rc == CUDA_ERROR_ILLEGAL_ADDRESS || rc == CUDA_ERROR_LAUNCH_FAILED) {
        driver.sticky = rc;
    }
    gpucc_emu_add(&driver.counters, &counted);
    gpucc_emu_add(&k->counters, &counted);
    return driver_leave(rc);
}

API CUresult cuLaunchKernelEx(const CUlaunchConfig *c, CUfunction k, void **params, void **extra)
{
    /* Attributes: a cluster of 1 and hints on ordering change nothing here; others would. */
    for (unsigned i = 0; i < c->numAttrs; i++) {
        const uint32_t *attribute = (const uint32_t *)(const void *)((char *)c->attrs + 72 * i);
        enum { IGNORE = 0, CLUSTER_DIMENSION = 4, PROGRAMMATIC_SERIALIZATION = 6, PRIORITY = 8 };
        bool one = attribute[0] == CLUSTER_DIMENSION && attribute[2] == 1 && attribute[3] == 1 &&
                   attribute[4] == 1;
        if (!one && attribute[0] != IGNORE && attribute[0] != PROGRAMMATIC_SERIALIZATION &&
            attribute[0] != PRIORITY) {
            driver_lock();
            return driver_leave(driver_error(CUDA_ERROR_NOT_SUPPORTED,
                                             "launch attribute %" PRIu32 " is not supported",
                                             attribute[0]));
        }
    }
    return cuLaunchKernel(k, c->gridDimX, c->gridDimY, c->gridDimZ, c->blockDimX, c->blockDimY,
                          c->blockDimZ, c->sharedMemBytes, c->hStream, params, extra);
}

/* ---- Streams and events: everything is done when a call returns ---- */

API CUresult cuStreamCreate(CUstream *stream, unsigned flags)
{
    CUresult rc = driver_enter();
    struct CUstream_st *s = rc ? NULL : malloc(sizeof *s);
    if (!rc && !s) {
        rc = driver_error(CUDA_ERROR_OUT_OF_MEMORY, "out of memory");
    } else if (!rc) {
        s->flags = flags;
        *stream = s;
        driver.streams++;
    }
    return driver_leave(rc);
}

API CUresult cuStreamDestroy_v2(CUstream stream)
{
    driver_lock();
    driver.streams--;
    free(stream);
    return driver_leave(CUDA_SUCCESS);
}

API CUresult cuStreamSynchronize(CUstream stream)
{
    (void)stream;
    return driver_leave(driver_enter());
}

API CUresult cuStreamQuery(CUstream stream)
{
    (void)stream;
    return driver_leave(driver_enter());
}

API CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned flags)
{
    (void)stream;
    (void)event;
    (void)flags;
    return driver_leave(driver_enter());
}

API CUresult cuEventCreate(CUevent *event, unsigned flags)
{
    CUresult rc = driver_enter();
    (void)flags;
    struct CUevent_st *e = rc ? NULL : calloc(1, sizeof *e);
    if (!rc && !e) {
        rc = driver_error(CUDA_ERROR_OUT_OF_MEMORY, "out of memory");
    } else if (!rc) {
        *event = e;
        driver.events++;
    }
    return driver_leave(rc);
}

API CUresult cuEventDestroy_v2(CUevent event)
{
    driver_lock();
    driver.events--;
    free(event);
    return driver_leave(CUDA_SUCCESS);
}

API CUresult cuEventRecord(CUevent event, CUstream stream)
{
    CUresult rc = driver_enter();
    struct timespec t;
    (void)stream;
    clock_gettime(CLOCK_MONOTONIC, &t);
    event->milliseconds = (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
    event->recorded = true;
    return driver_leave(rc);
}

API CUresult cuEventSynchronize(CUevent event)
{
    (void)event;
    return driver_leave(driver_enter());
}

API CUresult cuEventQuery(CUevent event)
{
    (void)event;
    return driver_leave(driver_enter());
}

API CUresult cuEventElapsedTime(float *milliseconds, CUevent from, CUevent to)
{
    CUresult rc = driver_enter();
    if (!rc && (!from->recorded || !to->recorded)) {
        rc = driver_error(CUDA_ERROR_INVALID_HANDLE, "cuEventElapsedTime: an event not recorded");
    } else if (!rc) {
        *milliseconds = (float)(to->milliseconds - from->milliseconds);
    }
    return driver_leave(rc);
}

/* ---- Graphs are not there: the caller issues the steps one by one ---- */

static CUresult no_graphs(void)
{
    driver_lock();
    return driver_leave(driver_error(CUDA_ERROR_NOT_SUPPORTED, "the emulator has no graphs"));
}

API CUresult cuStreamBeginCapture_v2(CUstream stream, int mode)
{
    (void)stream;
    (void)mode;
    return no_graphs();
}

API CUresult cuStreamEndCapture(CUstream stream, void **graph)
{
    (void)stream;
    *graph = NULL;
    return no_graphs();
}

API CUresult cuGraphInstantiateWithFlags(void **executable, void *graph, unsigned long long flags)
{
    (void)graph;
    (void)flags;
    *executable = NULL;
    return no_graphs();
}

API CUresult cuGraphLaunch(void *executable, CUstream stream)
{
    (void)executable;
    (void)stream;
    return no_graphs();
}

API CUresult cuGraphDestroy(void *graph)
{
    (void)graph;
    return no_graphs();
}

API CUresult cuGraphExecDestroy(void *executable)
{
    (void)executable;
    return no_graphs();
}

/* ---- Errors ---- */

API CUresult cuGetErrorName(CUresult error, const char **text)
{
    switch (error) {
#define X(name, number, string)                                                                    \
    case name: *text = #name; return CUDA_SUCCESS;
        CU_ERRORS(X)
#undef X
    }
    *text = NULL;
    return CUDA_ERROR_INVALID_VALUE;
}

API CUresult cuGetErrorString(CUresult error, const char **text)
{
    switch (error) {
#define X(name, number, string)                                                                    \
    case name: *text = string; return CUDA_SUCCESS;
        CU_ERRORS(X)
#undef X
    }
    *text = NULL;
    return CUDA_ERROR_INVALID_VALUE;
}
