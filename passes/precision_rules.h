/* Between set_precision.c and its helpers: what is known of values, and what was chosen for nodes.
 */
#ifndef GPUCC_PASSES_PRECISION_RULES_H
#define GPUCC_PASSES_PRECISION_RULES_H

#include "precision.h"

/* How far a value's numbers may lie from those of ordinary activations. */
enum reach {
    REACH_NARROW,  /* like activations */
    REACH_INVERSE, /* one by something: large, but makes ordinary numbers of what it scales */
    REACH_WIDE,    /* beyond f16, or too small for it */
    REACH_SUM      /* a sum of integers: beyond f16 until it is scaled */
};

/* Does a constant fit a type? Its largest magnitude decides. Unasked: not looked at yet; undecided:
 * it cannot be evaluated before the plan runs. */
enum fit { FIT_UNASKED, FIT_GOOD, FIT_TOO_LARGE, FIT_TOO_SMALL, FIT_UNDECIDED };

/* For what readers need a value exactly. */
enum need {
    NEED_NOTHING,
    NEED_F64,
    NEED_INTEGER,
    NEED_PLACE, /* an integer that is an index: where to read or write */
    NEED_ANGLE,
    NEED_SCALE /* of sums of integers: as small as they are large */
};

enum { NARROW_TYPES = 3 }; /* f32, f16, bf16: see narrow_index */

struct value_facts {
    enum dtype original; /* type before the pass */
    enum dtype planned;  /* and behind it */
    bool constant;       /* depends on constants alone */
    bool integral;       /* a float made of integers and constants: positions, masks, counts */
    bool bounded;        /* in [-1, 1] */
    bool reaches_scores; /* by maps and moves alone: a softmax's operand, attention's bias */
    enum reach reach;
    enum need need;
    bool before_product;            /* the need is that of a product which this is an operand of */
    double terms;                   /* a sum of so many ordinary numbers; 0: something else */
    double magnitude;               /* of a constant, when fit is known */
    enum fit fit[NARROW_TYPES];     /* of a constant */
    struct value *as[NARROW_TYPES]; /* casts that were made */
    struct value *view_as[NARROW_TYPES];
};

/* What a node shall compute in. */
struct choice {
    enum precision_level precision; /* asked for */
    bool explicit;                  /* by --keep */
    bool natural;                   /* stays in its type whatever is asked for, because … */
    const char *why;
    enum dtype type; /* what it will compute in */
    bool eight;      /* a contraction that fp8 can do */
    const char *why_not_eight;
    const char *pattern; /* the --keep that matched */
    int layer;           /* what `auto` decides about together; -1: nothing to decide */
};

struct assignment {
    struct graph *g; /* the root */
    const struct precision *wanted;
    bool raised; /* the graph was that of a 16-bit model */
    uint32_t n;
    struct value_facts *facts; /* by value id */
    struct choice *choices;    /* by id of a node's first result */
};

/* f32, f16 and bf16: the types that this pass exchanges for one another. */
bool precision_is_float(enum dtype type);
int narrow_index(enum dtype type);
/* The type of values at a precision, of which the model says `original`. */
enum dtype precision_type(enum precision_level precision, enum dtype original);
/* Fewer bits than the original. */
bool precision_lowers(enum dtype type, enum dtype original);

struct value_facts *facts_of(const struct assignment *a, const struct value *v);
struct choice *choice_of(const struct assignment *a, const struct node *node);
/* The model's float type that the node works on, or DT_NONE. */
enum dtype node_float_type(const struct assignment *a, const struct node *node);
/* The type the node computes in. */
enum dtype node_type(const struct assignment *a, const struct node *node);
bool is_contraction(const struct node *node);
/* Would the node round its operands to less than the model's type? Not what has its reasons. */
bool precision_rounds(const struct assignment *a, const struct node *node);
/* Has products whose math may be chosen: a contraction or attention. */
bool multiplies(const struct node *node);
/* Attention's bias is added in f32 whatever its type; it may be too low for another, to hide keys.
 * The last operand, if any. */
