/*
 * Kernels: what the families make of the groups that fuse_kernels formed, and what the plan writer
 * turns into steps.
 */
#ifndef GPUCC_CODEGEN_KERNEL_H
#define GPUCC_CODEGEN_KERNEL_H

#include "../ir/graph.h"

/* Peak figures, dense, at boost clock (target.c names the sources); 0: the target has no such unit. */
struct peak {
    int clock;                      /* MHz */
    int bandwidth;                  /* of device memory, GB/s */
    int fp32;                       /* these in Gflop/s (a multiply-add is two), i8 in Gop/s */
    int fp64;
    int tf32, half, i8, f8;         /* on tensor cores; half: f16 and bf16, summed in f32 */
};

struct target {
    const char *name;               /* "sm_90a", "portable" */
    const char *nvrtc_arch;         /* "sm_90a"; "compute_80" for portable */
    int sm;                         /* 90 */
    bool portable;                  /* PTX only */
    int multiprocessors;            /* of the largest common part, for the cost model */
    int shared_bytes;               /* most dynamic shared memory a block may have */
    int driver;                     /* first that knows the SM, as cuDriverGetVersion: 12080 */
    struct peak peak;               /* of the same part as multiprocessors */
};

/* The target called name, or NULL. */
const struct target *target_find(const char *name);

struct kernel_arg {
    enum { ARG_BUFFER, ARG_I32, ARG_I64 } kind;
    struct value *value;            /* BUFFER: a graph input, a constant, or a kernel's output */
    const struct dim *dim;          /* I32, I64: its value; I32 carries a check that it fits */
};

struct group;                       /* see emit.h */

/* A result of a kernel that may take the memory of an operand, see in_place.h. from NULL: none. */
struct in_place {
    struct value *from, *to;
    bool read_behind;               /* the operand is read by what is done to the core's results */
};

struct kernel {
    const struct group *group;      /* the nodes it computes, alone or with other kernels; NULL in
                                       programs made by hand */
    const char *family;             /* "map", "reduce", "row", "contract", "window", … */
    char symbol[64];                /* family + '_' + hash of the source; C identifier */
    const char *source;             /* canonical CUDA C: no names of the model in it */
    const char *nodes;              /* ONNX nodes it computes: "conv1 (Conv), relu1 (Relu)" */
    const char *comment;            /* these and the buffers' shapes, put above by --emit=cuda */
    const struct dim *grid[3];
    int block[3];
    int shared_bytes;               /* dynamic shared memory */
    int n_args;
    struct kernel_arg *args;        /* in the order of the CUDA function's parameters */
    int n_reads, n_writes;          /* buffers: which args are read, which written */
    struct value **reads, **writes;
    struct in_place in_place;       /* both are printed without __restrict__. Not set for maps, see
                                       plan_in_place.c */
};

/* What one launch sequence is made of, in order. */
struct step {
    enum { STEP_LAUNCH, STEP_FILL, STEP_COPY, STEP_READ, STEP_BRANCH, STEP_LOOP,
           STEP_LIST } kind;
    struct kernel *kernel;          /* LAUNCH */
    struct value *value;            /* FILL, COPY, a LAUNCH that copies: destination; READ: read to the host
                                       because symbols with SYMBOL_ELEMENT sources need it */
    struct value *source;           /* COPY; LAUNCH: the kernel but copies it to value, or NULL */
    uint32_t pattern;               /* FILL: 32-bit word */
    struct node *node;              /* LIST: the node; BRANCH, LOOP: operands and results have buffers … */
    struct program *body[2];        /* … and these are its bodies' steps (LOOP: the first only) */
};

struct program {                    /* one target's kernels and steps, of a graph or a body */
    const struct target *target;
    struct step *steps;
    int n_steps;
};

/* Calls visit for the kernel of each launch, bodies in their node's place, until it returns false.
 * False when it did. */
bool program_each_launch(const struct program *program,
                         bool (*visit)(void *context, const struct kernel *kernel), void *context);

/*
 * Generates the kernels of a graph that went through the pipeline. Lives in the graph's arena.
 * NULL on an error; all nodes that no family can do are reported at once (UNSUPPORTED). A body's
 * inputs stand for the operands of its node: its kernels name the inputs.
 */
struct program *codegen_program(struct graph *g, const struct target *target);

#endif
