/* Shape rules of lists. */
#include "infer.h"

static bool is_kind(enum dtype type, enum dtype kind)
{
    return dtype_is_list(type) && dtype_list_kind(type) == kind;
}

static bool check_list_type(struct inference *inf, enum dtype type)
{
    if (!dtype_is_list(type) || dtype_element(type) == DT_STRING)
        FAIL(inf, "%s is no type of lists", dtype_info[type].text);
    inf->out[0].type = type;
    return true;
}

/* Operand 0: a list whose elements are tensors. */
static bool takes_list(struct inference *inf)
{
    enum dtype type = rule_in(inf, 0)->type;
    if (!is_kind(type, DT_SEQUENCE) && !is_kind(type, DT_OPTIONAL))
        FAIL(inf, "takes a list of tensors, not %s", dtype_info[type].text);
    inf->out[0].type = type;
    return true;
}

bool shape_list_new(struct inference *inf)
{
    return check_list_type(inf, inf->node->attr.list_new.type);
}

bool shape_list_as(struct inference *inf)
{
    enum dtype from = rule_in(inf, 0)->type, to = inf->node->attr.list_as.type;
    if (!dtype_is_list(from) || !check_list_type(inf, to))
        FAIL(inf, "makes lists of lists");
    if (from != to && (dtype_element(from) != dtype_element(to) || is_kind(from, DT_OPTIONAL) ||
                       is_kind(to, DT_OPTIONAL)))
        FAIL(inf, "%s cannot be %s", dtype_info[from].text, dtype_info[to].text);
    return true;
}

bool shape_list_insert(struct inference *inf)
{
    if (!takes_list(inf))
        return false;
    if (rule_in(inf, 1)->type != dtype_element(rule_in(inf, 0)->type))
        FAIL(inf, "the element is %s, but the list %s", dtype_info[rule_in(inf, 1)->type].text,
             dtype_info[rule_in(inf, 0)->type].text);
    return true;
}

bool shape_list_erase(struct inference *inf)
{
    return takes_list(inf);
}

bool shape_list_length(struct inference *inf)
{
    enum dtype type = rule_in(inf, 0)->type;
    if (!dtype_is_list(type))
        FAIL(inf, "takes a list");
    if (is_kind(type, DT_SEQUENCE) == inf->node->attr.list_length.there)
        FAIL(inf, "an optional is there or not, a sequence has a length");
    inf->out[0].type = DT_I64;
    return true;
}

bool shape_list_shape(struct inference *inf)
{
    int64_t rank = inf->node->attr.list_shape.rank;
    if (!takes_list(inf))
        return false;
    if (rank < 1 || rank > MAX_RANK)
        FAIL(inf, "an element has no %lld sizes", (long long)rank);
    inf->out[0].type = DT_I64;
    rule_push(inf, 0, dim_const(inf->g->dims, rank));
    return true;
}

bool shape_list_at(struct inference *inf)
{
    const struct attr_list_at *attr = &inf->node->attr.list_at;
    if (!takes_list(inf))
        return false;
    inf->out[0].type = dtype_element(inf->out[0].type);
    for (int i = 0; i < attr->shape.n; i++)
        rule_push(inf, 0, attr->shape.d[i]);
    return true;
}
