/*
 * --precision=auto: the fastest precision of each layer with which the measured error at the
 * model's outputs stays within the budget.
 *
 * Level by level, fastest first: each layer's error is measured alone, layers are ordered by error
 * per nanosecond saved, and as many of them as the budget bears are taken, which is measured with
 * all of them together. Inputs that nothing was measured on will give other errors, so only a part
 * of the budget is spent.
 */
#include "precision_rules.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    MOST_SINGLE_TRIALS = 12, /* layers that are tried one by one behind the last taken */
    LEAST_NS = 1,            /* what less would save is lost on casts */
    LEAST_NS_FP32X3 = 1000
};

#define SHARE_OF_BUDGET (1 / 3.0) /* the rest is for inputs that nothing was measured on */
#define SHARE_OF_FP8    (1 / 6.0)

struct search {
    struct assignment *a;
    struct layers layers;
    struct measure *measure;
    int *order; /* candidates of a stage, the best first */
    int n_order;
};

static void set(struct search *s, int layer, enum precision_level level)
{
    s->layers.at[layer].level = level;
    precision_set_layer(s->a, layer, level);
}

/* ---- One level ----------------------------------------------------------------------------- */

static bool may_gain(const struct layer *layer, enum precision_level level)
{
    if (layer->level != PRECISION_MODEL || layer->saved[level] < LEAST_NS)
        return false;
    if (level == PRECISION_FP8)
        return layer->eight;
    if (level == PRECISION_FP32X3) /* no bytes are saved, and small products gain nothing */
        return layer->contracts && layer->saved[level] >= LEAST_NS_FP32X3;
    if (level == PRECISION_TF32)
        return layer->contracts;
    if (level == PRECISION_BF16) /* as fast as fp16, and worse but where fp16's range is left */
        return layer->computes && !isfinite(layer->error[PRECISION_FP16]);
    return layer->computes;
}

/* Errors of layers alone, all others as the model has them. */
static bool measure_alone(struct search *s, enum precision_level level)
{
    struct choice *kept = ARENA_ARRAY(s->a->g->arena, (size_t)s->a->n + 1, struct choice);
    memcpy(kept, s->a->choices, (size_t)s->a->n * sizeof *kept);
    for (int i = 0; i < s->layers.n; i++)
        precision_set_layer(s->a, i, PRECISION_MODEL);
    bool good = true;
    for (int i = 0; i < s->layers.n && good; i++) {
        struct layer *layer = &s->layers.at[i];
        if (!may_gain(layer, level))
            continue;
        precision_set_layer(s->a, i, level);
        good = measure_error(s->measure, 1, &layer->error[level]);
        precision_set_layer(s->a, i, PRECISION_MODEL);
    }
    memcpy(s->a->choices, kept, (size_t)s->a->n * sizeof *kept);
    return good;
}

static double price(const struct layer *layer, enum precision_level level)
{
    return layer->error[level] / layer->saved[level];
}

/* Puts the layers that may have this level into s->order, the cheapest error first. */
static void order_layers(struct search *s, enum precision_level level, double limit)
{
    s->n_order = 0;
    for (int i = 0; i < s->layers.n; i++) {
        const struct layer *layer = &s->layers.at[i];
        if (!may_gain(layer, level) || !(layer->error[level] <= limit))
            continue;
        int at = s->n_order++;
        for (; at > 0 && price(&s->layers.at[s->order[at - 1]], level) > price(layer, level); at--)
            s->order[at] = s->order[at - 1];
        s->order[at] = i;
    }
}

/* The first `n` layers of the order have the level, the others the model's. */
static bool error_of_first(struct search *s, enum precision_level level, int n, double *error)
{
    for (int i = 0; i < s->n_order; i++)
        set(s, s->order[i], i < n ? level : PRECISION_MODEL);
    return measure_error(s->measure, s->a->wanted->n_runs, error);
}

/* Behind the first n: one layer after the other, where the budget bears it. */
static bool add_singly(struct search *s, enum precision_level level, int n, double limit)
{
    for (int i = n; i < s->n_order && i < n + MOST_SINGLE_TRIALS; i++) {
        double error;
        set(s, s->order[i], level);
        if (!measure_error(s->measure, s->a->wanted->n_runs, &error))
            return false;
        if (!(error <= limit))
            set(s, s->order[i], PRECISION_MODEL);
    }
    return true;
}

