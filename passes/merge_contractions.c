/*
 * Matrix products (and 1x1 convolutions) of one operand with several constant weights become one
 * product with the weights side by side, of whose result each takes its slice:
 *
 *     q = x·Wq + bq                          y = x·[Wq Wk Wv] + [bq bk bv]
 *     k = x·Wk + bk              ─▶          q, k, v = slices of y
 *     v = x·Wv + bv
 *
 * Biases, and maps that follow all of them alike, go along. The concatenated weights are computed
 * while the plan is written, quantized ones as narrow as they are (merge_weights.c); the slices are
 * views, which their readers turn into offsets.
 *
 * Products that maps alone read are left out: these are their epilogues, and behind a slice they
 * need a kernel of their own. But for two whose maps meet, as the gate and what it gates: their
 * columns take turns, so that a thread has both operands of the maps, which stay an epilogue
 * (fuse_epilogue.c):
 *
 *     silu(x·G) * (x·U)     ─▶     y = x·[g0 u0 g1 u1 …],  silu(y[0::2]) * y[1::2]
 *
 * A product is left out, too, when it is an output, or a part of a concat that kernels write as a
 * whole: a slice would have to be copied there.
 */
#include "passes.h"

#include "../ir/build.h"
#include "match.h"
#include "merge_weights.h"

enum { MOST_BRANCHES = WEIGHTS_MOST, MOST_MAPS = 8, MOST_DEPTH = 8, MOST_BEHIND = 32 };
enum { LEAST_PAIRS = 16 /* columns of products whose columns take turns */ };

/* One product and what follows it. */
struct branch {
    struct node *node;   /* the contraction */
    struct value *bias;  /* a constant with one element per channel, or NULL */
    struct value *value; /* what has been taken along so far */
};

struct family {
    struct graph *g;
    int n;
    struct branch at[MOST_BRANCHES];
    enum weights_order order; /* in turns: the columns of two products take turns */
    int n_maps;
    struct node *maps[MOST_MAPS]; /* of the first branch; all have the same */
};

/* --- What can be merged --------------------------------------------------------------------- */

/* The axis of its result along which the weights lie side by side. */
static int channel_axis(const struct node *node)
{
    return node->op == OP_matmul ? node->out[0]->rank - 1 : 1;
}

/* A convolution that takes each pixel by itself. */
static bool is_pointwise(const struct node *node)
{
    const struct value *w = node->in[1];
    if (node->attr.conv.group != 1)
        return false;
    for (int i = 2; i < w->rank; i++)
        if (!dim_is(w->shape[i], 1))
            return false;
    return true;
}

/* The axis of the weights themselves. */
static int weight_axis(const struct node *node)
{
    return node->op == OP_matmul ? 1 : 0;
}

/* Can the weights of both be joined? */
static bool joinable(struct graph *g, const struct node *a, const struct node *b)
{
    const struct value *v = a->in[1], *w = b->in[1];
    return weights_are_floats(v) ? weights_are_floats(w)
                                 : weights_are_alike(g, v, w, weight_axis(a));
}

static bool is_candidate(struct graph *g, const struct node *node)
{
    bool matmul = node->op == OP_matmul && node->out[0]->rank == 2;
    return (matmul || (node->op == OP_conv && is_pointwise(node))) && joinable(g, node, node) &&
           dim_is_const(node->out[0]->shape[channel_axis(node)], NULL);
}

static bool same_attributes(struct graph *g, const struct node *a, const struct node *b)
{
    if (a->op != b->op || a->math != b->math || a->out[0]->type != b->out[0]->type ||
        a->in[1]->type != b->in[1]->type || !joinable(g, a, b))
        return false;
    for (int i = 0; i < a->out[0]->rank; i++)
        if (i != channel_axis(a) && a->out[0]->shape[i] != b->out[0]->shape[i])
            return false;
    for (int i = 0; a->op == OP_conv && i < a->attr.conv.stride.n; i++)
        if (a->attr.conv.stride.v[i] != b->attr.conv.stride.v[i] ||
            a->attr.conv.low.d[i] != b->attr.conv.low.d[i] ||
            a->attr.conv.high.d[i] != b->attr.conv.high.d[i])
            return false;
    return true;
}

/* Is everything that reads v, behind views that move no rows, a map? */
static bool only_maps_read(const struct value *v, int depth)
{
    if (!v->uses || depth == 0)
        return false;
    for (const struct use *use = v->uses; use; use = use->next) {
        const struct node *node = use->node;
        bool view = node->op == OP_reshape || node->op == OP_transpose;
        if (view ? !only_maps_read(node->out[0], depth - 1) : op_info[node->op].class != OC_SCALAR)
            return false;
    }
    return true;
}

