/*
 * Operators whose result's size depends on data: NonZero, Compress, Unique, NonMaxSuppression.
 *
 * All of them end in `compact`, which finds the places of the elements that count, and their count.
 * The count becomes a symbol, and a slice takes as many places: from there on the size is a dim
 * like any other, read back by the plan only where something depends on it.
 */
#include "lower.h"

/* Where the elements of a mask of rank 1 are true. most: an upper bound of how many. */
static struct value *find_true(struct call *c, struct value *mask, const struct dim *most)
{
    struct graph *g = c->b->g;
    union attr attr = {.compact = {most}};
    int64_t lower, upper;
    struct value *places = build_tensor(c->b, OP_compact, 1, &mask, &attr);
    if (!places)
        return NULL;
    struct value *number = places->def->out[1];
    const struct dim *count;
    if (!graph_known_elements(g, number, &count, 1)) {
        struct symbol_source source = {.kind = SYMBOL_ELEMENT, .value = number};
        const char *name = c->node->n_output ? c->node->output[0] : "";
        dim_bounds(most, &lower, &upper);
        count = graph_symbol(g, arena_printf(g->arena, "count_of_%s", name), source, 0, upper);
        if (!graph_constrain(g, MUST_LESS_EQUAL, count, most, "%s: how many elements count",
                             c->place))
            return NULL;
    }
    return build_slice_axis(c->b, places, 0, d_const(c, 0), count);
}

static struct value *flat(struct call *c, struct value *x)
{
    return x ? build_reshape(c->b, x, 1, (const struct dim *[]){value_elements(c->b->g, x)}) : NULL;
}

static struct value *is_nonzero(struct call *c, struct value *x)
{
    return x->type == DT_BOOL ? x : v_not(c, v_eq(c, x, v_number(c, x, 0)));
}

/* NonZero: the coordinates of what is not 0, an axis a row. */
bool lower_nonzero(struct call *c)
{
    const struct dim *extent[MAX_RANK], *stride[MAX_RANK], *step = d_const(c, 1);
    struct value *x = c->in[0], *mask = flat(c, is_nonzero(c, x));
    int rank = x->rank > 0 ? x->rank : 1; /* a scalar counts as one element of an axis */
    if (!mask)
        return false;
    struct value *places = find_true(c, mask, mask->shape[0]);
    if (!places || rank == 1)
        return call_result(c, build_unsqueeze(c->b, places, 1));
    for (int i = rank - 1; i >= 0; i--) {
        extent[i] = x->shape[i];
        stride[i] = step;
        step = D(mul, step, extent[i]);
    }
    struct value *strides = build_unsqueeze(c->b, build_dims(c->b, rank, stride), 2);
    struct value *extents = build_unsqueeze(c->b, build_dims(c->b, rank, extent), 2);
    places = build_unsqueeze(c->b, places, 1);
    return call_result(c, build_binary(c->b, OP_mod, v_div(c, places, strides), extents));
}

/* Compress: the slices along an axis (or elements) for which the condition holds. */
bool lower_compress(struct call *c)
{
    struct value *x = c->in[0], *condition = c->in[1];
    int axis = 0;
    if (condition->rank != 1 || condition->type != DT_BOOL)
        return call_error(c, "the condition must be bool and of rank 1");
    if (attr_given(c, "axis"))
        axis = call_axis(c, attr_int(c, "axis", 0), x->rank);
    else
        x = flat(c, x);
    if (axis < 0 || !x ||
        !graph_constrain(c->b->g, MUST_LESS_EQUAL, condition->shape[0], x->shape[axis],
                         "%s: size of the condition", c->place))
        return false;
    struct value *places = find_true(c, condition, condition->shape[0]);
    return call_result(c, build_gather(c->b, x, places, axis));
}

/* -- Unique -- */

/* Rows along `axis` as a matrix of numbers. */
static struct value *rows_of(struct call *c, struct value *x, int axis)
{
    int perm[MAX_RANK], n = 0;
    const struct dim *shape[] = {x->shape[axis], d_const(c, 1)};
    perm[n++] = axis;
    for (int i = 0; i < x->rank; i++)
        if (i != axis) {
            perm[n++] = i;
            shape[1] = D(mul, shape[1], x->shape[i]);
        }
    if (x->type == DT_BOOL)
        x = build_cast(c->b, x, DT_U8);
    return build_reshape(c->b, build_transpose(c->b, x, perm), 2, shape);
}

