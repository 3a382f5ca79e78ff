/* Where libnvrtc lies. Private to nvrtc.c. */
#ifndef GPUCC_CODEGEN_NVRTC_FIND_H
#define GPUCC_CODEGEN_NVRTC_FIND_H

#include "../ir/diag.h"

enum nvrtc_found {
    NVRTC_OPENED,
    NVRTC_MISSING,
    NVRTC_NO_MEMORY, /* nothing was opened, but memory ran out while looking */
};

/*
 * Offers places in order of preference to `try`, which opens the library or returns false. Each
 * place is a path, or a plain name for the loader to find. Ends as soon as one try succeeded.
 * `outright` tells that GPUCC_NVRTC named the place, so that no other was considered.
 */
enum nvrtc_found nvrtc_find(bool (*try)(void *context, const char *place), void *context,
                            bool *outright);

/*
 * Newest file that matches DIR/PATTERN, where only PATTERN may hold wildcards: on the heap, or NULL
 * where there is none. False if memory ran out.
 */
bool find_newest(const char *dir, const char *pattern, char **newest);

#endif
