/* One program of the plan: its steps, kernels, buffers and scalar program. */
#include "plan_layout.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_READ_ELEMENTS = 65536 };

/* ---- steps ------------------------------------------------------------------------------------
 */

struct symbols_needed {
    struct graph *g;
    bool *needed;
};

static void need_symbol(void *context, int symbol)
{
    struct symbols_needed *s = context;
    s->needed[symbol] = true;
}

static void need(struct symbols_needed *s, const struct dim *d)
{
    if (d)
        dim_each_symbol(d, need_symbol, s);
}

static void need_shape(struct symbols_needed *s, const struct value *v)
{
    for (int i = 0; v && i < v->rank; i++)
        need(s, v->shape[i]);
}

static void need_step(struct symbols_needed *s, const struct step *step)
{
    need_shape(s, step->value);
    need_shape(s, step->source);
    if (step->kind != STEP_LAUNCH)
        return;
    for (int i = 0; i < 3; i++)
        need(s, step->kernel->grid[i]);
    for (int i = 0; i < step->kernel->n_args; i++) {
        need_shape(s, step->kernel->args[i].value);
        need(s, step->kernel->args[i].dim);
    }
}

/* Which symbols the program's numbers depend on. */
static bool *needed_symbols(struct plan_layout *l)
{
    struct symbols_needed s = {l->g, NULL};
    s.needed = ARENA_ARRAY(l->g->arena, (size_t)dim_symbol_count(l->g->dims) + 1, bool);
    for (int i = 0; i < l->program->n_steps; i++)
        need_step(&s, &l->program->steps[i]);
    for (int i = 0; i < l->g->n_outputs; i++)
        need_shape(&s, l->g->outputs[i]);
    for (int i = 0; i < l->g->n_inputs; i++)
        need_shape(&s, l->g->inputs[i]);
    for (const struct constraint *c = l->g->constraints; c; c = c->next) {
        need(&s, c->a);
        need(&s, c->b);
    }
    return s.needed;
}

static bool is_read(const struct plan_layout *l, const struct value *v)
{
    for (int i = 0; i < l->n_reads; i++)
        if (l->reads[i] == v)
            return true;
    return false;
}

/*
 * The program's own steps, and around them what it leaves to the writer: READs of graph inputs that
 * hold sizes come first, COPYs to outputs that no kernel writes come last.
 */
static void arrange_steps(struct plan_layout *l)
{
    struct graph *g = l->g;
    int n = l->program->n_steps, symbols = g->root->n_symbols;
    size_t most = (size_t)n + (size_t)symbols + (size_t)g->n_outputs;
    l->steps = ARENA_ARRAY(g->arena, most, struct step);
    l->to = ARENA_ARRAY(g->arena, most, uint32_t);
    l->reads = ARENA_ARRAY(g->arena, (size_t)symbols + (size_t)n, struct value *);

    int in_program = 0; /* values that the program itself reads */
    for (int i = 0; i < n; i++)
        if (l->program->steps[i].kind == STEP_READ)
            l->reads[in_program++] = l->program->steps[i].value;
    l->n_reads = in_program;
    const bool *needed = needed_symbols(l);
    for (int i = 0; i < symbols; i++) {
        struct value *v = g->root->symbols[i].value;
        bool missing = needed[i] && g->root->symbols[i].kind == SYMBOL_ELEMENT && !is_read(l, v);
        if (!missing || (v->def && !plan_is_weight(v)))
            continue; /* one that a kernel should have computed is reported by the scalar program */
        l->steps[l->n_steps++] = (struct step){.kind = STEP_READ, .value = v};
        l->reads[l->n_reads++] = v;
    }
    /* In the order of the steps: reads[k] belongs to READ step k. */
    l->n_reads = 0;
    if (n)
        memcpy(l->steps + l->n_steps, l->program->steps, (size_t)n * sizeof *l->steps);
    l->n_steps += (uint32_t)n;
    for (uint32_t i = 0; i < l->n_steps; i++)
        if (l->steps[i].kind == STEP_READ)
            l->reads[l->n_reads++] = l->steps[i].value;
}

/* ---- buffers ----------------------------------------------------------------------------------
 */

static uint32_t add_buffer(struct plan_layout *l, enum plan_buffer_kind kind, uint32_t index,
                           struct value *v)
{
    struct graph *g = l->g;
    const struct dim *bytes =
        dim_mul(g->dims, value_elements(g, v), dim_const(g->dims, (int64_t)dtype_size(v->type)));
    l->buffers[l->n_buffers] =
        (struct plan_live_buffer){.kind = kind, .index = index, .value = v, .size = bytes};
    return l->n_buffers++;
}