static struct value *sort_rows(struct call *c, struct value *x)
{
    union attr attr = {.sort_rows = {false}};
    return build_tensor(c->b, OP_sort_rows, 1, &x, &attr);
}

static struct value *count_up(struct call *c, struct value *mask, bool exclusive)
{
    union attr attr = {.scan_sum = {0, exclusive, false}};
    struct value *x = build_cast(c->b, mask, DT_I64);
    return build_tensor(c->b, OP_scan_sum, 1, &x, &attr);
}

/* Does each of the sorted rows begin a group? NaN is like NaN here. */
static struct value *begins_group(struct call *c, struct value *sorted, struct value *position)
{
    struct value *zero = v_number(c, position, 0);
    struct value *before = v_max(c, v_add_number(c, position, -1), zero);
    struct value *last = build_gather(c->b, sorted, before, 0), *same = v_eq(c, sorted, last);
    if (dtype_is_float(sorted->type)) {
        struct value *nan = build_unary(c->b, OP_is_nan, last);
        same = v_or(c, same, v_and(c, build_unary(c->b, OP_is_nan, sorted), nan));
    }
    struct value *differs = build_reduce(c->b, OP_reduce_max, v_not(c, same), 2, false);
    return v_or(c, differs, v_eq(c, position, v_number(c, position, 0)));
}

/* What Unique knows of n rows. Values of length n; behind the number of groups they mean nothing.
 */
struct groups {
    struct value *begins; /* sorted position → begins a group */
    struct value *first;  /* group → its first row */
    struct value *count;  /* group → how many rows */
    struct value *of_row; /* row → group */
};

static bool find_groups(struct call *c, struct value *rows, struct groups *out)
{
    struct value *order = sort_rows(c, rows);
    if (!order)
        return false;
    const struct dim *n = rows->shape[0];
    struct value *position = build_iota(c->b, DT_I64, 1, &n, 0);
    out->begins = begins_group(c, build_gather(c->b, rows, order, 0), position);
    union attr attr = {.compact = {n}};
    struct value *starts = build_tensor(c->b, OP_compact, 1, &out->begins, &attr);
    if (!starts)
        return false;
    struct value *next = v_add_number(c, position, 1), *all = build_dim(c->b, n);
    struct value *next_start = build_gather(c->b, starts, next, 0);
    struct value *end = build_select(c->b, v_lt(c, next, starts->def->out[1]), next_start, all);
    out->first = build_gather(c->b, order, starts, 0);
    out->count = build_binary(c->b, OP_sub, end, starts);
    /* Sorting the order inverts it. */
    struct value *group = v_add_number(c, count_up(c, out->begins, false), -1);
    struct value *place = sort_rows(c, build_unsqueeze(c->b, order, 2));
    out->of_row = build_gather(c->b, group, place, 0);
    return out->of_row != NULL;
}

bool lower_unique(struct call *c)
{
    struct value *x = c->in[0], *inverse, *count, *first;
    bool sorted = attr_int(c, "sorted", 1) != 0;
    int axis = 0;
    struct groups g;
    if (attr_given(c, "axis"))
        axis = call_axis(c, attr_int(c, "axis", 0), x->rank);
    else
        x = flat(c, x);
    if (axis < 0 || !x || !find_groups(c, rows_of(c, x, axis), &g))
        return false;
    const struct dim *n = x->shape[axis];
    if (sorted) {
        struct value *starts = find_true(c, g.begins, n);
        if (!starts)
            return false;
        const struct dim *zero = d_const(c, 0), *groups = starts->shape[0];
        first = build_slice_axis(c->b, g.first, 0, zero, groups);
        count = build_slice_axis(c->b, g.count, 0, zero, groups);
        inverse = g.of_row;
    } else { /* groups in the order of their first rows */
        struct value *row = build_iota(c->b, DT_I64, 1, &n, 0);
        struct value *first_of_row = build_gather(c->b, g.first, g.of_row, 0);
        struct value *is_first = v_eq(c, first_of_row, row);
        first = is_first ? find_true(c, is_first, n) : NULL;
        count = build_gather(c->b, g.count, build_gather(c->b, g.of_row, first, 0), 0);
        inverse = build_gather(c->b, count_up(c, is_first, true), first_of_row, 0);
    }
    struct value *results[] = {build_gather(c->b, x, first, axis), first, inverse, count};
    for (int i = 0; i < c->n_out && i < 4; i++) {
        if (!results[i])
            return false;
        c->out[i] = results[i];
    }
    return true;
}

