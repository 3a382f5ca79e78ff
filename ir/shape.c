/*
 * Shape rules of all ops but contractions and windows: one shape_<op> per tensor op of ops.def;
 * scalar ops share shape_scalar. infer_node at the end picks the rule.
 *
 * Dims that must agree and are not provably equal become constraints of the graph, which the plan
 * checks when it runs.
 */
#include "infer.h"

/* -- Scalar ops -- */

static bool in_domain(char domain, enum dtype type)
{
    bool is_float = dtype_is_float(type), is_int = dtype_is_int(type), is_bool = type == DT_BOOL;
    switch (domain) {
    case 'F': return is_float;
    case 'N': return is_float || is_int;
    case 'I': return is_int;
    case 'L': return is_int || is_bool;
    case 'B': return is_bool;
    default: return type != DT_STRING && !dtype_is_list(type);
    }
}

static enum dtype attr_result(struct inference *inf)
{
    const struct node *node = inf->node;
    return node->op == OP_cast ? node->attr.cast.to : node->attr.bitcast.to;
}

bool shape_scalar(struct inference *inf)
{
    const struct node *node = inf->node;
    const struct op_info *info = &op_info[node->op];
    int first = node->op == OP_select; /* the operand whose type the result has */
    if (first && rule_in(inf, 0)->type != DT_BOOL)
        FAIL(inf, "the condition must be bool");
    for (int i = first; i < node->n_in; i++) {
        if (!in_domain(info->domain, rule_in(inf, i)->type))
            FAIL(inf, "does not take %s", dtype_info[rule_in(inf, i)->type].text);
        if (!rule_same_type(inf, rule_in(inf, first), rule_in(inf, i)))
            return false;
    }
    for (int i = 1; i < node->n_in; i++) {
        if (rule_in(inf, i)->rank != rule_in(inf, 0)->rank)
            FAIL(inf, "operand ranks differ");
        for (int k = 0; k < rule_in(inf, 0)->rank; k++)
            if (!rule_axis_equal(inf, rule_in(inf, 0)->shape[k], rule_in(inf, i)->shape[k], k,
                                 "of the operands"))
                return false;
    }
    rule_like(inf, 0, rule_in(inf, first));
    if (info->result == RESULT_BOOL)
        inf->out[0].type = DT_BOOL;
    if (info->result == RESULT_ATTR) {
        enum dtype to = inf->out[0].type = attr_result(inf), from = rule_in(inf, 0)->type;
        if (to <= DT_NONE || to >= DT_COUNT || to == DT_STRING)
            FAIL(inf, "cannot make elements of type %d", (int)to);
        if (node->op == OP_bitcast && dtype_info[to].bits != dtype_info[from].bits)
            FAIL(inf, "%s and %s differ in width", dtype_info[from].text, dtype_info[to].text);
    }
    return true;
}

/* -- Values of their own -- */

static bool push_dims(struct inference *inf, const struct dims *dims)
{
    for (int i = 0; i < dims->n; i++)
        rule_push(inf, 0, dims->d[i]);
    return true;
}

static bool check_type_attr(struct inference *inf, enum dtype type)
{
    if (type <= DT_NONE || type >= DT_COUNT)
        FAIL(inf, "there is no element type %d", (int)type);
    inf->out[0].type = type;
    return true;
}

bool shape_constant(struct inference *inf)
{
    const struct attr_constant *attr = &inf->node->attr.constant;
    size_t size = dtype_size(attr->type);
    if (!check_type_attr(inf, attr->type))
        return false;
    for (int i = 0; i < attr->shape.n; i++) {
        int64_t d;
        if (!dim_is_const(attr->shape.d[i], &d) || d < 0)
            FAIL(inf, "a constant's shape must be fixed");
        if (__builtin_mul_overflow(size, (size_t)d, &size))
            FAIL(inf, "a constant of this shape does not fit in memory");
    }
    if (!attr->data || attr->data->size != size)
        FAIL(inf, "%zu bytes of data for %zu bytes of elements",
             attr->data ? attr->data->size : (size_t)0, size);
    return push_dims(inf, &attr->shape);
}

bool shape_size(struct inference *inf)
{
    inf->out[0].type = DT_I64;
    return true;
}

bool shape_iota(struct inference *inf)
{
    const struct attr_iota *attr = &inf->node->attr.iota;
    if (!dtype_is_int(attr->type) && !dtype_is_float(attr->type))
        FAIL(inf, "makes numbers");
    return check_type_attr(inf, attr->type) && rule_axis(inf, attr->axis, attr->shape.n) &&
           push_dims(inf, &attr->shape);
}

