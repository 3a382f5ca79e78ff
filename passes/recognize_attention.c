/*
 * Attention, as exporters spell it, as one node:
 *
 *     softmax(q x kT …) x v
 *
 * Found by its softmax. The scores (attention_scores.c) may be scaled before the product, after it,
 * or both (PyTorch multiplies q and k by the root of the scale); capped; masked by what is added to
 * them or put in their place, in any order. Behind the softmax, 0 may take the place of NaN where a
 * query sees no key; and the product may be transposed, v x pT. Casts and regrouped leading axes
 * may stand anywhere. Keys and values repeated for groups of heads are read where they are. Nothing
 * of it may be read by others, or it had to be computed anyway.
 */
#include "attention.h"

#include <math.h>
#include <string.h>

/* A softmax and what follows it. */
struct spelling {
    struct node *softmax;
    struct value *top;   /* scores as the softmax wants them */
    struct node *output; /* the matmul by the values */
    bool turned;         /* which are its left operand: v x pT */
    bool zero;           /* queries that see no key give 0 */
};

/* --- Behind the softmax ------------------------------------------------------------------------
 */

static bool is_uniform(const struct value *v, double wanted)
{
    double number;
    return match_uniform(v, &number) && number == wanted;
}

/* select(is_nan(p), 0, p): the select. */
static struct node *guarded(struct value *p)
{
    for (const struct use *use = p->uses; use; use = use->next) {
        struct node *node = use->node;
        const struct node *test = node->op == OP_select ? node->in[0]->def : NULL;
        if (test && test->op == OP_is_nan && test->in[0] == p && node->in[2] == p &&
            value_single_use(node->in[0]) && is_uniform(node->in[1], 0) && !p->is_output) {
            int n = 0;
            for (const struct use *u = p->uses; u; u = u->next)
                n++;
            return n == 2 ? node : NULL;
        }
    }
    return NULL;
}

/* Scores that are kept from being -inf, since the probabilities of those that are become 0: what
 * they were before. */
static struct value *unlimited(const struct spelling *t, const struct node *choice)
{
    const struct node *limit = t->softmax->in[0]->def, *test = choice->in[0]->def;
    double lowest;
    if (!limit || limit->op != OP_max || !value_single_use(limit->out[0]) || !test ||
        test->op != OP_eq || !value_single_use(test->out[0]))
        return NULL;
    for (int i = 0; i < 2; i++)
        if (match_uniform(limit->in[1 - i], &lowest) && lowest < -3e38 && isfinite(lowest) &&
            test->in[0] == limit->in[i] && is_uniform(test->in[1], -(double)INFINITY))
            return limit->in[i];
    return NULL;
}

/* Swaps rows and columns, and nothing else. */
static bool swaps(const struct node *node)
{
    int r = node->out[0]->rank;
    bool same = node->op == OP_transpose && r >= 2;
    for (int i = 0; i < r && same; i++) {
        int from = i == r - 1 ? r - 2 : i == r - 2 ? r - 1 : i;
        same = node->attr.transpose.perm.axis[i] == from;
    }
    return same;
}

/* Is p what the product with the values may take as this operand? Sets which way it is meant. */
static bool weighs(struct spelling *t, const struct value *p, int operand)
{
    const struct value *x = t->softmax->out[0];
    const struct dim *keys = x->shape[x->rank - 1];
    if (operand == 1 && !t->turned && dim_is(p->shape[p->rank - 1], 1))
        t->turned = true; /* of one query: a column is as good as a row */
    return operand == t->turned && p->shape[p->rank - 1 - t->turned] == keys;
}

/* Reshapes that keep the weights of a query in order, as a row or, of one query, as a column. */
static bool keeps_weights(const struct spelling *t, const struct node *node)
{
    const struct value *x = node->in[0], *y = node->out[0];
    if (node->op != OP_reshape || x->rank < 2 || y->rank < 2)
        return false;
    const struct dim *from = x->shape[x->rank - 1], *to = y->shape[y->rank - 1];
    return t->turned ? from == to && x->shape[x->rank - 2] == y->shape[y->rank - 2]
                     : from == to || dim_is(from, 1) || dim_is(to, 1);
}

