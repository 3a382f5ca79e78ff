/*
 * Layers: what `auto` decides about together is a core (a contraction, a reduction, a window, …, or
 * a whole loop) with the scalar ops and views behind it, about what becomes a kernel.
 * What a level saves is estimated from the bytes that go in and out and the rates of contractions.
 */
#include "precision_rules.h"

#include <math.h>
#include <string.h>

enum { GUESSED_EXTENT = 16 }; /* of a free dim */

struct layering {
    struct assignment *a;
    int *of_value; /* layer by value id, -1: none */
    struct layer *at;
    int n, cap;
};

static bool is_decided(const struct assignment *a, const struct node *node)
{
    const struct choice *choice = choice_of(a, node);
    return choice && !choice->explicit && node_float_type(a, node) != DT_NONE &&
           !facts_of(a, node->out[0])->constant;
}

static int new_layer(struct layering *l, struct node *core)
{
    if (l->n == l->cap) {
        struct layer *more = ARENA_ARRAY(l->a->g->arena, (size_t)(2 * l->cap + 16), struct layer);
        if (l->n)
            memcpy(more, l->at, (size_t)l->n * sizeof *more);
        l->at = more;
        l->cap = 2 * l->cap + 16;
    }
    l->at[l->n] = (struct layer){.core = core, .level = PRECISION_MODEL};
    for (int i = 0; i < PRECISION_COUNT; i++)
        l->at[l->n].error[i] = NAN;
    return l->n++;
}

/* All nodes of bodies go with the node that has them. */
static void join_bodies(struct layering *l, const struct node *node, int layer)
{
    for (int k = 0; k < 2 && node->body[k]; k++)
        for (struct node *inner = node->body[k]->first; inner; inner = inner->next) {
            if (is_decided(l->a, inner))
                choice_of(l->a, inner)->layer = layer;
            l->at[layer].contracts |= multiplies(inner);
            join_bodies(l, inner, layer);
        }
}

static bool rides_along(const struct node *node)
{
    enum op_class class = op_info[node->op].class;
    return class == OC_SCALAR || class == OC_VIEW || class == OC_GATHER;
}

static void layer_node(struct layering *l, struct node *node);

/* Bodies of a branch have layers of their own; nothing repeats in them. */
static void layer_bodies(struct layering *l, const struct node *node)
{
    for (int k = 0; k < 2 && node->body[k]; k++) {
        for (int i = 0; i < node->n_in; i++)
            l->of_value[node->body[k]->inputs[i]->id] = l->of_value[node->in[i]->id];
        for (struct node *inner = node->body[k]->first; inner; inner = inner->next)
            layer_node(l, inner);
    }
}

static void layer_node(struct layering *l, struct node *node)
{
    if (node->op == OP_branch) {
        layer_bodies(l, node);
        return;
    }
    struct assignment *a = l->a;
    int layer = -1;
    for (int i = 0; i < node->n_in && rides_along(node); i++) {
        int of = l->of_value[node->in[i]->id];
        layer = of > layer ? of : layer;
    }
    if (node->body[0] || (layer < 0 && is_decided(a, node)))
        layer = new_layer(l, node);
    if (node->body[0]) {
        join_bodies(l, node, layer);
        l->at[layer].repeats = true;
    } else if (is_decided(a, node))
        choice_of(a, node)->layer = layer;
    else
        layer = -1;
    if (layer >= 0)
        l->at[layer].computes |= node->body[0] || !moves_elements(node);
    if (layer >= 0 && multiplies(node)) {
        l->at[layer].contracts = true;
        l->at[layer].eight |= choice_of(a, node)->eight;
        l->at[layer].why_not_eight = choice_of(a, node)->why_not_eight;
    }
    for (int i = 0; i < node->n_out; i++)
        l->of_value[node->out[i]->id] = layer;
}

/* ---- What a level saves -------------------------------------------------------------------- */

static double elements_of_axes(const struct value *v, int first, int end)
{
    double n = 1;
    for (int i = first; i < end; i++) {
        int64_t extent;
        n *= dim_is_const(v->shape[i], &extent) ? (double)extent : GUESSED_EXTENT;
    }
    return n;
}

static double elements_of(const struct value *v)
{
    return elements_of_axes(v, 0, v->rank);
}

