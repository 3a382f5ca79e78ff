/* A plan on the mock driver, opened and closed, and what runs on it must leave behind: nothing. */
#ifndef GPUCC_TESTS_FIXTURE_H
#define GPUCC_TESTS_FIXTURE_H

#include "check.h"
#include "gpucc_runtime.h"
#include "mock_driver.h"

#include <dlfcn.h>

/* The test makes the context, or leaves it NULL. */
struct fixture {
    unsigned char *bytes;
    struct gpucc_plan *plan;
    struct gpucc_device *device;
    struct gpucc_context *context;
    void *library;
    struct mock_state *mock;
};

#define OK(call)                                                                                   \
    do {                                                                                           \
        if ((call) != GPUCC_OK)                                                                    \
            fail_msg("%s: %s", #call, gpucc_last_error());                                         \
    } while (0)

/* Takes the bytes, which malloc gave. */
static void start(struct fixture *f, unsigned char *bytes, size_t size)
{
    memset(f, 0, sizeof *f);
    f->library = dlopen(MOCK_DRIVER, RTLD_NOW | RTLD_LOCAL);
    assert_non_null(f->library);
    f->mock = dlsym(f->library, "mock");
    *f->mock = (struct mock_state){.sm = 90, .driver_version = 13000};
    f->bytes = bytes;
    OK(gpucc_plan_open_memory(bytes, size, 0, &f->plan));
    OK(gpucc_device_open(MOCK_DRIVER, 0, &f->device));
}

static void stop(struct fixture *f)
{
    gpucc_context_destroy(f->context);
    gpucc_device_close(f->device);
    gpucc_plan_close(f->plan);
    assert_int_equal(f->mock->allocations, f->mock->frees);
    assert_int_equal(f->mock->modules, f->mock->modules_unloaded);
    assert_int_equal(f->mock->retained, 0);
    dlclose(f->library);
    free(f->bytes);
}

#endif
