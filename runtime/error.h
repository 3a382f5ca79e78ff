/* The last error of a thread, and the checked arithmetic that leads to many of them. */
#ifndef GPUCC_RUNTIME_ERROR_H
#define GPUCC_RUNTIME_ERROR_H

#include "gpucc_runtime.h"

#include <stdbool.h>

/* Sets the thread's last error and returns status. */
enum gpucc_status rt_fail(enum gpucc_status status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Puts text in front of the thread's last error. */
void rt_fail_within(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
