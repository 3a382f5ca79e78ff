/* What the shape rules share: requirements on operands, axes and dims. */
#include "infer.h"

bool rule_fail(struct inference *inf, const char *fault)
{
    if (!inf->fault) {
        inf->fault = fault;
        inf->status = STATUS_BAD_MODEL;
    }
    return false;
}

static const char *text_of(struct inference *inf, const struct dim *d)
{
    struct text text = {.arena = inf->g->arena};
    dim_print(&text, inf->g->dims, d);
    return text.data;
}

/* -- Requirements on dims. what: "axis 1 of both operands" -- */

bool rule_require(struct inference *inf, int kind, const struct dim *a, const struct dim *b,
                  const char *what)
{
    static const char *const relation[] = {[MUST_EQUAL] = "equal",
                                           [MUST_BROADCAST] = "be 1 or equal",
                                           [MUST_LESS_EQUAL] = "be at most"};
    struct dim_table *t = inf->g->dims;
    bool wrong;
    if (kind == MUST_LESS_EQUAL)
        wrong = dim_is(dim_lt(t, b, a), 1);
    else
        wrong = dim_is(dim_eq(t, a, b), 0) &&
                (kind == MUST_EQUAL || dim_is(dim_eq(t, a, dim_const(t, 1)), 0));
    if (wrong)
        FAIL(inf, "%s: %s must %s %s", what, text_of(inf, a), relation[kind], text_of(inf, b));
    if (!inf->record)
        return true;
    const char *origin = inf->g->origin;
    return graph_constrain(inf->g, kind, a, b, "%s%s%s: %s", origin ? origin : "",
                           origin ? ": " : "", op_info[inf->node->op].name, what);
}

bool rule_equal(struct inference *inf, const struct dim *a, const struct dim *b, const char *what)
{
    return a == b || rule_require(inf, MUST_EQUAL, a, b, what);
}

/* Text for a requirement; made only where it is needed, since most dims are equal pointers. */
const char *rule_axis_text(struct inference *inf, const char *format, int axis)
{
    return arena_printf(inf->g->arena, "axis %d %s", axis, format);
}

bool rule_axis_equal(struct inference *inf, const struct dim *a, const struct dim *b, int axis,
                     const char *of)
{
    return a == b || rule_require(inf, MUST_EQUAL, a, b, rule_axis_text(inf, of, axis));
}

/* -- Common parts -- */

const struct value *rule_in(const struct inference *inf, int i)
{
    return inf->node->in[i];
}

void rule_push(struct inference *inf, int result, const struct dim *d)
{
    struct inferred *out = &inf->out[result];
    if (out->rank < MAX_RANK)
        out->shape[out->rank] = d;
    out->rank++; /* infer_node refuses a rank beyond MAX_RANK */
}

void rule_like(struct inference *inf, int result, const struct value *v)
{
    inf->out[result].type = v->type;
    for (int i = 0; i < v->rank; i++)
        rule_push(inf, result, v->shape[i]);
}

bool rule_axis(struct inference *inf, int64_t axis, int rank)
{
    if (axis < 0 || axis >= rank)
        FAIL(inf, "axis %lld is outside rank %d", (long long)axis, rank);
    return true;
}

bool rule_axes(struct inference *inf, uint32_t axes, int rank)
{
    if (rank < 32 && axes >> rank)
        FAIL(inf, "an axis is outside rank %d", rank);
    return true;
}

bool rule_count(struct inference *inf, const char *name, int n, int wanted)
{
    if (n != wanted)
        FAIL(inf, "%s has %d entries, not %d", name, n, wanted);
    return true;
}

bool rule_float(struct inference *inf)
{
    if (!dtype_is_float(rule_in(inf, 0)->type))
        FAIL(inf, "takes floats");
    return true;
}

bool rule_number(struct inference *inf)
{
    if (!dtype_is_float(rule_in(inf, 0)->type) && !dtype_is_int(rule_in(inf, 0)->type))
        FAIL(inf, "takes numbers");
    return true;
}

bool rule_index(struct inference *inf, int operand)
{
    enum dtype type = rule_in(inf, operand)->type;
    if (type != DT_I64 && type != DT_I32)
        FAIL(inf, "indices must be i32 or i64");
    return true;
}

bool rule_same_type(struct inference *inf, const struct value *a, const struct value *b)
{
    if (a->type != b->type)
        FAIL(inf, "operand types differ");
    return true;
}
