/* What the emit_*.c files share; families see emit.h only. */
#ifndef GPUCC_CODEGEN_EMIT_STATE_H
#define GPUCC_CODEGEN_EMIT_STATE_H

#include "emit.h"
#include "program.h"

/* A parameter of the kernel. */
struct param {
    struct kernel_arg arg;
    bool read, written;             /* BUFFER */
    const char *name;
};

/* "Element index of key is called name." key is a value, an atom, or a buffer at an offset. */
struct memo {
    const void *key;
    int kind, rank;
    const struct index **index;
    const char *name;
};
enum { MEMO_VALUE, MEMO_LOAD, MEMO_VECTOR, MEMO_ATOM, MEMO_TEXT };

/* A dry run that finds out whether `width` lanes can share vector loads. */
struct probe { const struct atom *lane; int width; bool fits; };

enum { MAX_SCOPES = 64, N_PREFIXES = 8 };

struct emit_state {
    struct codegen *c;
    const char *family;
    struct text defines, functions, body; /* in the arena */
    const char *skeleton;           /* text of the .cuh files */
    struct text *out;               /* where lines go now */
    int indent;
    struct param *params;
    int n_params, cap_params;
    struct memo *memos;             /* innermost scope last */
    int n_memos, cap_memos;
    int scope[MAX_SCOPES], n_scopes; /* n_memos at each open brace */
    struct { const char *prefix; int next; } fresh[N_PREFIXES];
    int vector;                     /* lanes a load may take at once */
    struct probe *probe;            /* NULL: for real */
    const struct node **reported;   /* nodes that emit_unsupported named */
    int n_reported;
    const struct dim *grid[3];
    int block[3], shared_bytes;
    bool shares_memory;             /* buffers may be one, see plan_in_place.c: no __restrict__ */
    struct in_place in_place;       /* … nor for these two */
    bool failed;
};

const char *emit_recall(struct emitter *e, int kind, const void *key, int rank,
                        const struct index *const *index);
void emit_remember(struct emitter *e, int kind, const void *key, int rank,
                   const struct index *const *index, const char *name);
void emit_push_scope(struct emitter *e);
void emit_pop_scope(struct emitter *e);

/* Text of a cast or bitcast node applied to a name; emit_scalar.c. */
const char *emit_cast_text(struct emitter *e, const struct node *node, const char *a);

/* An element of a convolution in front of the core: sums its window here; emit_window.c. */
const char *emit_window_value(struct emitter *e, const struct node *node,
                              const struct index *const *index);

/* How many of `width` lanes of this type one instruction moves: at most 16 bytes. */
int emit_lanes_at_once(enum dtype type, int width);

/* The literal of a constant of one element whose bytes are at hand, or NULL. */
const char *emit_constant(struct emitter *e, const struct value *v);
/* Element index of a constant of a few elements, where the index is known: a literal, or NULL. */
const char *emit_constant_at(struct emitter *e, const struct value *v,
                             const struct index *const *index);

/*
 * Could `width` lanes be emitted with vectors? body emits values at indices of which one has the term
 * `lane` (a variable in [0, width)), and calls emit_probe_store for what it would store. Nothing of
 * what it prints or declares stays.
 */
typedef void probe_body(struct emitter *e, void *context);
bool emit_probe(struct emitter *e, int width, const struct index *lane, probe_body *body,
                void *context);
void emit_probe_store(struct emitter *e, struct value *v, const struct index *const *index);

/* Computes v in all lanes and stores it into target's buffer (same type and shape; v itself, mostly). */
void emit_store_lanes(struct emitter *e, int width, struct value *v, struct value *target,
                      const struct index *const *const *index);

/* The body of a map: computes n values of one element count and stores each into its target. */
void emit_map(struct emitter *e, int n, struct value *const *v, struct value *const *target);

/* The prelude sections that text mentions, in the prelude's order. */
void prelude_append(struct text *out, const char *const *texts, int n);

#endif