static uint32_t buffer_of(struct plan_layout *l, struct value *v)
{
    if (l->buffer_of[v->id] == PLAN_NONE)
        l->buffer_of[v->id] =
            plan_is_weight(v) ? add_buffer(l, PLAN_BUFFER_WEIGHT, plan_weight_number(l->b, v), v)
                              : add_buffer(l, PLAN_BUFFER_ARENA, 0, v);
    return l->buffer_of[v->id];
}

static void touch(struct plan_layout *l, uint32_t buffer, uint32_t step)
{
    struct plan_live_buffer *touched = &l->buffers[buffer];
    if (!touched->used)
        touched->first = step;
    touched->used = true;
    touched->last = step;
}

static void touch_all(struct plan_layout *l, uint32_t i)
{
    const struct step *step = &l->steps[i];
    switch (step->kind) {
    case STEP_LAUNCH:
        for (int a = 0; a < step->kernel->n_args; a++)
            if (step->kernel->args[a].kind == ARG_BUFFER)
                touch(l, buffer_of(l, step->kernel->args[a].value), i);
        break;
    case STEP_READ: touch(l, buffer_of(l, step->value), i); break;
    case STEP_COPY: touch(l, buffer_of(l, step->source), i); /* fall through */
    case STEP_FILL: touch(l, l->to[i], i); break;
    }
}

static size_t count_values(const struct plan_layout *l)
{
    size_t n = (size_t)l->g->n_inputs + 2 * (size_t)l->g->n_outputs;
    for (uint32_t i = 0; i < l->n_steps; i++)
        n += l->steps[i].kind == STEP_LAUNCH ? (size_t)l->steps[i].kernel->n_args : 2;
    return n;
}

/*
 * Every value that a step touches has a buffer. A graph output's kernel writes straight into the
 * caller's; an output that is an input, a constant or an earlier output is a copy at the end.
 */
static void lay_out_buffers(struct plan_layout *l)
{
    struct graph *g = l->g;
    l->buffers = ARENA_ARRAY(g->arena, count_values(l), struct plan_live_buffer);
    l->buffer_of = ARENA_ARRAY(g->arena, (size_t)g->root->next_id + 1, uint32_t);
    memset(l->buffer_of, 0xff, ((size_t)g->root->next_id + 1) * sizeof *l->buffer_of);
    for (int i = 0; i < g->n_inputs; i++)
        l->buffer_of[g->inputs[i]->id] =
            add_buffer(l, PLAN_BUFFER_INPUT, (uint32_t)i, g->inputs[i]);
    uint32_t computing = l->n_steps;
    for (int i = 0; i < g->n_outputs; i++) {
        struct value *v = g->outputs[i];
        uint32_t output = add_buffer(l, PLAN_BUFFER_OUTPUT, (uint32_t)i, v);
        if (l->buffer_of[v->id] == PLAN_NONE && !plan_is_weight(v)) {
            l->buffer_of[v->id] = output;
        } else {
            l->to[l->n_steps] = output;
            l->steps[l->n_steps++] = (struct step){.kind = STEP_COPY, .value = v, .source = v};
        }
    }
    for (uint32_t i = 0; i < computing; i++)
        if (l->steps[i].kind == STEP_COPY || l->steps[i].kind == STEP_FILL)
            l->to[i] = buffer_of(l, l->steps[i].value);
    for (uint32_t i = 0; i < l->n_steps; i++)
        touch_all(l, i);
}

/* ---- sizes ------------------------------------------------------------------------------------
 */

static const struct dim *grid_dim(const struct plan_layout *l, const struct kernel *kernel, int i)
{
    return kernel->grid[i] ? kernel->grid[i] : dim_const(l->g->dims, 1);
}

static void want_sizes(struct plan_layout *l)
{
    for (uint32_t i = 0; i < l->n_buffers; i++)
        scalar_want(l->scalars, l->buffers[i].size);
    for (int i = 0; i < l->g->n_outputs; i++)
        for (int a = 0; a < l->g->outputs[i]->rank; a++)
            scalar_want(l->scalars, l->g->outputs[i]->shape[a]);
    for (uint32_t i = 0; i < l->n_steps; i++) {
        if (l->steps[i].kind != STEP_LAUNCH)
            continue;
        const struct kernel *kernel = l->steps[i].kernel;
        for (int d = 0; d < 3; d++)
            scalar_want(l->scalars, grid_dim(l, kernel, d));
        for (int a = 0; a < kernel->n_args; a++)
            if (kernel->args[a].kind != ARG_BUFFER)
                scalar_want(l->scalars, kernel->args[a].dim);
    }
}

static uint32_t string_of(void *context, const char *text)
{
    return plan_string(context, text);
}

/* ---- records ----------------------------------------------------------------------------------
 */

