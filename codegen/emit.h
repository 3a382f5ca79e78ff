/*
 * The emitter: from a group of nodes to one kernel's CUDA text. Families are written against this.
 *
 * A group is what fuse_kernels put into one kernel: at most one core (a reduction, a contraction, …)
 * and, around it, scalar maps, views, gathers and iotas. The family writes the loops and the core;
 * whatever surrounds the core it gets by asking for "value v at this index" (emit_value: the
 * prologue) and by handing over the core's result (emit_result, emit_epilogue). It never sees the
 * nodes around the core, nor buffers, strides, guards or types narrower than a register.
 *
 * Values in registers: f16, bf16 and f8 are float; bool is bool; the others are their own type (see
 * emit_register_type). Loads and stores convert.
 *
 * A complete family, for a row sum over the last axis by one thread per row:
 *
 *   bool family_rowsum(struct codegen *c, const struct group *group)
 *   {
 *       struct emitter *e = emit_begin(c, group, "rowsum");
 *       struct value *x = group->core->in[0], *y = group->core->out[0];
 *       const struct index *at[MAX_RANK];
 *       const struct dim *rows = value_elements(e->g, y), *n = x->shape[x->rank - 1];
 *
 *       emit_launch(e, dim_ceildiv(e->g->dims, rows, d128), 128, 0);
 *       emit_line(e, "const idx_t row = blockIdx.x * 128 + threadIdx.x;");
 *       emit_line(e, "if (row >= %s)", emit_dim(e, rows));
 *       emit_line(e, "    return;");
 *       const struct index *row = index_var(e->ix, "row", rows);
 *       index_delinear(e->ix, row, y->rank, y->shape, at);
 *       emit_line(e, "float sum = 0.0f;");
 *       emit_open(e, "for (idx_t k = 0; k < %s; k++)", emit_dim(e, n));
 *       at[y->rank] = index_var(e->ix, "k", n);
 *       emit_line(e, "sum += %s;", emit_value(e, x, at));    // loads, views and maps: inlined here
 *       emit_close(e);
 *       emit_result(e, y, at, "sum");                        // the first y->rank entries count
 *       emit_epilogue(e, at);                                // maps behind the core, and the stores
 *       return emit_finish(e);                               // appends a launch to the program
 *   }
 *
 * A family with a skeleton (codegen/kernels/<name>.cuh) prints #defines and device functions that
 * the skeleton calls, instead of a body:
 *
 *       emit_define(e, "TILE_M", "%d", 64);
 *       emit_function(e, "float", "load_a", "idx_t m, idx_t k");
 *       at[0] = index_var(e->ix, "m", M); at[1] = index_var(e->ix, "k", K);
 *       emit_line(e, "return %s;", emit_value(e, a, at));
 *       emit_function_end(e);
 *       emit_function(e, "void", "store", "idx_t m, idx_t n, float sum");
 *       emit_result(e, y, at, "sum");
 *       emit_epilogue(e, at);
 *       emit_function_end(e);
 *       emit_skeleton(e, "contract.cuh");
 *
 * In the skeleton the kernel is `extern "C" __global__ void __launch_bounds__(256) KERNEL(PARAMS)`
 * and calls are `load_a(ARGS, m, k)`, `store(ARGS, m, n, sum)`: PARAMS and ARGS are macros that list
 * the kernel's parameters, KERNEL stands for its symbol, idx_t is int or long long.
 *
 * Failure: emit_unsupported and everything that can run into what cannot be done marks the emitter as
 * failed and goes on with harmless text; emit_finish then returns false. Memory: the graph's arena.
 */
#ifndef GPUCC_CODEGEN_EMIT_H
#define GPUCC_CODEGEN_EMIT_H

#include "index.h"
#include "kernel.h"
#include "layout.h"

struct codegen;                     /* the program being made, see program.c */

struct group {
    int id;                         /* the nodes' ->kernel */
    int n_nodes, n_outputs;
    struct node **nodes;            /* topological order */
    struct node *core;              /* NULL: a map. Reductions may have siblings, which are done in
                                       the same pass: the first */
    struct value **outputs;         /* values of the group that others read or the graph returns */
    struct in_place in_place;
};