/* -- Views -- */

static const struct dim *product(struct inference *inf, int n, const struct dim *const *d)
{
    const struct dim *p = dim_const(inf->g->dims, 1);
    for (int i = 0; i < n; i++)
        p = dim_mul(inf->g->dims, p, d[i]);
    return p;
}

bool shape_reshape(struct inference *inf)
{
    const struct dims *to = &inf->node->attr.reshape.shape;
    const struct value *x = rule_in(inf, 0);
    inf->out[0].type = x->type;
    return rule_equal(inf, product(inf, x->rank, x->shape), product(inf, to->n, to->d),
                      "number of elements") &&
           push_dims(inf, to);
}

bool shape_transpose(struct inference *inf)
{
    const struct perm *perm = &inf->node->attr.transpose.perm;
    const struct value *x = rule_in(inf, 0);
    uint32_t seen = 0;
    if (!rule_count(inf, "perm", perm->n, x->rank))
        return false;
    for (int i = 0; i < perm->n; i++) {
        if (!rule_axis(inf, perm->axis[i], x->rank))
            return false;
        seen |= (uint32_t)1 << perm->axis[i];
        rule_push(inf, 0, x->shape[perm->axis[i]]);
    }
    if (seen != ((uint32_t)1 << x->rank) - 1)
        FAIL(inf, "perm names an axis twice");
    inf->out[0].type = x->type;
    return true;
}

bool shape_expand(struct inference *inf)
{
    const struct dims *to = &inf->node->attr.expand.shape;
    const struct value *x = rule_in(inf, 0);
    if (!rule_count(inf, "shape", to->n, x->rank))
        return false;
    for (int i = 0; i < to->n; i++)
        if (x->shape[i] != to->d[i] && !dim_is(x->shape[i], 1) &&
            !rule_require(inf, MUST_BROADCAST, x->shape[i], to->d[i],
                          rule_axis_text(inf, "of the operand", i)))
            return false;
    inf->out[0].type = x->type;
    return push_dims(inf, to);
}

/* The elements start, start + step, … of an axis of size d lie inside it; size 0 takes none. A step
 * that is not constant is left to whoever made the node. */
static bool check_slice_axis(struct inference *inf, int axis, const struct dim *d,
                             const struct dim *start, const struct dim *step,
                             const struct dim *size)
{
    struct dim_table *t = inf->g->dims;
    const struct dim *one = dim_const(t, 1);
    int64_t by;
    if (!dim_is_const(step, &by) || dim_is(size, 0))
        return true;
    if (by == 0)
        FAIL(inf, "the step of axis %d is 0", axis);
    const struct dim *end = dim_add(t, start, dim_mul(t, step, dim_sub(t, size, one)));
    const struct dim *least = by > 0 ? start : end, *most = by > 0 ? end : start;
    return rule_require(inf, MUST_LESS_EQUAL, dim_const(t, 0), least,
                        rule_axis_text(inf, "starts inside", axis)) &&
           rule_require(inf, MUST_LESS_EQUAL, dim_add(t, most, one), d,
                        rule_axis_text(inf, "ends inside", axis));
}

bool shape_slice(struct inference *inf)
{
    const struct attr_slice *attr = &inf->node->attr.slice;
    const struct value *x = rule_in(inf, 0);
    if (!rule_count(inf, "start", attr->start.n, x->rank) ||
        !rule_count(inf, "step", attr->step.n, x->rank) ||
        !rule_count(inf, "size", attr->size.n, x->rank))
        return false;
    for (int i = 0; i < x->rank; i++)
        if (!check_slice_axis(inf, i, x->shape[i], attr->start.d[i], attr->step.d[i],
                              attr->size.d[i]))
            return false;
    inf->out[0].type = x->type;
    return push_dims(inf, &attr->size);
}