static const char *origin_of(const struct value *v)
{
    return v && v->def && v->def->origin ? v->def->origin : "";
}

static uint32_t slot(const struct plan_layout *l, const struct dim *d)
{
    return scalar_slot(l->scalars, d);
}

/* A record for each kernel with its launch shape; equal ones share it. */
static bool add_kernel(struct plan_layout *l, const struct kernel *kernel, uint32_t *number)
{
    struct plan_builder *b = l->b;
    if (!b->compiled) { /* plan_check: nothing was compiled */
        *number = 0;
        return true;
    }
    const struct compiled *c = compiled_find(b->compiled, l->program->target, kernel->symbol);
    if (!c) {
        diag_error(b->diag, STATUS_INTERNAL, kernel->symbol, "the kernel was not compiled");
        return false;
    }
    size_t at = (size_t)(c - b->compiled->at);
    struct resources facts = {0};
    if (c->binary.cubin &&
        !cubin_resources(c->binary.cubin, c->binary.cubin_size, kernel->symbol, &facts)) {
        diag_error(b->diag, STATUS_INTERNAL, kernel->symbol, "its cubin has no such function");
        return false;
    }
    struct plan_kernel record = {.symbol = plan_string(b, kernel->symbol),
                                 .family = plan_string(b, kernel->family),
                                 .cubin_offset = c->binary.cubin ? b->cubin_at[at] : 0,
                                 .cubin_bytes = c->binary.cubin_size,
                                 .ptx_offset = b->ptx_at[at],
                                 .ptx_bytes = c->binary.ptx_size + 1,
                                 .block = {(uint32_t)kernel->block[0], (uint32_t)kernel->block[1],
                                           (uint32_t)kernel->block[2]},
                                 .shared_bytes = (uint32_t)kernel->shared_bytes,
                                 .registers = (uint32_t)facts.registers,
                                 .static_shared_bytes = (uint32_t)facts.shared_bytes,
                                 .spill_bytes = (uint32_t)facts.local_bytes};
    struct text *section = &l->own[PLAN_KERNELS];
    size_t n = section->length / sizeof record;
    for (*number = 0; *number < n; ++*number)
        if (!memcmp(section->data + *number * sizeof record, &record, sizeof record))
            return true;
    PLAN_PUSH(section, &record);
    return true;
}

static void add_args(struct plan_layout *l, const struct kernel *kernel)
{
    static const uint32_t kinds[] = {
        [ARG_BUFFER] = PLAN_ARG_BUFFER, [ARG_I32] = PLAN_ARG_I32, [ARG_I64] = PLAN_ARG_I64};
    for (int i = 0; i < kernel->n_args; i++) {
        const struct kernel_arg *arg = &kernel->args[i];
        bool buffer = arg->kind == ARG_BUFFER;
        struct plan_arg record = {.kind = kinds[arg->kind],
                                  .index = buffer ? buffer_of(l, arg->value) : slot(l, arg->dim),
                                  .offset = PLAN_NONE};
        PLAN_PUSH(&l->own[PLAN_ARGS], &record);
    }
}

static bool add_launch(struct plan_layout *l, const struct kernel *kernel)
{
    struct plan_step record = {.kind = PLAN_STEP_LAUNCH};
    if (!add_kernel(l, kernel, &record.u.launch.kernel))
        return false;
    record.nodes = plan_string(l->b, kernel->nodes ? kernel->nodes : "");
    record.u.launch.first_arg = (uint32_t)(l->own[PLAN_ARGS].length / sizeof(struct plan_arg));
    record.u.launch.n_args = (uint32_t)kernel->n_args;
    for (int d = 0; d < 3; d++)
        record.u.launch.grid[d] = slot(l, grid_dim(l, kernel, d));
    add_args(l, kernel);
    PLAN_PUSH(&l->own[PLAN_STEPS], &record);
    return true;
}

static bool add_read(struct plan_layout *l, struct value *v)
{
    struct plan_read record = {.buffer = buffer_of(l, v), .dtype = v->type};
    int64_t elements;
    if (!value_elements_const(v, &elements) || elements < 1 || elements > MAX_READ_ELEMENTS) {
        diag_error(l->b->diag, STATUS_UNSUPPORTED, origin_of(v),
                   "sizes depend on '%s', which must have 1 to %d elements, a number known when "
                   "compiling",
                   v->name ? v->name : "a computed tensor", MAX_READ_ELEMENTS);
        return false;
    }
    record.elements = (uint32_t)elements;
    PLAN_PUSH(&l->own[PLAN_READS], &record);
    return true;
}

