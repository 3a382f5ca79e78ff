#include "driver.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

#define SYSTEM_DRIVER "libcuda.so.1"

static const struct symbol {
    const char *name;
    size_t offset;
    bool required;
} symbols[] = {
#define REQUIRED                                 true
#define OPTIONAL                                 false
#define DRIVER(member, symbol, need, parameters) {symbol, offsetof(struct driver, member), need},
#include "driver_symbols.def"
#undef DRIVER
#undef REQUIRED
#undef OPTIONAL
};

enum gpucc_status rt_driver_open(const char *path, struct driver *driver)
{
    memset(driver, 0, sizeof *driver);
    /* Once opened, a driver stays: it may have threads, exit handlers and state of its own. */
    driver->library =
        dlopen(path != NULL ? path : SYSTEM_DRIVER, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (driver->library == NULL)
        return rt_fail(GPUCC_ENVIRONMENT, "no GPU driver: %s", dlerror());
    for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++) {
        void *address = dlsym(driver->library, symbols[i].name);
        if (address == NULL && symbols[i].required) {
            rt_driver_close(driver);
            return rt_fail(GPUCC_ENVIRONMENT, "%s: the driver lacks %s: it is too old",
                           path != NULL ? path : SYSTEM_DRIVER, symbols[i].name);
        }
        memcpy((char *)driver + symbols[i].offset, &address, sizeof address);
    }
    driver->runs_ptx_only = dlsym(driver->library, "gpucc_emu_version") != NULL;
    *(void **)&driver->explain = dlsym(driver->library, "gpucc_emu_last_error");
    driver->has_graphs = driver->capture_begin != NULL && driver->capture_end != NULL &&
                         driver->graph_instantiate != NULL && driver->graph_launch != NULL &&
                         driver->graph_destroy != NULL && driver->graph_exec_destroy != NULL;
    return GPUCC_OK;
}

void rt_driver_close(struct driver *driver)
{
    if (driver->library != NULL)
        dlclose(driver->library);
    driver->library = NULL;
}

enum gpucc_status rt_driver_status(const struct driver *driver, int result, const char *doing)
{
    if (result == 0)
        return GPUCC_OK;
    enum gpucc_status status = result == DRIVER_OUT_OF_MEMORY ? GPUCC_LIMIT : GPUCC_ENVIRONMENT;
    const char *explanation = driver->explain != NULL ? driver->explain() : "";
    if (explanation[0] != 0) /* it says what was being done, too */
        return rt_fail(status, "%s", explanation);
    const char *name = NULL, *text = NULL;
    driver->error_name(result, &name);
    driver->error_string(result, &text);
    return rt_fail(status, "%s: %s (%s)", doing, text != NULL ? text : "unknown error",
                   name != NULL ? name : "?");
}
