/*
 * The graph: nodes in topological order, values with types and shapes, an arena that owns it all.
 *
 * A graph is built by ir/build.h (frontend), or parsed from text (ir/text.h), changed by passes
 * through the helpers below, checked by graph_verify, and read by codegen.
 */
#ifndef GPUCC_IR_GRAPH_H
#define GPUCC_IR_GRAPH_H

#include "dim.h"
#include "dtype.h"

enum { MAX_RANK = 16 };

enum op {
#define SCALAR(name, operands, domain, result, expression) OP_##name,
#define TENSOR(name, class, least, most, results)          OP_##name,
#include "ops.def"
    OP_COUNT
};

enum op_class { OC_SCALAR, OC_CONST, OC_VIEW, OC_REDUCE, OC_ROW, OC_CONTRACT, OC_ATTENTION,
                OC_WINDOW, OC_SCAN, OC_GATHER, OC_SCATTER, OC_SORT, OC_SELECT, OC_CONTROL, OC_LIST };

/* Attribute kinds, and the C type of each. */
struct dims { int n; const struct dim *const *d; };
struct ints { int n; int64_t v[MAX_RANK]; };
struct perm { int n; int8_t axis[MAX_RANK]; };
enum pad_mode { PAD_CONSTANT, PAD_REFLECT, PAD_EDGE, PAD_WRAP };
enum combine { COMBINE_NONE, COMBINE_ADD, COMBINE_MUL, COMBINE_MIN, COMBINE_MAX };

#define ATTR_TYPE_INT      int64_t
#define ATTR_TYPE_BOOL     bool
#define ATTR_TYPE_FLOAT    double
#define ATTR_TYPE_DTYPE    enum dtype
#define ATTR_TYPE_AXES     uint32_t            /* bit i = axis i */
#define ATTR_TYPE_DIM      const struct dim *
#define ATTR_TYPE_DIMS     struct dims
#define ATTR_TYPE_INTS     struct ints
#define ATTR_TYPE_PERM     struct perm
#define ATTR_TYPE_PADMODE  enum pad_mode
#define ATTR_TYPE_COMBINE  enum combine
#define ATTR_TYPE_CONSTANT struct constant *

enum attr_kind { AK_INT, AK_BOOL, AK_FLOAT, AK_DTYPE, AK_AXES, AK_DIM, AK_DIMS, AK_INTS, AK_PERM,
                 AK_PADMODE, AK_COMBINE, AK_CONSTANT };

#include "attrs.h" /* union attr: one struct per op that has attributes, from ops.def */

struct attr_field { const char *name; enum attr_kind kind; size_t offset; };

struct op_info {
    const char *name;
    enum op_class class;
    int least, most, results;       /* operands; -1 = any number (of results: the bodies tell) */
    char domain;                    /* scalar ops: F N I L B A */
    enum { RESULT_SAME, RESULT_BOOL, RESULT_ATTR } result; /* scalar ops */
    const char *expression;         /* scalar ops: text in a, b, c */
    int n_fields;
    const struct attr_field *fields;
};

extern const struct op_info op_info[OP_COUNT];

/*
 * The bytes of a constant node. They belong to the mapped model file, to the arena, or to nobody yet
 * (bytes NULL for a range of a file that is read when it is needed).
 */
struct constant {
    const void *bytes;              /* row-major, buffer representation (4-bit types unpacked) */
    size_t size;
    const char *initializer;        /* ONNX name of the tensor it came from, or NULL */
    const char *file;               /* external data file the bytes came from, or NULL */
    int64_t offset;                 /* … and where in it */
};

/* Where a value's elements lie. NULL in a value means row-major and dense. */
struct layout {
    struct perm perm;               /* memory axis i holds logical axis perm[i] */
    int64_t align[MAX_RANK];        /* memory extent of the axis is a multiple of this; 0 = 1 */
    int64_t block[MAX_RANK];        /* innermost block of the axis; 0 = none */
};

struct value {
    uint32_t id;                    /* %id in text; unique in root and bodies, dense after renumbering */
    enum dtype type;
    int rank;
    const struct dim *const *shape; /* rank entries */
    const struct layout *layout;
    struct graph *graph;            /* the one that it is defined in: a root or a body */
    struct node *def;               /* NULL: graph input */
    int index;                      /* which result of def, or which graph input */
    const char *name;               /* ONNX's name, or NULL */
    struct use *uses;               /* every operand slot that reads it; graph outputs are no uses */
    bool is_output;
    bool zeroed;                    /* workspace of kernels, see emit_workspace_zeroed */
    void *data;                     /* scratch of the pass that runs now */
};

struct use { struct node *node; int operand; struct use *next, **link; };