/* A READ step runs the segment of scalars that its elements complete. */
static bool add_read_step(struct plan_layout *l, struct value *v, const uint32_t *begin)
{
    uint32_t number = (uint32_t)(l->own[PLAN_READS].length / sizeof(struct plan_read));
    struct plan_step record = {.kind = PLAN_STEP_READ_DIM,
                               .nodes = plan_string(l->b, origin_of(v))};
    record.u.read.read = number;
    record.u.read.first_scalar = begin[number + 1];
    record.u.read.n_scalars = begin[number + 2] - begin[number + 1];
    PLAN_PUSH(&l->own[PLAN_STEPS], &record);
    return add_read(l, v);
}

static void add_move(struct plan_layout *l, uint32_t i)
{
    const struct step *step = &l->steps[i];
    struct plan_step record = {.nodes = plan_string(l->b, origin_of(step->value))};
    uint32_t bytes = slot(l, l->buffers[l->to[i]].size);
    if (step->kind == STEP_FILL) {
        record.kind = PLAN_STEP_FILL;
        record.u.fill.to = l->to[i];
        record.u.fill.to_offset = PLAN_NONE;
        record.u.fill.bytes = bytes;
        record.u.fill.pattern = step->pattern;
    } else {
        record.kind = PLAN_STEP_COPY;
        record.u.copy.to = l->to[i];
        record.u.copy.to_offset = record.u.copy.from_offset = PLAN_NONE;
        record.u.copy.from = buffer_of(l, step->source);
        record.u.copy.bytes = bytes;
    }
    PLAN_PUSH(&l->own[PLAN_STEPS], &record);
}

static int later(struct plan_layout *l, int segment, const struct dim *d)
{
    int other = scalar_segment(l->scalars, d);
    return other > segment ? other : segment;
}

/* A step may only use sizes that the READ steps before it made known. */
static bool check_order(struct plan_layout *l, uint32_t i, int reads_done)
{
    const struct step *step = &l->steps[i];
    int latest = 0;
    if (step->kind == STEP_LAUNCH) {
        for (int d = 0; d < 3; d++)
            latest = later(l, latest, grid_dim(l, step->kernel, d));
        for (int a = 0; a < step->kernel->n_args; a++) {
            const struct kernel_arg *arg = &step->kernel->args[a];
            latest = later(l, latest,
                           arg->kind == ARG_BUFFER ? l->buffers[buffer_of(l, arg->value)].size
                                                   : arg->dim);
        }
    } else if (step->kind != STEP_READ) {
        latest = later(l, latest, l->buffers[l->to[i]].size);
    }
    if (latest > reads_done)
        diag_error(l->b->diag, STATUS_INTERNAL,
                   step->kind == STEP_LAUNCH ? step->kernel->symbol : origin_of(step->value),
                   "a step uses a size before the step that reads it");
    return latest <= reads_done;
}

static bool add_steps(struct plan_layout *l, const uint32_t *begin)
{
    int reads_done = 0;
    for (uint32_t i = 0; i < l->n_steps; i++) {
        if (!check_order(l, i, reads_done))
            return false;
        switch (l->steps[i].kind) {
        case STEP_LAUNCH:
            if (!add_launch(l, l->steps[i].kernel))
                return false;
            break;
        case STEP_READ:
            if (!add_read_step(l, l->steps[i].value, begin))
                return false;
            reads_done++;
            break;
        case STEP_FILL:
        case STEP_COPY: add_move(l, i); break;
        }
    }
    return true;
}

static void add_scalars(struct plan_layout *l, uint32_t *bind, const uint32_t **begin)
{
    uint32_t n;
    const struct plan_scalar *code = scalar_code(l->scalars, &n, begin);
    *bind = (*begin)[1];
    text_append(&l->own[PLAN_SCALARS], (const char *)code, n * sizeof *code);
    for (int i = 0; i < l->g->n_outputs; i++)
        for (int a = 0; a < l->g->outputs[i]->rank; a++) {
            uint32_t dim_slot = slot(l, l->g->outputs[i]->shape[a]);
            PLAN_PUSH(&l->own[PLAN_SHAPES], &dim_slot);
        }
}

bool plan_add_program(struct plan_builder *b, int index)
{
    struct plan_layout l = {.b = b, .g = b->g, .own = b->own[index], .program = b->programs[index]};
    struct plan_program record = {0};
    const uint32_t *begin;
    arrange_steps(&l);
    lay_out_buffers(&l);
    l.scalars = scalar_create(b->g, l.n_reads, l.reads);
    want_sizes(&l);
    if (!scalar_emit(l.scalars, string_of, b))
        return false;
    add_scalars(&l, &record.bind_scalars, &begin);
    if (!add_steps(&l, begin) || !plan_place_buffers(&l, &record))
        return false;
    record.main_steps = l.n_steps;
    PLAN_PUSH(&l.own[PLAN_PROGRAM], &record);
    return true;
}