/* Often the budget bears all layers: then none need be measured alone. */
static bool take_all(struct search *s, enum precision_level level, double limit, bool *taken)
{
    double error;
    s->n_order = 0;
    for (int i = 0; i < s->layers.n; i++)
        if (may_gain(&s->layers.at[i], level))
            s->order[s->n_order++] = i;
    *taken = true;
    if (s->n_order == 0)
        return true;
    if (!error_of_first(s, level, s->n_order, &error))
        return false;
    *taken = error <= limit;
    for (int i = 0; i < s->n_order && !*taken; i++)
        set(s, s->order[i], PRECISION_MODEL);
    return true;
}

static bool take_level(struct search *s, enum precision_level level, double limit)
{
    double error;
    bool taken;
    if (!(s->a->wanted->candidates >> level & 1))
        return true;
    if (!take_all(s, level, limit, &taken) || taken)
        return !s->a->g->diag->errors;
    if (!measure_alone(s, level))
        return false;
    order_layers(s, level, limit);
    int good = 0, bad = s->n_order + 1; /* so many can, cannot be taken */
    for (int n = s->n_order; n > good; n = (good + bad) / 2) {
        if (!error_of_first(s, level, n, &error))
            return false;
        if (error <= limit)
            good = n;
        else
            bad = n;
    }
    return error_of_first(s, level, good, &error) && add_singly(s, level, good, limit);
}

/* ---- The whole ----------------------------------------------------------------------------- */

static void remark_layer(const struct search *s, const struct layer *layer)
{
    struct graph *g = s->a->g;
    const char *what = s->a->wanted->relative ? "relative" : "absolute";
    const char *op = op_info[layer->core->op].name, *level = precision_names[layer->level];
    double best = INFINITY, own = layer->error[layer->level];
    for (int i = 0; i < PRECISION_COUNT; i++)
        best = layer->error[i] < best ? layer->error[i] : best;
    if (layer->level != PRECISION_MODEL && isnan(own))
        graph_remark(g, "set_precision", layer->core, "%s in %s: the budget bears all layers", op,
                     level);
    else if (layer->level != PRECISION_MODEL)
        graph_remark(g, "set_precision", layer->core,
                     "%s in %s: alone it moves the outputs by %.2g (%s)", op, level, own, what);
    else if (best < INFINITY)
        graph_remark(
            g, "set_precision", layer->core,
            "%s keeps the model's type: lowered alone it moves the outputs by %.2g (%s) at "
            "least, and the budget goes to layers that gain more for it",
            op, best, what);
    else if (layer->computes)
        graph_remark(g, "set_precision", layer->core,
                     "%s keeps the model's type: nothing would be gained, or its numbers would not "
                     "fit",
                     op);
}

static bool search_levels(struct search *s)
{
    double budget = s->a->wanted->max_error, error;
    if (!measure_error(s->measure, s->a->wanted->n_runs, &error))
        return false;
    if (!(error <= budget)) {
        diag_error(
            s->a->g->diag, STATUS_TOLERANCE, NULL,
            "--max-error cannot be met: what --keep asks for alone moves the outputs by %.3g",
            error);
        return false;
    }
    return take_level(s, PRECISION_FP8, budget * SHARE_OF_FP8) &&
           take_level(s, PRECISION_FP16, budget * SHARE_OF_BUDGET) &&
           take_level(s, PRECISION_BF16, budget * SHARE_OF_BUDGET) &&
           take_level(s, PRECISION_TF32, budget * SHARE_OF_BUDGET) &&
           take_level(s, PRECISION_FP32X3, budget * SHARE_OF_BUDGET);
}

bool precision_search(struct assignment *a, struct measure *measure)
{
    struct search s = {.a = a, .measure = measure};
    for (uint32_t i = 0; i < a->n; i++)
        if (!a->choices[i].explicit)
            a->choices[i].precision = PRECISION_MODEL;
    s.layers = precision_layers(a);
    s.order = ARENA_ARRAY(a->g->arena, (size_t)s.layers.n + 1, int);
    if (!search_levels(&s))
        return false;
    for (int i = 0; i < s.layers.n; i++)
        remark_layer(&s, &s.layers.at[i]);
    return true;
}
