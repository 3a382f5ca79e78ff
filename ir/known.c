/*
 * What is known at compile time of small integer tensors: exporters compute shapes by nodes (Shape
 * → Gather → Mul → Concat → Reshape), and as dims those computations need no kernel.
 *
 * An element is a fraction num / den: den is 1 in integer and bool tensors; it comes from float
 * detours such as Floor(Mul(Cast(size), 0.5)), which are exact as long as every factor is.
 */
#include "graph.h"

#include <math.h>
#include <string.h>

enum { MOST_ELEMENTS = 1024, MOST_VISITS = 4096, MOST_DEPTH = 128 };

struct element {
    const struct dim *num;
    int64_t den;
};

struct search {
    struct graph *g;
    int visits, depth; /* bounds for graphs that share or nest too much */
};

static struct element *known(struct search *s, const struct value *v);

static bool fixed_shape(const struct value *v, int64_t *shape, int64_t *n)
{
    if (!value_elements_const(v, n) || *n < 0 || *n > MOST_ELEMENTS)
        return false;
    for (int i = 0; i < v->rank; i++)
        if (!dim_is_const(v->shape[i], &shape[i]))
            return false;
    return true;
}

/* --- Leaves ---------------------------------------------------------------------------------- */

/* A float as a fraction with a denominator that is a power of two; false for others. */
static bool exact_fraction(double value, int64_t *num, int64_t *den)
{
    int64_t d = 1;
    while (d <= 1 << 20 && value * (double)d != floor(value * (double)d))
        d *= 2;
    if (d > 1 << 20 || !(fabs(value * (double)d) < 4503599627370496.0))
        return false;
    *num = (int64_t)(value * (double)d);
    *den = d;
    return true;
}

static bool read_element(enum dtype type, const unsigned char *p, int64_t *num, int64_t *den)
{
    size_t size = dtype_size(type);
    uint64_t bits = 0;
    float f;
    double d;
    *den = 1;
    if (type == DT_F32) {
        memcpy(&f, p, sizeof f);
        return exact_fraction(f, num, den);
    }
    if (type == DT_F64) {
        memcpy(&d, p, sizeof d);
        return exact_fraction(d, num, den);
    }
    if (!dtype_is_int(type) && type != DT_BOOL)
        return false;
    memcpy(&bits, p, size);
    int shift = 64 - 8 * (int)size;
    *num = dtype_info[type].cls == DC_S ? (int64_t)(bits << shift) >> shift : (int64_t)bits;
    return type != DT_U64 || *num >= 0;
}

static bool known_constant(struct search *s, const struct value *v, struct element *e, int64_t n)
{
    const struct constant *c = v->def->attr.constant.data;
    if (!c->bytes)
        return false;
    for (int64_t i = 0; i < n; i++) {
        int64_t num;
        if (!read_element(v->type,
                          (const unsigned char *)c->bytes + (size_t)i * dtype_size(v->type), &num,
                          &e[i].den))
            return false;
        e[i].num = dim_const(s->g->dims, num);
    }
    return true;
}

/* --- Scalars --------------------------------------------------------------------------------- */

static const struct dim *negated(struct dim_table *t, const struct dim *truth)
{
    return dim_sub(t, dim_const(t, 1), truth);
}

static bool same_denominator(struct dim_table *t, struct element *a, struct element *b)
{
    int64_t product;
    if (a->den == b->den)
        return true;
    if (__builtin_mul_overflow(a->den, b->den, &product) || product > (int64_t)1 << 40)
        return false;
    a->num = dim_mul(t, a->num, dim_const(t, b->den));
    b->num = dim_mul(t, b->num, dim_const(t, a->den));
    a->den = b->den = product;
    return true;
}

static bool is_nonnegative(const struct dim *d)
{
    int64_t lower, upper;
    dim_bounds(d, &lower, &upper);
    return lower >= 0;
}

/* num / den rounded down. */
static struct element floored(struct dim_table *t, struct element e)
{
    return (struct element){dim_floordiv(t, e.num, dim_const(t, e.den)), 1};
}

static bool divide(struct dim_table *t, enum dtype type, struct element a, struct element b,
                   struct element *out)
{
    int64_t k;
    if (!dtype_is_float(type)) {
        int64_t lower, upper;
        dim_bounds(b.num, &lower, &upper);
        /* Towards zero, and x / 0 = 0: a floor only where neither can show. */
        *out = (struct element){dim_floordiv(t, a.num, b.num), 1};
        return is_nonnegative(a.num) && lower > 0;
    }
    if (!dim_is_const(b.num, &k) || k <= 0)
        return false;
    out->num = dim_mul(t, a.num, dim_const(t, b.den));
    return !__builtin_mul_overflow(a.den, k, &out->den) && out->den <= (int64_t)1 << 40;
}

