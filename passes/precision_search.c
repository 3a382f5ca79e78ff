/*
 * --precision=auto: the fastest precision of each layer with which the measured error at the
 * model's outputs stays within the budget.
 *
 * Level by level, fastest first: each layer's error is measured alone (in large models that of a
 * few neighbours together), layers are ordered by error per nanosecond saved, and as many of them
 * as the budget bears are taken, which is measured with all of them together. Inputs that nothing
 * was measured on will give other errors, so only a part of the budget is spent.
 */
#include "precision_rules.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    MOST_SINGLE_TRIALS = 12, /* layers that are tried one by one behind the last taken */
    FEWEST_GROUPS = 4,
    LEAST_NS = 1, /* what less would save is lost on casts */
    LEAST_NS_FP32X3 = 150
};

#define SHARE_OF_BUDGET (1 / 3.0) /* the rest is for inputs that nothing was measured on */
#define SHARE_OF_FP8    (1 / 6.0)
#define SHARE_OF_TF32   (1 / 2.0) /* many small errors, much the same with all inputs */
#define MOST_OPERATIONS 5e10      /* of the trials of a level, of one group each */

struct search {
    struct assignment *a;
    struct layers layers;
    struct measure *measure;
    int group;  /* layers of a model that are measured together */
    int *order; /* candidates of a stage, the best first */
    int n_order;
    double limits[PRECISION_COUNT]; /* what each level may spend */
};

static void set(struct search *s, int layer, enum precision_level level)
{
    s->layers.at[layer].level = level;
    precision_set_layer(s->a, layer, level);
}

/* ---- One level ----------------------------------------------------------------------------- */

static bool gains_split(const struct layer *layer)
{ /* no bytes are saved, and small products gain nothing */
    return layer->contracts && layer->saved[PRECISION_FP32X3] >= LEAST_NS_FP32X3;
}

/* Where tf32 was asked for, it is what products are to have whatever it saves. */
static bool may_gain(const struct search *s, const struct layer *layer, enum precision_level level)
{
    bool upgrades = level == PRECISION_FP8 && layer->base == PRECISION_FP16;
    if (layer->base != PRECISION_MODEL && !upgrades)
        return false;
    if (s->a->wanted->wanted == PRECISION_TF32)
        return layer->contracts;
    if (layer->saved[level] < LEAST_NS)
        return false;
    if (level == PRECISION_FP8)
        return layer->eight;
    if (level == PRECISION_FP32X3)
        return gains_split(layer);
    if (level == PRECISION_TF32)
        return layer->contracts;
    if (level == PRECISION_BF16) /* as fast as fp16, and worse but where fp16's range is left */
        return layer->computes && !isfinite(layer->error[PRECISION_FP16]);
    return layer->computes;
}

/* What a level saves, against what the layer would have without it. */
static double gain(const struct search *s, const struct layer *layer, enum precision_level level)
{
    bool split = s->a->wanted->candidates >> PRECISION_FP32X3 & 1;
    double instead = layer->base != PRECISION_MODEL ? layer->saved[layer->base]
                     : level == PRECISION_TF32 && split && gains_split(layer)
                         ? layer->saved[PRECISION_FP32X3]
                         : 0;
    return fmax(layer->saved[level] - instead, LEAST_NS);
}

/* Gives layers from `first` on the level, as many as a group may have; where the next one begins.
 */
static int set_group(struct search *s, int first, enum precision_level level)
{
    int i = first, n = 0;
    for (; i < s->layers.n && n < s->group; i++)
        if (may_gain(s, &s->layers.at[i], level)) {
            precision_set_layer(s->a, i, level);
            n++;
        }
    return i;
}

/* What was measured of the layers from `first` to `end`; they have the model's type again. */
static void note_group(struct search *s, int first, int end, enum precision_level level,
                       double error)
{
    double gained = 0;
    int together = 0;
    for (int i = first; i < end; i++)
        if (may_gain(s, &s->layers.at[i], level)) {
            gained += gain(s, &s->layers.at[i], level);
            together++;
        }
    for (int i = first; i < end; i++) {
        struct layer *layer = &s->layers.at[i];
        if (!may_gain(s, layer, level))
            continue;
        layer->error[level] = error;
        layer->price[level] = error / gained;
        layer->together = together;
        precision_set_layer(s->a, i, PRECISION_MODEL);
    }
}

