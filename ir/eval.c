/*
 * The evaluator's driver: which nodes to run, their shapes, and how long values live. The ops are
 * in eval_*.c; the table calls them by name.
 */
#include "eval_collect.h"
#include "eval_round.h"
#include "scalar.h"

#include <inttypes.h>
#include <stdlib.h>

typedef bool eval_op(struct eval_call *c);

static eval_op *const eval_ops[OP_COUNT] = {
#define SCALAR(name, operands, domain, result, expression) [OP_##name] = eval_scalar,
#define TENSOR(name, class, least, most, results)          [OP_##name] = eval_op_##name,
#include "ops.def"
};

struct slot *eval_slot(struct eval *e, const struct value *v)
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

bool eval_out_of_memory(struct eval *e, const struct node *node)
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
    return (e->slots && e->symbols && e->known) || eval_out_of_memory(e, NULL);
}

static void eval_finish(struct eval *e)
{
    for (size_t i = 0; e->slots && i < e->n_slots; i++)
        array_release(&e->slots[i].a);
    for (size_t i = 0; e->slots && i < e->n_slots; i++)
        array_release(&e->slots[i].trial);
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
    return frame->checked || eval_out_of_memory(e, NULL);
}

/* How often each value of the graph at work will be read. */
static void count_reads(struct eval *e)
{
    const struct graph *g = e->frame->g;
    for (int i = 0; i < g->n_inputs; i++)
        eval_slot(e, g->inputs[i])->uses = 0;
    for (const struct node *n = g->first; n; n = n->next)
        for (int i = 0; i < n->n_out; i++)
            eval_slot(e, n->out[i])->uses = 0;
    for (const struct node *n = g->first; n; n = n->next)
        for (int i = 0; i < n->n_in; i++)
            eval_slot(e, n->in[i])->uses++;
    for (int i = 0; i < g->n_outputs; i++)
        eval_slot(e, g->outputs[i])->uses++;
}

/* ---- Running nodes. */

static bool is_number(enum dtype type)
{
    return dtype_is_float(type) || dtype_is_int(type) || type == DT_BOOL;
}

/* The value that readers see now. */
static const struct array *array_of(const struct eval *e, const struct slot *slot)
{
    return e->trial && slot->trial.buffer ? &slot->trial : &slot->a;
}

/* Products in tf32 are of rounded operands; three of split ones are as good as f32's. The bias of
 * attention is not multiplied. */
static void round_operands(struct eval_call *c)
{
    const struct eval_hook *hook = c->eval->hook;
    enum { FACTORS = 3 };
    for (int i = 0; c->node->math == MATH_TF32 && i < c->node->n_in && i < FACTORS; i++)
        if (c->in[i].type == DT_F32)
            array_round(c, &c->in[i], ROUND_TF32);
    for (int i = 0; hook && i < c->node->n_in; i++)
        array_round(c, &c->in[i], hook->operand(hook->context, c->node, i));
}