/* Which kernel a node belongs to, see passes/fuse_kernels.c. */
enum { KERNEL_UNASSIGNED = -1,
       KERNEL_CONSTANT = -2,        /* computed while the plan is written */
       KERNEL_IN_PLACE = -3 };      /* a concat whose operands are written where they lie in its result */

/* How a contraction multiplies operands of type f32. */
enum math { MATH_EXACT,             /* in f32 */
            MATH_TF32,              /* rounded to tf32 */
            MATH_F32X3,             /* split into two tf32 each: three products, about f32's accuracy */
            MATH_COUNT };

struct node {
    enum op op;
    int n_in, n_out;
    struct value **in;              /* operands */
    struct use *use;                /* the uses that in[] makes, one each */
    struct value **out;
    union attr attr;
    const char *origin;             /* ONNX nodes it came from: "conv1 (Conv), relu1 (Relu)" */
    int kernel;
    enum math math;                 /* contractions and attention */
    uint32_t order;                 /* position in the graph after graph_renumber */
    struct node *prev, *next;
    struct graph *body[2];          /* control flow: branch's then and else; loop's body */
};

/* Where a symbol's value comes from when the plan runs. */
struct symbol_source {
    enum { SYMBOL_FREE, SYMBOL_INPUT_DIM, SYMBOL_ELEMENT, SYMBOL_LOOP_INDEX } kind;
    int input, axis;                /* INPUT_DIM: dim `axis` of the root's input `input` */
    struct value *value;            /* ELEMENT: element of a small integer (or bool) tensor, which
                                       the root or a body computes */
    int64_t element;                /* LOOP_INDEX needs no more: the loop names its symbol */
};

/* What must hold when a plan runs; checked by its scalar program with `text` as the message. */
struct constraint {
    enum { MUST_EQUAL, MUST_BROADCAST /* a == b, or a == 1 */, MUST_LESS_EQUAL } kind;
    const struct dim *a, *b;
    const char *text;               /* names ONNX's node, inputs and axes */
    struct constraint *next;
};

/* What a pass decided about a node and why, for --explain. */
struct remark {
    const char *pass, *origin, *text; /* origin: ONNX nodes, see node */
    struct remark *next;
};

/*
 * A body of a control-flow node is a graph of its own that shares arena, diag and dims, and so the
 * symbols, with the graph around it. It sees no values of that graph but through its inputs: input i
 * stands for operand i of the node, with the same type and shape. Dims may be used anywhere, once
 * they are known.
 */
struct graph {
    struct arena *arena;
    struct diag *diag;
    struct dim_table *dims;
    const char *name;               /* ONNX graph's name */
    struct node *first, *last;
    struct value **inputs, **outputs;
    int n_inputs, n_outputs, cap_inputs, cap_outputs;
    const char **output_names;      /* ONNX's output names: one value may be several outputs */
    int *output_alias;              /* the input in whose memory the output is to lie, or -1 */
    struct constraint *constraints; /* in order of creation; a body's hold when it runs */
    int n_kernels;
    struct graph *outer, *root;     /* a body: the graph around it (else NULL), the outermost one */
    struct node *owner;             /* a body: its node, once that is made */
    /* The root's, for itself and all bodies: */
    struct symbol_source *symbols;  /* by symbol index */
    int n_symbols, cap_symbols;
    uint32_t next_id;
    const char *origin;             /* given to nodes while they are built */
    const struct precision *precision; /* what was asked for, see passes/precision.h; NULL: nothing */
    struct remark *remarks, **last_remark; /* in the order they were made */
};

struct graph *graph_create(struct arena *arena, struct diag *diag);
/* An empty body, to be given to graph_insert_control. */
struct graph *graph_create_body(struct graph *outer);
/* Is d known only inside the body, where an element is computed that it depends on? */
bool graph_dim_is_inner(const struct graph *body, const struct dim *d);

struct value *graph_add_input(struct graph *g, const char *name, enum dtype type, int rank,
                              const struct dim *const *shape);
void graph_add_output(struct graph *g, struct value *v, const char *name);
/* v is an input or output of the root that shares its memory with an output or input. */
bool value_shares_memory(const struct graph *g, const struct value *v);

