/* Trials: what a run with rounding changes is computed again, beside the values of the first run.
 */
#include "eval_run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct eval_session {
    struct eval e;
    struct frame frame;
    int64_t *symbols; /* as they were after the first run */
    int n_outputs;
    struct tensor *outputs; /* of the first run */
};

/* No value of the root is ever read for the last time. */
static void keep_values(struct eval *e)
{
    enum { MANY = 1 << 30 };
    const struct graph *g = e->g;
    for (int i = 0; i < g->n_inputs; i++)
        eval_slot(e, g->inputs[i])->uses = MANY;
    for (const struct node *n = g->first; n; n = n->next)
        for (int i = 0; i < n->n_out; i++)
            eval_slot(e, n->out[i])->uses = MANY;
}

/* The array's elements in a row; data is malloc'ed. */
static bool to_tensor(const struct array *a, struct tensor *t)
{
    struct array dense = *a;
    *t = (struct tensor){.type = a->type, .rank = a->rank};
    memcpy(t->shape, a->shape, sizeof t->shape);
    t->size = (size_t)array_elements(a) * dtype_size(a->type);
    t->data = dense.data = malloc(t->size ? t->size : 1);
    array_set_dense(&dense);
    if (t->data)
        array_copy(&dense, a);
    return t->data != NULL;
}

static bool copy_outputs(struct eval_session *s)
{
    const struct graph *g = s->e.g;
    s->n_outputs = g->n_outputs;
    s->outputs = calloc((size_t)g->n_outputs + 1, sizeof *s->outputs);
    bool ok = s->outputs != NULL;
    for (int i = 0; i < g->n_outputs && ok; i++)
        ok = dtype_is_list(g->outputs[i]->type) ||
             to_tensor(&eval_slot(&s->e, g->outputs[i])->a, &s->outputs[i]);
    return ok;
}

struct eval_session *eval_session_open(struct graph *g, const struct tensor *inputs)
{
    struct eval_session *s = calloc(1, sizeof *s);
    if (!s) {
        diag_error(g->diag, STATUS_LIMIT, NULL, "out of memory in the evaluator");
        return NULL;
    }
    bool ok = eval_open(&s->e, &s->frame, g);
    if (ok)
        keep_values(&s->e);
    ok = ok && eval_bind(&s->e, inputs);
    for (const struct node *n = g->first; n && ok; n = n->next)
        ok = eval_run_node(&s->e, n);
    size_t bytes = ((size_t)s->e.n_symbols + 1) * sizeof *s->symbols;
    s->symbols = ok ? malloc(bytes) : NULL;
    ok = s->symbols && copy_outputs(s);
    if (s->e.g && !g->diag->errors && !ok)
        eval_out_of_memory(&s->e, NULL);
    if (ok) {
        memcpy(s->symbols, s->e.symbols, bytes);
        return s;
    }
    eval_session_close(s);
    return NULL;
}

void eval_session_close(struct eval_session *s)
{
    if (!s)
        return;
    eval_close(&s->e, &s->frame);
    for (int i = 0; s->outputs && i < s->n_outputs; i++)
        free(s->outputs[i].data);
    free(s->outputs);
    free(s->symbols);
    free(s);
}

/* ---- Trials -------------------------------------------------------------------------------- */

static bool same_elements(const struct array *a, const struct array *b)
{
    if (a->type != b->type || a->rank != b->rank || dtype_is_list(a->type) || !array_is_dense(a) ||
        !array_is_dense(b))
        return false;
    for (int i = 0; i < a->rank; i++)
        if (a->shape[i] != b->shape[i])
            return false;
    return !memcmp(a->data, b->data, (size_t)array_elements(a) * dtype_size(a->type));
}

static bool must_run(struct eval *e, const struct node *node)
{
    for (int i = 0; i < node->n_in; i++)
        if (eval_slot(e, node->in[i])->trial.buffer)
            return true;
    return e->hook->changes(e->hook->context, node);
}

static void drop_trials(struct eval *e)
{
    for (size_t i = 0; i < e->n_slots; i++)
        if (e->slots[i].trial.buffer)
            array_release(&e->slots[i].trial);
}