/* Errors of groups of layers, all others as the model has them. */
static bool measure_alone(struct search *s, enum precision_level level)
{
    struct choice *kept = ARENA_ARRAY(s->a->g->arena, (size_t)s->a->n + 1, struct choice);
    memcpy(kept, s->a->choices, (size_t)s->a->n * sizeof *kept);
    for (int i = 0; i < s->layers.n; i++)
        precision_set_layer(s->a, i, PRECISION_MODEL);
    bool good = true;
    for (int i = 0, end; i < s->layers.n && good; i = end) {
        double error;
        end = set_group(s, i, level);
        good = measure_error(s->measure, 1, INFINITY, &error);
        note_group(s, i, end, level, error);
    }
    memcpy(s->a->choices, kept, (size_t)s->a->n * sizeof *kept);
    return good;
}

/* Puts the layers that may have this level into s->order, the cheapest error first. */
static void order_layers(struct search *s, enum precision_level level, double limit)
{
    s->n_order = 0;
    for (int i = 0; i < s->layers.n; i++) {
        const struct layer *layer = &s->layers.at[i];
        if (!may_gain(s, layer, level) || !(layer->error[level] <= limit))
            continue;
        int at = s->n_order++;
        while (at > 0 && s->layers.at[s->order[at - 1]].price[level] > layer->price[level]) {
            s->order[at] = s->order[at - 1];
            at--;
        }
        s->order[at] = i;
    }
}

/* The first `n` layers of the order have the level, the others the model's. */
static bool error_of_first(struct search *s, enum precision_level level, int n, double limit,
                           double *error)
{
    for (int i = 0; i < s->n_order; i++)
        set(s, s->order[i], i < n ? level : s->layers.at[s->order[i]].base);
    return measure_error(s->measure, s->a->wanted->n_runs, limit, error);
}

/* Behind the first n: one layer after the other, where the budget bears it. */
static bool add_singly(struct search *s, enum precision_level level, int n, double limit)
{
    for (int i = n; i < s->n_order && i < n + MOST_SINGLE_TRIALS / s->group; i++) {
        double error;
        set(s, s->order[i], level);
        if (!measure_error(s->measure, s->a->wanted->n_runs, limit, &error))
            return false;
        if (!(error <= limit))
            set(s, s->order[i], s->layers.at[s->order[i]].base);
    }
    return true;
}

/* Often the budget bears all layers: then none need be measured alone. */
static bool take_all(struct search *s, enum precision_level level, double limit, bool *taken)
{
    double error;
    s->n_order = 0;
    for (int i = 0; i < s->layers.n; i++)
        if (may_gain(s, &s->layers.at[i], level))
            s->order[s->n_order++] = i;
    *taken = true;
    if (s->n_order == 0)
        return true;
    if (!error_of_first(s, level, s->n_order, limit, &error))
        return false;
    *taken = error <= limit;
    for (int i = 0; i < s->n_order && !*taken; i++)
        set(s, s->order[i], s->layers.at[s->order[i]].base);
    return true;
}

static bool take_level(struct search *s, enum precision_level level, double limit)
{
    double error;
    bool taken;
    for (int i = 0; i < s->layers.n; i++)
        s->layers.at[i].base = s->layers.at[i].level;
    s->limits[level] = limit;
    if (!(s->a->wanted->candidates >> level & 1))
        return true;
    if (!take_all(s, level, limit, &taken) || taken)
        return !s->a->g->diag->errors;
    if (!measure_alone(s, level))
        return false;
    order_layers(s, level, limit);
    int good = 0, bad = s->n_order + 1; /* so many can, cannot be taken */
    for (int n = s->n_order; n > good; n = (good + bad) / 2) {
        if (!error_of_first(s, level, n, limit, &error))
            return false;
        if (error <= limit)
            good = n;
        else
            bad = n;
    }
    return error_of_first(s, level, good, limit, &error) && add_singly(s, level, good, limit);
}

/* ---- Products of halves --------------------------------------------------------------------- */

static void set_halves(struct search *s, int layer, bool halves)
{
    s->layers.at[layer].halves = halves;
    if (halves)
        precision_set_halves(s->a, layer);
    else
        precision_set_layer(s->a, layer, s->layers.at[layer].level);
}

/* Operands in fp16 with a result in f32 lose what tf32 loses (both have 11 bits) where the numbers
 * are in fp16's range, and are half the bytes: in the place of tf32, within what it may spend. */
