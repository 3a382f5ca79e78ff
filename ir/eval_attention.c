/* Attention. Products, exponentials and sums in double; scores of f32 and narrower types are
 * rounded to f32 once, so that the lowest number plus a score is that number again, as it is in a
 * kernel. */
#include "eval_array.h"

#include <math.h>

struct heads {
    const struct attr_attention *attr;
    int64_t m, n, depth, width; /* queries, keys, and elements of a key and of a value */
    int64_t offset;
    bool narrow;        /* scores are f32 */
    const double *bias; /* either, or none */
    const int64_t *mask;
};

static double score(const struct heads *h, const double *q, const double *k, int64_t plane,
                    int64_t i, int64_t j)
{
    const struct attr_attention *attr = h->attr;
    double s = 0;
    if (attr->causal && j > i + h->offset)
        return -INFINITY;
    for (int64_t d = 0; d < h->depth; d++)
        s += q[d] * k[d];
    s *= attr->scale;
    if (attr->softcap != 0)
        s = attr->softcap * tanh(s / attr->softcap);
    if (h->bias)
        s += h->bias[(plane * h->m + i) * h->n + j];
    if (h->mask && !h->mask[(plane * h->m + i) * h->n + j])
        s = -INFINITY;
    return h->narrow ? (double)(float)s : s;
}

/* One query of one head. p: room for a probability per key. */
static void attend(const struct heads *h, const double *q, const double *k, const double *v,
                   int64_t plane, int64_t i, double *p, double *to)
{
    double most = -INFINITY, sum = 0;
    for (int64_t j = 0; j < h->n; j++) {
        p[j] = score(h, q, k + j * h->depth, plane, i, j);
        most = p[j] > most || p[j] != p[j] ? p[j] : most;
    }
    for (int64_t d = 0; d < h->width; d++)
        to[d] = 0;
    if (h->n == 0 || (h->attr->zero && most == -INFINITY))
        return;
    for (int64_t j = 0; j < h->n; j++)
        sum += p[j] = exp(p[j] - most);
    for (int64_t j = 0; j < h->n; j++)
        for (int64_t d = 0; d < h->width; d++)
            to[d] += p[j] / sum * v[j * h->width + d];
}

bool eval_op_attention(struct eval_call *c)
{
    const struct array *out = &c->out[0], *keys = &c->in[1], *values = &c->in[2];
    struct heads h = {.attr = &c->node->attr.attention,
                      .m = out->shape[2],
                      .n = keys->shape[2],
                      .depth = keys->shape[3],
                      .width = values->shape[3],
                      .narrow = c->in[0].type != DT_F64};
    if (!eval_dim(c, h.attr->offset, &h.offset))
        return false;
    if (c->node->n_in > 3 && c->in[3].type == DT_BOOL)
        h.mask = array_ints(c, &c->in[3]);
    else if (c->node->n_in > 3)
        h.bias = array_reals(c, &c->in[3]);
    double *q = array_reals(c, &c->in[0]), *k = array_reals(c, keys), *v = array_reals(c, values);
    double *to = scratch_reals(c, array_elements(out)), *p = scratch_reals(c, h.n);
    int64_t heads = out->shape[1], planes = out->shape[0] * heads;
    for (int64_t plane = 0; plane < planes; plane++) {
        int64_t shared = keys->shape[1] ? heads / keys->shape[1] : 1;
        int64_t from = plane / heads * keys->shape[1] + plane % heads / (shared ? shared : 1);
        for (int64_t i = 0; i < h.m; i++)
            attend(&h, q + (plane * h.m + i) * h.depth, k + from * h.n * h.depth,
                   v + from * h.n * h.width, plane, i, p, to + (plane * h.m + i) * h.width);
    }
    store_reals(out->data, out->type, to, array_elements(out), true);
    return true;
}