static bool known_cast(struct dim_table *t, enum dtype to, const struct value *from,
                       struct element a, struct element *out)
{
    *out = a;
    if (dtype_is_float(to))
        return to == DT_F32 || to == DT_F64;
    if (to == DT_BOOL) {
        *out = (struct element){negated(t, dim_eq(t, a.num, dim_const(t, 0))), 1};
        return true;
    }
    if (dtype_is_float(from->type)) {
        *out = floored(t, a);
        return a.den == 1 || is_nonnegative(a.num);
    }
    /* Sizes fit the index types: kernels check that themselves. Narrow types would wrap. */
    return to == DT_I64 || to == DT_I32;
}

/* One element of a scalar op; false where dims cannot say it. */
static bool known_scalar(struct dim_table *t, const struct node *node, struct element a,
                         struct element b, struct element c, struct element *out)
{
    enum dtype type = node->in[0]->type;
    const struct dim *one = dim_const(t, 1);
    *out = (struct element){NULL, 1};
    switch (node->op) {
    case OP_cast: return known_cast(t, node->attr.cast.to, node->in[0], a, out);
    case OP_mul:
        out->num = dim_mul(t, a.num, b.num);
        return !__builtin_mul_overflow(a.den, b.den, &out->den) && out->den <= (int64_t)1 << 40;
    case OP_div: return divide(t, type, a, b, out);
    case OP_neg: *out = (struct element){dim_sub(t, dim_const(t, 0), a.num), a.den}; return true;
    case OP_floor: *out = floored(t, a); return true;
    case OP_ceil: out->num = dim_ceildiv(t, a.num, dim_const(t, a.den)); return true;
    case OP_select:
        if (!same_denominator(t, &b, &c))
            return false;
        *out = (struct element){dim_select(t, a.num, b.num, c.num), b.den};
        return true;
    case OP_not: out->num = negated(t, a.num); return true;
    default: break;
    }
    if (op_info[node->op].most < 2 || !same_denominator(t, &a, &b))
        return false;
    out->den = a.den;
    switch (node->op) {
    case OP_add: out->num = dim_add(t, a.num, b.num); return true;
    case OP_sub: out->num = dim_sub(t, a.num, b.num); return true;
    case OP_min: out->num = dim_min(t, a.num, b.num); return true;
    case OP_max: out->num = dim_max(t, a.num, b.num); return true;
    case OP_mod: {
        int64_t lower, upper;
        dim_bounds(b.num, &lower, &upper);
        out->num = lower > 0 ? dim_mod(t, a.num, b.num) : NULL;
        return lower > 0 && a.den == 1;
    }
    default: break;
    }
    out->den = 1;
    switch (node->op) {
    case OP_eq: out->num = dim_eq(t, a.num, b.num); return true;
    case OP_lt: out->num = dim_lt(t, a.num, b.num); return true;
    case OP_le: out->num = negated(t, dim_lt(t, b.num, a.num)); return true;
    case OP_and: out->num = dim_mul(t, a.num, b.num); return type == DT_BOOL;
    case OP_or: out->num = dim_max(t, a.num, b.num); return type == DT_BOOL;
    case OP_xor: out->num = dim_sub(t, one, dim_eq(t, a.num, b.num)); return type == DT_BOOL;
    default: return false;
    }
}

static bool known_map(struct search *s, const struct value *v, struct element *e, int64_t n)
{
    const struct node *node = v->def;
    struct element *in[3] = {NULL, NULL, NULL};
    static const struct element none;
    for (int k = 0; k < node->n_in; k++)
        if (!(in[k] = known(s, node->in[k])))
            return false;
    for (int64_t i = 0; i < n; i++)
        if (!known_scalar(s->g->dims, node, in[0][i], in[1] ? in[1][i] : none,
                          in[2] ? in[2][i] : none, &e[i]))
            return false;
    return true;
}

/* --- Views, gathers, reductions: element i of the result comes from the operand's element at ----
 */

struct walk {
    int rank;
    int64_t shape[MAX_RANK], at[MAX_RANK];
};

static void walk_to(struct walk *w, int64_t i)
{
    for (int k = w->rank; k-- > 0;) {
        w->at[k] = i % w->shape[k];
        i /= w->shape[k];
    }
}

static int64_t offset_of(int rank, const int64_t *shape, const int64_t *at)
{
    int64_t offset = 0;
    for (int k = 0; k < rank; k++)
        offset = offset * shape[k] + at[k];
    return offset;
}

