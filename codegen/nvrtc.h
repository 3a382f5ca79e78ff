/*
 * NVRTC, opened at run time: CUDA C in, PTX and machine code out. Needs no CUDA header to build, no
 * driver and no GPU to run. All functions may be called from several threads at once, but for open
 * and close.
 */
#ifndef GPUCC_CODEGEN_NVRTC_H
#define GPUCC_CODEGEN_NVRTC_H

#include "../ir/diag.h"

struct nvrtc;

/*
 * Finds and opens libnvrtc, 12.4 or newer. GPUCC_NVRTC (a file or a folder) wins outright; else the
 * first found of the loader's path, /usr/local/cuda*, $VIRTUAL_ENV, and nvrtc/ beside the folder of
 * the running program. NULL after reporting (ENVIRONMENT) how to get one.
 */
struct nvrtc *nvrtc_open(struct diag *diag);
void nvrtc_close(struct nvrtc *n);

const char *nvrtc_file(const struct nvrtc *n); /* the library's path, symlinks resolved */
const char *
nvrtc_build_id(const struct nvrtc *n); /* "13.0 65be0db3…": differs for any two builds */
void nvrtc_version(const struct nvrtc *n, int *major, int *minor);
bool nvrtc_knows_sm(const struct nvrtc *n, int sm); /* can compile for it */

/* One kernel's compiled form; both on the heap. */
struct binary {
    char *ptx;       /* NUL-terminated */
    size_t ptx_size; /* without the NUL */
    void *cubin;     /* NULL for a target that is PTX only */
    size_t cubin_size;
    char *log; /* the compiler's remarks, or NULL */
};

void binary_free(struct binary *b);

struct nvrtc_job {
    const char *source; /* CUDA C */
    const char *symbol; /* of the kernel; names the virtual source file */
    const char *arch;   /* "sm_90a", or "compute_80" for PTX alone */
    bool line_info;     /* -g: line table under /gpucc/<symbol>.cu */
};

/*
 * Compiles. False after reporting: INTERNAL for a kernel that does not compile (the log goes into
 * the message), ENVIRONMENT when NVRTC itself is unfit. Warnings that say a skeleton lost its speed
 * (setmaxnreg ignored, wgmma serialized) are errors. Takes diag last, since one diag is not shared
 * between threads.
 */
bool nvrtc_compile(struct nvrtc *n, const struct nvrtc_job *job, struct binary *out,
                   struct diag *diag);

/* The options of a job as one line of text; part of the compile cache's key. */
void nvrtc_options_text(const struct nvrtc_job *job, struct text *out);

/* What a cubin's own sections say of its kernel. */
struct resources {
    int registers;    /* per thread */
    int local_bytes;  /* stack frame per thread: spills and local arrays */
    int shared_bytes; /* static */
    int constant_bytes;
};

/* False when the cubin is not an ELF file as NVRTC writes it, or has no such kernel. */
bool cubin_resources(const void *cubin, size_t size, const char *symbol, struct resources *out);

#endif
