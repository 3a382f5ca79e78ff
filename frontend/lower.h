/*
 * What a lowering sees of the ONNX node it lowers, and what it may ask.
 *
 * A lowering is one function per ONNX operator (or family), named in operators.def. It reads its
 * inputs, builds nodes of ir/ and stores its results. Opset differences are visible in the table
 * and in the lowerings, nowhere else.
 *
 * Errors: call_error and call_unsupported report with the node's name and give false, so that a
 * lowering says `return call_error(…)`. Builders report for themselves and give NULL, and a NULL
 * operand gives NULL: a lowering may be one expression. A wrong attribute marks the call as failed.
 */
#ifndef GPUCC_FRONTEND_LOWER_H
#define GPUCC_FRONTEND_LOWER_H

#include "../ir/build.h"
#include "model.h"

enum {
    MAX_ELEMENTS = 256, /* most elements of a tensor that decides a shape */
    ANY_INPUTS = -2     /* operator.most: any number, of which any may be omitted */
};

struct call {
    struct import *import;
    struct builder *b;
    const struct operator* row;
    const Onnx__NodeProto *node;
    const struct scope *scope;
    int64_t opset; /* of the operator's domain, in the scope */
    int n_in, n_out;
    struct value **in;  /* NULL: omitted; in[n_in …] up to the row's most: NULL too */
    struct value **out; /* to fill; outputs nobody names may stay NULL */
    const char *place;  /* "model.onnx: node 'x' (Op, opset 13)" */
    bool failed;        /* an attribute was wrong */
};

/* A row of operators.def. */
struct operator
{
    const char *domain, *name;
    int since, until; /* opsets, both included */
    int least, most;  /* inputs; most -1: any number; or ANY_INPUTS */
    bool (*lower)(struct call * c);
    int variant; /* what distinguishes operators that share a lowering */
    bool lists;  /* inputs may be lists: list.h */
};