bool precision_keeps_operand(const struct node *node, int operand);

/* Finds facts and choices of all nodes. NULL after reporting: a pattern matched nothing. */
struct assignment *precision_assign(struct graph *g);
/* The reasons for which nodes stay in their type, given what was asked for. */
void precision_find_natural(struct assignment *a);
/* The same for what is needed exactly behind them: precision_exact.c. */
void precision_find_exact(struct assignment *a);
/* Says of inputs that may be masks that they are wide: precision_masks.c. */
void precision_find_masks(struct assignment *a);
enum fit constant_fit(struct assignment *a, struct value *v, enum dtype type);

/* The types of nodes and values that follow from the choices. */
void precision_plan(struct assignment *a);
/* Takes elements in the type that they have and computes nothing with them. */
bool moves_elements(const struct node *node);

/* What remarks call the type of what is not lowered. */
const char *precision_kept_type(const struct assignment *a);

/* The levels as text, in the order of the nodes; and back. False after reporting. raised: the text
 * is that of a 16-bit model's graph in f32. */
bool precision_text_is_raised(const char *text);
const char *precision_save(struct assignment *a);
bool precision_load(struct assignment *a, const char *text);

/* precision_layers.c: what auto decides about together, a core and what goes with it. */
struct layer {
    struct node *core;                 /* a node that names it */
    double saved[PRECISION_COUNT];     /* estimated nanoseconds that a level saves */
    double faster[PRECISION_COUNT];    /* … of its products alone */
    double error[PRECISION_COUNT];     /* at the outputs, of its group alone; NAN: not measured */
    double price[PRECISION_COUNT];     /* its group's error by what that saves */
    int together;                      /* layers of the group: 1 unless the model is large */
    enum precision_level level, tried; /* tried: before it was given back */
    enum precision_level base;         /* before the level that is being tried */
    const char *why_not_eight;         /* of its last product, if that is known */
    bool computes, contracts, eight;   /* what is in it: more than moves, contractions, f8 ones */
    bool repeats;                      /* it is a loop */
    bool halves;                       /* its contractions alone have fp16 operands, nothing else */
    bool given_back;                   /* was lowered, and saved nothing by it */
};
struct layers {
    int n;
    struct layer *at;
    double operations; /* of the whole model */
};
struct layers precision_layers(struct assignment *a);
/* Nanoseconds that each layer's level saves, all others having theirs, by the plan that was made
 * last: on constants, on what it gives to others, and by products. What comes from others has their
 * types, whatever this one has. n of them. */
const double *precision_settled(const struct assignment *a, const struct layers *layers);
/* Sets what the nodes of a layer are to have. */
void precision_set_layer(struct assignment *a, int layer, enum precision_level level);
/* A layer in tf32, but that its contractions take operands of fp16. */
void precision_set_halves(struct assignment *a, int layer);

/* auto: finds levels for all nodes that are not --keep's. False after reporting. */
struct measure;
bool precision_search(struct assignment *a, struct measure *measure);

/* precision_measure.c: sessions of all runs. NULL after reporting. */
struct measure *measure_open(struct assignment *a);
/* Have the outputs numbers in some run, of which errors can be seen? */
bool measure_tells(const struct measure *m);
void measure_close(struct measure *m);
/* Error of the assignment as it stands, on the first `runs` runs or up to the one with more than
 * the limit: relative or absolute as asked for. False for want of memory. */
bool measure_error(struct measure *m, int runs, double limit, double *error);
/* The error of g as it is after the pass, against the sessions' values. */
bool measure_result(struct measure *m, double *error);

/* Marks the contractions that fp8 can do: constant weights, neither the first nor the last. */
void precision_find_eight(struct assignment *a);
/* The contraction's product in f8 in place of in[0] x in[1]; NULL on an error. */
struct value *precision_product_f8(struct graph *g, struct node *node, struct value *x,
                                   struct value *weights);

#endif
