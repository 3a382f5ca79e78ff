/* Private to ir/: types and shapes of a node's results, from its operands and attributes. */
#ifndef GPUCC_IR_INFER_H
#define GPUCC_IR_INFER_H

#include "graph.h"

/* A dim larger than this (as a tree) is refused: who made the model wants us to run out of memory.
 */
enum { MOST_DIM_WEIGHT = 20000 };

struct inferred {
    enum dtype type;
    int rank;
    const struct dim *shape[MAX_RANK];
};

struct inference {
    struct graph *g;
    const struct node *node; /* operands and attributes are set, results not yet */
    bool record;             /* constraints go to the graph; else they are taken to hold */
    const char *fault;       /* what is wrong, when infer_node returned false */
    enum status status;      /* and its kind: BAD_MODEL unless LIMIT */
    struct inferred *out;    /* n_out results: `few`, or of the arena; made by infer_node */
    int n_out;
    struct inferred few[4];
};

/* Operand count, attributes, operand types and shapes are checked; any node is fine as input. */
bool infer_node(struct inference *inf);

/* -- What the rules share (rules.c). A false result has set `fault`. -- */

#define FAIL(inf, ...) return rule_fail((inf), arena_printf((inf)->g->arena, __VA_ARGS__))

bool rule_fail(struct inference *inf, const char *fault); /* false */
/* a and b must be in the relation `kind` of struct constraint; `what` names them in messages. */
bool rule_require(struct inference *inf, int kind, const struct dim *a, const struct dim *b,
                  const char *what);
bool rule_equal(struct inference *inf, const struct dim *a, const struct dim *b, const char *what);
bool rule_axis_equal(struct inference *inf, const struct dim *a, const struct dim *b, int axis,
                     const char *of);
const char *rule_axis_text(struct inference *inf, const char *text, int axis); /* "axis 1 <text>" */

const struct value *rule_in(const struct inference *inf, int operand);
void rule_push(struct inference *inf, int result, const struct dim *d);   /* one more axis */
void rule_like(struct inference *inf, int result, const struct value *v); /* v's type and shape */

bool rule_axis(struct inference *inf, int64_t axis, int rank);
bool rule_axes(struct inference *inf, uint32_t axes, int rank);
bool rule_count(struct inference *inf, const char *name, int n, int wanted);
bool rule_float(struct inference *inf);  /* operand 0 */
bool rule_number(struct inference *inf); /* operand 0 */
bool rule_index(struct inference *inf, int operand);
bool rule_same_type(struct inference *inf, const struct value *a, const struct value *b);

/* One rule per tensor op. */
#define TENSOR(name, class, least, most, results) bool shape_##name(struct inference *inf);
#include "ops.def"

#endif