/* Multiplications and additions. */
static double operations_of(const struct node *node)
{
    const struct value *x = node->in[0], *w = node->in[node->n_in > 1];
    int64_t k;
    double result = elements_of(node->out[0]);
    if (node->op == OP_attention) /* queries by keys, and what comes of it by values */
        return 4 * elements_of(x) * elements_of_axes(w, 2, 3);
    if (node->op == OP_matmul)
        return 2 * result * (dim_is_const(x->shape[x->rank - 1], &k) ? (double)k : GUESSED_EXTENT);
    if (w->rank < 2)
        return 0;
    double taps = elements_of(w);
    int64_t filters = dim_is_const(w->shape[0], &k) && k > 0 ? k : 1;
    return 2 * taps / (double)filters * (node->op == OP_conv_transpose ? elements_of(x) : result);
}

static double width_at(const struct node *node, enum precision_level level, const struct value *v)
{
    if (!precision_is_float(v->type))
        return (double)dtype_size(v->type);
    if (level == PRECISION_FP8 && is_contraction(node) && v == node->in[1])
        return 1;
    return (double)dtype_size(precision_type(level, v->type));
}

/* Nanoseconds of a layer's node at a level: of bytes, and of contractions. */
static void add_time(const struct layering *l, const struct node *node, enum precision_level level,
                     double *bytes, double *operations)
{
    const struct precision_rates *rates = &l->a->wanted->rates;
    int layer = node->body[0] ? -1 : choice_of(l->a, node)->layer;
    for (int i = 0; i < node->n_in; i++)
        if (l->of_value[node->in[i]->id] != layer)
            *bytes += elements_of(node->in[i]) * width_at(node, level, node->in[i]) / rates->bytes;
    for (int i = 0; i < node->n_out; i++) {
        bool leaves = node->out[i]->is_output;
        for (const struct use *use = node->out[i]->uses; use && !leaves; use = use->next)
            leaves = use->node->n_out && l->of_value[use->node->out[0]->id] != layer;
        if (leaves)
            *bytes +=
                elements_of(node->out[i]) * width_at(node, level, node->out[i]) / rates->bytes;
    }
    if (level == PRECISION_MODEL) /* contractions of 16-bit models */
        level = node->in[0]->type == DT_F32 ? PRECISION_FP32 : PRECISION_FP16;
    if (multiplies(node) && rates->operations[level] > 0)
        *operations += operations_of(node) / rates->operations[level];
}

static void add_graph_time(const struct layering *l, const struct graph *g,
                           enum precision_level level, double *bytes, double *operations)
{
    for (const struct node *node = g->first; node; node = node->next) {
        const struct choice *choice = choice_of(l->a, node);
        if (choice && choice->layer >= 0)
            add_time(l, node, level, &bytes[choice->layer], &operations[choice->layer]);
        for (int i = 0; i < 2; i++)
            if (node->body[i])
                add_graph_time(l, node->body[i], level, bytes, operations);
    }
}

static void estimate_savings(const struct layering *l)
{
    struct arena *arena = l->a->g->arena;
    double *before = ARENA_ARRAY(arena, (size_t)l->n + 1, double);
    double *products = ARENA_ARRAY(arena, (size_t)l->n + 1, double);
    for (enum precision_level level = PRECISION_MODEL; level < PRECISION_AUTO; level++) {
        double *bytes = ARENA_ARRAY(arena, (size_t)l->n + 1, double);
        double *operations = ARENA_ARRAY(arena, (size_t)l->n + 1, double);
        add_graph_time(l, l->a->g, level, bytes, operations);
        for (int i = 0; i < l->n; i++) {
            double time = fmax(bytes[i], operations[i]);
            if (level == PRECISION_MODEL)
                before[i] = time;
            l->at[i].saved[level] = before[i] - time;
            if (level == PRECISION_MODEL)
                products[i] = operations[i];
            l->at[i].faster[level] = products[i] - operations[i];
        }
    }
}

/* ---- What the chosen level saves, given those of all others -------------------------------- */

static double narrowed(const struct assignment *a, const struct value *v, enum dtype type)
{
    if (!precision_is_float(v->type))
        return 0;
    double before = (double)dtype_size(facts_of(a, v)->original);
    return elements_of(v) * (before - (double)dtype_size(type));
}