/* Maps the result's index in w->at to the operand's in `from`; false: outside, or not known. */
static bool view_index(const struct node *node, const struct walk *w, const int64_t *shape,
                       int64_t *from)
{
    for (int k = 0; k < w->rank; k++) {
        int64_t start = 0, step = 1;
        switch (node->op) {
        case OP_transpose: from[node->attr.transpose.perm.axis[k]] = w->at[k]; continue;
        case OP_expand: from[k] = shape[k] == 1 ? 0 : w->at[k]; continue;
        case OP_slice:
            if (!dim_is_const(node->attr.slice.start.d[k], &start) ||
                !dim_is_const(node->attr.slice.step.d[k], &step))
                return false;
            break;
        case OP_pad:
            if (!dim_is_const(node->attr.pad.low.d[k], &start))
                return false;
            start = -start;
            break;
        default: return false;
        }
        from[k] = start + step * w->at[k];
        if (from[k] < 0 || from[k] >= shape[k])
            return false;
    }
    return true;
}

static bool known_view(struct search *s, const struct value *v, struct element *e, int64_t n)
{
    const struct node *node = v->def;
    const struct value *x = node->in[0];
    struct element *in = known(s, x), *fill = NULL;
    struct walk w = {.rank = v->rank};
    int64_t shape[MAX_RANK], from[MAX_RANK], count;
    if (!in || !fixed_shape(x, shape, &count) || !fixed_shape(v, w.shape, &count))
        return false;
    if (node->op == OP_reshape) {
        memcpy(e, in, (size_t)n * sizeof *e);
        return true;
    }
    if (node->op == OP_pad && (node->attr.pad.mode != PAD_CONSTANT ||
                               (node->n_in > 1 && !(fill = known(s, node->in[1])))))
        return false;
    for (int64_t i = 0; i < n; i++) {
        walk_to(&w, i);
        if (view_index(node, &w, shape, from))
            e[i] = in[offset_of(x->rank, shape, from)];
        else if (node->op == OP_pad && dim_is_const(node->attr.pad.low.d[0], NULL))
            e[i] = fill ? fill[0] : (struct element){dim_const(s->g->dims, 0), 1};
        else
            return false;
    }
    return true;
}

static bool known_concat(struct search *s, const struct value *v, struct element *e, int64_t n)
{
    const struct node *node = v->def;
    int64_t axis = node->attr.concat.axis, start = 0, count, shape[MAX_RANK];
    struct walk w = {.rank = v->rank};
    (void)n;
    if (!fixed_shape(v, w.shape, &count))
        return false;
    for (int k = 0; k < node->n_in; k++) {
        const struct value *x = node->in[k];
        struct element *in = known(s, x);
        struct walk part = {.rank = x->rank};
        if (!in || !fixed_shape(x, part.shape, &count))
            return false;
        memcpy(shape, w.shape, sizeof shape);
        for (int64_t i = 0; i < count; i++) {
            walk_to(&part, i);
            part.at[axis] += start;
            e[offset_of(v->rank, shape, part.at)] = in[i];
        }
        start += part.shape[axis];
    }
    return true;
}

static bool known_gather(struct search *s, const struct value *v, struct element *e, int64_t n)
{
    const struct node *node = v->def;
    const struct value *x = node->in[0], *index = node->in[1];
    struct element *in = known(s, x), *at = in ? known(s, index) : NULL;
    int64_t shape[MAX_RANK], index_shape[MAX_RANK], count, axis = node->attr.gather.axis;
    struct walk w = {.rank = v->rank};
    if (!at || !fixed_shape(x, shape, &count) || !fixed_shape(index, index_shape, &count) ||
        !fixed_shape(v, w.shape, &count))
        return false;
    for (int64_t i = 0; i < n; i++) {
        int64_t from[MAX_RANK], chosen;
        walk_to(&w, i);
        struct element which = at[offset_of(index->rank, index_shape, w.at + axis)];
        if (which.den != 1 || !dim_is_const(which.num, &chosen))
            return false;
        chosen += chosen < 0 ? shape[axis] : 0;
        if (chosen < 0 || chosen >= shape[axis])
            return false;
        memcpy(from, w.at, sizeof from);
        from[axis] = chosen;
        for (int k = (int)axis + 1; k < x->rank; k++)
            from[k] = w.at[k - 1 + index->rank];
        e[i] = in[offset_of(x->rank, shape, from)];
    }
    return true;
}

