/*
 * A context: a program being run with shapes and buffers. context.c keeps its state, place.c computes
 * sizes and gives buffers their memory, execute.c carries out the steps.
 */
#ifndef GPUCC_RUNTIME_CONTEXT_H
#define GPUCC_RUNTIME_CONTEXT_H

#include "list.h"
#include "load.h"
#include "planner.h"
#include "scalar.h"

struct buffer_state {
    uint64_t address;                   /* on the device, for this run */
    int64_t bytes;                      /* its size slot */
    uint64_t staging;                   /* INPUT, OUTPUT: the context's own memory for it; ZEROED: its
                                           offset */
    uint64_t own;                       /* its own allocation where the device isolates buffers … */
    int64_t own_bytes;                  /* … and the size of that */
    int64_t room;                       /* bytes that its memory must have: of the larger, where an
                                           output lies in an input's memory */
    uint32_t segment;                   /* whose scalars compute its size */
    struct list list;                   /* that it stands for, if it does */
};

/* The memory of the buffers that a segment places: the arena, then staging of inputs and outputs; and
 * that of zeroed buffers. */
struct region {
    uint64_t memory;
    int64_t capacity;
    uint64_t zeroed;                    /* memory of ZEROED buffers */
    int64_t zeroed_bytes;
    uint32_t n_buffers;                 /* 0 for most segments of loops' bodies: nothing to place */
    bool placed;                        /* since the shapes were set */
};

struct binding {
    bool bound;
    enum gpucc_memory memory;
    void *pointer;
    size_t bytes;
    uint32_t buffer;                    /* of the program; PLAN_NONE: the program does not use it */
    struct list_binding *list;          /* inputs: the list that is bound, or NULL; owned */
};

struct gpucc_context {
    struct gpucc_plan *plan;
    struct gpucc_device *device;
    const struct program *program;
    struct loaded *loaded;
    void *stream;                       /* own */
    void *last_stream;                  /* of the last run */

    int64_t *dims;                      /* PLAN_MAX_RANK for each input; -1: not set yet */
    struct scalar_state scalars;
    int64_t *slots, *elements, *iteration; /* what scalars points to */
    uint32_t *first_element;
    void *raw;                          /* room to read the largest READS record into */

    struct buffer_state *buffers;
    struct region *regions;             /* by segment */
    struct planner_item *items;         /* room for placing */
    uint32_t *item_of, *scratch;
    struct binding *inputs, *outputs;

    uint64_t *arg_words;                /* room for the arguments of one launch */
    void **arg_pointers;

    int64_t iterations, most_iterations; /* of the loops of a run together */

    bool ready;                         /* slots and buffers are right for the dims */
    bool finished;                      /* a run went through since */
    uint32_t next_step;                 /* of a run by parts, see tap.c; 0: none is under way */
    bool straight;                      /* steps depend on no data: can be a CUDA graph */
    uint64_t version;                   /* changes with every address and size */
    uint64_t run_version, graph_version; /* those of the last run, of the graph; 0: none */
    void *graph;                        /* executable CUDA graph or NULL */
};

/* Loops end, even those of a damaged plan: what takes more iterations than this fails the run. */
#define RT_MOST_ITERATIONS (INT64_C(1) << 32)

/* Runs a segment's scalars and places its buffers. The device's context must be current. */
enum gpucc_status rt_place_segment(struct gpucc_context *context, uint32_t segment,
                                   enum scalar_mode mode);

/* Sets the addresses of a segment's inputs and outputs, and checks what is bound. */
enum gpucc_status rt_bind_segment(struct gpucc_context *context, uint32_t segment);

/* Sets sizes and places what the input shapes determine, unless that is done. */
enum gpucc_status rt_prepare(struct gpucc_context *context);

/* Where byte `offset` (a slot or NONE) of a buffer lies, with `bytes` after it inside the buffer. */
enum gpucc_status rt_address(const struct gpucc_context *context, const struct plan_step *step,
                             uint32_t buffer, uint32_t offset, int64_t bytes, uint64_t *result);

/* Issues all main steps, as a graph where that is worth it. */
enum gpucc_status rt_execute(struct gpucc_context *context, void *stream);

/* Issues steps one by one. */
enum gpucc_status rt_run_steps(struct gpucc_context *context, void *stream, uint32_t first,
                               uint32_t n);

/* What comes before and behind the steps of a run: shapes, memory and inputs; outputs. */
enum gpucc_status rt_begin(struct gpucc_context *context, void *stream);
enum gpucc_status rt_end(struct gpucc_context *context, void *stream);
enum gpucc_status rt_wait(struct gpucc_context *context);

/* Makes a graph of the main steps for the addresses as they are. Does nothing where the driver has no
 * graphs or the program's steps depend on data. */
enum gpucc_status rt_capture(struct gpucc_context *context);

#endif