/* Both give false. */
bool call_error(struct call *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool call_unsupported(struct call *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Stores the first result; false when it is NULL. */
bool call_result(struct call *c, struct value *v);
bool call_wants(const struct call *c, int output); /* the output has a name */

/* Attributes. A value of another kind is an error and marks the call as failed. */
const Onnx__AttributeProto *call_attr(struct call *c, const char *name, int type); /* or NULL */
const Onnx__GraphProto *attr_graph(struct call *c, const char *name); /* NULL after reporting */
bool attr_given(struct call *c, const char *name);
int64_t attr_int(struct call *c, const char *name, int64_t otherwise);
double attr_float(struct call *c, const char *name, double otherwise);
/* Arena string; otherwise may be NULL. */
const char *attr_string(struct call *c, const char *name, const char *otherwise);
/* Count of the list's numbers, 0 when it is not given; *v points into the model. */
int attr_ints(struct call *c, const char *name, const int64_t **v);
/* As attr_ints, copied and checked to have `count` entries, all `otherwise` when it is not given.
 */
bool attr_ints_exactly(struct call *c, const char *name, int count, int64_t otherwise, int64_t *v);
/* The element type an attribute names; `otherwise` when it is not given. */
enum dtype attr_dtype(struct call *c, const char *name, enum dtype otherwise);
/* One of `names` (NULL at the end), as index; `otherwise` when the attribute is not given. */
int attr_choice(struct call *c, const char *name, const char *const *names, int otherwise);

/* axis counted from the end when negative; -1 after reporting that it is out of [-rank, rank). */
int call_axis(struct call *c, int64_t axis, int rank);
/* Bit mask of axes of [-rank, rank); false on one out of range or named twice. */
bool call_axes(struct call *c, int n, const int64_t *axes, int rank, uint32_t *mask);

/*
 * Elements of a small integer input as dims: what is known at compile time, else symbols that the
 * plan's scalar program loads. Gives their count, or -1 after reporting. The input must be given,
 * of rank 0 or 1 and of fixed size.
 */
int call_dims(struct call *c, int input, const struct dim *d[MAX_ELEMENTS]);
/* The same for any value; what: how messages call it. */
int value_dims(struct call *c, struct value *v, const char *what,
               const struct dim *d[MAX_ELEMENTS]);
/* The one element of an input that decides a shape; NULL after reporting. */
const struct dim *call_dim(struct call *c, int input);
/* All elements of an input, when they are constants; their count, or -1 when they are not (nothing
 * is reported). */
int call_known(struct call *c, int input, int64_t v[MAX_ELEMENTS]);
int value_known(struct call *c, struct value *v, int64_t known[MAX_ELEMENTS]);
/* The dim depends on elements of tensors, so that it may be negative to mean something else; one
 * that comes from sizes alone is a size. */
bool dim_from_data(struct call *c, const struct dim *d);
/* axis (of [-rank, rank)) as a dim, made non-negative. */
const struct dim *dim_axis(struct call *c, const struct dim *axis, int rank);

/*
 * Axes that may not be known: marked[i] is 1 where one of the n axes is i, else 0. Axes that are
 * known to be out of range or named twice are an error.
 */
bool mark_axes(struct call *c, int n, const struct dim *const *axes, int rank,
               const struct dim **marked);
/* d[0..n): the sizes of the axes that are not marked, in order. */
void unmarked_sizes(struct call *c, int rank, const struct dim *const *shape,
                    const struct dim *const *marked, int n, const struct dim **d);

/* Constants. */
struct value *call_tensor(struct call *c, const Onnx__TensorProto *t);
struct value *call_sparse_tensor(struct call *c, const Onnx__SparseTensorProto *t);

/*
 * Walks a subgraph of the node where the builder stands: in the node's place or in a body.
 * in[0..n_in) are given to its inputs (NULL: the name is left to the graphs around it); its outputs
 * are put into out[0..n_out).
 */
bool call_inline_graph(struct call *c, const Onnx__GraphProto *graph, int n_in,
                       struct value *const *in, int n_out, struct value **out);

/*
 * A body graph that is being built: between begin and end all nodes go into it. Bodies nest. What a
 * subgraph names of the graphs around it is captured by itself; a lowering brings its values in by
 * body_value.
 */
struct body {
    struct graph *graph;
    struct body *outer;      /* around it; NULL: the model's graph */
    struct value **operands; /* of the control node: what the body's inputs stand for */
    int n_operands, capacity;
    struct capture *captures; /* private */
};
void body_begin(struct call *c, struct body *body);
void body_end(struct call *c, struct body *body);
/* One more input, and the operand that it stands for. */
struct value *body_input(struct call *c, struct body *body, struct value *outside);
/* v of the body `owner` (NULL: the model's graph), seen from where the builder stands. */
struct value *body_value(struct call *c, struct body *owner, struct value *v);
/* Adds the inputs that `with` has and body does not have yet, so that the operands are the same. */
void body_share_inputs(struct call *c, struct body *body, const struct body *with);

/*
 * A loop that a lowering builds: begin; values of the graph around it by loop_value; end, or
 * abandon after an error. A loop of one trip is built in place, without a body.
 */
struct loop {
    const struct dim *trips, *index; /* the iteration, as a dim */
    int states;
    struct value *const *initial;
    struct body body, *owner;
    bool in_place;
};
/* inside[0..states): the states, inside. False after an error, or when a value is NULL. */
bool loop_begin(struct call *c, struct loop *loop, const struct dim *trips, int states,
                struct value *const *initial, struct value **inside);
struct value *loop_value(struct call *c, struct loop *loop, struct value *v);
/* inside[0..n): the states after an iteration, then elements to stack; out: the states at the end,
 * then the stacks. again: see the op loop. */
bool loop_end(struct call *c, struct loop *loop, const struct dim *again, int n,
              struct value *const *inside, struct value **out);
void loop_abandon(struct call *c, struct loop *loop);

/* Loop with its body's nodes in the place of the node, once for each iteration. It must be known when
 * compiling how many there are. */
bool unroll_loop(struct call *c, const Onnx__GraphProto *body);

/* Dims by short names. */
static inline const struct dim *d_const(struct call *c, int64_t v)
{
    return dim_const(c->b->g->dims, v);
}
#define D(op, ...) dim_##op(c->b->g->dims, __VA_ARGS__) /* D(add, x, y) in a lowering */

/*
 * Expressions of scalar ops, written as one reads them. Operands broadcast; constants take the type
 * of the tensor they meet.
 */
#define EXPRESSION(name, op)                                                                       \
    static inline struct value *name(struct call *c, struct value *x, struct value *y)             \
    {                                                                                              \
        return build_binary(c->b, op, x, y);                                                       \
    }
EXPRESSION(v_add, OP_add)
EXPRESSION(v_sub, OP_sub)
EXPRESSION(v_mul, OP_mul)
EXPRESSION(v_div, OP_div)
EXPRESSION(v_min, OP_min)
EXPRESSION(v_max, OP_max)
EXPRESSION(v_lt, OP_lt)
EXPRESSION(v_le, OP_le)
EXPRESSION(v_eq, OP_eq)
EXPRESSION(v_and, OP_and)
EXPRESSION(v_or, OP_or)
#undef EXPRESSION

static inline struct value *v_not(struct call *c, struct value *x)
{
    return build_unary(c->b, OP_not, x);
}

/* A scalar of x's type. */
struct value *v_number(struct call *c, struct value *x, double number);
static inline struct value *v_add_number(struct call *c, struct value *x, double number)
{
    return v_add(c, x, v_number(c, x, number));
}
static inline struct value *v_mul_number(struct call *c, struct value *x, double number)
{
    return v_mul(c, x, v_number(c, x, number));
}

/* 16-bit and narrower floats as f32, to compute a formula of several ops without rounding between.
 */
struct value *v_widen(struct call *c, struct value *x);

/* Variants in operators.def that are no ops of ir/ops.def. */
enum reduction {
    REDUCE_SUM,
    REDUCE_MEAN,
    REDUCE_MAX,
    REDUCE_MIN,
    REDUCE_PROD,
    REDUCE_L1,
    REDUCE_L2,
    REDUCE_LOG_SUM,
    REDUCE_LOG_SUM_EXP,
    REDUCE_SUM_SQUARE,
};
enum window_form { WINDOW_HANN, WINDOW_HAMMING, WINDOW_BLACKMAN };
enum recurrent_gates { GATES_RNN = 1, GATES_GRU = 3, GATES_LSTM = 4 };
enum norm_form { NORM_LAYER, NORM_RMS };
enum gelu_form { GELU_EXACT, GELU_TANH };
enum random_form { RANDOM_NORMAL, RANDOM_UNIFORM };

/* Every lowering that the table names. */
#define OPERATOR(domain, name, since, until, least, most, lower, variant) bool lower(struct call *);
#include "operators.def"

/* Shared between families. */
struct value *lower_clip_values(struct call *c, struct value *x, struct value *low,
                                struct value *high);

#endif
