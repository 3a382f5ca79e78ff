/* The CUDA driver API: device, context, errors. The other driver_*.c have the rest. */
#include "driver.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

#include "memory.h"

struct driver driver;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

struct CUctx_st {
    int device;
};
static struct CUctx_st primary;

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

int driver_shared_optin(int sm)
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
    int optin = driver_shared_optin(driver.options.sm);
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
