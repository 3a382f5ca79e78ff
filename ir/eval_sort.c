/* The k largest or smallest of each line along an axis; rows in order. */
#include "eval_array.h"
#include "eval_wide.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What is sorted: numbers of either kind; NaN counts as larger than all. Equals stay in order. */
struct item {
    double real;
    int64_t integer, index;
};

static int compare_keys(const struct item *a, const struct item *b)
{
    bool a_nan = isnan(a->real), b_nan = isnan(b->real);
    if (a_nan || b_nan)
        return a_nan - b_nan;
    if (a->real != b->real)
        return a->real < b->real ? -1 : 1;
    return (a->integer > b->integer) - (a->integer < b->integer);
}

static int smallest_first(const void *x, const void *y)
{
    const struct item *a = x, *b = y;
    int order = compare_keys(a, b);
    return order ? order : (a->index > b->index) - (a->index < b->index);
}

static int largest_first(const void *x, const void *y)
{
    const struct item *a = x, *b = y;
    int order = compare_keys(b, a);
    return order ? order : (a->index > b->index) - (a->index < b->index);
}

bool eval_op_top_k(struct eval_call *c)
{
    const struct array *x = &c->in[0], *values = &c->out[0], *indices = &c->out[1];
    int axis = (int)c->node->attr.top_k.axis;
    int64_t length = x->shape[axis], k = values->shape[axis], inner = span(x, axis + 1, x->rank);
    int64_t lines = span(x, 0, axis) * inner;
    size_t width = dtype_size(x->type);
    bool real = dtype_is_float(x->type);
    double *reals = real ? array_reals(c, x) : NULL;
    int64_t *ints = real ? NULL : ordered_ints(c, x);
    struct item *items = arena_array(&c->scratch, (size_t)length, sizeof(*items));
    if (k > length)
        return eval_fails(c, STATUS_BAD_MODEL, "k is larger than the axis");
    for (int64_t line = 0; line < lines; line++) {
        int64_t from = line / inner * length * inner + line % inner;
        int64_t to = line / inner * k * inner + line % inner;
        for (int64_t i = 0; i < length; i++)
            items[i] = (struct item){real ? reals[from + i * inner] : 0,
                                     real ? 0 : ints[from + i * inner], i};
        qsort(items, (size_t)length, sizeof(*items),
              c->node->attr.top_k.largest ? largest_first : smallest_first);
        for (int64_t i = 0; i < k; i++) {
            memcpy(values->data + (size_t)(to + i * inner) * width,
                   x->data + (size_t)(from + items[i].index * inner) * width, width);
            ((int64_t *)indices->data)[to + i * inner] = items[i].index;
        }
    }
    return true;
}

/* The keys of a matrix' rows; a merge sort keeps equal rows in order. */
struct rows {
    const double *reals; /* or */
    const int64_t *ints;
    int64_t columns;
    bool descending;
};

static bool row_comes_before(const struct rows *r, int64_t a, int64_t b)
{
    for (int64_t i = 0; i < r->columns; i++) {
        int64_t x = a * r->columns + i, y = b * r->columns + i;
        struct item left = {r->reals ? r->reals[x] : 0, r->ints ? r->ints[x] : 0, 0};
        struct item right = {r->reals ? r->reals[y] : 0, r->ints ? r->ints[y] : 0, 0};
        int order = compare_keys(&left, &right);
        if (order)
            return (order < 0) != r->descending;
    }
    return false;
}

/* Merges the sorted runs [0, middle) and [middle, n) of `from` into `to`. */
static void merge_rows(const struct rows *r, const int64_t *from, int64_t middle, int64_t n,
                       int64_t *to)
{
    int64_t low = 0, high = middle;
    for (int64_t i = 0; i < n; i++) {
        bool take_high = low == middle || (high < n && row_comes_before(r, from[high], from[low]));
        to[i] = from[take_high ? high++ : low++];
    }
}

bool eval_op_sort_rows(struct eval_call *c)
{
    const struct array *x = &c->in[0];
    int64_t n = x->shape[0];
    bool real = dtype_is_float(x->type);
    struct rows rows = {real ? array_reals(c, x) : NULL, real ? NULL : ordered_ints(c, x),
                        x->shape[1], c->node->attr.sort_rows.descending};
    int64_t *order = (int64_t *)c->out[0].data, *merged = scratch_ints(c, n);
    for (int64_t i = 0; i < n; i++)
        order[i] = i;
    for (int64_t run = 1; run < n; run *= 2) {
        for (int64_t at = 0; at < n; at += 2 * run) {
            int64_t length = n - at < 2 * run ? n - at : 2 * run;
            merge_rows(&rows, order + at, length < run ? length : run, length, merged + at);
        }
        memcpy(order, merged, (size_t)n * sizeof *order);
    }
    return true;
}