/* Follows the probabilities to the product with the values. */
static const char *follow(struct spelling *t)
{
    struct value *p = t->softmax->out[0];
    for (;;) {
        int operand;
        struct node *node = guarded(p);
        if (node) {
            t->zero = true;
            p = node->out[0];
            continue;
        }
        node = match_reader(p, &operand);
        if (!node)
            return "its probabilities are read elsewhere";
        bool cast = node->op == OP_cast && dtype_is_float(node->out[0]->type);
        if (node->op == OP_matmul && weighs(t, p, operand)) {
            t->output = node;
            return NULL;
        }
        if (node->op == OP_select && operand == 2 && is_uniform(node->in[1], 0) &&
            unlimited(t, node)) {
            t->top = unlimited(t, node);
            t->zero = true;
        } else if (swaps(node)) {
            t->turned = !t->turned;
        } else if (!cast && !keeps_weights(t, node)) {
            return "its probabilities weigh no values";
        }
        p = node->out[0];
    }
}

/* --- Operands ----------------------------------------------------------------------------------
 */

/* v with its last two axes swapped; undoes what swapped them, where that can be seen. */
static struct value *swapped(struct builder *b, struct value *v)
{
    const struct node *node = v->def;
    int perm[MAX_RANK], r = v->rank;
    for (int i = 0; i < r; i++)
        perm[i] = i;
    perm[r - 2] = r - 1;
    perm[r - 1] = r - 2;
    if (node && node->op == OP_transpose) {
        bool same = true;
        for (int i = 0; i < r; i++)
            perm[i] = node->attr.transpose.perm.axis[i];
        int last = perm[r - 1];
        perm[r - 1] = perm[r - 2];
        perm[r - 2] = last;
        for (int i = 0; i < r; i++)
            same &= perm[i] == i;
        return same ? node->in[0] : build_transpose(b, node->in[0], perm);
    }
    const struct value *x = node && node->op == OP_reshape ? node->in[0] : NULL;
    if (x && x->rank >= 2 && x->shape[x->rank - 1] == v->shape[r - 1] &&
        x->shape[x->rank - 2] == v->shape[r - 2]) {
        const struct dim *shape[MAX_RANK];
        for (int i = 0; i < r; i++)
            shape[i] = v->shape[perm[i]];
        return build_reshape(b, swapped(b, node->in[0]), r, shape);
    }
    return build_transpose(b, v, perm);
}

/* Takes factors off an operand. */
static struct value *unscaled(struct value *v, double *scale)
{
    double number;
    for (;;) {
        const struct node *node = v->def;
        if (!node || (node->op != OP_mul && node->op != OP_div))
            return v;
        int side = node->op == OP_mul && match_uniform(node->in[0], &number) ? 1 : 0;
        if (!match_uniform(node->in[1 - side], &number) || !isfinite(number) || number == 0)
            return v;
        *scale *= node->op == OP_mul ? number : 1 / number;
        v = node->in[side];
    }
}

/* The keys or values that were repeated for each head of a group: [B, G, N, D]. */
static struct value *ungrouped(struct builder *b, struct value *v)
{
    struct value *w = v;
    while (w->def && w->def->op == OP_reshape)
        w = w->def->in[0];
    const struct node *node = w->def;
    if (!node || node->op != OP_expand || w->rank != 5)
        return NULL;
    struct value *x = node->in[0];
    if (w->shape[0] != v->shape[0] || w->shape[3] != v->shape[2] || w->shape[4] != v->shape[3] ||
        dim_mul(b->g->dims, w->shape[1], w->shape[2]) != v->shape[1] || !dim_is(x->shape[2], 1) ||
        x->shape[0] != w->shape[0] || x->shape[1] != w->shape[1] || x->shape[3] != w->shape[3] ||
        x->shape[4] != w->shape[4] || !dim_is_const(w->shape[1], NULL) ||
        !dim_is_const(v->shape[1], NULL))
        return NULL;
    const struct dim *shape[4] = {x->shape[0], x->shape[1], x->shape[3], x->shape[4]};
    return build_reshape(b, x, 4, shape);
}

