/*
 * fp8: a contraction with constant weights multiplies f8e4m3fn and sums in f32. Weights are scaled
 * by channel of the result, so that the largest of each channel is the type's largest number; the
 * scale goes into the epilogue. Activations are cast as they are and saturate.
 *
 * The first contraction from the model's inputs and the last before its outputs stay in f16: their
 * errors are the ones that nothing behind them, or nothing before them, averages out.
 */
#include "../ir/build.h"
#include "precision_rules.h"

#define MOST_E4M3 448.0

static struct value *cast_to_f8(struct builder *b, struct value *v)
{
    union attr attr = {.cast = {.to = DT_F8E4M3FN, .saturate = true}};
    return build_tensor(b, OP_cast, 1, &v, &attr);
}

/* The weights' axes that a channel of the result sums over. */
static uint32_t summed_axes(const struct node *node, const struct value *weights)
{
    if (node->op == OP_matmul)
        return UINT32_C(1) << (weights->rank - 2);
    return ((UINT32_C(1) << weights->rank) - 1) & ~UINT32_C(1);
}

/* One scale for each channel, in the weights' rank: f32. */
static struct value *channel_scales(struct builder *b, struct value *weights, uint32_t axes)
{
    struct value *most =
        build_reduce(b, OP_reduce_max, build_unary(b, OP_abs, weights), axes, true);
    if (!most)
        return NULL;
    struct value *least = build_float(b, DT_F32, 0x1p-100); /* a channel of zeros */
    struct value *unit = build_float(b, DT_F32, 1 / MOST_E4M3);
    return build_binary(b, OP_mul, build_binary(b, OP_max, most, least), unit);
}

/* Weights [M, C, …] have scales [M, 1, …], the result [N, M, …] wants [1, M, 1, …]. */
static struct value *scales_of_result(struct builder *b, const struct node *node,
                                      struct value *scales)
{
    const struct dim *shape[MAX_RANK];
    if (node->op == OP_matmul || !scales)
        return scales;
    for (int i = 0; i < scales->rank; i++)
        shape[i] = i == 1 ? scales->shape[0] : build_d(b, 1);
    return build_reshape(b, scales, scales->rank, shape);
}

struct value *precision_product_f8(struct graph *g, struct node *node, struct value *x,
                                   struct value *weights)
{
    struct builder b = {g, node};
    struct value *w = build_cast(&b, weights, DT_F32);
    struct value *scales = w ? channel_scales(&b, w, summed_axes(node, w)) : NULL;
    struct value *in[2] = {cast_to_f8(&b, x)};
    in[1] = cast_to_f8(&b, build_binary(&b, OP_div, w, scales));
    union attr attr = node->attr;
    if (node->op == OP_matmul)
        attr.matmul.to = DT_F32;
    else
        attr.conv.to = DT_F32;
    struct value *sums = in[0] && in[1] ? build_tensor(&b, node->op, 2, in, &attr) : NULL;
    return build_cast(&b, build_binary(&b, OP_mul, sums, scales_of_result(&b, node, scales)),
                      DT_F16);
}

/* ---- Which contractions -------------------------------------------------------------------- */

static bool any_marked(const bool *marks, int n, struct value *const *v)
{
    for (int i = 0; i < n; i++)
        if (marks[v[i]->id])
            return true;
    return false;
}

static bool has_contraction(const struct graph *g)
{
    for (const struct node *node = g->first; node; node = node->next) {
        if (is_contraction(node))
            return true;
        for (int i = 0; i < 2; i++)
            if (node->body[i] && has_contraction(node->body[i]))
                return true;
    }
    return false;
}

static bool contracts(const struct node *node)
{
    return is_contraction(node) || (node->body[0] && has_contraction(node->body[0])) ||
           (node->body[1] && has_contraction(node->body[1]));
}

/* NULL: fp8 can do it. */
static const char *why_not_eight(struct assignment *a, const struct node *node, bool behind,
                                 bool before)
{
    if (node->op != OP_matmul && node->op != OP_conv)
        return "only matmul and conv have it";
    const struct value_facts *x = facts_of(a, node->in[0]), *w = facts_of(a, node->in[1]);
    if (!w->constant || x->constant)
        return "its weights are not constant";
    if (x->reach != REACH_NARROW)
        return "its operand may leave the range";
    if (constant_fit(a, node->in[1], DT_F16) != FIT_GOOD)
        return "its weights are beyond the range of f16";
    if (!behind)
        return "the first from the inputs stays in f16";
    return before ? NULL : "the last before the outputs stays in f16";
}

void precision_find_eight(struct assignment *a)
{
    bool *behind = ARENA_ARRAY(a->g->arena, (size_t)a->n + 1, bool); /* a contraction */
    bool *before = ARENA_ARRAY(a->g->arena, (size_t)a->n + 1, bool);
    for (struct node *node = a->g->first; node; node = node->next) {
        bool any = any_marked(behind, node->n_in, node->in);
        for (int i = 0; i < node->n_out; i++)
            behind[node->out[i]->id] = any || contracts(node);
    }
    for (struct node *node = a->g->last; node; node = node->prev) {
        bool any = any_marked(before, node->n_out, node->out);
        for (int i = 0; i < node->n_in; i++)
            before[node->in[i]->id] |= any || contracts(node);
    }
    for (struct node *node = a->g->first; node; node = node->next)
        if (is_contraction(node)) {
            struct choice *choice = choice_of(a, node);
            choice->why_not_eight =
                why_not_eight(a, node, behind[node->in[0]->id], before[node->out[0]->id]);
            choice->eight = !choice->why_not_eight;
        }
}