/* What lies in memory, where v is a view of it. */
static const struct value *behind_views(const struct value *v)
{
    while (v->def && op_info[v->def->op].class == OC_VIEW && v->def->n_in == 1)
        v = v->def->in[0];
    return v;
}

/* The type in which a reader of v gets it: bodies may have a type of their own for what they take.
 */
static enum dtype arrives_as(const struct assignment *a, const struct value *v,
                             const struct use *use)
{
    const struct graph *body = use->node->body[0];
    return facts_of(a, body ? body->inputs[use->operand] : v)->planned;
}

/* Of a constant as the node reads it, and of what other layers read. What comes from other layers
 * has their type whatever this one has. */
static double bytes_narrowed(const struct assignment *a, const struct node *node)
{
    const struct choice *choice = choice_of(a, node);
    double bytes = 0;
    for (int i = 0; i < node->n_in; i++)
        if (facts_of(a, node->in[i])->constant)
            bytes += narrowed(a, behind_views(node->in[i]), choice->type);
    for (int i = 0; i < node->n_out; i++) {
        const struct value *v = node->out[i];
        double read = 0;
        for (const struct use *use = v->uses; use; use = use->next) {
            const struct choice *reader = choice_of(a, use->node);
            if (!reader || reader->layer != choice->layer)
                read += narrowed(a, v, arrives_as(a, v, use));
        }
        bytes += read + (read > 0 ? narrowed(a, v, facts_of(a, v)->planned) : 0);
    }
    return bytes;
}

static void add_narrowed(const struct assignment *a, const struct graph *g, double *bytes)
{
    for (const struct node *node = g->first; node; node = node->next) {
        const struct choice *choice = choice_of(a, node);
        if (choice && choice->layer >= 0)
            bytes[choice->layer] += bytes_narrowed(a, node);
        for (int i = 0; i < 2; i++)
            if (node->body[i])
                add_narrowed(a, node->body[i], bytes);
    }
}

const double *precision_settled(const struct assignment *a, const struct layers *layers)
{
    double *saved = ARENA_ARRAY(a->g->arena, (size_t)layers->n + 1, double);
    add_narrowed(a, a->g, saved);
    for (int i = 0; i < layers->n; i++) {
        const struct layer *layer = &layers->at[i];
        saved[i] = layer->repeats ? INFINITY /* how often is not known */
                                  : saved[i] / a->wanted->rates.bytes + layer->faster[layer->level];
    }
    return saved;
}

double precision_operations(const struct graph *g)
{
    double n = 0;
    for (const struct node *node = g->first; node; node = node->next) {
        n += multiplies(node) ? operations_of(node) : 0;
        for (int i = 0; i < 2; i++)
            n += node->body[i] ? precision_operations(node->body[i]) : 0;
    }
    return n;
}

struct layers precision_layers(struct assignment *a)
{
    struct layering l = {.a = a, .of_value = ARENA_ARRAY(a->g->arena, (size_t)a->n + 1, int)};
    for (uint32_t i = 0; i <= a->n; i++)
        l.of_value[i] = -1;
    for (struct node *node = a->g->first; node; node = node->next)
        layer_node(&l, node);
    estimate_savings(&l);
    return (struct layers){l.n, l.at, precision_operations(a->g)};
}

void precision_set_layer(struct assignment *a, int layer, enum precision_level level)
{
    for (uint32_t i = 0; i < a->n; i++)
        if (a->choices[i].layer == layer)
            a->choices[i].precision = level;
}

static void set_halves(struct assignment *a, const struct graph *g, int layer)
{
    for (const struct node *node = g->first; node; node = node->next) {
        const struct choice *choice = choice_of(a, node);
        enum precision_level level = is_contraction(node) ? PRECISION_FP16
                                     : multiplies(node)   ? PRECISION_TF32
                                                          : PRECISION_MODEL;
        for (int i = 0; choice && choice->layer == layer && i < node->n_out; i++)
            a->choices[node->out[i]->id].precision = level;
        for (int i = 0; i < 2; i++)
            if (node->body[i])
                set_halves(a, node->body[i], layer);
    }
}

void precision_set_halves(struct assignment *a, int layer)
{
    set_halves(a, a->g, layer);
}