/* --- The node ----------------------------------------------------------------------------------
 */

/* All leading axes but the last one as one: batch and head. */
static void planes(struct graph *g, const struct value *v, const struct dim **at)
{
    at[0] = at[1] = dim_const(g->dims, 1);
    for (int i = 0; i < v->rank - 3; i++)
        at[0] = dim_mul(g->dims, at[0], v->shape[i]);
    if (v->rank > 2)
        at[1] = v->shape[v->rank - 3];
}

static struct value *heads_of(struct builder *b, const struct dim *const *plane, struct value *v,
                              const struct dim *rows, const struct dim *size)
{
    const struct dim *shape[4] = {plane[0], plane[1], rows, size};
    return build_reshape(b, v, 4, shape);
}

/* The fourth operand: what is added, or what is seen; both in one where there are both. */
static struct value *bias_of(struct scores *s)
{
    if (!s->bias || !s->mask)
        return s->bias ? s->bias : s->mask;
    struct value *hidden = build_float(s->b, s->bias->type, -(double)INFINITY);
    return build_select(s->b, s->mask, s->bias, hidden);
}

/* The size of a head: of the queries', or what must be the same. NULL: it is not known. */
static const struct dim *known_size(struct graph *g, const struct dim *size, const struct value *q)
{
    enum { MOST = 1024 };
    const struct dim *depth = q->shape[q->rank - 1];
    int64_t n;
    size = dim_is_const(size, NULL) || !graph_dims_equal(g, size, depth) ? size : depth;
    bool known = dim_is_const(size, &n) && n >= 1 && n <= MOST;
    return known && dim_is_const(depth, &n) && n >= 1 && n <= MOST ? size : NULL;
}

/* An operand of scores that were spread: the same along leading axes and rows. */
static struct value *spread(const struct scores *s, struct value *v, const struct dim *rows)
{
    if (!s->spread || !v)
        return v;
    const struct dim *shape[MAX_RANK];
    memcpy(shape, s->spread->shape, sizeof shape);
    shape[v->rank - 2] = rows;
    shape[v->rank - 1] = v->shape[v->rank - 1];
    return build_expand(s->b, v, v->rank, shape);
}

/* The keys of a column of scores, which many products with one query were joined to. */
static struct value *column_keys(const struct scores *s)
{
    struct value *k = s->product->in[0];
    const struct dim *keys = s->top->shape[s->top->rank - 1], *depth = k->shape[k->rank - 1];
    while (k->rank >= 2 && k->shape[k->rank - 2] != keys && k->def && k->def->op == OP_reshape &&
           k->def->in[0]->rank >= 2 && k->def->in[0]->shape[k->def->in[0]->rank - 1] == depth)
        k = k->def->in[0];
    return k->rank >= 2 && k->shape[k->rank - 2] == keys ? k : NULL;
}

static struct value *keys_of_column(struct scores *s)
{
    return unscaled(column_keys(s), &s->scale);
}

/* One query, the same for all keys that it was joined with. */
static struct value *query_of_column(struct scores *s)
{
    struct value *k = column_keys(s), *q = unscaled(s->product->in[1], &s->scale);
    const struct dim *shape[MAX_RANK];
    q = unscaled(swapped(s->b, q), &s->scale);
    if (q->rank == k->rank)
        return q;
    for (int i = 0; i < k->rank; i++)
        shape[i] = i == k->rank - 1 ? q->shape[q->rank - 1] : dim_const(s->b->g->dims, 1);
    q = build_reshape(s->b, q, k->rank, shape);
    for (int i = 0; i < k->rank - 2; i++)
        shape[i] = k->shape[i];
    return build_expand(s->b, q, k->rank, shape);
}