/* -- NonMaxSuppression -- */

/* An optional input of one element as a scalar. */
static struct value *one_of(struct call *c, int input, struct value *otherwise)
{
    struct value *v = c->in[input];
    return v ? build_cast(c->b, build_reshape(c->b, v, 0, NULL), otherwise->type) : otherwise;
}

/* Most boxes that can be chosen of `lines` lines of n. */
static const struct dim *most_boxes(struct call *c, const struct dim *lines, const struct dim *n)
{
    int64_t limit[MAX_ELEMENTS];
    if (!c->in[2])
        return d_const(c, 0);
    if (call_known(c, 2, limit) == 1)
        n = D(min, n, d_const(c, limit[0] > 0 ? limit[0] : 0));
    return D(mul, lines, n);
}

bool lower_non_max_suppression(struct call *c)
{
    struct value *boxes = c->in[0], *scores = c->in[1];
    if (boxes->rank != 3 || scores->rank != 3 || boxes->type != DT_F32 || scores->type != DT_F32)
        return call_error(c, "boxes and scores must be float32 and of rank 3");
    const struct dim *batch = scores->shape[0], *classes = scores->shape[1], *n = scores->shape[2];
    const struct dim *lines = D(mul, batch, classes), *total = D(mul, lines, n);
    if (!graph_constrain(c->b->g, MUST_EQUAL, boxes->shape[1], n, "%s: number of boxes",
                         c->place) ||
        !graph_constrain(c->b->g, MUST_EQUAL, boxes->shape[0], batch, "%s: batch", c->place))
        return false;

    /* Lines, one for each class of each batch, from best to worst. */
    union attr sorting = {.top_k = {2, n, true}}, picking = {.gather_nd = {1}};
    struct value *best = build_tensor(c->b, OP_top_k, 1, &scores, &sorting);
    if (!best)
        return false;
    struct value *box = best->def->out[1];
    struct value *of_batch = build_reshape(
        c->b, box, 3, (const struct dim *[]){batch, D(mul, classes, n), d_const(c, 1)});
    struct value *sorted =
        build_tensor(c->b, OP_gather_nd, 2, (struct value *[]){boxes, of_batch}, &picking);
    sorted = build_reshape(c->b, sorted, 3, (const struct dim *[]){lines, n, d_const(c, 4)});
    struct value *candidates =
        c->in[4] ? v_lt(c, one_of(c, 4, best), best)
                 : build_expand(c->b, build_int(c->b, DT_BOOL, 1), 3, best->shape);
    candidates = build_reshape(c->b, candidates, 2, (const struct dim *[]){lines, n});
    struct value *limit = one_of(c, 2, build_int(c->b, DT_I64, 0));
    struct value *threshold = one_of(c, 3, build_float(c->b, DT_F32, 0));

    union attr attr = {.suppress = {attr_int(c, "center_point_box", 0) != 0}};
    struct value *operands[] = {sorted, candidates, limit, threshold};
    if (!sorted || !candidates || !limit || !threshold)
        return false;
    struct value *kept = build_tensor(c->b, OP_suppress, 4, operands, &attr);
    kept = flat(c, kept);
    struct value *place = kept ? find_true(c, kept, most_boxes(c, lines, n)) : NULL;
    struct value *line = v_div(c, place, build_dim(c->b, n)), *of = build_dim(c->b, classes);
    box = build_gather(c->b, build_reshape(c->b, box, 1, &total), place, 0);
    struct value *columns[3] = {build_unsqueeze(c->b, v_div(c, line, of), 2)};
    columns[1] = build_unsqueeze(c->b, build_binary(c->b, OP_mod, line, of), 2);
    columns[2] = build_unsqueeze(c->b, box, 2);
    return columns[0] && columns[1] && columns[2] &&
           call_result(c, build_concat(c->b, 3, columns, 1));
}
