/* The CUDA driver API: modules, functions, launches. */
#include "driver.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "launch.h"
#include "memory.h"

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
    int most = driver_shared_optin(driver.options.sm) - (int)k->shared_bytes;
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