/* Are there as many planes of keys as of results, and each with a query? */
static bool column_fits(const struct scores *s, const struct value *y)
{
    struct dim_table *dims = s->b->g->dims;
    const struct value *k = column_keys(s), *q = s->product->in[1];
    if (!k || (q->rank != 2 && (q->rank != k->rank || k != s->product->in[0])))
        return false;
    const struct dim *of_keys = dim_const(dims, 1), *of_results = of_keys;
    for (int i = 0; i < k->rank - 2; i++)
        of_keys = dim_mul(dims, of_keys, k->shape[i]);
    for (int i = 0; i < y->rank - 2; i++)
        of_results = dim_mul(dims, of_results, y->shape[i]);
    return of_keys == of_results;
}

/* The queries, with all factors that are not numbers. */
static struct value *queries_of(struct scores *s)
{
    if (s->column)
        return query_of_column(s);
    struct value *q = unscaled(s->product->in[0], &s->scale), *factor = s->factor;
    if (!factor)
        return spread(s, q, s->spread ? s->spread->shape[q->rank - 2] : NULL);
    factor = build_cast(s->b, build_expand(s->b, factor, q->rank, q->shape), q->type);
    return build_binary(s->b, OP_mul, q, factor);
}

static struct value *keys_of(struct scores *s)
{
    if (s->column)
        return keys_of_column(s);
    struct value *k = unscaled(swapped(s->b, unscaled(s->product->in[1], &s->scale)), &s->scale);
    return spread(s, k, s->spread ? s->spread->shape[k->rank - 1] : NULL);
}

/* Queries, as the result has them. */
static const struct dim *rows_of(const struct spelling *t)
{
    const struct value *y = t->output->out[0];
    return y->shape[y->rank - 2 + t->turned];
}

/* Are the weights of a query weighed by what belongs to its keys? */
static bool stays_together(const struct scores *s, const struct spelling *t)
{
    const struct value *x = s->spread ? s->spread : s->product->out[0];
    const struct value *top = s->top;
    if (s->column)
        return dim_is(rows_of(t), 1) && column_fits(s, t->output->out[0]);
    return x->shape[x->rank - 1] == top->shape[top->rank - 1] &&
           x->shape[x->rank - 2] == rows_of(t);
}

static bool replace(struct scores *s, const struct spelling *t)
{
    struct builder *b = s->b;
    struct value *y = t->output->out[0], *q = queries_of(s), *k = keys_of(s), *bias = bias_of(s);
    struct value *values = t->output->in[!t->turned], *in[4];
    const struct dim *plane[2], *depth = q->shape[q->rank - 1];
    const struct dim *width = y->shape[y->rank - 1 - t->turned], *rows = rows_of(t);
    union attr attr = {.attention = {.to = y->type,
                                     .softcap = s->softcap,
                                     .causal = s->causal,
                                     .offset = s->offset,
                                     .zero = t->zero}};
    planes(b->g, y, plane);
    values = t->turned ? swapped(b, values) : values;
    in[0] = heads_of(b, plane, q, rows, depth);
    in[1] = heads_of(b, plane, k, k->shape[k->rank - 2], depth);
    in[2] = heads_of(b, plane, values, values->shape[values->rank - 2], known_size(b->g, width, q));
    in[3] = bias ? heads_of(b, plane, bias, rows, bias->shape[bias->rank - 1]) : NULL;
    if (!in[0] || !in[1] || !in[2])
        return false;
    struct value *few_k = ungrouped(b, in[1]), *few_v = ungrouped(b, in[2]);
    if (few_k && few_v && few_k->shape[1] == few_v->shape[1]) {
        in[1] = few_k;
        in[2] = few_v;
    }
    attr.attention.scale = s->scale;
    struct value *heads = build_tensor(b, OP_attention, in[3] ? 4 : 3, in, &attr);
    if (!heads)
        return false;
    const struct dim *shape[MAX_RANK];
    memcpy(shape, y->shape, sizeof shape);
    if (t->turned) {
        shape[y->rank - 1] = y->shape[y->rank - 2];
        shape[y->rank - 2] = y->shape[y->rank - 1];
    }
    heads = build_reshape(b, heads, y->rank, shape);
    value_replace_uses(b->g, y, t->turned && heads ? swapped(b, heads) : heads);
    return true;
}