struct emitter {
    struct graph *g;
    const struct target *target;
    const struct group *group;
    struct index_table *ix;
    bool wide;                      /* idx_t has 64 bits */
    struct emit_state *state;       /* private to emit*.c */
};

/* Starts a kernel. family is the first part of its symbol. Its idx_t is 32 bits wide when every value
 * that the group touches provably has fewer than 2^31 elements, or when that only depends on symbols
 * (a constraint is recorded then). */
struct emitter *emit_begin(struct codegen *c, const struct group *group, const char *family);
/* The group's in_place is fine with this kernel: its operand is not read again once an element of it is
 * written, or by other threads. */
void emit_in_place(struct emitter *e);
/* Ends it: makes the struct kernel and appends its launch. False when anything failed. */
bool emit_finish(struct emitter *e);
/* A buffer of n elements that lives while the group's kernels run: what one of them leaves for the
 * next, or for another part of its block. For emit_buffer; row-major, like a result of the core. */
struct value *emit_workspace(struct codegen *c, const struct group *group, enum dtype type,
                             const struct dim *n);
/* The same, but all zero before the first run, never shared, and kept from run to run: its kernels set
 * what they wrote back to zero. Counters of blocks that have arrived, for one. */
struct value *emit_workspace_zeroed(struct codegen *c, const struct group *group, enum dtype type,
                                    const struct dim *n);
/* One-dimensional blocks. emit_launch_grid takes all three dims; NULL means 1. */
void emit_launch(struct emitter *e, const struct dim *blocks, int threads, int shared_bytes);
void emit_launch_grid(struct emitter *e, const struct dim *x, const struct dim *y,
                      const struct dim *z, int block_x, int block_y, int shared_bytes);

/* One thread per item: sets the launch for n of them and prints name = the thread's number; surplus
 * threads return. So not for kernels with barriers. */
void emit_thread_index(struct emitter *e, const char *name, const struct dim *n);

