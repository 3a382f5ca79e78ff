/* Where libnvrtc lies. Private to nvrtc.c. */
#ifndef GPUCC_CODEGEN_NVRTC_FIND_H
#define GPUCC_CODEGEN_NVRTC_FIND_H

#include "../ir/diag.h"

/*
 * Offers places in order of preference to `try`, which opens the library or returns false. Each
 * place is a path, or a plain name for the loader to find. True as soon as one try succeeded.
 * `outright` tells that GPUCC_NVRTC named the place, so that no other was considered.
 */
bool nvrtc_find(bool (*try)(void *context, const char *place), void *context, bool *outright);

/* Newest file that matches DIR/PATTERN, where only PATTERN may hold wildcards. Heap, or NULL. */
char *find_newest(const char *dir, const char *pattern);

#endif
