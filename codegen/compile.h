/* Compiles the kernels of programs on all cores: equal ones once per target, from the cache if
 * there. */
#ifndef GPUCC_CODEGEN_COMPILE_H
#define GPUCC_CODEGEN_COMPILE_H

#include "kernel.h"
#include "nvrtc.h"

struct compile_options {
    int jobs;       /* threads; 0 = as many as there are cores */
    bool line_info; /* -g */
    bool no_cache;
    /* Called after each kernel, from any thread, never from two at once. NULL: not wanted. */
    void (*progress)(void *context, int done, int total);
    void *context;
};

/* One distinct kernel of one target. */
struct compiled {
    const struct target *target;
    const struct kernel *kernel; /* the first of the program that has this symbol */
    struct binary binary;
    bool cached; /* came from the cache */
};

struct compiled_set {
    struct compiled *at;
    int n;
}; /* by program, then by first launch */

/* Lists the distinct kernels of the programs, with no code yet. False after reporting. Free with
 * compiled_free in either case. */
bool compiled_collect(struct compiled_set *set, struct program *const *programs, int n_programs,
                      struct diag *diag);

/*
 * Compiles all of the set. False after reporting what failed (all kernels that do, in order). The
 * result does not depend on the number of threads or on the cache.
 */
bool compile_all(struct nvrtc *n, struct compiled_set *set, const struct compile_options *options,
                 struct diag *diag);
void compiled_free(struct compiled_set *set);

/* The compiled form of a program's kernel; NULL when it is none of the set's. */
const struct compiled *compiled_find(const struct compiled_set *set, const struct target *target,
                                     const char *symbol);

/* The source as --emit=cuda shows it: what every launch of the kernel computes, in a comment above.
 */
void compiled_print_cuda(struct text *out, const struct compiled *c,
                         struct program *const *programs, int n_programs);

/* Writes FOLDER/TARGET/KERNEL.{cu,ptx,cubin}. False after reporting (IO). */
bool compiled_save(const struct compiled_set *set, struct program *const *programs, int n_programs,
                   const char *folder, struct diag *diag);

#endif