/* Records a remark about a node (NULL: about the graph); any graph of the tree will do. */
void graph_remark(struct graph *g, const char *pass, const struct node *node, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* A symbol with its source. lower/upper: bounds of the value. */
const struct dim *graph_symbol(struct graph *g, const char *name, struct symbol_source source,
                               int64_t lower, int64_t upper);

/* Records that a and b must be in this relation. Provably true: nothing is recorded. Provably false:
 * an error is reported (BAD_MODEL) and false returned. */
bool graph_constrain(struct graph *g, int kind, const struct dim *a, const struct dim *b,
                     const char *format, ...) __attribute__((format(printf, 5, 6)));
/* Equal for certain, or because a constraint demands it. */
bool graph_dims_equal(const struct graph *g, const struct dim *a, const struct dim *b);

/*
 * Makes a node before `before` (NULL: at the end), infers the types and shapes of its results and
 * links its uses. attr may be NULL. NULL on an error, which was reported with g->origin as place.
 */
struct node *graph_insert(struct graph *g, struct node *before, enum op op, int n_in,
                          struct value *const *in, const union attr *attr);

/*
 * The same for a branch or a loop: its bodies are complete, their inputs match in[0..n_in) (else_body:
 * branch only, NULL for a loop). The results' types and shapes come from the bodies' outputs.
 */
struct node *graph_insert_control(struct graph *g, struct node *before, enum op op, int n_in,
                                  struct value *const *in, const union attr *attr,
                                  struct graph *body, struct graph *else_body);

/* The only four that edit use lists. */
void node_set_operand(struct graph *g, struct node *node, int operand, struct value *v);
void node_set_operands(struct graph *g, struct node *node, int n_in, struct value *const *in);
void value_replace_uses(struct graph *g, struct value *from, struct value *to); /* outputs too */
/* Its results must have no uses. Symbols that only its bodies know lose their sources. */
void node_remove(struct graph *g, struct node *node);

/* With bodies, and symbols of their own for what the bodies compute. */
struct node *node_clone(struct graph *g, struct node *node, struct node *before);
void node_move_before(struct graph *g, struct node *node, struct node *before);
/* Into another graph: from a body to the graph around it, or back. Operands are the caller's. */
void node_move(struct graph *from, struct node *node, struct graph *to, struct node *before);

/* -- Nodes with bodies (control.c) -- */

/* One operand more: the inputs that stand for it, one for each body. */
struct value *const *control_capture(struct graph *g, struct node *node, struct value *v);
/* An operand less, which no body reads and which is no state. */
void control_drop_operand(struct graph *g, struct node *node, int operand);
/* A result less, which nobody reads. The operand of a state stays, behind all others, as what the
 * body reads only. */
void control_drop_result(struct graph *g, struct node *node, int result);
/* A check in a loop's body that holds for the first and the last index, in which it is linear, holds
 * for all and goes. graph_insert_control does that. */
bool loop_drop_checks(struct node *node);
/* Puts the body in the place of its node, which is removed. False when a check of the body cannot
 * hold, which was reported. */
bool control_inline(struct graph *g, struct node *node, struct graph *body);

bool value_has_uses(const struct value *v);             /* or is an output */
bool value_single_use(const struct value *v);           /* exactly one use, no output */
bool value_is_const(const struct value *v);             /* result of a constant node */
/* Elements of v as a dim: product of its shape. */
const struct dim *value_elements(struct graph *g, const struct value *v);
bool value_elements_const(const struct value *v, int64_t *n); /* known and not overflowing */
bool value_same_shape(const struct value *a, const struct value *b);

/* Dims of a node (its attributes and results), and of a graph with its checks and bodies. A dim may
 * come more than once. */
void node_visit_dims(const struct node *node, dim_visit *visit, void *context);
void graph_visit_dims(const struct graph *g, dim_visit *visit, void *context);
/* to[i], where it is not NULL, in place of symbol i, in all dims of the graph and its bodies. False
 * when a check cannot hold then, which was reported. */
bool graph_replace_symbols(struct graph *g, int n, const struct dim *const *to);
void attr_replace_symbols(struct graph *g, enum op op, union attr *attr, int n,
                          const struct dim *const *to);
/* Is g outer itself, or a body somewhere in it? */
bool graph_is_within(const struct graph *g, const struct graph *outer);
/* The symbols that node's bodies compute, and its index, get no value any more. */
void node_forget_symbols(struct node *node);
/* The same for a body that is not used after all; a loop's index is not among them. */
void graph_forget_body(struct graph *body);

/* Dense ids and orders in list order, bodies in their node's place: deterministic. g: a root. */
void graph_renumber(struct graph *g);

/* Reports every fault of the graph, in place; true when there is none. blame: "model", or the name of
 * the pass that ran last (then faults are INTERNAL). */
bool graph_verify(struct graph *g, const char *blame);

/* What is known at compile time of a small integer tensor's elements: fills elements[0..n) with
 * dims and returns true, following shape arithmetic (const, cast, reshape, concat, slice, gather,
 * maps, reductions over known values). n = v's element count, at most `most`. */
bool graph_known_elements(struct graph *g, struct value *v, const struct dim **elements, int most);

#endif