/* --- What follows a product ----------------------------------------------------------------- */

/* The vector of constants that v repeats along all axes but the channels'. */
static struct value *channel_vector(struct value *v, int axis, const struct dim *channels)
{
    struct value *x = v;
    while (x->def && x->def->op == OP_expand)
        x = x->def->in[0];
    if (!weights_are_floats(x) || x->rank != v->rank || x->shape[axis] != channels)
        return NULL;
    for (int i = 0; i < x->rank; i++)
        if (i != axis && !dim_is(x->shape[i], 1))
            return NULL;
    return x;
}

/* The node that reads v alone, behind a reshape of a product's rows. */
static struct node *reader_of(const struct branch *branch, const struct value *v, int *operand)
{
    struct node *node = match_reader(v, operand);
    if (!node || node->op != OP_reshape || branch->node->op != OP_matmul)
        return node;
    const struct value *y = node->out[0];
    if (y->rank == 0 || y->shape[y->rank - 1] != v->shape[v->rank - 1])
        return NULL;
    return match_reader(y, operand);
}

static void take_bias(struct branch *branch)
{
    int operand;
    struct node *node = reader_of(branch, branch->value, &operand);
    if (!node || node->op != OP_add)
        return;
    int axis = branch->node->op == OP_matmul ? node->out[0]->rank - 1 : 1;
    const struct dim *channels = branch->node->out[0]->shape[channel_axis(branch->node)];
    branch->bias = channel_vector(node->in[1 - operand], axis, channels);
    if (branch->bias)
        branch->value = node->out[0];
}

/* Do a and b compute the same of their operands, which stand at this place in them? */
static bool same_map(const struct node *a, int operand, const struct node *b, int other)
{
    double x, y;
    if (a->op != b->op || op_info[a->op].class != OC_SCALAR || operand != other ||
        a->out[0]->type != b->out[0]->type || a->op == OP_cast || a->op == OP_bitcast)
        return false;
    if (a->n_in == 1)
        return true;
    return a->n_in == 2 && match_uniform(a->in[1 - operand], &x) &&
           match_uniform(b->in[1 - operand], &y) && x == y;
}

/* Takes the map that reads every branch's value alone. */
static bool take_map(struct family *f)
{
    struct node *maps[MOST_BRANCHES];
    int operand[MOST_BRANCHES];
    for (int i = 0; i < f->n; i++) {
        maps[i] = reader_of(&f->at[i], f->at[i].value, &operand[i]);
        if (!maps[i] || !same_map(maps[0], operand[0], maps[i], operand[i]))
            return false;
    }
    if (f->n_maps == MOST_MAPS)
        return false;
    for (int i = 0; i < f->n; i++)
        f->at[i].value = maps[i]->out[0];
    f->maps[f->n_maps++] = maps[0];
    return true;
}

/* --- The merged product --------------------------------------------------------------------- */

static struct value *zeros(struct builder *b, enum dtype type, const struct dim *n)
{
    int64_t size = 0;
    dim_is_const(n, &size);
    void *bytes = arena_array(b->g->arena, (size_t)size + 1, dtype_size(type));
    return build_constant(b, type, 1, &size, bytes, NULL);
}

static struct value *merged_bias(struct family *f, struct builder *b)
{
    struct value *parts[MOST_BRANCHES];
    bool any = false;
    for (int i = 0; i < f->n; i++) {
        const struct node *node = f->at[i].node;
        const struct dim *channels = node->out[0]->shape[channel_axis(node)];
        any |= f->at[i].bias != NULL;
        parts[i] = f->at[i].bias ? weights_copy(b, f->at[i].bias) : NULL;
        parts[i] = parts[i] ? build_reshape(b, parts[i], 1, &channels)
                            : zeros(b, node->out[0]->type, channels);
    }
    return any ? weights_join(b, f->n, parts, 0, f->order) : NULL;
}