/* Will nobody read the scores any more? Those that are limited are read by the limit and the test.
 */
static bool goes_along(const struct spelling *t)
{
    int n = 0;
    for (const struct use *use = t->top->uses; use; use = use->next)
        n++;
    return !t->top->is_output && n == (t->top == t->softmax->in[0] ? 1 : 2);
}

/* A softmax down a column is that of a row. */
static struct node *as_row(struct graph *g, struct node *softmax)
{
    struct value *x = softmax->in[0];
    int r = x->rank;
    if (softmax->attr.softmax.axes != UINT32_C(1) << (r - 2) || !dim_is(x->shape[r - 1], 1))
        return softmax;
    struct builder b = {g, softmax};
    const struct dim *shape[MAX_RANK];
    union attr attr = {.softmax = {.axes = UINT32_C(1) << (r - 1)}};
    memcpy(shape, x->shape, sizeof shape);
    shape[r - 2] = x->shape[r - 1];
    shape[r - 1] = x->shape[r - 2];
    struct value *row = build_reshape(&b, x, r, shape);
    struct value *y = row ? build_tensor(&b, OP_softmax, 1, &row, &attr) : NULL;
    if (!y)
        return softmax;
    value_replace_uses(g, softmax->out[0], build_reshape(&b, y, r, x->shape));
    node_remove(g, softmax); /* no reader of the scores any more */
    return y->def;
}

static bool recognize(struct graph *g, struct node *softmax)
{
    if (softmax->op != OP_softmax || softmax->in[0]->rank < 2)
        return false;
    softmax = as_row(g, softmax);
    struct value *x = softmax->in[0];
    struct spelling t = {.softmax = softmax, .top = x};
    if (softmax->attr.softmax.axes != UINT32_C(1) << (x->rank - 1))
        return false;
    const char *why = follow(&t);
    if (why) {
        graph_remark(g, "recognize_attention", softmax, "no attention: %s", why);
        return false;
    }
    struct builder b = {g, t.output};
    struct scores s = {.b = &b};
    const struct value *y = t.output->out[0];
    g->origin = t.output->origin;
    if (!goes_along(&t))
        why = "its scores are read elsewhere";
    else if (!scores_read(&s, t.top))
        why = s.why ? s.why : "scores are no product";
    else if (!stays_together(&s, &t))
        why = "its probabilities weigh other values than those of its keys";
    else if (s.product->in[0]->type != s.product->in[1]->type)
        why = "queries and keys are of different types";
    else if (!known_size(g, y->shape[y->rank - 1 - t.turned], s.product->in[0]))
        why = "the size of a head is not known, or too large";
    if (why || !replace(&s, &t)) {
        graph_remark(g, "recognize_attention", softmax, "no attention: %s",
                     why ? why : "its operands do not fit together");
        return false;
    }
    graph_remark(g, "recognize_attention", softmax, "attention with %s%s%s%s",
                 s.causal ? "causality, " : "",
                 s.bias   ? "a bias, "
                 : s.mask ? "a mask, "
                          : "",
                 s.softcap != 0 ? "a cap, " : "", "its scores never in memory");
    return true;
}

bool pass_recognize_attention(struct graph *g)
{
    bool changed = pass_each_node(g, recognize);
    pass_remove_dead(g); /* also what was made before it was clear that it is no attention */
    return changed && (pass_simplify(g), pass_remove_dead(g), true);
}
