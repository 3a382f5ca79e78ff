/*
 * The part of the CUDA driver API that the emulator answers, written down from its documentation:
 * names, types and numbers as in libcuda, so that one caller serves both.
 */
#ifndef EMU_CU_H
#define EMU_CU_H

#include <stddef.h>
#include <stdint.h>

#define CU_ERRORS(X)                                                                               \
    X(CUDA_SUCCESS, 0, "no error")                                                                 \
    X(CUDA_ERROR_INVALID_VALUE, 1, "invalid argument")                                             \
    X(CUDA_ERROR_OUT_OF_MEMORY, 2, "out of memory")                                                \
    X(CUDA_ERROR_NOT_INITIALIZED, 3, "initialization error")                                       \
    X(CUDA_ERROR_INVALID_DEVICE, 101, "invalid device ordinal")                                    \
    X(CUDA_ERROR_INVALID_IMAGE, 200, "device kernel image is invalid")                             \
    X(CUDA_ERROR_INVALID_CONTEXT, 201, "invalid device context")                                   \
    X(CUDA_ERROR_NO_BINARY_FOR_GPU, 209, "no kernel image is available for this device")           \
    X(CUDA_ERROR_INVALID_PTX, 218, "a PTX compilation failed")                                     \
    X(CUDA_ERROR_INVALID_HANDLE, 400, "invalid resource handle")                                   \
    X(CUDA_ERROR_NOT_FOUND, 500, "named symbol not found")                                         \
    X(CUDA_ERROR_ILLEGAL_ADDRESS, 700, "an illegal memory access was encountered")                 \
    X(CUDA_ERROR_LAUNCH_FAILED, 719, "unspecified launch failure")                                 \
    X(CUDA_ERROR_NOT_SUPPORTED, 801, "operation not supported")

typedef enum CUresult {
#define X(name, number, text) name = number,
    CU_ERRORS(X)
#undef X
} CUresult;

typedef uint64_t CUdeviceptr;
typedef int CUdevice;
typedef struct CUctx_st *CUcontext;
typedef struct CUmod_st *CUmodule;
typedef struct kernel *CUfunction;
typedef struct CUstream_st *CUstream;
typedef struct CUevent_st *CUevent;

enum { /* CUdevice_attribute */
       CU_DEVICE_MAX_THREADS_PER_BLOCK = 1,
       CU_DEVICE_MAX_BLOCK_DIM_X = 2,
       CU_DEVICE_MAX_BLOCK_DIM_Y = 3,
       CU_DEVICE_MAX_BLOCK_DIM_Z = 4,
       CU_DEVICE_MAX_GRID_DIM_X = 5,
       CU_DEVICE_MAX_GRID_DIM_Y = 6,
       CU_DEVICE_MAX_GRID_DIM_Z = 7,
       CU_DEVICE_MAX_SHARED_MEMORY_PER_BLOCK = 8,
       CU_DEVICE_TOTAL_CONSTANT_MEMORY = 9,
       CU_DEVICE_WARP_SIZE = 10,
       CU_DEVICE_MAX_REGISTERS_PER_BLOCK = 12,
       CU_DEVICE_CLOCK_RATE = 13,
       CU_DEVICE_MULTIPROCESSOR_COUNT = 16,
       CU_DEVICE_INTEGRATED = 18,
       CU_DEVICE_CONCURRENT_KERNELS = 31,
       CU_DEVICE_MEMORY_CLOCK_RATE = 36,
       CU_DEVICE_GLOBAL_MEMORY_BUS_WIDTH = 37,
       CU_DEVICE_L2_CACHE_SIZE = 38,
       CU_DEVICE_MAX_THREADS_PER_MULTIPROCESSOR = 39,
       CU_DEVICE_UNIFIED_ADDRESSING = 41,
       CU_DEVICE_COMPUTE_CAPABILITY_MAJOR = 75,
       CU_DEVICE_COMPUTE_CAPABILITY_MINOR = 76,
       CU_DEVICE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR = 81,
       CU_DEVICE_MANAGED_MEMORY = 83,
       CU_DEVICE_COOPERATIVE_LAUNCH = 95,
       CU_DEVICE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN = 97,
       CU_DEVICE_MEMORY_POOLS_SUPPORTED = 115,
};

enum { /* CUfunction_attribute */
       CU_FUNC_MAX_THREADS_PER_BLOCK = 0,
       CU_FUNC_SHARED_SIZE_BYTES = 1,
       CU_FUNC_CONST_SIZE_BYTES = 2,
       CU_FUNC_LOCAL_SIZE_BYTES = 3,
       CU_FUNC_NUM_REGS = 4,
       CU_FUNC_PTX_VERSION = 5,
       CU_FUNC_BINARY_VERSION = 6,
       CU_FUNC_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8,
       CU_FUNC_PREFERRED_SHARED_MEMORY_CARVEOUT = 9,
};

/* What extra of cuLaunchKernel is made of. */
#define CU_LAUNCH_PARAM_END            ((void *)0)
#define CU_LAUNCH_PARAM_BUFFER_POINTER ((void *)1)
#define CU_LAUNCH_PARAM_BUFFER_SIZE    ((void *)2)

typedef struct CUlaunchConfig {
    unsigned gridDimX, gridDimY, gridDimZ;
    unsigned blockDimX, blockDimY, blockDimZ;
    unsigned sharedMemBytes;
    CUstream hStream;
    void *attrs; /* CUlaunchAttribute: 4 bytes of id, then a union */
    unsigned numAttrs;
} CUlaunchConfig;

CUresult cuInit(unsigned flags);
CUresult cuDeviceGetAttribute(int *value, int attribute, CUdevice device);
CUresult cuMemAlloc_v2(CUdeviceptr *pointer, size_t bytes);
CUresult cuMemFree_v2(CUdeviceptr pointer);
CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t bytes);
CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t bytes);
CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream);
CUresult cuMemsetD32Async(CUdeviceptr to, unsigned value, size_t count, CUstream stream);
CUresult cuModuleLoadData(CUmodule *module, const void *image);
CUresult cuModuleUnload(CUmodule module);
CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name);
CUresult cuFuncSetAttribute(CUfunction k, int attribute, int value);
CUresult cuLaunchKernel(CUfunction k, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                        unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,
                        CUstream stream, void **params, void **extra);
CUresult cuStreamBeginCapture_v2(CUstream stream, int mode);

#endif