static struct value *merged_product(struct family *f, struct builder *b)
{
    struct value *weights[MOST_BRANCHES];
    const struct node *first = f->at[0].node;
    int axis = channel_axis(first);
    bool floats = weights_are_floats(first->in[1]);
    for (int i = 0; i < f->n; i++) {
        weights[i] = f->at[i].node->in[1];
        weights[i] = floats ? weights_copy(b, weights[i]) : weights[i];
    }
    struct value *w = floats ? weights_join(b, f->n, weights, weight_axis(first), f->order)
                             : weights_join_alike(b, f->n, weights, weight_axis(first), f->order);
    struct value *in[] = {first->in[0], w}, *bias = merged_bias(f, b);
    struct value *y = w ? build_tensor(b, first->op, 2, in, &first->attr) : NULL;
    if (y)
        y->def->math = first->math;
    if (y && bias) {
        const struct dim *shape[MAX_RANK];
        for (int i = 0; i < y->rank; i++)
            shape[i] = i == axis ? y->shape[i] : build_d(b, 1);
        y = build_binary(b, OP_add, y, build_reshape(b, bias, y->rank, shape));
    }
    for (int i = 0; i < f->n_maps && y; i++) {
        const struct node *map = f->maps[i];
        double number;
        if (map->n_in == 1) {
            y = build_unary(b, map->op, y);
        } else {
            bool right = match_uniform(map->in[1], &number); /* else the number is the left one */
            struct value *c = right || match_uniform(map->in[0], &number)
                                  ? build_float(b, y->type, number)
                                  : NULL;
            y = right ? build_binary(b, map->op, y, c) : build_binary(b, map->op, c, y);
        }
    }
    return y;
}

static const char *joined_origins(struct family *f)
{
    const char *all = f->at[0].node->origin;
    for (int i = 1; i < f->n; i++)
        if (f->at[i].node->origin)
            all = all ? arena_printf(f->g->arena, "%s, %s", all, f->at[i].node->origin)
                      : f->at[i].node->origin;
    return all;
}

/* The columns of product i of the merged one. */
static struct value *part_of(struct family *f, struct builder *b, struct value *y, int i,
                             const struct dim *start)
{
    const struct dim *starts[MAX_RANK], *steps[MAX_RANK], *sizes[MAX_RANK];
    const struct value *own = f->at[i].node->out[0];
    int axis = channel_axis(f->at[i].node);
    if (f->order == WEIGHTS_BEHIND)
        return build_slice_axis(b, y, axis, start, own->shape[axis]);
    for (int k = 0; k < y->rank; k++) {
        starts[k] = build_d(b, k == axis ? i : 0);
        steps[k] = build_d(b, k == axis ? f->n : 1);
        sizes[k] = own->shape[k];
    }
    return build_slice(b, y, starts, steps, sizes);
}

static bool merge(struct family *f)
{
    struct graph *g = f->g;
    struct builder b = {g, f->at[0].node};
    int axis = channel_axis(f->at[0].node);
    const struct dim *start = build_d(&b, 0);
    g->origin = joined_origins(f);
    struct value *y = merged_product(f, &b);
    if (!y)
        return false;
    for (int i = 0; i < f->n; i++) {
        const struct branch *branch = &f->at[i];
        const struct dim *size = branch->node->out[0]->shape[axis];
        struct value *part = part_of(f, &b, y, i, start);
        struct value *shaped = build_reshape(&b, part, branch->value->rank, branch->value->shape);
        if (!shaped)
            return false;
        value_replace_uses(g, branch->value, shaped);
        start = dim_add(g->dims, start, size);
    }
    graph_remark(
        g, "merge_contractions", y->def, "%d products of one operand are one%s", f->n,
        f->order == WEIGHTS_IN_TURNS ? ", whose columns take turns: the same maps read both" : "");
    return true;
}

/* --- The pass ------------------------------------------------------------------------------- */

/* The candidates among the readers of x that go with `first`, in the order of the graph. */
static void collect(struct family *f, struct node *first)
{
    f->n = 0;
    for (struct node *node = first; node; node = node->next) {
        if (node->n_in != 2 || node->in[0] != first->in[0] || f->n == MOST_BRANCHES ||
            !value_has_uses(node->out[0]) || !is_candidate(f->g, node) ||
            !same_attributes(f->g, first, node))
            continue;
        struct branch *branch = &f->at[f->n];
        *branch = (struct branch){node, NULL, node->out[0]};
        take_bias(branch);
        f->n++;
    }
}

/* Is v, as it is or behind views that move no rows, an output? */
static bool is_given_out(const struct value *v, int depth)
{
    bool out = v->is_output;
    for (const struct use *use = v->uses; use && depth > 0 && !out; use = use->next)
        if (use->node->op == OP_reshape || use->node->op == OP_transpose)
            out = is_given_out(use->node->out[0], depth - 1);
    return out;
}

/* Could all operands of a concat be written where they lie in it (place_concats.c)? What stands
 * here is what can be said this early: kernels make all of them. */