static bool round_results(struct eval_call *c)
{
    const struct eval_hook *hook = c->eval->hook;
    for (int i = 0; hook && i < c->node->n_out; i++)
        array_round(c, &c->out[i], hook->result(hook->context, c->node, i));
    return true;
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
    round_operands(c);
    if (class != OC_VIEW && class != OC_CONST && class != OC_CONTROL && class != OC_LIST) {
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
    return eval_ops[node->op](c) && round_results(c);
}

bool eval_run_node(struct eval *e, const struct node *node)
{
    struct eval_call c = {.eval = e, .g = e->g, .node = node, .symbols = e->symbols};
    c.in = calloc((size_t)node->n_in + (size_t)node->n_out + 1, sizeof(*c.in));
    if (!c.in)
        return eval_out_of_memory(e, node);
    c.out = c.in + node->n_in;
    bool ok = true;
    for (int i = 0; i < node->n_in; i++) {
        const struct array *a = array_of(e, eval_slot(e, node->in[i]));
        ok = ok && a->buffer;
        c.in[i] = *a;
        if (a->buffer)
            a->buffer->arrays++;
    }
    if (!ok)
        diag_error(e->g->diag, STATUS_INTERNAL, node->origin, "%s: an operand has no value",
                   op_name(node));
    for (int i = 0; i < node->n_out && ok; i++)
        ok = eval_resolve_shape(e, node, node->out[i], &c.out[i]);
    if (ok && !run_guarded(&c)) {
        if (c.failure)
            diag_error(e->g->diag, c.status, node->origin, "%s: %s", op_name(node), c.failure);
        ok = false;
    }
    arena_free(&c.scratch);
    for (int i = 0; i < node->n_in; i++) {
        struct slot *slot = eval_slot(e, node->in[i]);
        array_release(&c.in[i]);
        if (ok && --slot->uses == 0)
            array_release(&slot->a);
    }
    for (int i = 0; i < node->n_out; i++) {
        struct slot *slot = eval_slot(e, node->out[i]);
        struct array *to = e->trial && e->frame->g == e->g ? &slot->trial : &slot->a;
        *to = c.out[i];
        ok = ok && eval_read_elements(e, slot, to);
        if (ok && slot->uses == 0)
            array_release(to);
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
        struct slot *slot = eval_slot(e, g->inputs[i]);
        slot->a = in[i];
        in[i].buffer->arrays++;
    }
    ok = eval_check_constraints(e);
    for (int i = 0; i < g->n_inputs && ok; i++) {
        struct slot *slot = eval_slot(e, g->inputs[i]);
        ok = eval_read_elements(e, slot, &slot->a);
        if (ok && slot->uses == 0)
            array_release(&slot->a);
    }
    for (const struct node *n = g->first; n && ok; n = n->next)
        ok = eval_run_node(e, n);
    for (int i = 0; i < g->n_outputs && ok; i++) {
        out[i] = eval_slot(e, g->outputs[i])->a;
        out[i].buffer->arrays++;
    }
    for (int i = 0; i < g->n_outputs && ok; i++) /* one value may be several */
        array_release(&eval_slot(e, g->outputs[i])->a);
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
    const struct array *a = &eval_slot(e, v)->a;
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
        return eval_out_of_memory(e, NULL);
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
        return eval_out_of_memory(e, NULL);
    *buffer = (struct buffer){t->data, 1, false};
    struct slot *slot = eval_slot(e, v);
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
        if (!dim_is_known(e, v->shape[axis]))
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

bool eval_bind(struct eval *e, const struct tensor *inputs)
{
    struct graph *g = e->g;
    for (int i = 0; i < g->n_inputs; i++)
        if (!bind_input(e, i, &inputs[i]))
            return false;
    for (int i = 0; i < g->root->n_symbols && i < e->n_symbols; i++) {
        const struct symbol_source *s = &g->root->symbols[i];
        if (s->kind == SYMBOL_ELEMENT)
            eval_slot(e, s->value)->is_element = true;
        if (s->kind != SYMBOL_INPUT_DIM || s->input < 0 || s->input >= g->n_inputs || s->axis < 0 ||
            s->axis >= g->inputs[s->input]->rank)
            continue;
        e->symbols[i] = inputs[s->input].shape[s->axis];
        e->known[i] = true;
    }
    for (int i = 0; i < g->n_inputs; i++)
        if (!check_input_shape(e, i, &inputs[i]))
            return false;
    bool ok = eval_check_constraints(e);
    for (int i = 0; i < g->n_inputs && ok; i++) {
        struct slot *slot = eval_slot(e, g->inputs[i]);
        ok = eval_read_elements(e, slot, &slot->a);
    }
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

bool eval_open(struct eval *e, struct frame *frame, struct graph *g)
{
    *frame = (struct frame){0};
    if (!eval_start(e, g, count_values(g)) || !frame_open(e, frame, g))
        return false;
    count_reads(e);
    return true;
}

void eval_close(struct eval *e, struct frame *frame)
{
    free(frame->checked);
    eval_finish(e);
}

bool eval_graph(struct graph *g, const struct tensor *inputs, struct tensor *outputs)
{
    for (int i = 0; i < g->n_outputs; i++)
        outputs[i] = (struct tensor){0};
    struct eval e;
    struct frame frame;
    bool ok = eval_open(&e, &frame, g) && eval_bind(&e, inputs);
    for (const struct node *n = g->first; n && ok; n = n->next)
        ok = eval_run_node(&e, n);
    for (int i = 0; i < g->n_outputs && ok; i++)
        ok = take_result(&e, g->outputs[i], &outputs[i]);
    for (int i = 0; i < g->n_outputs && !ok; i++)
        tensor_free(&outputs[i]);
    eval_close(&e, &frame);
    return ok;
}

/* ---- One constant. */

static bool run_constant(struct eval *e, const struct node *const *nodes, size_t n,
                         const struct value *v, struct tensor *out)
{
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < nodes[i]->n_in; k++)
            eval_slot(e, nodes[i]->in[k])->uses++;
    eval_slot(e, v)->uses++;
    for (size_t i = 0; i < n; i++)
        if (!eval_run_node(e, nodes[i]))
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
        eval_out_of_memory(&e, NULL);
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
    case OP_attention:
    case OP_pool_lp: return false;
    default: return node->op < OP_exp || node->op > OP_softplus; /* rows of ops.def side by side */
    }
}