static bool known_reduce(struct search *s, const struct value *v, struct element *e, int64_t n)
{
    const struct node *node = v->def;
    const struct value *x = node->in[0];
    struct dim_table *t = s->g->dims;
    uint32_t axes = node->attr.reduce_sum.axes; /* the same field in all four */
    struct element *in = known(s, x);
    struct walk w = {.rank = x->rank};
    int64_t count, shape[MAX_RANK];
    bool *started = ARENA_ARRAY(s->g->arena, (size_t)n + 1, bool);
    if (!in || !fixed_shape(x, w.shape, &count) || !fixed_shape(v, shape, &n))
        return false;
    for (int64_t i = 0; i < count; i++) {
        int64_t to[MAX_RANK];
        int rank = 0;
        walk_to(&w, i);
        for (int k = 0; k < x->rank; k++)
            if (!(axes >> k & 1))
                to[rank++] = w.at[k];
        struct element *out = &e[offset_of(rank, shape, to)];
        if (in[i].den != 1)
            return false;
        if (!started[out - e])
            *out = in[i];
        else
            out->num = node->op == OP_reduce_sum    ? dim_add(t, out->num, in[i].num)
                       : node->op == OP_reduce_prod ? dim_mul(t, out->num, in[i].num)
                       : node->op == OP_reduce_max  ? dim_max(t, out->num, in[i].num)
                                                    : dim_min(t, out->num, in[i].num);
        started[out - e] = true;
    }
    for (int64_t i = 0; i < n; i++)
        if (!started[i]) {
            if (node->op != OP_reduce_sum && node->op != OP_reduce_prod)
                return false;
            e[i] = (struct element){dim_const(t, node->op == OP_reduce_prod), 1};
        }
    return true;
}

static bool known_iota(struct search *s, const struct value *v, struct element *e, int64_t n)
{
    struct walk w = {.rank = v->rank};
    int64_t count;
    if (!fixed_shape(v, w.shape, &count))
        return false;
    for (int64_t i = 0; i < n; i++) {
        walk_to(&w, i);
        e[i] = (struct element){dim_const(s->g->dims, w.at[v->def->attr.iota.axis]), 1};
    }
    return true;
}

/* Where the true ones of known elements are, or how many there are. */
static bool known_compact(struct search *s, const struct value *v, struct element *e, int64_t n)
{
    const struct element *in = known(s, v->def->in[0]);
    int64_t elements, truth, found = 0;
    if (!in || !value_elements_const(v->def->in[0], &elements))
        return false;
    for (int64_t i = 0; i < n; i++)
        e[i] = (struct element){dim_const(s->g->dims, 0), 1};
    for (int64_t i = 0; i < elements; i++) {
        if (!dim_is_const(in[i].num, &truth) || (truth && v->index == 0 && found == n))
            return false;
        if (truth && v->index == 0)
            e[found].num = dim_const(s->g->dims, i);
        found += truth != 0;
    }
    if (v->index == 1)
        e[0].num = dim_const(s->g->dims, found);
    return true;
}

static bool known_node(struct search *s, const struct value *v, struct element *e, int64_t n)
{
    switch (v->def->op) {
    case OP_constant: return known_constant(s, v, e, n);
    case OP_iota: return known_iota(s, v, e, n);
    case OP_size: e[0] = (struct element){v->def->attr.size.value, 1}; return true;
    case OP_reshape:
    case OP_transpose:
    case OP_expand:
    case OP_slice:
    case OP_pad: return known_view(s, v, e, n);
    case OP_concat: return known_concat(s, v, e, n);
    case OP_gather: return known_gather(s, v, e, n);
    case OP_compact: return known_compact(s, v, e, n);
    case OP_reduce_sum:
    case OP_reduce_prod:
    case OP_reduce_max:
    case OP_reduce_min: return known_reduce(s, v, e, n);
    default: return op_info[v->def->op].class == OC_SCALAR && known_map(s, v, e, n);
    }
}

static struct element *known(struct search *s, const struct value *v)
{
    int64_t shape[MAX_RANK], n;
    if (!v->def || s->depth >= MOST_DEPTH || ++s->visits > MOST_VISITS ||
        !fixed_shape(v, shape, &n))
        return NULL;
    struct element *e = ARENA_ARRAY(s->g->arena, (size_t)n + 1, struct element);
    s->depth++;
    bool ok = known_node(s, v, e, n);
    s->depth--;
    return ok ? e : NULL;
}

bool graph_known_elements(struct graph *g, struct value *v, const struct dim **elements, int most)
{
    struct search s = {.g = g};
    int64_t n;
    if (!value_elements_const(v, &n) || n > most || (!dtype_is_int(v->type) && v->type != DT_BOOL))
        return false;
    struct element *e = known(&s, v);
    for (int64_t i = 0; e && i < n; i++) {
        if (e[i].den != 1)
            return false;
        elements[i] = e[i].num;
    }
    return e != NULL;
}
