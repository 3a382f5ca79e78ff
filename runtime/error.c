#include "error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { ERROR_BYTES = 640 };

/* initial-exec: no call of the dynamic linker's __tls_get_addr, so that libc stays the only need.
 */
static _Thread_local char last_error[ERROR_BYTES] __attribute__((tls_model("initial-exec")));

const char *gpucc_last_error(void)
{
    return last_error;
}

enum gpucc_status rt_fail(enum gpucc_status status, const char *format, ...)
{
    char text[ERROR_BYTES]; /* an argument may be the last error */
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    memcpy(last_error, text, sizeof text);
    return status;
}

void rt_fail_within(const char *format, ...)
{
    char text[ERROR_BYTES];
    va_list args;
    va_start(args, format);
    int used = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (used >= 0 && used < ERROR_BYTES)
        snprintf(text + used, sizeof text - (size_t)used, "%s", last_error);
    memcpy(last_error, text, sizeof text);
}