/* --- Text. Lines are indented by the open braces; a newline is added. ------------------------- */
void emit_line(struct emitter *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "for (…) {" and its end. Names made by emit_value inside are forgotten at the close. */
void emit_open(struct emitter *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
void emit_close(struct emitter *e);

/* --- Skeletons ------------------------------------------------------------------------------- */
void emit_define(struct emitter *e, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* A device function `result name(PARAMS, parameters)`; lines go into it until emit_function_end. Its
 * parameters may be used as names of index variables and core results. No nesting. */
void emit_function(struct emitter *e, const char *result, const char *name,
                   const char *parameters);
void emit_function_end(struct emitter *e);
void emit_skeleton(struct emitter *e, const char *file);

/* --- Names and literals. Strings live in the arena. ------------------------------------------ */
/* A literal, or a parameter of the kernel that holds the dim's value at run time ("n0"). */
const char *emit_dim(struct emitter *e, const struct dim *d);
const char *emit_index(struct emitter *e, const struct index *i);       /* an expression; may need () */
/* A name nobody has: "v7" for prefix "v". */
const char *emit_fresh(struct emitter *e, const char *prefix);
/* The C type a value of this dtype has in a register, and in memory. */
const char *emit_register_type(enum dtype type);
const char *emit_storage_type(enum dtype type);
/* The type sums of this dtype are kept in: float for f16, bf16, f8 and f32; itself otherwise. */
const char *emit_accumulator_type(enum dtype type);
/* The register called name as what is stored: "f16(v3)". */
const char *emit_stored(struct emitter *e, enum dtype type, const char *name);
/* A literal of the register type: "1.0f", "INFINITY" by bits, "-5", "true". */
const char *emit_literal(struct emitter *e, enum dtype type, double value);
/* The operation's text applied to names: emit_scalar(e, OP_add, "x", "y", NULL, DT_F32). */
const char *emit_scalar_text(struct emitter *e, enum op op, enum dtype type, const char *a,
                             const char *b, const char *c);
/* Parameter that is the base pointer of a value in memory ("in0", "out1"), declared on first use. Of a
 * value that has memory of its own: a home's buffer, a workspace, a result of a core with no layout. */
const char *emit_buffer(struct emitter *e, struct value *v, bool write);

/* --- Values ---------------------------------------------------------------------------------- */
/*
 * The name of a variable (or a literal) that holds element index[0 … v->rank) of v. Prints what is
 * needed to compute it at the present place: loads, guards, scalar maps. The same value at the same
 * index in the same or an enclosing scope is computed once.
 */
const char *emit_value(struct emitter *e, struct value *v, const struct index *const *index);

/* Declares that name holds element index of v, a result of the core. Forgotten with the scope. */
void emit_result(struct emitter *e, struct value *v, const struct index *const *index,
                 const char *name);
/* Computes everything of the group that lies behind the core at the core's index (see emit_result,
 * called before for each result in use) and stores every output of the group. */
void emit_epilogue(struct emitter *e, const struct index *const *index);

/*
 * Vectors. Within emit_vector(e, w) … emit_vector(e, 1) a load whose offset is w*something + lane (by
 * its index expression) is done as one aligned load of w elements, of which the lanes are taken as
 * they are asked for; as several loads where w elements have more than 16 bytes. So a family loops
 * over lanes with indices 4*q + 0 … 4*q + 3.
 * emit_epilogue_lanes does the same for stores: index[lane] and, through emit_result, results of w
 * lanes that are neighbours. A width is a power of two, at most MAX_LANES.
 */
enum { MAX_LANES = 16 };            /* 16 bytes of the smallest types */
void emit_vector(struct emitter *e, int width);
void emit_epilogue_lanes(struct emitter *e, int width,
                         const struct index *const *const *index);

/*
 * How element index of v is reached. kind VIEWED: through views alone; then it lies at `offset` of
 * `buffer` where `guard` holds and is `fill` elsewhere. Prints nothing but what indices need.
 */
struct access {
    enum { ACCESS_VIEWED, ACCESS_COMPUTED } kind;
    struct value *buffer;
    const struct index *offset;     /* in elements */
    const char *guard;              /* NULL: holds always */
    const char *fill;               /* literal; meaningful with a guard */
};
void emit_access(struct emitter *e, struct value *v, const struct index *const *index,
                 struct access *out);
/*
 * The widest vector (a power of two of elements, at most 16 bytes of v's type) that all loads behind v
 * can be done in along `axis` of v, when the index along it is w*q + lane. Needs static extents along
 * the way.
 */
int emit_vector_width(struct emitter *e, struct value *v, int axis);

/*
 * Where element index of a value in memory lies: its layout, and a concat made in place around it, are
 * known here alone. Loads, stores and accesses go through it.
 */
struct home {
    struct value *buffer;           /* for emit_buffer */
    const struct index *offset;     /* in elements */
};
void emit_home(struct emitter *e, struct value *v, const struct index *const *index,
               struct home *home);
/*
 * Index of v's element number `linear` in the order in which the elements of `order` lie in memory (v
 * itself, mostly; a value of the same rank). Who counts the elements of what it writes so gets
 * neighbours for neighbours.
 */
void emit_delinear(struct emitter *e, const struct value *v, const struct value *order,
                   const struct index *linear, const struct index **at);

/* True when v is computed by this kernel's group; false: it lies in memory. */
bool emit_is_inner(const struct emitter *e, const struct value *v);
/* The core of the emitter's group, or one of its siblings. */
bool emit_is_core(const struct emitter *e, const struct node *node);
/* The reduction, or the pool of windows, that the group has behind its core, a convolution; NULL:
 * none. The group's epilogue is then what lies behind it, and what lies between the two is asked for
 * by emit_value. */
struct node *emit_pool(const struct emitter *e);

/* Reports that this node cannot be done, once per node; the emitter has failed. */
void emit_unsupported(struct emitter *e, const struct node *node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