static bool is_made_in_place(const struct node *node)
{
    if (node->op != OP_concat || node->n_in < 2)
        return false;
    for (int i = 0; i < node->n_in; i++)
        if (!node->in[i]->def || op_info[node->in[i]->def->op].class == OC_CONST ||
            node->in[i]->def->op == OP_slice)
            return false;
    return true;
}

/* Is v, as it is or behind views that move no rows, a part of such a concat? */
static bool goes_into_concat(const struct value *v, int depth)
{
    bool part = false;
    for (const struct use *use = v->uses; use && depth > 0 && !part; use = use->next) {
        bool view = use->node->op == OP_reshape || use->node->op == OP_transpose;
        part = view ? goes_into_concat(use->node->out[0], depth - 1) : is_made_in_place(use->node);
    }
    return part;
}

/* Products that would need another kernel behind their slices stay by themselves. */
static void leave_out(struct family *f)
{
    int kept = 0;
    for (int i = 0; i < f->n; i++) {
        struct branch *branch = &f->at[i];
        const char *why = NULL;
        if (is_given_out(branch->value, MOST_DEPTH))
            why = "it is an output, which it writes itself";
        else if (goes_into_concat(branch->value, MOST_DEPTH))
            why = "a concat takes it, where it writes it itself";
        else if (only_maps_read(branch->value, MOST_DEPTH))
            why = "maps follow, which are its epilogue";
        if (why)
            graph_remark(f->g, "merge_contractions", branch->node,
                         "kept apart from other products of the same operand: %s", why);
        else
            f->at[kept++] = *branch;
    }
    f->n = kept;
}

/* Nodes that compute with a product: maps and reshapes. */
struct followers {
    int n;
    const struct node *at[MOST_BEHIND];
};

static void follow(const struct value *v, struct followers *f)
{
    for (const struct use *use = v->uses; use; use = use->next) {
        const struct node *node = use->node;
        bool known = op_info[node->op].class != OC_SCALAR && node->op != OP_reshape;
        for (int i = 0; i < f->n && !known; i++)
            known = f->at[i] == node;
        if (known || f->n == MOST_BEHIND)
            continue;
        f->at[f->n++] = node;
        follow(node->out[0], f);
    }
}

static bool have_common_maps(const struct branch *a, const struct branch *b)
{
    struct followers of_a = {0}, of_b = {0};
    follow(a->value, &of_a);
    follow(b->value, &of_b);
    for (int i = 0; i < of_a.n; i++)
        for (int k = 0; k < of_b.n; k++)
            if (of_a.at[i] == of_b.at[k])
                return true;
    return false;
}

/* Leaves the first product and one whose columns can take turns with its own; false: there is none.
 */
static bool leave_pair(struct family *f)
{
    const struct branch *first = &f->at[0];
    const struct value *y = first->node->out[0];
    int64_t columns;
    if (first->node->op != OP_matmul || !dim_is_const(y->shape[1], &columns) ||
        columns < LEAST_PAIRS || columns % 2 != 0 || dtype_info[y->type].bits > 32 ||
        is_given_out(first->value, MOST_DEPTH) || !only_maps_read(first->value, MOST_DEPTH))
        return false;
    for (int i = 1; i < f->n; i++) {
        const struct branch *other = &f->at[i];
        if (other->node->out[0]->shape[1] != y->shape[1] ||
            is_given_out(other->value, MOST_DEPTH) || !only_maps_read(other->value, MOST_DEPTH) ||
            !value_same_shape(first->value, other->value) || !have_common_maps(first, other))
            continue;
        f->at[1] = *other;
        f->n = 2;
        f->order = WEIGHTS_IN_TURNS;
        return true;
    }
    return false;
}

static bool merge_with(struct graph *g, struct node *first)
{
    struct family f = {.g = g};
    if (!first->out[0]->uses || match_reader(first->in[0], &(int){0}))
        return false; /* dead, or x has no other reader */
    collect(&f, first);
    if (f.n < 2)
        return false;
    while (take_map(&f))
        ;
    if (leave_pair(&f))
        return merge(&f);
    leave_out(&f);
    return f.n >= 2 && f.at[0].node == first && merge(&f);
}

static bool merge_at(struct graph *g, struct node *node)
{
    return (node->op == OP_matmul || node->op == OP_conv) && is_candidate(g, node) &&
           merge_with(g, node);
}

bool pass_merge_contractions(struct graph *g)
{
    if (!pass_each_node(g, merge_at))
        return false;
    pass_fold_constants(g); /* joined scales, and other small ones */
    pass_remove_dead(g);
    return true;
}