bool shape_pad(struct inference *inf)
{
    const struct attr_pad *attr = &inf->node->attr.pad;
    const struct value *x = rule_in(inf, 0);
    struct dim_table *t = inf->g->dims;
    if (!rule_count(inf, "low", attr->low.n, x->rank) ||
        !rule_count(inf, "high", attr->high.n, x->rank))
        return false;
    if (inf->node->n_in == 2 && attr->mode != PAD_CONSTANT)
        FAIL(inf, "only mode constant takes a fill");
    if (inf->node->n_in == 2 && (rule_in(inf, 1)->rank != 0 || rule_in(inf, 1)->type != x->type))
        FAIL(inf, "the fill must be a scalar of the operand's type");
    for (int i = 0; i < x->rank; i++)
        rule_push(inf, 0, dim_add(t, x->shape[i], dim_add(t, attr->low.d[i], attr->high.d[i])));
    inf->out[0].type = x->type;
    /* Reflected, repeated or continued is what is there; of nothing there is nothing to take. */
    for (int i = 0; i < x->rank && attr->mode != PAD_CONSTANT; i++)
        if (!rule_require(inf, MUST_LESS_EQUAL, dim_min(t, inf->out[0].shape[i], dim_const(t, 1)),
                          x->shape[i], rule_axis_text(inf, "to take elements from", i)))
            return false;
    return true;
}

bool shape_concat(struct inference *inf)
{
    int64_t axis = inf->node->attr.concat.axis;
    const struct value *x = rule_in(inf, 0);
    const struct dim *sum = dim_const(inf->g->dims, 0);
    if (!rule_axis(inf, axis, x->rank))
        return false;
    for (int i = 0; i < inf->node->n_in; i++) {
        const struct value *y = rule_in(inf, i);
        if (y->rank != x->rank)
            FAIL(inf, "operand ranks differ");
        if (!rule_same_type(inf, x, y))
            return false;
        for (int k = 0; k < x->rank; k++)
            if (k != axis && !rule_axis_equal(inf, x->shape[k], y->shape[k], k, "of the operands"))
                return false;
        sum = dim_add(inf->g->dims, sum, y->shape[axis]);
    }
    rule_like(inf, 0, x);
    inf->out[0].shape[axis] = sum;
    return true;
}

/* -- Reductions, rows, scans -- */

static bool reduce(struct inference *inf, uint32_t axes)
{
    const struct value *x = rule_in(inf, 0);
    inf->out[0].type = x->type;
    for (int i = 0; i < x->rank; i++)
        if (!(axes >> i & 1))
            rule_push(inf, 0, x->shape[i]);
    return rule_axes(inf, axes, x->rank);
}

static bool reduce_logic(struct inference *inf, uint32_t axes)
{
    return (rule_in(inf, 0)->type == DT_BOOL || rule_number(inf)) && reduce(inf, axes);
}

bool shape_reduce_sum(struct inference *inf)
{
    return rule_number(inf) && reduce(inf, inf->node->attr.reduce_sum.axes);
}

bool shape_reduce_prod(struct inference *inf)
{
    return rule_number(inf) && reduce(inf, inf->node->attr.reduce_prod.axes);
}

bool shape_reduce_max(struct inference *inf)
{
    return reduce_logic(inf, inf->node->attr.reduce_max.axes);
}

bool shape_reduce_min(struct inference *inf)
{
    return reduce_logic(inf, inf->node->attr.reduce_min.axes);
}

static bool reduce_arg(struct inference *inf, int64_t axis)
{
    if (!rule_axis(inf, axis, rule_in(inf, 0)->rank) || !reduce_logic(inf, (uint32_t)1 << axis))
        return false;
    inf->out[0].type = DT_I64;
    return true;
}

bool shape_arg_max(struct inference *inf)
{
    return reduce_arg(inf, inf->node->attr.arg_max.axis);
}

bool shape_arg_min(struct inference *inf)
{
    return reduce_arg(inf, inf->node->attr.arg_min.axis);
}

static bool row(struct inference *inf, uint32_t axes)
{
    rule_like(inf, 0, rule_in(inf, 0));
    return rule_float(inf) && rule_axes(inf, axes, rule_in(inf, 0)->rank);
}

bool shape_softmax(struct inference *inf)
{
    return row(inf, inf->node->attr.softmax.axes);
}

bool shape_log_softmax(struct inference *inf)
{
    return row(inf, inf->node->attr.log_softmax.axes);
}

bool shape_normalize(struct inference *inf)
{
    return row(inf, inf->node->attr.normalize.axes);
}

static bool scan(struct inference *inf, int64_t axis)
{
    rule_like(inf, 0, rule_in(inf, 0));
    return rule_number(inf) && rule_axis(inf, axis, rule_in(inf, 0)->rank);
}

bool shape_scan_sum(struct inference *inf)
{
    return scan(inf, inf->node->attr.scan_sum.axis);
}

