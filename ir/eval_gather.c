/* Gathers and scatters. Indices count from the end where negative and are clamped to the axis. */
#include "eval_array.h"
#include "scalar.h"

static int64_t clamp_index(int64_t i, int64_t extent)
{
    i += i < 0 ? extent : 0;
    return i < 0 ? 0 : i >= extent ? extent - 1 : i;
}

/* Index tuples: n of them, each of `depth` numbers that lead into the axes of x from `axis` on. The
 * result is an offset in blocks of what those axes do not cover. */
static int64_t tuple_offset(const int64_t *tuple, int64_t depth, const struct array *x,
                            int64_t axis)
{
    int64_t at = 0;
    for (int64_t i = 0; i < depth; i++)
        at = at * x->shape[axis + i] + clamp_index(tuple[i], x->shape[axis + i]);
    return at;
}

/* Nothing can be read from an operand without elements: zeros then. */
static bool nothing_to_read(struct eval_call *c)
{
    if (array_elements(&c->in[0]) > 0)
        return false;
    memset(c->out[0].data, 0, (size_t)array_elements(&c->out[0]) * dtype_size(c->out[0].type));
    return true;
}

bool eval_op_gather(struct eval_call *c)
{
    const struct array *x = &c->in[0], *i = &c->in[1];
    int axis = (int)c->node->attr.gather.axis;
    int64_t outer = span(x, 0, axis), n = array_elements(i), extent = x->shape[axis];
    size_t block = (size_t)span(x, axis + 1, x->rank) * dtype_size(x->type);
    const int64_t *index = array_ints(c, i);
    char *to = c->out[0].data;
    if (nothing_to_read(c))
        return true;
    for (int64_t o = 0; o < outer; o++)
        for (int64_t k = 0; k < n; k++, to += block)
            memcpy(to, x->data + (size_t)(o * extent + clamp_index(index[k], extent)) * block,
                   block);
    return true;
}

/* Offset in x of the element that position `at` of the index tensor i points to along axis. */
static int64_t element_offset(const struct array *x, const struct array *i, int axis, int64_t at,
                              int64_t index)
{
    int64_t offset = 0, stride = 1;
    for (int k = x->rank - 1; k >= 0; k--) {
        int64_t p = k == axis ? clamp_index(index, x->shape[k]) : at % i->shape[k];
        offset += p * stride;
        stride *= x->shape[k];
        at /= i->shape[k];
    }
    return offset;
}

bool eval_op_gather_elements(struct eval_call *c)
{
    const struct array *x = &c->in[0], *i = &c->in[1];
    int axis = (int)c->node->attr.gather_elements.axis;
    size_t width = dtype_size(x->type);
    const int64_t *index = array_ints(c, i);
    if (nothing_to_read(c))
        return true;
    for (int64_t k = 0; k < array_elements(i); k++)
        memcpy(c->out[0].data + (size_t)k * width,
               x->data + (size_t)element_offset(x, i, axis, k, index[k]) * width, width);
    return true;
}

bool eval_op_gather_nd(struct eval_call *c)
{
    const struct array *x = &c->in[0], *i = &c->in[1];
    int64_t batch = c->node->attr.gather_nd.batch, depth = i->shape[i->rank - 1];
    int64_t groups = span(x, 0, (int)batch), per_group = span(i, (int)batch, i->rank - 1);
    int64_t blocks = span(x, (int)batch, (int)(batch + depth));
    size_t block = (size_t)span(x, (int)(batch + depth), x->rank) * dtype_size(x->type);
    const int64_t *index = array_ints(c, i);
    char *to = c->out[0].data;
    if (nothing_to_read(c))
        return true;
    for (int64_t g = 0; g < groups; g++)
        for (int64_t k = 0; k < per_group; k++, to += block, index += depth)
            memcpy(to,
                   x->data + (size_t)(g * blocks + tuple_offset(index, depth, x, batch)) * block,
                   block);
    return true;
}

/* ---- Scatters: for each of n updates, `block` elements at place[i] blocks. */

static double combine_reals(enum combine combine, double a, double b)
{
    switch (combine) {
    case COMBINE_ADD: return a + b;
    case COMBINE_MUL: return a * b;
    case COMBINE_MIN: return g_min_f64(a, b);
    case COMBINE_MAX: return g_max_f64(a, b);
    default: return b;
    }
}

static int64_t combine_ints(enum combine combine, int64_t a, int64_t b, bool is_u64)
{
    bool b_less = is_u64 ? (uint64_t)b < (uint64_t)a : b < a;
    switch (combine) {
    case COMBINE_ADD: return (int64_t)((uint64_t)a + (uint64_t)b);
    case COMBINE_MUL: return (int64_t)((uint64_t)a * (uint64_t)b);
    case COMBINE_MIN: return b_less ? b : a;
    case COMBINE_MAX: return b_less ? a : b;
    default: return b;
    }
}

static void scatter(struct eval_call *c, enum combine combine, const int64_t *place, int64_t n,
                    int64_t block)
{
    const struct array *x = &c->in[0], *updates = &c->in[2], *out = &c->out[0];
    int64_t total = array_elements(x);
    size_t width = dtype_size(x->type), bytes = (size_t)block * width;
    if (combine == COMBINE_NONE) {
        array_copy(out, x);
        for (int64_t i = 0; i < n; i++)
            memcpy(out->data + (size_t)place[i] * bytes, updates->data + (size_t)i * bytes, bytes);
    } else if (dtype_is_float(x->type)) {
        double *to = array_reals(c, x), *from = array_reals(c, updates);
        for (int64_t i = 0; i < n * block; i++) {
            double *at = &to[place[i / block] * block + i % block];
            *at = combine_reals(combine, *at, from[i]);
        }
        store_reals(out->data, out->type, to, total, true);
    } else {
        int64_t *to = array_ints(c, x), *from = array_ints(c, updates);
        for (int64_t i = 0; i < n * block; i++) {
            int64_t *at = &to[place[i / block] * block + i % block];
            *at = combine_ints(combine, *at, from[i], x->type == DT_U64);
        }
        store_ints(out->data, out->type, to, total, false);
    }
}

bool eval_op_scatter_elements(struct eval_call *c)
{
    const struct array *x = &c->in[0], *i = &c->in[1];
    int axis = (int)c->node->attr.scatter_elements.axis;
    int64_t n = array_elements(x) ? array_elements(i) : 0;
    int64_t *place = array_ints(c, i);
    for (int64_t k = 0; k < n; k++)
        place[k] = element_offset(x, i, axis, k, place[k]);
    scatter(c, c->node->attr.scatter_elements.combine, place, n, 1);
    return true;
}

bool eval_op_scatter_nd(struct eval_call *c)
{
    const struct array *x = &c->in[0], *i = &c->in[1];
    int64_t depth = i->shape[i->rank - 1];
    int64_t n = array_elements(x) ? span(i, 0, i->rank - 1) : 0;
    const int64_t *index = array_ints(c, i);
    int64_t *place = scratch_ints(c, n);
    for (int64_t k = 0; k < n; k++)
        place[k] = tuple_offset(index + k * depth, depth, x, 0);
    scatter(c, c->node->attr.scatter_nd.combine, place, n, span(x, (int)depth, x->rank));
    return true;
}