static bool take_halves(struct search *s, double limit)
{
    double error;
    if (s->a->wanted->wanted != PRECISION_AUTO || !(s->a->wanted->candidates >> PRECISION_FP16 & 1))
        return true;
    s->n_order = 0;
    for (int i = 0; i < s->layers.n; i++)
        if (s->layers.at[i].level == PRECISION_TF32 && !s->layers.at[i].repeats) {
            s->order[s->n_order++] = i;
            set_halves(s, i, true);
        }
    if (s->n_order == 0)
        return true;
    if (!measure_error(s->measure, s->a->wanted->n_runs, limit, &error) || error <= limit)
        return !s->a->g->diag->errors;
    for (int i = 0; i < s->n_order; i++)
        set_halves(s, s->order[i], false);
    for (int i = 0; i < s->n_order && i < MOST_SINGLE_TRIALS / s->group; i++) {
        set_halves(s, s->order[i], true);
        if (!measure_error(s->measure, s->a->wanted->n_runs, limit, &error))
            return false;
        if (!(error <= limit))
            set_halves(s, s->order[i], false);
    }
    return true;
}

/* ---- What turns out to save nothing -------------------------------------------------------- */

static bool narrows(enum precision_level level)
{
    return level == PRECISION_FP16 || level == PRECISION_BF16 || level == PRECISION_FP8;
}

/* Gives back what saves nothing as things are, until nothing does. */
static void give_back_each(struct search *s)
{
    for (bool again = true; again;) {
        again = false;
        precision_find_natural(s->a);
        precision_plan(s->a);
        const double *saved = precision_settled(s->a, &s->layers);
        for (int i = 0; i < s->layers.n; i++) {
            struct layer *layer = &s->layers.at[i];
            if (!narrows(layer->level) || saved[i] >= LEAST_NS)
                continue;
            layer->tried = layer->level;
            layer->given_back = again = true;
            set(s, i, PRECISION_MODEL);
        }
    }
}

/* A layer among others that keep the model's type reads their wide values whatever it has itself,
 * and may save less than was hoped: nothing, in the end. Then it goes back, and so do those for
 * which it was the neighbour, unless errors cancelled each other. */
static bool give_back(struct search *s, double limit)
{
    double error;
    if (s->a->wanted->wanted != PRECISION_AUTO)
        return true;
    give_back_each(s);
    if (!measure_error(s->measure, s->a->wanted->n_runs, limit, &error))
        return false;
    for (int i = 0; i < s->layers.n && !(error <= limit); i++)
        if (s->layers.at[i].given_back) {
            s->layers.at[i].given_back = false;
            set(s, i, s->layers.at[i].tried);
        }
    return true;
}

/* ---- The whole ----------------------------------------------------------------------------- */

static const char *how_measured(const struct search *s, const struct layer *layer)
{
    return layer->together > 1
               ? arena_printf(s->a->g->arena, "with %d neighbours it", layer->together - 1)
               : "alone it";
}

/* Why a product is not in fp8, which was asked for. */
static const char *why_not_eight(const struct search *s, const struct layer *layer)
{
    struct arena *arena = s->a->g->arena;
    double error = layer->error[PRECISION_FP8];
    if (s->a->wanted->wanted != PRECISION_FP8 || layer->level == PRECISION_FP8 || !layer->contracts)
        return "";
    if (!layer->eight)
        return arena_printf(arena, "; not in fp8: %s",
                            layer->why_not_eight ? layer->why_not_eight : "fp8 is for products");
    if (isnan(error))
        return "; not in fp8: nothing would be gained";
    return arena_printf(arena, "; not in fp8: %s moves the outputs by %.2g, of %.2g kept for fp8%s",
                        how_measured(s, layer), error, s->limits[PRECISION_FP8],
                        error <= s->limits[PRECISION_FP8]
                            ? ", and with others that gain more, or on other inputs, by more"
                            : "");
}

/* Why a layer is not what costs least of what was tried on it. */
static const char *why_not(const struct search *s, const struct layer *layer,
                           enum precision_level level)
{
    double limit = s->limits[level], error = layer->error[level];
    return error <= limit
               ? "and the budget goes to layers that gain more for it"
               : arena_printf(s->a->g->arena, "more than the %.2g that may be spent", limit);
}

/* The level that moves the outputs least, of those that were measured; or the model's. */
static enum precision_level best_level(const struct layer *layer)
{
    enum precision_level best = PRECISION_MODEL;
    for (enum precision_level i = PRECISION_MODEL; i < PRECISION_AUTO; i++)
        if (layer->error[i] < (best == PRECISION_MODEL ? INFINITY : layer->error[best]))
            best = i;
    return best;
}

/* What stays for a reason of its own says so itself. */
static bool has_reason(const struct search *s, const struct layer *layer)
{
    const struct choice *choice = choice_of(s->a, layer->core);
    return choice && choice->natural;
}

