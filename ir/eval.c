/*
 * The evaluator's driver: which nodes to run, their shapes, and how long values live. The ops are
 * in eval_*.c; the table calls them by name.
 */
#include "eval_array.h"
#include "eval_collect.h"
#include "scalar.h"

#include <inttypes.h>
#include <stdlib.h>

struct slot {
    const struct value *v; /* key; NULL: free */
    struct array a;
    int64_t uses;    /* reads still to come */
    bool is_element; /* some symbol's value is one of its elements */
};

/* A graph at work: the root, or a body in one of its runs. */
struct frame {
    struct graph *g;
    bool *checked; /* its constraints, in list order */
};

struct eval {
    struct graph *g;
    struct frame *frame; /* the innermost */
    struct slot *slots;  /* open hash by value */
    size_t n_slots;      /* a power of two */
    int n_symbols;
    int64_t *symbols; /* values by symbol index … */
    bool *known;      /* … and which are known */
    int64_t iterations;
};

typedef bool eval_op(struct eval_call *c);

static eval_op *const eval_ops[OP_COUNT] = {
#define SCALAR(name, operands, domain, result, expression) [OP_##name] = eval_scalar,
#define TENSOR(name, class, least, most, results)          [OP_##name] = eval_op_##name,
#include "ops.def"
};

