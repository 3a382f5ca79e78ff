/* What an assignment costs in accuracy, measured by the evaluator on the calibration inputs. */
#include "../ir/eval_session.h"
#include "precision_rules.h"

#include <math.h>
#include <stdlib.h>

struct measure {
    struct assignment *a;
    int n;
    struct eval_session **sessions;
};

static enum eval_rounding rounding_of(enum dtype type)
{
    return type == DT_F16 ? ROUND_F16 : type == DT_BF16 ? ROUND_BF16 : ROUND_NONE;
}

static bool is_tf32(const struct assignment *a, const struct node *node)
{
    const struct choice *choice = choice_of(a, node);
    return multiplies(node) && choice->precision == PRECISION_TF32 && !choice->natural &&
           node_type(a, node) == DT_F32;
}

static bool is_eight(const struct assignment *a, const struct node *node)
{
    const struct choice *choice = choice_of(a, node);
    return choice && choice->eight && !choice->natural && choice->precision == PRECISION_FP8;
}

/* What the node computes in where that is less than the model's type; else DT_NONE. */
static enum dtype lowered_type(const struct assignment *a, const struct node *node)
{
    enum dtype original = node_float_type(a, node);
    const struct choice *choice = choice_of(a, node);
    if (!choice || original == DT_NONE || facts_of(a, node->out[0])->constant)
        return DT_NONE;
    return precision_lowers(choice->type, original) ? choice->type : DT_NONE;
}

/* How a value is rounded that is to have a type. */
static enum eval_rounding rounding_to(const struct assignment *a, const struct value *v,
                                      enum dtype type)
{
    return facts_of(a, v)->original == DT_F32 ? rounding_of(type) : ROUND_NONE;
}

static enum eval_rounding round_operand(void *context, const struct node *node, int operand)
{
    const struct assignment *a = context;
    const struct value *v = node->in[operand];
    enum dtype type = node->body[0] ? facts_of(a, node->body[0]->inputs[operand])->planned
                                    : lowered_type(a, node);
    if (is_eight(a, node))
        return operand == 1 ? ROUND_F8_WEIGHTS : ROUND_F8;
    if (!node->body[0] && precision_keeps_operand(node, operand))
        return ROUND_NONE;
    if (is_tf32(a, node))
        return ROUND_TF32;
    bool is_rounded = type == facts_of(a, v)->planned; /* where it was made */
    return node->op == OP_cast || is_rounded ? ROUND_NONE : rounding_to(a, v, type);
}

static enum eval_rounding round_result(void *context, const struct node *node, int result)
{
    const struct assignment *a = context;
    const struct value *v = node->out[result];
    if (!node->body[0] && (moves_elements(node) || lowered_type(a, node) == DT_NONE))
        return ROUND_NONE;
    return rounding_to(a, v, facts_of(a, v)->planned);
}

static bool changes(void *context, const struct node *node)
{
    const struct assignment *a = context;
    for (int i = 0; i < node->n_in && node->body[0]; i++)
        if (round_operand(context, node, i) != ROUND_NONE)
            return true;
    if (lowered_type(a, node) != DT_NONE || is_tf32(a, node) || is_eight(a, node))
        return true;
    for (int k = 0; k < 2 && node->body[k]; k++)
        for (const struct node *inner = node->body[k]->first; inner; inner = inner->next)
            if (changes(context, inner))
                return true;
    return false;
}

struct measure *measure_open(struct assignment *a)
{
    const struct precision *wanted = a->wanted;
    struct measure *m = ARENA_NEW(a->g->arena, struct measure);
    m->a = a;
    m->sessions = ARENA_ARRAY(a->g->arena, (size_t)wanted->n_runs + 1, struct eval_session *);
    for (; m->n < wanted->n_runs; m->n++) {
        m->sessions[m->n] = eval_session_open(a->g, wanted->runs[m->n]);
        if (!m->sessions[m->n]) {
            measure_close(m);
            return NULL;
        }
    }
    return m;
}

bool measure_tells(const struct measure *m)
{
    for (int i = 0; i < m->n; i++)
        if (eval_session_tells(m->sessions[i]))
            return true;
    return false;
}

void measure_close(struct measure *m)
{
    for (int i = 0; m && i < m->n; i++) {
        eval_session_close(m->sessions[i]);
        m->sessions[i] = NULL;
    }
}

static double error_asked_for(const struct measure *m, struct eval_error error)
{
    return m->a->wanted->relative ? error.relative : error.absolute;
}

bool measure_error(struct measure *m, int runs, double limit, double *error)
{
    struct eval_hook hook = {m->a, changes, round_operand, round_result};
    *error = 0;
    precision_find_natural(m->a);
    precision_plan(m->a);
    for (int i = 0; i < m->n && i < runs && *error <= limit; i++) {
        struct eval_error each;
        if (!eval_session_try(m->sessions[i], &hook, &each)) {
            diag_error(m->a->g->diag, STATUS_LIMIT, NULL, "out of memory in the evaluator");
            return false;
        }
        *error = fmax(*error, error_asked_for(m, each));
    }
    return true;
}

bool measure_result(struct measure *m, double *error)
{
    struct graph *g = m->a->g;
    int n = g->n_outputs;
    *error = 0;
    for (int i = 0; i < m->n; i++) {
        struct tensor *a = ARENA_ARRAY(g->arena, (size_t)n + 1, struct tensor);
        struct eval_error each;
        if (!eval_graph(g, m->a->wanted->runs[i], a))
            return false;
        eval_session_compare(m->sessions[i], a, &each);
        for (int k = 0; k < n; k++)
            tensor_free(&a[k]);
        *error = fmax(*error, error_asked_for(m, each));
    }
    return true;
}
