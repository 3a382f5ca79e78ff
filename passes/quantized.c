/* Recognition of quantized values by their arithmetic. */
#include "quantized.h"

#include <string.h>

#include "../ir/eval.h"

enum { DEEPEST = 32, MOST_VISITS = 64 };

struct value *quantized_unexpanded(struct value *v)
{
    while (v->def && v->def->op == OP_expand)
        v = v->def->in[0];
    return v;
}

static bool is_byte(enum dtype type)
{
    return type == DT_I8 || type == DT_U8;
}

static bool is_byte_float(enum dtype type)
{
    return dtype_is_float(type) && dtype_info[type].bits == 8 && type != DT_F8E8M0;
}

bool quantized_varies_along(const struct value *v, uint32_t axes)
{
    for (int i = 0; v && i < v->rank; i++)
        if (!(axes >> i & 1) && !dim_is(v->shape[i], 1))
            return false;
    return true;
}

/* --- Constants ------------------------------------------------------------------------------ */

static bool visit_constant(const struct value *v, int *visits)
{
    const struct node *node = v->def;
    if (!node || (*visits)++ == MOST_VISITS)
        return false;
    if (node->op == OP_constant)
        return node->attr.constant.data->bytes || node->attr.constant.data->file;
    if (node->n_in == 0 || node->body[0])
        return false;
    for (int i = 0; i < node->n_in; i++)
        if (!visit_constant(node->in[i], visits))
            return false;
    return true;
}

bool quantized_is_constant(const struct value *v)
{
    int visits = 0;
    int64_t n;
    return value_elements_const(v, &n) && visit_constant(v, &visits);
}

bool quantized_range(struct graph *g, const struct value *v, double *least, double *greatest)
{
    struct tensor t;
    if (!quantized_is_constant(v) || !eval_constant(g, v, &t))
        return false;
    int64_t n = tensor_elements(&t);
    for (int64_t i = 0; i < n; i++) {
        double x = tensor_get_float(&t, i);
        *least = i == 0 || x < *least ? x : *least;
        *greatest = i == 0 || x > *greatest ? x : *greatest;
    }
    tensor_free(&t);
    return n > 0;
}

static const struct value *without_reshapes(const struct value *v)
{
    while (v->def && (v->def->op == OP_reshape || v->def->op == OP_expand))
        v = v->def->in[0];
    return v;
}

bool quantized_same(struct graph *g, const struct value *a, const struct value *b)
{
    double least[2] = {0}, greatest[2] = {0};
    if (a == b)
        return true;
    if (!a || !b)
        return false;
    a = without_reshapes(a);
    b = without_reshapes(b);
    if (a == b)
        return true;
    return quantized_range(g, a, &least[0], &greatest[0]) &&
           quantized_range(g, b, &least[1], &greatest[1]) && least[0] == greatest[0] &&
           least[1] == greatest[1] && least[0] == least[1];
}

/* --- Views ---------------------------------------------------------------------------------- */

static bool is_single(const struct value *v)
{
    return quantized_varies_along(v, 0);
}

/* The one number v in another rank. */
static struct value *with_rank(struct builder *b, struct value *v, int rank)
{
    const struct dim *ones[MAX_RANK];
    for (int i = 0; i < rank; i++)
        ones[i] = build_d(b, 1);
    return v ? build_reshape(b, v, rank, ones) : NULL;
}

/* The zero point as one element of q's type. */
static struct value *fill_of(struct builder *b, const struct quantized *x)
{
    struct value *zero = x->zero ? with_rank(b, x->zero, 0) : build_int(b, DT_I32, 0);
    return build_cast(b, zero, x->q->type);
}

/* Zero is what the pad node fills with. */
static bool fills_with_zero(struct graph *g, const struct node *pad)
{
    double least, greatest;
    return pad->n_in < 2 ||
           (quantized_range(g, pad->in[1], &least, &greatest) && least == 0 && greatest == 0);
}

static bool is_positive(struct graph *g, const struct value *scale)
{
    double least, greatest;
    return !scale || (quantized_range(g, scale, &least, &greatest) && least > 0);
}

/* The parts of a concat, if they are quantized alike. */
static struct value *concat_parts(struct builder *b, struct node *node, struct quantized *out)
{
    struct value **part = ARENA_ARRAY(b->g->arena, (size_t)node->n_in, struct value *);
    part[0] = out->q;
    for (int i = 1; i < node->n_in; i++) {
        struct quantized x;
        if (!quantized_match(b, node->in[i], &x) || x.q->type != out->q->type ||
            !quantized_same(b->g, x.zero, out->zero) || !quantized_same(b->g, x.scale, out->scale))
            return NULL;
        part[i] = x.q;
    }
    return build_concat(b, node->n_in, part, (int)node->attr.concat.axis);
}

