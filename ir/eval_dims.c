/* The evaluator's sizes: shapes of results, what the graph demands of sizes, and sizes that values
 * tell. */
#include "eval_run.h"

#include <inttypes.h>

static const char *op_name(const struct node *node)
{
    return op_info[node->op].name;
}

bool dim_is_known(const struct eval *e, const struct dim *d)
{
    if (d->kind == DIM_CONST)
        return true;
    if (d->kind == DIM_SYMBOL)
        return e->known[d->symbol];
    if (d->kind != DIM_SUM)
        return dim_is_known(e, d->a) && dim_is_known(e, d->b);
    for (int i = 0; i < d->n_terms; i++)
        for (int k = 0; k < d->terms[i].n_atoms; k++)
            if (!dim_is_known(e, d->terms[i].atoms[k]))
                return false;
    return true;
}

bool eval_fails(struct eval_call *c, enum status status, const char *failure)
{
    c->status = status;
    c->failure = failure;
    return false;
}

/* Offsets beyond this are no tensor's; sums of a few of them do not overflow. */
#define MOST_OFFSET (INT64_C(1) << 60)

bool eval_dims(struct eval_call *c, struct dims dims, int64_t *values)
{
    for (int i = 0; i < dims.n; i++) {
        if (!dim_is_known(c->eval, dims.d[i]) || !dim_eval(dims.d[i], c->symbols, &values[i]))
            return eval_fails(c, STATUS_BAD_MODEL, "a dim of its attributes cannot be computed");
        if (values[i] > MOST_OFFSET || values[i] < -MOST_OFFSET)
            return eval_fails(c, STATUS_LIMIT, "a dim of its attributes is beyond all tensors");
    }
    return true;
}

bool eval_dim(struct eval_call *c, const struct dim *d, int64_t *value)
{
    return eval_dims(c, (struct dims){1, &d}, value);
}

static void report_dim(struct eval *e, const struct node *node, const struct dim *d,
                       const char *what)
{
    struct text text = {0};
    dim_print(&text, e->g->dims, d);
    diag_error(e->g->diag, STATUS_BAD_MODEL, node ? node->origin : NULL, "%s: %s %s",
               node ? op_name(node) : "evaluation", text.data ? text.data : "a dim", what);
    text_free(&text);
}

/* Type and shape of v into *a. */
bool eval_resolve_shape(struct eval *e, const struct node *node, const struct value *v,
                        struct array *a)
{
    *a = (struct array){.type = v->type, .rank = v->rank};
    int64_t bytes = (int64_t)dtype_size(v->type);
    for (int i = 0; i < v->rank; i++) {
        const struct dim *d = v->shape[i];
        if (!dim_is_known(e, d) || !dim_eval(d, e->symbols, &a->shape[i])) {
            report_dim(e, node, d, "cannot be computed");
            return false;
        }
        if (a->shape[i] < 0) {
            report_dim(e, node, d, "is negative");
            return false;
        }
        if (__builtin_mul_overflow(bytes, a->shape[i] ? a->shape[i] : 1, &bytes) ||
            bytes > EVAL_MAX_BYTES) {
            diag_error(e->g->diag, STATUS_LIMIT, node->origin,
                       "%s: its result is larger than %" PRId64 " bytes", op_name(node),
                       EVAL_MAX_BYTES);
            return false;
        }
    }
    array_set_dense(a);
    return true;
}

static bool holds(int kind, int64_t a, int64_t b)
{
    return kind == MUST_LESS_EQUAL ? a <= b : a == b || (kind == MUST_BROADCAST && a == 1);
}

/* Checks every constraint of the graph at work whose symbols have become known. */
bool eval_check_constraints(struct eval *e)
{
    bool *checked = e->frame->checked;
    static const char *const relation[] = {"equal", "equal (or 1)", "at most"};
    bool ok = true;
    size_t i = 0;
    for (const struct constraint *k = e->frame->g->constraints; k; k = k->next, i++) {
        if (checked[i] || !dim_is_known(e, k->a) || !dim_is_known(e, k->b))
            continue;
        checked[i] = true;
        int64_t a, b;
        if (!dim_eval(k->a, e->symbols, &a) || !dim_eval(k->b, e->symbols, &b)) {
            diag_error(e->g->diag, STATUS_BAD_MODEL, NULL, "%s: a dim cannot be computed", k->text);
            ok = false;
        } else if (!holds(k->kind, a, b)) {
            diag_error(e->g->diag, STATUS_BAD_MODEL, NULL, "%s: %" PRId64 " must be %s %" PRId64,
                       k->text, a, relation[k->kind], b);
            ok = false;
        }
    }
    return ok;
}

/* Symbols that are elements of a value which has just been computed. */
bool eval_read_elements(struct eval *e, const struct slot *slot, const struct array *a)
{
    if (!slot->is_element)
        return true;
    for (int i = 0; i < e->g->root->n_symbols && i < e->n_symbols; i++) {
        const struct symbol_source *s = &e->g->root->symbols[i];
        if (s->kind != SYMBOL_ELEMENT || s->value != slot->v)
            continue;
        int64_t at = 0, rest = s->element;
        for (int axis = a->rank - 1; axis >= 0; axis--) {
            int64_t extent = a->shape[axis] ? a->shape[axis] : 1;
            at += rest % extent * a->stride[axis];
            rest /= extent;
        }
        if (s->element < 0 || s->element >= array_elements(a)) {
            diag_error(e->g->diag, STATUS_BAD_MODEL, NULL,
                       "symbol %s is an element that its tensor "
                       "does not have",
                       dim_symbol_name(e->g->dims, i));
            return false;
        }
        size_t width = dtype_size(a->type);
        load_ints(&e->symbols[i], a->data + at * (int64_t)width, a->type, 0, 1);
        int64_t lower, upper;
        dim_bounds(dim_symbol_at(e->g->dims, i), &lower, &upper);
        if (e->symbols[i] < lower || e->symbols[i] > upper) {
            diag_error(e->g->diag, STATUS_BAD_MODEL, NULL,
                       "%s is %" PRId64 ", which is not in [%" PRId64 ", %" PRId64 "]",
                       dim_symbol_name(e->g->dims, i), e->symbols[i], lower, upper);
            return false;
        }
        e->known[i] = true;
    }
    return eval_check_constraints(e);
}