static void remark_layer(const struct search *s, const struct layer *layer)
{
    struct graph *g = s->a->g;
    const char *what = s->a->wanted->relative ? "relative" : "absolute";
    const char *op = op_info[layer->core->op].name, *level = precision_names[layer->level];
    const char *alone = how_measured(s, layer), *eight = why_not_eight(s, layer);
    const char *kept = precision_kept_type(s->a);
    enum precision_level best = best_level(layer);
    double own = layer->error[layer->level];
    if (layer->given_back)
        graph_remark(g, "set_precision", layer->core,
                     "%s keeps %s: among layers that do, nothing would be gained", op, kept);
    else if (layer->halves)
        graph_remark(g, "set_precision", layer->core,
                     "%s of fp16 operands, with a result in f32: 11 bits as tf32 has, and half the "
                     "bytes",
                     op);
    else if (layer->level == PRECISION_FP32X3 && layer->error[PRECISION_TF32] < INFINITY)
        graph_remark(g, "set_precision", layer->core,
                     "%s in fp32x3, three products of tf32: with one %s moves the outputs by %.2g "
                     "(%s), %s",
                     op, alone, layer->error[PRECISION_TF32], what,
                     why_not(s, layer, PRECISION_TF32));
    else if (layer->level != PRECISION_MODEL && isnan(own))
        graph_remark(g, "set_precision", layer->core, "%s in %s: the budget bears all layers%s", op,
                     level, eight);
    else if (layer->level != PRECISION_MODEL)
        graph_remark(g, "set_precision", layer->core,
                     "%s in %s: %s moves the outputs by %.2g (%s)%s", op, level, alone, own, what,
                     eight);
    else if (best != PRECISION_MODEL)
        graph_remark(g, "set_precision", layer->core,
                     "%s keeps %s: in %s %s moves the outputs by %.2g (%s), %s", op, kept,
                     precision_names[best], alone, layer->error[best], what,
                     why_not(s, layer, best));
    else if (layer->computes)
        graph_remark(g, "set_precision", layer->core,
                     "%s keeps %s: nothing would be gained, or its numbers would not fit%s", op,
                     kept, eight);
}

/* Where fp8 is asked for, all is in fp16 first, which costs next to nothing beside fp8: what is
 * left of the same share of the budget is fp8's. */
static bool take_fp8(struct search *s, double limit)
{
    return take_level(s, PRECISION_FP16, limit) && take_level(s, PRECISION_FP8, limit);
}

static bool search_levels(struct search *s)
{
    double budget = s->a->wanted->max_error, error;
    bool tf32 = s->a->wanted->wanted == PRECISION_TF32;
    if (!measure_error(s->measure, s->a->wanted->n_runs, budget, &error))
        return false;
    if (!(error <= budget)) {
        diag_error(
            s->a->g->diag, STATUS_TOLERANCE, NULL,
            "--max-error cannot be met: what --keep asks for alone moves the outputs by %.3g",
            error);
        return false;
    }
    if (s->a->wanted->wanted == PRECISION_FP8)
        return take_fp8(s, budget * SHARE_OF_BUDGET);
    return take_level(s, PRECISION_FP8, budget * SHARE_OF_FP8) &&
           take_level(s, PRECISION_FP16, budget * SHARE_OF_BUDGET) &&
           take_level(s, PRECISION_BF16, budget * SHARE_OF_BUDGET) &&
           give_back(s, budget * SHARE_OF_BUDGET) &&
           take_level(s, PRECISION_TF32, budget * (tf32 ? SHARE_OF_TF32 : SHARE_OF_BUDGET)) &&
           take_halves(s, budget * SHARE_OF_BUDGET) && take_level(s, PRECISION_FP32X3, budget);
}

/* Layers of a group: as many groups as there is work for; on average half the model runs again. */
static int layers_of_group(const struct search *s)
{
    double trials = 2 * MOST_OPERATIONS / fmax(s->layers.operations, 1);
    double groups = fmin(fmax(trials, FEWEST_GROUPS), s->layers.n + 1);
    return (int)ceil(s->layers.n / groups) + (s->layers.n == 0);
}

bool precision_search(struct assignment *a, struct measure *measure)
{
    struct search s = {.a = a, .measure = measure};
    for (uint32_t i = 0; i < a->n; i++)
        if (!a->choices[i].explicit)
            a->choices[i].precision = PRECISION_MODEL;
    s.layers = precision_layers(a);
    s.group = layers_of_group(&s);
    s.order = ARENA_ARRAY(a->g->arena, (size_t)s.layers.n + 1, int);
    if (!search_levels(&s))
        return false;
    precision_find_natural(a);
    for (int i = 0; i < s.layers.n; i++)
        if (!has_reason(&s, &s.layers.at[i]))
            remark_layer(&s, &s.layers.at[i]);
    return true;
}
