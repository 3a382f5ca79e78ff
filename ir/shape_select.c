/* Shape rules of the ops that find out which elements count, and of sorting rows. */
#include "infer.h"

bool shape_sort_rows(struct inference *inf)
{
    const struct value *x = rule_in(inf, 0);
    if (x->rank != 2)
        FAIL(inf, "the operand must have rank 2");
    inf->out[0].type = DT_I64;
    rule_push(inf, 0, x->shape[0]);
    return rule_number(inf);
}

bool shape_compact(struct inference *inf)
{
    const struct value *x = rule_in(inf, 0);
    const struct dim *most = inf->node->attr.compact.most;
    if (x->type != DT_BOOL || x->rank != 1)
        FAIL(inf, "the operand must be bool and of rank 1");
    inf->out[0].type = inf->out[1].type = DT_I64;
    rule_push(inf, 0, most);
    return rule_require(inf, MUST_LESS_EQUAL, most, x->shape[0], "the most elements that count");
}

static bool check_scalar(struct inference *inf, int operand, enum dtype type, const char *name)
{
    const struct value *v = rule_in(inf, operand);
    if (v->rank != 0 || v->type != type)
        FAIL(inf, "the %s must be a scalar of type %s", name, dtype_info[type].text);
    return true;
}

bool shape_suppress(struct inference *inf)
{
    const struct value *boxes = rule_in(inf, 0), *candidates = rule_in(inf, 1);
    if (boxes->type != DT_F32 || boxes->rank != 3 || !dim_is(boxes->shape[2], 4))
        FAIL(inf, "boxes must be f32 and of shape [n, m, 4]");
    if (candidates->type != DT_BOOL || candidates->rank != 2)
        FAIL(inf, "candidates must be bool and of rank 2");
    for (int i = 0; i < 2; i++)
        if (!rule_axis_equal(inf, boxes->shape[i], candidates->shape[i], i, "of the operands"))
            return false;
    rule_like(inf, 0, candidates);
    return check_scalar(inf, 2, DT_I64, "limit") && check_scalar(inf, 3, DT_F32, "threshold");
}
