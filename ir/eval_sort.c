/* The k largest or smallest of each line along an axis. */
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
