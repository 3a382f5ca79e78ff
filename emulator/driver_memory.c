/* The CUDA driver API: memory, copies, fills. */
#include "driver.h"

#include <inttypes.h>
#include <string.h>

#include "memory.h"

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