static bool run_trial(struct eval *e)
{
    for (const struct node *n = e->g->first; n; n = n->next) {
        if (!must_run(e, n))
            continue;
        if (!eval_run_node(e, n))
            return false;
        for (int i = 0; i < n->n_out; i++) { /* what did not change ends here */
            struct slot *slot = eval_slot(e, n->out[i]);
            if (same_elements(&slot->trial, &slot->a))
                array_release(&slot->trial);
        }
    }
    return true;
}

/* ---- Errors -------------------------------------------------------------------------------- */

static const struct eval_error beyond = {INFINITY, INFINITY};

static struct eval_error error_of(const struct tensor *a, const struct tensor *b)
{
    double worst = 0, most = 0;
    int64_t n = tensor_elements(b);
    if (a->type != b->type || a->size != b->size || tensor_elements(a) != n)
        return beyond;
    if (!dtype_is_float(b->type))
        return memcmp(a->data, b->data, b->size) ? beyond : (struct eval_error){0, 0};
    for (int64_t i = 0; i < n; i++) {
        double x = tensor_get_float(a, i), y = tensor_get_float(b, i);
        if (!isfinite(x) || !isfinite(y)) {
            if (x != y && !(isnan(x) && isnan(y)))
                return beyond;
            continue;
        }
        worst = fmax(worst, fabs(x - y));
        most = fmax(most, fabs(y));
    }
    return (struct eval_error){worst, most > 0 ? worst / most : worst > 0 ? INFINITY : 0};
}

static void worse(struct eval_error *all, struct eval_error error)
{
    all->absolute = fmax(all->absolute, error.absolute);
    all->relative = fmax(all->relative, error.relative);
}

static bool outputs_error(struct eval_session *s, struct eval_error *all)
{
    *all = (struct eval_error){0, 0};
    for (int i = 0; i < s->n_outputs; i++) {
        const struct slot *slot = eval_slot(&s->e, s->e.g->outputs[i]);
        struct tensor a = {0};
        if (!slot->trial.buffer)
            continue;
        if (!s->outputs[i].data) { /* lists are not compared */
            *all = beyond;
            continue;
        }
        bool ok = to_tensor(&slot->trial, &a);
        if (ok)
            worse(all, error_of(&a, &s->outputs[i]));
        free(a.data);
        if (!ok)
            return false;
    }
    return true;
}

void eval_session_compare(const struct eval_session *s, const struct tensor *outputs,
                          struct eval_error *error)
{
    *error = (struct eval_error){0, 0};
    for (int i = 0; i < s->n_outputs; i++)
        if (s->outputs[i].data)
            worse(error, error_of(&outputs[i], &s->outputs[i]));
}

/* Has it an element that may turn out differently? */
static bool has_number(const struct tensor *t)
{
    for (int64_t i = 0, n = tensor_elements(t); i < n; i++)
        if (!dtype_is_float(t->type) || isfinite(tensor_get_float(t, i)))
            return true;
    return false;
}

bool eval_session_tells(const struct eval_session *s)
{
    for (int i = 0; i < s->n_outputs; i++)
        if (!s->outputs[i].data || has_number(&s->outputs[i]))
            return true;
    return false;
}

bool eval_session_try(struct eval_session *s, const struct eval_hook *hook,
                      struct eval_error *error)
{
    struct eval *e = &s->e;
    struct diag *diag = e->g->diag, trial = {0};
    size_t bytes = (size_t)e->n_symbols * sizeof *s->symbols;
    e->hook = hook;
    e->trial = true;
    e->frame = &s->frame;
    e->g->diag = &trial;
    e->iterations = 0;
    bool good = run_trial(e) && !memcmp(e->symbols, s->symbols, bytes), ok = true;
    *error = beyond;
    if (good)
        ok = outputs_error(s, error);
    ok = ok && trial.status != STATUS_LIMIT;
    diag_free(&trial);
    memcpy(e->symbols, s->symbols, bytes);
    drop_trials(e);
    e->trial = false;
    e->hook = NULL;
    e->g->diag = diag;
    return ok;
}
