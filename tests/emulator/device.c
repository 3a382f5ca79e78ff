#include "device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void device_start(int race, int threads)
{
    const char *isa = getenv("TEST_ISA");
    struct gpucc_emu_options o = {
        .race = race, .threads = threads, .isa = isa ? *isa - '0' : EMU_ISA_BEST};
    assert_int_equal(gpucc_emu_configure(&o), 0);
    assert_int_equal(cuInit(0), 0);
}

CUdeviceptr device_new(size_t n)
{
    CUdeviceptr p = 0;
    assert_int_equal(cuMemAlloc_v2(&p, n), 0);
    return p;
}

CUdeviceptr device_put(const void *bytes, size_t n)
{
    CUdeviceptr p = device_new(n);
    assert_int_equal(cuMemcpyHtoD_v2(p, bytes, n), 0);
    return p;
}

void device_get(void *to, CUdeviceptr from, size_t n)
{
    assert_int_equal(cuMemcpyDtoH_v2(to, from, n), 0);
}

CUmodule device_module(const char *body)
{
    size_t n = strlen(PTX_HEADER) + strlen(body) + 1;
    char *text = malloc(n);
    assert_non_null(text);
    snprintf(text, n, "%s%s", PTX_HEADER, body);
    CUmodule m = NULL;
    CUresult rc = cuModuleLoadData(&m, text);
    if (rc) {
        print_error("%s\n%s", gpucc_emu_last_error(), text);
    }
    free(text);
    assert_int_equal(rc, 0);
    return m;
}

CUfunction device_function(CUmodule m, const char *name)
{
    CUfunction f = NULL;
    assert_int_equal(cuModuleGetFunction(&f, m, name), 0);
    return f;
}

CUresult device_launch(CUfunction f, struct shape s, void **params)
{
    return cuLaunchKernel(f, s.grid, 1, 1, s.block, 1, 1, s.shared, NULL, params, NULL);
}

void device_run(CUfunction f, struct shape s, void **params)
{
    CUresult rc = device_launch(f, s, params);
    if (rc) {
        print_error("%s\n", gpucc_emu_last_error());
    }
    assert_int_equal(rc, 0);
}
