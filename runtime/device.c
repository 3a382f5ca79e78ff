#include "device.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum gpucc_status find_device(struct gpucc_device *device, int ordinal)
{
    const struct driver *driver = &device->driver;
    int count = 0, major = 0, minor = 0;
    int result = driver->init(0);
    if (result == 0)
        result = driver->device_count(&count);
    if (result == DRIVER_NO_DEVICE)
        return rt_fail(GPUCC_ENVIRONMENT, "the driver finds no GPU");
    if (result != 0)
        return rt_driver_status(driver, result, "starting the driver");
    if (ordinal < 0 || ordinal >= count)
        return rt_fail(GPUCC_ENVIRONMENT, "no GPU number %d: the driver has %d", ordinal, count);
    if ((result = driver->device_get(&device->ordinal, ordinal)) != 0 ||
        (result = driver->device_attribute(&major, DRIVER_ATTRIBUTE_SM_MAJOR, device->ordinal)) ||
        (result = driver->device_attribute(&minor, DRIVER_ATTRIBUTE_SM_MINOR, device->ordinal)) ||
        (result = driver->device_attribute(&device->shared_bytes, DRIVER_ATTRIBUTE_SHARED_BYTES,
                                           device->ordinal)) ||
        (result = driver->device_name(device->info.name, (int)sizeof device->info.name,
                                      device->ordinal)) ||
        (result = driver->driver_version(&device->info.driver_version)))
        return rt_driver_status(driver, result, "asking for the device's properties");
    device->info.name[sizeof device->info.name - 1] = 0;
    device->info.sm = 10 * major + minor;
    return rt_driver_status(driver, driver->primary_retain(&device->primary, device->ordinal),
                            "retaining the device's primary context");
}

enum gpucc_status gpucc_device_open(const char *path, int ordinal, struct gpucc_device **result)
{
    struct gpucc_device *device = calloc(1, sizeof *device);
    if (device == NULL)
        return rt_fail(GPUCC_LIMIT, "out of memory");
    enum gpucc_status status = rt_driver_open(path, &device->driver);
    if (status == GPUCC_OK)
        status = find_device(device, ordinal);
    if (status == GPUCC_OK)
        *result = device;
    else
        gpucc_device_close(device);
    return status;
}

void gpucc_device_close(struct gpucc_device *device)
{
    if (device == NULL)
        return;
    if (device->primary != NULL)
        device->driver.primary_release(device->ordinal);
    rt_driver_close(&device->driver);
    free(device);
}

void gpucc_device_describe(const struct gpucc_device *device, struct gpucc_device_info *info)
{
    *info = device->info;
}

enum gpucc_status rt_device_enter(const struct gpucc_device *device)
{
    return rt_driver_status(&device->driver, device->driver.push(device->primary),
                            "entering the device's context");
}

void rt_device_leave(const struct gpucc_device *device)
{
    void *context;
    device->driver.pop(&context);
}

enum gpucc_status rt_device_alloc(const struct gpucc_device *device, int64_t bytes,
                                  const char *what, uint64_t *pointer)
{
    *pointer = 0;
    if (bytes == 0)
        return GPUCC_OK;
    char doing[96];
    snprintf(doing, sizeof doing, "taking %" PRId64 " bytes of device memory for %s", bytes, what);
    return rt_driver_status(&device->driver, device->driver.mem_alloc(pointer, (size_t)bytes),
                            doing);
}

void rt_device_free(const struct gpucc_device *device, uint64_t pointer)
{
    if (pointer != 0)
        device->driver.mem_free(pointer);
}