static struct slot *slot_of(struct eval *e, const struct value *v)
{
    size_t i = ((uintptr_t)v >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 20;
    while (e->slots[i & (e->n_slots - 1)].v && e->slots[i & (e->n_slots - 1)].v != v)
        i++;
    struct slot *slot = &e->slots[i & (e->n_slots - 1)];
    slot->v = v;
    return slot;
}

static const char *op_name(const struct node *node)
{
    return op_info[node->op].name;
}

static bool limit(struct eval *e, const struct node *node)
{
    diag_error(e->g->diag, STATUS_LIMIT, node ? node->origin : NULL,
               "%s: out of memory in the evaluator", node ? op_name(node) : "evaluation");
    return false;
}

static bool eval_start(struct eval *e, struct graph *g, size_t n_values)
{
    *e = (struct eval){.g = g, .n_slots = 16, .n_symbols = dim_symbol_count(g->dims)};
    while (e->n_slots < 2 * n_values)
        e->n_slots *= 2;
    e->slots = calloc(e->n_slots, sizeof(*e->slots));
    e->symbols = calloc((size_t)e->n_symbols + 1, sizeof(*e->symbols));
    e->known = calloc((size_t)e->n_symbols + 1, sizeof(*e->known));
    return (e->slots && e->symbols && e->known) || limit(e, NULL);
}

static void eval_finish(struct eval *e)
{
    for (size_t i = 0; e->slots && i < e->n_slots; i++)
        array_release(&e->slots[i].a);
    free(e->slots);
    free(e->symbols);
    free(e->known);
}

static bool frame_open(struct eval *e, struct frame *frame, struct graph *g)
{
    size_t n = 0;
    for (const struct constraint *k = g->constraints; k; k = k->next)
        n++;
    *frame = (struct frame){.g = g, .checked = calloc(n + 1, sizeof(*frame->checked))};
    e->frame = frame;
    return frame->checked || limit(e, NULL);
}

/* How often each value of the graph at work will be read. */
static void count_reads(struct eval *e)
{
    const struct graph *g = e->frame->g;
    for (int i = 0; i < g->n_inputs; i++)
        slot_of(e, g->inputs[i])->uses = 0;
    for (const struct node *n = g->first; n; n = n->next)
        for (int i = 0; i < n->n_out; i++)
            slot_of(e, n->out[i])->uses = 0;
    for (const struct node *n = g->first; n; n = n->next)
        for (int i = 0; i < n->n_in; i++)
            slot_of(e, n->in[i])->uses++;
    for (int i = 0; i < g->n_outputs; i++)
        slot_of(e, g->outputs[i])->uses++;
}

/* ---- Dims. */

static bool dim_known(const struct eval *e, const struct dim *d)
{
    if (d->kind == DIM_CONST)
        return true;
    if (d->kind == DIM_SYMBOL)
        return e->known[d->symbol];
    if (d->kind != DIM_SUM)
        return dim_known(e, d->a) && dim_known(e, d->b);
    for (int i = 0; i < d->n_terms; i++)
        for (int k = 0; k < d->terms[i].n_atoms; k++)
            if (!dim_known(e, d->terms[i].atoms[k]))
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
        if (!dim_known(c->eval, dims.d[i]) || !dim_eval(dims.d[i], c->symbols, &values[i]))
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
static bool resolve_shape(struct eval *e, const struct node *node, const struct value *v,
                          struct array *a)
{
    *a = (struct array){.type = v->type, .rank = v->rank};
    int64_t bytes = (int64_t)dtype_size(v->type);
    for (int i = 0; i < v->rank; i++) {
        const struct dim *d = v->shape[i];
        if (!dim_known(e, d) || !dim_eval(d, e->symbols, &a->shape[i])) {
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
static bool check_constraints(struct eval *e)
{
    bool *checked = e->frame->checked;
    static const char *const relation[] = {"equal", "equal (or 1)", "at most"};
    bool ok = true;
    size_t i = 0;
    for (const struct constraint *k = e->frame->g->constraints; k; k = k->next, i++) {
        if (checked[i] || !dim_known(e, k->a) || !dim_known(e, k->b))
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
static bool read_elements(struct eval *e, struct slot *slot)
{
    if (!slot->is_element)
        return true;
    for (int i = 0; i < e->g->root->n_symbols && i < e->n_symbols; i++) {
        const struct symbol_source *s = &e->g->root->symbols[i];
        if (s->kind != SYMBOL_ELEMENT || s->value != slot->v)
            continue;
        int64_t at = 0, rest = s->element;
        for (int axis = slot->a.rank - 1; axis >= 0; axis--) {
            int64_t extent = slot->a.shape[axis] ? slot->a.shape[axis] : 1;
            at += rest % extent * slot->a.stride[axis];
            rest /= extent;
        }
        if (s->element < 0 || s->element >= array_elements(&slot->a)) {
            diag_error(e->g->diag, STATUS_BAD_MODEL, NULL,
                       "symbol %s is an element that its tensor "
                       "does not have",
                       dim_symbol_name(e->g->dims, i));
            return false;
        }
        size_t width = dtype_size(slot->a.type);
        load_ints(&e->symbols[i], slot->a.data + at * (int64_t)width, slot->a.type, 0, 1);
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
    return check_constraints(e);
}

/* ---- Running nodes. */

static bool is_number(enum dtype type)
{
    return dtype_is_float(type) || dtype_is_int(type) || type == DT_BOOL;
}

/* Runs c->node once its operands and result shapes are there. Allocations inside may leave by the
 * jump; what was allocated hangs in c then. */
static bool run_guarded(struct eval_call *c)
{
    jmp_buf oom;
    c->scratch.on_oom = &oom;
    c->scratch.limit = EVAL_MAX_BYTES;
    eval_fails(c, STATUS_LIMIT, "out of memory in the evaluator");
    if (setjmp(oom))
        return false;
    const struct node *node = c->node;
    enum op_class class = op_info[node->op].class;
    if (class != OC_VIEW && class != OC_CONST && class != OC_CONTROL &&
        class != OC_LIST) {
        eval_fails(c, STATUS_UNSUPPORTED, "elements of this type cannot be computed with");
        for (int i = 0; i < node->n_in; i++)
            if (!is_number(node->in[i]->type))
                return false;
        eval_fails(c, STATUS_LIMIT, "out of memory in the evaluator");
        for (int i = 0; i < node->n_in && class != OC_SCALAR; i++)
            array_densify(c, &c->in[i]);
        for (int i = 0; i < node->n_out && node->op != OP_bitcast; i++)
            array_alloc(c, &c->out[i]);
    }
    return eval_ops[node->op](c);
}

static bool run_node(struct eval *e, const struct node *node)
{
    struct eval_call c = {.eval = e, .g = e->g, .node = node, .symbols = e->symbols};
    c.in = calloc((size_t)node->n_in + (size_t)node->n_out + 1, sizeof(*c.in));
    if (!c.in)
        return limit(e, node);
    c.out = c.in + node->n_in;
    bool ok = true;
    for (int i = 0; i < node->n_in; i++) {
        const struct array *a = &slot_of(e, node->in[i])->a;
        ok = ok && a->buffer;
        c.in[i] = *a;
        if (a->buffer)
            a->buffer->arrays++;
    }
    if (!ok)
        diag_error(e->g->diag, STATUS_INTERNAL, node->origin, "%s: an operand has no value",
                   op_name(node));
    for (int i = 0; i < node->n_out && ok; i++)
        ok = resolve_shape(e, node, node->out[i], &c.out[i]);
    if (ok && !run_guarded(&c)) {
        if (c.failure)
            diag_error(e->g->diag, c.status, node->origin, "%s: %s", op_name(node), c.failure);
        ok = false;
    }
    arena_free(&c.scratch);
    for (int i = 0; i < node->n_in; i++) {
        struct slot *slot = slot_of(e, node->in[i]);
        array_release(&c.in[i]);
        if (ok && --slot->uses == 0)
            array_release(&slot->a);
    }
    for (int i = 0; i < node->n_out; i++) {
        struct slot *slot = slot_of(e, node->out[i]);
        slot->a = c.out[i];
        ok = ok && read_elements(e, slot);
        if (ok && slot->uses == 0)
            array_release(&slot->a);
    }
    free(c.in);
    return ok;
}

/* ---- Bodies. */

/* What the last run left behind is not known in this one. */
static void forget_elements(struct eval *e, const struct graph *body)
{
    for (int i = 0; i < body->root->n_symbols && i < e->n_symbols; i++) {
        const struct symbol_source *s = &body->root->symbols[i];
        if (s->kind == SYMBOL_ELEMENT && s->value->graph == body)
            e->known[i] = false;
    }
}

static bool run_body(struct eval *e, const struct array *in, struct array *out)
{
    struct graph *g = e->frame->g;
    bool ok = true;
    forget_elements(e, g);
    count_reads(e);
    for (int i = 0; i < g->n_inputs; i++) {
        struct slot *slot = slot_of(e, g->inputs[i]);
        slot->a = in[i];
        in[i].buffer->arrays++;
    }
    ok = check_constraints(e);
    for (int i = 0; i < g->n_inputs && ok; i++) {
        struct slot *slot = slot_of(e, g->inputs[i]);
        ok = read_elements(e, slot);
        if (ok && slot->uses == 0)
            array_release(&slot->a);
    }
    for (const struct node *n = g->first; n && ok; n = n->next)
        ok = run_node(e, n);
    for (int i = 0; i < g->n_outputs && ok; i++) {
        out[i] = slot_of(e, g->outputs[i])->a;
        out[i].buffer->arrays++;
    }
    for (int i = 0; i < g->n_outputs && ok; i++) /* one value may be several */
        array_release(&slot_of(e, g->outputs[i])->a);
    return ok;
}

bool eval_body(struct eval_call *c, struct graph *body, const struct array *in, struct array *out)
{
    struct frame frame, *outer = c->eval->frame;
    bool ok = frame_open(c->eval, &frame, body) && run_body(c->eval, in, out);
    free(frame.checked);
    c->eval->frame = outer;
    return ok || eval_fails(c, STATUS_BAD_MODEL, NULL);
}

bool eval_set_index(struct eval_call *c, const struct dim *index, int64_t value)
{
    if (++c->eval->iterations > EVAL_MAX_ITERATIONS)
        return eval_fails(c, STATUS_LIMIT, "too many iterations for the evaluator");
    c->eval->symbols[index->symbol] = value;
    c->eval->known[index->symbol] = true;
    return true;
}

void eval_clear_index(struct eval_call *c, const struct dim *index)
{
    c->eval->known[index->symbol] = false;
}

/* The slot's value as a tensor of the caller's: its memory itself where nobody else needs it. */
static bool take_result(struct eval *e, const struct value *v, struct tensor *out)
{
    const struct array *a = &slot_of(e, v)->a;
    if (!a->buffer) {
        diag_error(e->g->diag, STATUS_INTERNAL, NULL, "an output has no value");
        return false;
    }
    *out = (struct tensor){.type = a->type, .rank = a->rank};
    memcpy(out->shape, a->shape, sizeof(out->shape));
    bool is_list = dtype_is_list(a->type);
    out->size = is_list ? ((const struct tensor_list *)(const void *)a->data)->size
                        : (size_t)array_elements(a) * dtype_size(a->type);
    struct buffer *buffer = a->buffer;
    if (buffer->owned && buffer->arrays == 1 && a->data == buffer->data && array_is_dense(a)) {
        out->data = buffer->data;
        buffer->owned = false; /* the value may be another output, too: that one copies */
        return true;
    }
    out->data = malloc(out->size ? out->size : 1);
    if (!out->data)
        return limit(e, NULL);
    if (is_list) {
        memcpy(out->data, a->data, out->size);
        return true;
    }
    struct array dense = *a;
    dense.data = out->data;
    array_set_dense(&dense);
    array_copy(&dense, a);
    return true;
}

/* ---- Whole graphs. */

static bool bind_input(struct eval *e, int i, const struct tensor *t)
{
    const struct value *v = e->g->inputs[i];
    const char *name = v->name ? v->name : "";
    if (t->type != v->type || t->rank != v->rank) {
        diag_error(e->g->diag, STATUS_USAGE, NULL,
                   "input '%s' must be %s of rank %d, not %s of rank %d", name,
                   dtype_info[v->type].text, v->rank, dtype_info[t->type].text, t->rank);
        return false;
    }
    struct buffer *buffer = malloc(sizeof(*buffer));
    if (!buffer)
        return limit(e, NULL);
    *buffer = (struct buffer){t->data, 1, false};
    struct slot *slot = slot_of(e, v);
    slot->a = (struct array){.type = t->type, .rank = t->rank, .buffer = buffer, .data = t->data};
    memcpy(slot->a.shape, t->shape, sizeof(slot->a.shape));
    array_set_dense(&slot->a);
    return true;
}

static bool check_input_shape(struct eval *e, int i, const struct tensor *t)
{
    const struct value *v = e->g->inputs[i];
    for (int axis = 0; axis < v->rank; axis++) {
        int64_t extent;
        if (!dim_known(e, v->shape[axis]))
            continue; /* an element of a later value; the constraints tell */
        if (!dim_eval(v->shape[axis], e->symbols, &extent) || extent != t->shape[axis]) {
            struct text text = {0};
            dim_print(&text, e->g->dims, v->shape[axis]);
            diag_error(e->g->diag, STATUS_USAGE, NULL,
                       "input '%s': axis %d has size %" PRId64 ", but must be %s",
                       v->name ? v->name : "", axis, t->shape[axis],
                       text.data ? text.data : "another");
            text_free(&text);
            return false;
        }
    }
    return true;
}

static bool bind_inputs(struct eval *e, const struct tensor *inputs)
{
    struct graph *g = e->g;
    for (int i = 0; i < g->n_inputs; i++)
        if (!bind_input(e, i, &inputs[i]))
            return false;
    for (int i = 0; i < g->root->n_symbols && i < e->n_symbols; i++) {
        const struct symbol_source *s = &g->root->symbols[i];
        if (s->kind == SYMBOL_ELEMENT)
            slot_of(e, s->value)->is_element = true;
        if (s->kind != SYMBOL_INPUT_DIM || s->input < 0 || s->input >= g->n_inputs || s->axis < 0 ||
            s->axis >= g->inputs[s->input]->rank)
            continue;
        e->symbols[i] = inputs[s->input].shape[s->axis];
        e->known[i] = true;
    }
    for (int i = 0; i < g->n_inputs; i++)
        if (!check_input_shape(e, i, &inputs[i]))
            return false;
    bool ok = check_constraints(e);
    for (int i = 0; i < g->n_inputs && ok; i++)
        ok = read_elements(e, slot_of(e, g->inputs[i]));
    return ok;
}

static size_t count_values(const struct graph *g)
{
    size_t n_values = (size_t)g->n_inputs + 1;
    for (const struct node *n = g->first; n; n = n->next) {
        n_values += (size_t)n->n_out;
        for (int i = 0; i < 2; i++)
            n_values += n->body[i] ? count_values(n->body[i]) : 0;
    }
    return n_values;
}

bool eval_graph(struct graph *g, const struct tensor *inputs, struct tensor *outputs)
{
    for (int i = 0; i < g->n_outputs; i++)
        outputs[i] = (struct tensor){0};
    struct eval e;
    struct frame frame = {0};
    bool ok = eval_start(&e, g, count_values(g)) && frame_open(&e, &frame, g);
    if (ok) {
        count_reads(&e);
        ok = bind_inputs(&e, inputs);
    }
    for (const struct node *n = g->first; n && ok; n = n->next)
        ok = run_node(&e, n);
    for (int i = 0; i < g->n_outputs && ok; i++)
        ok = take_result(&e, g->outputs[i], &outputs[i]);
    for (int i = 0; i < g->n_outputs && !ok; i++)
        tensor_free(&outputs[i]);
    free(frame.checked);
    eval_finish(&e);
    return ok;
}

/* ---- One constant. */

static bool run_constant(struct eval *e, const struct node *const *nodes, size_t n,
                         const struct value *v, struct tensor *out)
{
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < nodes[i]->n_in; k++)
            slot_of(e, nodes[i]->in[k])->uses++;
    slot_of(e, v)->uses++;
    for (size_t i = 0; i < n; i++)
        if (!run_node(e, nodes[i]))
            return false;
    return take_result(e, v, out);
}

bool eval_constant(struct graph *g, const struct value *v, struct tensor *out)
{
    const struct node **nodes;
    size_t n, n_values = 1;
    bool no_memory;
    struct eval e = {.g = g};
    *out = (struct tensor){0};
    bool ok = collect_nodes(v, &nodes, &n, &no_memory);
    if (no_memory)
        limit(&e, NULL);
    else if (!ok)
        diag_error(g->diag, STATUS_INTERNAL, v->def ? v->def->origin : NULL,
                   "a value that depends on inputs was taken for a constant");
    for (size_t i = 0; i < n; i++)
        n_values += (size_t)nodes[i]->n_out;
    if (ok) {
        struct frame frame = {0};
        ok = eval_start(&e, g, n_values) && frame_open(&e, &frame, g) &&
             run_constant(&e, nodes, n, v, out);
        free(frame.checked);
        eval_finish(&e);
    }
    free(nodes);
    return ok;
}

bool eval_is_portable(const struct node *node)
{
    if (node->n_out == 0 || node->out[0]->type != DT_F64)
        return true;
    switch (node->op) {
    case OP_pow:
    case OP_softmax:
    case OP_log_softmax:
    case OP_pool_lp: return false;
    default: return node->op < OP_exp || node->op > OP_softplus; /* rows of ops.def side by side */
    }
}