bool shape_scan_prod(struct inference *inf)
{
    return scan(inf, inf->node->attr.scan_prod.axis);
}

/* -- Gather, scatter, sort -- */

static void push_range(struct inference *inf, const struct value *v, int from, int to)
{
    for (int i = from; i < to; i++)
        rule_push(inf, 0, v->shape[i]);
}

bool shape_gather(struct inference *inf)
{
    int64_t axis = inf->node->attr.gather.axis;
    const struct value *x = rule_in(inf, 0), *index = rule_in(inf, 1);
    if (!rule_axis(inf, axis, x->rank) || !rule_index(inf, 1))
        return false;
    inf->out[0].type = x->type;
    push_range(inf, x, 0, (int)axis);
    push_range(inf, index, 0, index->rank);
    push_range(inf, x, (int)axis + 1, x->rank);
    return true;
}

/* Of gather_elements and scatter_elements: index reaches no further than x on the other axes. */
static bool check_element_index(struct inference *inf, int64_t axis)
{
    const struct value *x = rule_in(inf, 0), *index = rule_in(inf, 1);
    if (!rule_axis(inf, axis, x->rank) || !rule_index(inf, 1))
        return false;
    if (index->rank != x->rank)
        FAIL(inf, "indices must have the operand's rank");
    for (int i = 0; i < x->rank; i++)
        if (i != axis && index->shape[i] != x->shape[i] &&
            !rule_require(inf, MUST_LESS_EQUAL, index->shape[i], x->shape[i],
                          rule_axis_text(inf, "of the indices", i)))
            return false;
    return true;
}

bool shape_gather_elements(struct inference *inf)
{
    rule_like(inf, 0, rule_in(inf, 1));
    inf->out[0].type = rule_in(inf, 0)->type;
    return check_element_index(inf, inf->node->attr.gather_elements.axis);
}

bool shape_scatter_elements(struct inference *inf)
{
    const struct value *index = rule_in(inf, 1), *updates = rule_in(inf, 2);
    if (!check_element_index(inf, inf->node->attr.scatter_elements.axis) ||
        !rule_same_type(inf, rule_in(inf, 0), updates))
        return false;
    if (updates->rank != index->rank)
        FAIL(inf, "updates must have the indices' rank");
    for (int i = 0; i < index->rank; i++)
        if (!rule_axis_equal(inf, index->shape[i], updates->shape[i], i, "of indices and updates"))
            return false;
    rule_like(inf, 0, rule_in(inf, 0));
    return true;
}

/* The last axis of index [..., k] names k axes of x behind `batch` common ones. */
static bool check_tuple_index(struct inference *inf, int64_t batch, int64_t *k)
{
    const struct value *x = rule_in(inf, 0), *index = rule_in(inf, 1);
    if (!rule_index(inf, 1))
        return false;
    if (index->rank < 1 || !dim_is_const(index->shape[index->rank - 1], k))
        FAIL(inf, "the size of the indices' last axis must be fixed");
    if (batch < 0 || batch >= index->rank || batch > x->rank || *k < 0 || *k > x->rank - batch)
        FAIL(inf, "indices of %lld axes behind %lld batch axes, for rank %d", (long long)*k,
             (long long)batch, x->rank);
    for (int i = 0; i < batch; i++)
        if (!rule_axis_equal(inf, x->shape[i], index->shape[i], i, "of operand and indices"))
            return false;
    return true;
}

bool shape_gather_nd(struct inference *inf)
{
    int64_t batch = inf->node->attr.gather_nd.batch, k;
    const struct value *x = rule_in(inf, 0), *index = rule_in(inf, 1);
    if (!check_tuple_index(inf, batch, &k))
        return false;
    inf->out[0].type = x->type;
    push_range(inf, index, 0, index->rank - 1);
    push_range(inf, x, (int)(batch + k), x->rank);
    return true;
}

bool shape_scatter_nd(struct inference *inf)
{
    const struct value *x = rule_in(inf, 0), *index = rule_in(inf, 1), *updates = rule_in(inf, 2);
    int64_t k;
    if (!check_tuple_index(inf, 0, &k) || !rule_same_type(inf, x, updates))
        return false;
    int outer = index->rank - 1;
    if (updates->rank != outer + x->rank - (int)k)
        FAIL(inf, "updates must have rank %d", outer + x->rank - (int)k);
    for (int i = 0; i < updates->rank; i++) {
        const struct dim *d = i < outer ? index->shape[i] : x->shape[i - outer + k];
        if (!rule_axis_equal(inf, d, updates->shape[i], i, "of the updates"))
            return false;
    }
    rule_like(inf, 0, x);
    return true;
}