/* out, which is what node's first operand is, becomes what node's result is. */
static bool follow(struct builder *b, struct node *node, struct quantized *out)
{
    bool single = is_single(out->zero) && is_single(out->scale);
    struct value *in[1] = {out->q};
    if (node->op == OP_transpose) {
        int perm[MAX_RANK];
        for (int i = 0; i < node->attr.transpose.perm.n; i++)
            perm[i] = node->attr.transpose.perm.axis[i];
        out->q = build_transpose(b, out->q, perm);
        out->zero = out->zero ? build_transpose(b, out->zero, perm) : NULL;
        out->scale = out->scale ? build_transpose(b, out->scale, perm) : NULL;
        return out->q != NULL;
    }
    if (!single)
        return false;
    switch (node->op) {
    case OP_concat: out->q = concat_parts(b, node, out); break;
    case OP_pad:
        if (!fills_with_zero(b->g, node))
            return false;
        out->q =
            build_pad(b, out->q, node->attr.pad.low.d, node->attr.pad.high.d, node->attr.pad.mode,
                      node->attr.pad.mode == PAD_CONSTANT ? fill_of(b, out) : NULL);
        break;
    case OP_pool_max:
        /* Elements outside do not count, and no order changes under a positive scale. */
        if (!is_positive(b->g, out->scale))
            return false;
        out->q = build_tensor(b, node->op, 1, in, &node->attr);
        break;
    default: out->q = build_tensor(b, node->op, 1, in, &node->attr); break;
    }
    if (!out->q)
        return false;
    out->zero = with_rank(b, out->zero, out->q->rank);
    out->scale = with_rank(b, out->scale, out->q->rank);
    return true;
}

static bool is_followed(const struct node *node)
{
    switch (node->op) {
    case OP_reshape:
    case OP_transpose:
    case OP_expand:
    case OP_slice:
    case OP_pad:
    case OP_concat:
    case OP_pool_max: return true;
    default: return false;
    }
}

/* --- Matching ------------------------------------------------------------------------------- */

/* Does the cast give every number of its operand? One to an unsigned type wraps negative ones. */
static bool keeps_numbers(enum dtype from, enum dtype to)
{
    bool wraps = dtype_info[from].cls == DC_S && dtype_info[to].cls == DC_U;
    return dtype_info[to].bits >= 16 && dtype_info[from].bits <= dtype_info[to].bits &&
           (dtype_is_int(from) || is_byte_float(from)) && !wraps;
}

/* v as cast(q) - zero, in whatever type. */
static bool match_numbers(struct value *v, struct quantized *out)
{
    for (int depth = 0; depth < DEEPEST; depth++) {
        struct node *node = v->def;
        if (is_byte(v->type) || (is_byte_float(v->type) && !out->zero)) {
            out->q = v;
            return true;
        }
        if (node && node->op == OP_cast && keeps_numbers(node->in[0]->type, v->type)) {
            v = node->in[0];
        } else if (node && node->op == OP_sub && v->type == DT_I32 && !out->zero) {
            out->zero = quantized_unexpanded(node->in[1]);
            v = node->in[0];
        } else {
            return false;
        }
    }
    return false;
}

static bool match_at(struct builder *b, struct value *v, struct quantized *out, int depth)
{
    struct node *node = v->def;
    *out = (struct quantized){0};
    if (!node || depth == 0)
        return false;
    if (is_followed(node) && dtype_info[v->type].bits >= 16)
        return match_at(b, node->in[0], out, depth - 1) && follow(b, node, out);
    if (node->op == OP_cast && dtype_is_float(node->in[0]->type) && dtype_is_float(v->type) &&
        dtype_info[node->in[0]->type].bits >= 16 && dtype_info[v->type].bits >= 16)
        return match_at(b, node->in[0], out, depth - 1);
    for (int i = 0; node->op == OP_mul && v->type == DT_F32 && i < 2; i++) {
        *out = (struct quantized){.scale = quantized_unexpanded(node->in[1 - i])};
        if (match_numbers(node->in[i], out))
            return out->scale->rank == v->rank;
    }
    *out = (struct quantized){0};
    return node->op != OP_mul && match_numbers(v, out) && out->q != v;
}

struct value *quantized_zero(struct graph *g, struct value *zero)
{
    double least, greatest;
    bool none = zero && quantized_range(g, zero, &least, &greatest) && least == 0 && greatest == 0;
    return none ? NULL : zero;
}

bool quantized_match(struct builder *b, struct value *v, struct quantized *out)
{
    if (!match_at(b, v, out, DEEPEST))
        return false;
    out->zero = quantized_zero(b->g, out->zero);
    return true;
}

/* Are these the limits of the type, or wider ones, so that nothing but its range limits numbers? */
static bool are_limits_of(struct graph *g, enum dtype type, struct value *low, struct value *high)
{
    double lowest = type == DT_I8 ? -128 : 0, highest = type == DT_I8 ? 127 : 255;
    double least, greatest;
    return quantized_range(g, quantized_unexpanded(low), &least, &greatest) && greatest <= lowest &&
           quantized_range(g, quantized_unexpanded(high), &least, &greatest) && least >= highest;
}

bool quantized_match_result(struct graph *g, struct value *v, struct value **real,
                            struct quantized *out)
{
    struct node *cast = v->def, *low, *high, *shift, *round;
    *out = (struct quantized){.q = v};
    if (!is_byte(v->type) || !cast || cast->op != OP_cast)
        return false;
    /* min(max(round(real / scale) + zero, lowest), highest) */
    high = cast->in[0]->def;
    low = high && high->op == OP_min ? high->in[0]->def : NULL;
    shift = low && low->op == OP_max ? low->in[0]->def : NULL;
    round = shift;
    if (shift && shift->op == OP_add) {
        out->zero = quantized_unexpanded(shift->in[1]);
        round = shift->in[0]->def;
    }
    struct node *div = round && round->op == OP_round ? round->in[0]->def : NULL;
    if (!div || div->op != OP_div || !are_limits_of(g, v->type, low->in[1], high->in[1]))
        return false;
    *real = div->in[0];
    out->scale = quantized_unexpanded(div->in[1]);
    return true;
}
