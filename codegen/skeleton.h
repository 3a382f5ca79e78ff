/* The CUDA skeletons of codegen/kernels/, embedded at build time. */
#ifndef GPUCC_CODEGEN_SKELETON_H
#define GPUCC_CODEGEN_SKELETON_H

#include <stddef.h>

struct skeleton { const char *name, *text; size_t length; }; /* "contract.cuh"; NUL-terminated */

extern const struct skeleton skeletons[]; /* ends with a NULL name */

/* Text of the skeleton called name, or NULL. */
const char *skeleton_find(const char *name);

#endif