bool shape_top_k(struct inference *inf)
{
    const struct attr_top_k *attr = &inf->node->attr.top_k;
    const struct value *x = rule_in(inf, 0);
    if (!rule_axis(inf, attr->axis, x->rank) || !rule_number(inf) ||
        !rule_require(inf, MUST_LESS_EQUAL, attr->k, x->shape[attr->axis], "k"))
        return false;
    for (int i = 0; i < 2; i++) {
        rule_like(inf, i, x);
        inf->out[i].shape[attr->axis] = attr->k;
    }
    inf->out[1].type = DT_I64;
    return true;
}

/* -- All ops -- */

typedef bool shape_rule(struct inference *inf);

static shape_rule *const shape_rules[OP_COUNT] = {
#define SCALAR(name, operands, domain, result, expression) [OP_##name] = shape_scalar,
#define TENSOR(name, class, least, most, results)          [OP_##name] = shape_##name,
#include "ops.def"
};

/* Attributes that a rule would index or loop by. */
static bool check_attributes(struct inference *inf)
{
    const struct op_info *info = &op_info[inf->node->op];
    for (int i = 0; i < info->n_fields; i++) {
        const void *p = (const char *)&inf->node->attr + info->fields[i].offset;
        const struct dims *dims = p;
        enum attr_kind kind = info->fields[i].kind;
        int n = kind == AK_DIMS   ? dims->n
                : kind == AK_INTS ? ((const struct ints *)p)->n
                : kind == AK_PERM ? ((const struct perm *)p)->n
                                  : 0;
        if (n < 0 || n > MAX_RANK)
            FAIL(inf, "%s has %d entries", info->fields[i].name, n);
        for (int k = 0; kind == AK_DIMS && k < n; k++)
            if (!dims->d || !dims->d[k])
                FAIL(inf, "%s lacks an entry", info->fields[i].name);
        if (kind == AK_DIM && !*(const struct dim *const *)p)
            FAIL(inf, "%s is missing", info->fields[i].name);
    }
    return true;
}

/* A size that may turn out negative is checked when the plan runs. */
static bool check_sizes(struct inference *inf, const struct inferred *out)
{
    if (out->rank > MAX_RANK) {
        inf->status = STATUS_LIMIT;
        inf->fault = arena_printf(inf->g->arena, "a result of rank %d is beyond the limit of %d",
                                  out->rank, MAX_RANK);
        return false;
    }
    for (int i = 0; i < out->rank; i++) {
        const struct dim *d = out->shape[i];
        if (d->weight > MOST_DIM_WEIGHT || d->overflows) {
            inf->status = STATUS_LIMIT;
            inf->fault = d->overflows ? "the size of the result is beyond 64 bits"
                                      : "the size of the result is too long an expression";
            return false;
        }
        if (d->lower < 0 && !rule_require(inf, MUST_LESS_EQUAL, dim_const(inf->g->dims, 0), d,
                                          rule_axis_text(inf, "of the result", i)))
            return false;
    }
    return true;
}

bool infer_node(struct inference *inf)
{
    const struct node *node = inf->node;
    const struct op_info *info = &op_info[node->op];
    if (node->n_in < info->least || (info->most >= 0 && node->n_in > info->most))
        FAIL(inf, "takes %d operands, not %d", info->least, node->n_in);
    inf->n_out = info->results >= 0 ? info->results : node->body[0] ? node->body[0]->n_outputs : 0;
    inf->out = inf->few;
    if ((size_t)inf->n_out > sizeof inf->few / sizeof *inf->few)
        inf->out = ARENA_ARRAY(inf->g->arena, (size_t)inf->n_out, struct inferred);
    for (int i = 0; i < node->n_in && info->class != OC_LIST && info->class != OC_CONTROL; i++)
        if (dtype_is_list(node->in[i]->type))
            FAIL(inf, "does not take lists");
    if (!check_attributes(inf) || !shape_rules[node->op](inf))
        return false;
    for (int i = 0; i < inf->n_out; i++) {
        if (dtype_is_list(inf->out[i].type) && inf->out[i].rank > 0)
            FAIL(inf, "lists cannot be stacked");
        if (!check_sizes(inf, &inf->out[i]))
            return false;
    }
    return true;
}
