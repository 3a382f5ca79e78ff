/* One program of the plan: the records of its steps, kernels and scalars. */
#include "plan_layout.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_READ_ELEMENTS = 65536 };

/* ---- sizes ---------------------------------------------------------------------------------- */

static const struct dim *grid_dim(const struct plan_layout *l, const struct kernel *kernel, int i)
{
    return kernel->grid[i] ? kernel->grid[i] : dim_const(l->g->dims, 1);
}

static void want_offset(struct plan_layout *l, struct plan_place place)
{
    if (place.offset)
        scalar_want(l->scalars, place.offset);
}

static void want_launch(struct plan_layout *l, const struct kernel *kernel)
{
    for (int d = 0; d < 3; d++)
        scalar_want(l->scalars, grid_dim(l, kernel, d));
    for (int a = 0; a < kernel->n_args; a++)
        if (kernel->args[a].kind == ARG_BUFFER)
            want_offset(l, l->place[kernel->args[a].value->id]);
        else
            scalar_want(l->scalars, kernel->args[a].dim);
}

/* Does the loop run all its trips, whatever comes of them? */
static bool runs_all(const struct node *loop)
{
    return dim_is(loop->attr.loop.again, 1);
}

/* The tensor that goes into a list or comes out; NULL where that is none. */
static const struct value *list_tensor(const struct node *node)
{
    return node->op == OP_list_insert ? node->in[1] : node->op == OP_list_at ? node->out[0] : NULL;
}

static const struct dim *list_position(const struct node *node)
{
    switch (node->op) {
    case OP_list_insert: return node->attr.list_insert.position;
    case OP_list_erase: return node->attr.list_erase.position;
    case OP_list_at: return node->attr.list_at.position;
    case OP_list_shape: return node->attr.list_shape.position;
    default: return NULL;
    }
}

static void want_list(struct plan_layout *l, const struct node *node)
{
    const struct value *tensor = list_tensor(node);
    if (list_position(node))
        scalar_want(l->scalars, list_position(node));
    for (int i = 0; tensor && i < tensor->rank; i++)
        scalar_want(l->scalars, tensor->shape[i]);
}

static void want_step(struct plan_layout *l, const struct planned_step *planned)
{
    const struct step *step = &planned->step;
    switch (step->kind) {
    case STEP_LAUNCH: want_launch(l, step->kernel); break;
    case STEP_COPY:
    case STEP_FILL:
        want_offset(l, planned->to);
        want_offset(l, planned->from);
        scalar_want(l->scalars, planned->bytes);
        break;
    case STEP_READ: break;
    case STEP_LIST: want_list(l, step->node); break;
    case STEP_BRANCH: scalar_want(l->scalars, step->node->attr.branch.condition); break;
    case STEP_LOOP:
        scalar_want(l->scalars, step->node->attr.loop.trips);
        if (!runs_all(step->node))
            scalar_want(l->scalars, step->node->attr.loop.again);
        break;
    }
}

static void want_sizes(struct plan_layout *l)
{
    for (uint32_t i = 0; i < l->n_buffers; i++)
        scalar_want(l->scalars, l->buffers[i].size);
    for (int i = 0; i < l->g->n_outputs; i++)
        for (int a = 0; a < l->g->outputs[i]->rank; a++)
            scalar_want(l->scalars, l->g->outputs[i]->shape[a]);
    for (uint32_t i = 0; i < l->n_steps; i++)
        want_step(l, &l->steps[i]);
}

static uint32_t string_of(void *context, const char *text)
{
    return plan_string(context, text);
}

/* ---- records -------------------------------------------------------------------------------- */

static uint32_t slot(const struct plan_layout *l, const struct dim *d)
{
    return scalar_slot(l->scalars, d);
}

static uint32_t offset_slot(const struct plan_layout *l, struct plan_place place)
{
    return place.offset ? slot(l, place.offset) : PLAN_NONE;
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
        struct plan_arg record = {.kind = kinds[arg->kind], .offset = PLAN_NONE};
        if (arg->kind == ARG_BUFFER) {
            record.index = l->place[arg->value->id].buffer;
            record.offset = offset_slot(l, l->place[arg->value->id]);
        } else {
            record.index = slot(l, arg->dim);
        }
        PLAN_PUSH(&l->own[PLAN_ARGS], &record);
    }
}

static bool set_launch(struct plan_layout *l, const struct kernel *kernel, struct plan_step *record)
{
    record->kind = PLAN_STEP_LAUNCH;
    if (!add_kernel(l, kernel, &record->u.launch.kernel))
        return false;
    record->u.launch.first_arg = (uint32_t)(l->own[PLAN_ARGS].length / sizeof(struct plan_arg));
    record->u.launch.n_args = (uint32_t)kernel->n_args;
    for (int d = 0; d < 3; d++)
        record->u.launch.grid[d] = slot(l, grid_dim(l, kernel, d));
    add_args(l, kernel);
    return true;
}

static bool add_read(struct plan_layout *l, struct value *v)
{
    struct plan_read record = {.buffer = l->place[v->id].buffer, .dtype = v->type};
    int64_t elements;
    if (!value_elements_const(v, &elements) || elements < 1 || elements > MAX_READ_ELEMENTS) {
        diag_error(l->b->diag, STATUS_UNSUPPORTED, plan_origin(v),
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
static bool set_read(struct plan_layout *l, const struct planned_step *planned,
                     const uint32_t *begin, struct plan_step *record)
{
    struct value *v = planned->step.value;
    record->kind = PLAN_STEP_READ_DIM;
    record->u.read.read =
        v ? (uint32_t)(l->own[PLAN_READS].length / sizeof(struct plan_read)) : PLAN_NONE;
    record->u.read.first_scalar = begin[planned->segment];
    record->u.read.n_scalars = begin[planned->segment + 1] - begin[planned->segment];
    return !v || add_read(l, v);
}

static void set_move(struct plan_layout *l, const struct planned_step *planned,
                     struct plan_step *record)
{
    uint32_t bytes = slot(l, planned->bytes);
    if (dtype_is_list(planned->step.value->type)) {
        record->kind = PLAN_STEP_LIST_COPY;
        record->u.list.to = planned->to.buffer;
        record->u.list.from = planned->from.buffer;
        record->u.list.tensor = record->u.list.position = PLAN_NONE;
    } else if (planned->step.kind == STEP_FILL) {
        record->kind = PLAN_STEP_FILL;
        record->u.fill.to = planned->to.buffer;
        record->u.fill.to_offset = offset_slot(l, planned->to);
        record->u.fill.bytes = bytes;
        record->u.fill.pattern = planned->step.pattern;
    } else {
        record->kind = PLAN_STEP_COPY;
        record->u.copy.to = planned->to.buffer;
        record->u.copy.to_offset = offset_slot(l, planned->to);
        record->u.copy.from = planned->from.buffer;
        record->u.copy.from_offset = offset_slot(l, planned->from);
        record->u.copy.bytes = bytes;
    }
}

static uint32_t buffer_of(const struct plan_layout *l, const struct value *v)
{
    return v ? l->place[v->id].buffer : PLAN_NONE;
}

static void set_list(struct plan_layout *l, const struct node *node, struct plan_step *record)
{
    static const uint32_t kinds[OP_COUNT] = {
        [OP_list_new] = PLAN_STEP_LIST_NEW,       [OP_list_as] = PLAN_STEP_LIST_COPY,
        [OP_list_insert] = PLAN_STEP_LIST_INSERT, [OP_list_erase] = PLAN_STEP_LIST_ERASE,
        [OP_list_at] = PLAN_STEP_LIST_AT,         [OP_list_length] = PLAN_STEP_LIST_LENGTH,
        [OP_list_shape] = PLAN_STEP_LIST_SHAPE,
    };
    const struct value *from = node->n_in ? node->in[0] : NULL, *made = node->out[0];
    const struct value *tensor = list_tensor(node);
    bool makes_list = dtype_is_list(made->type);
    enum dtype type = from && node->op != OP_list_as ? from->type : made->type;
    bool is_optional = dtype_list_kind(type) == DT_OPTIONAL_SEQUENCE;
    if (node->op == OP_list_as) /* from where it may be missing to where it may not */
        is_optional = dtype_list_kind(type) == DT_SEQUENCE &&
                      dtype_list_kind(from->type) == DT_OPTIONAL_SEQUENCE;
    record->kind = kinds[node->op];
    record->u.list.to = makes_list ? buffer_of(l, made) : PLAN_NONE;
    record->u.list.from = buffer_of(l, from);
    record->u.list.tensor = makes_list ? buffer_of(l, tensor) : buffer_of(l, made);
    record->u.list.position = list_position(node) ? slot(l, list_position(node)) : PLAN_NONE;
    record->u.list.optional = is_optional;
    if (node->op == OP_list_shape)
        record->u.list.n_args = (uint32_t)node->attr.list_shape.rank;
    if (!tensor)
        return;
    record->u.list.dtype = tensor->type;
    record->u.list.first_arg = (uint32_t)(l->own[PLAN_ARGS].length / sizeof(struct plan_arg));
    record->u.list.n_args = (uint32_t)tensor->rank;
    for (int i = 0; i < tensor->rank; i++) {
        struct plan_arg arg = {
            .kind = PLAN_ARG_I64, .index = slot(l, tensor->shape[i]), .offset = PLAN_NONE};
        PLAN_PUSH(&l->own[PLAN_ARGS], &arg);
    }
}

static void set_control(struct plan_layout *l, const struct planned_step *planned,
                        struct plan_step *record)
{
    const struct node *node = planned->step.node;
    const struct plan_body *first = &l->bodies[planned->inner[0]];
    if (planned->step.kind == STEP_BRANCH) {
        const struct plan_body *second = &l->bodies[planned->inner[1]];
        record->kind = PLAN_STEP_IF;
        record->u.branch.condition = slot(l, node->attr.branch.condition);
        record->u.branch.first_then = first->first;
        record->u.branch.n_then = first->n_steps;
        record->u.branch.first_else = second->first;
        record->u.branch.n_else = second->n_steps;
    } else {
        record->kind = PLAN_STEP_LOOP;
        record->u.loop.trips = slot(l, node->attr.loop.trips);
        record->u.loop.again = runs_all(node) ? PLAN_NONE : slot(l, node->attr.loop.again);
        record->u.loop.first = first->first;
        record->u.loop.n = first->n_steps;
    }
}

/* ---- order ---------------------------------------------------------------------------------- */

static bool is_known(struct plan_layout *l, const struct dim *d, int segment)
{
    return !d || scalar_is_known(l->scalars, scalar_segment_of(l->scalars, d), segment);
}

static bool is_place_known(struct plan_layout *l, struct plan_place place, int segment)
{
    return is_known(l, place.offset, segment) &&
           is_known(l, l->buffers[place.buffer].size, segment);
}

static bool is_list_known(struct plan_layout *l, const struct node *node, int segment)
{
    const struct value *tensor = list_tensor(node);
    bool known = is_known(l, list_position(node), segment);
    for (int i = 0; tensor && i < tensor->rank; i++)
        known &= is_known(l, tensor->shape[i], segment);
    return known;
}

/* The segment that has run when a loop's body ends. */
static int last_segment(const struct plan_layout *l, uint32_t body)
{
    const struct plan_body *b = &l->bodies[body];
    return l->steps[b->first + b->n_steps - 1].segment;
}

/* A step may only use sizes that the READ steps before it made known. */
static bool check_order(struct plan_layout *l, const struct planned_step *planned)
{
    const struct step *step = &planned->step;
    int now = planned->segment;
    bool known = true;
    switch (step->kind) {
    case STEP_LAUNCH:
        for (int d = 0; d < 3; d++)
            known &= is_known(l, grid_dim(l, step->kernel, d), now);
        for (int a = 0; a < step->kernel->n_args; a++) {
            const struct kernel_arg *arg = &step->kernel->args[a];
            known &= arg->kind == ARG_BUFFER ? is_place_known(l, l->place[arg->value->id], now)
                                             : is_known(l, arg->dim, now);
        }
        break;
    case STEP_READ: break;
    case STEP_LIST: known = is_list_known(l, step->node, now); break;
    case STEP_COPY: known &= is_place_known(l, planned->from, now); /* fall through */
    case STEP_FILL:
        known &= is_place_known(l, planned->to, now) && is_known(l, planned->bytes, now);
        break;
    case STEP_BRANCH: known = is_known(l, step->node->attr.branch.condition, now); break;
    case STEP_LOOP:
        known = is_known(l, step->node->attr.loop.trips, now) &&
                is_known(l, step->node->attr.loop.again, last_segment(l, planned->inner[0]));
        break;
    }
    if (!known)
        diag_error(l->b->diag, STATUS_INTERNAL,
                   step->kind == STEP_LAUNCH ? step->kernel->symbol : planned->nodes,
                   "a step uses a size before the step that reads it");
    return known;
}

static bool add_steps(struct plan_layout *l, const uint32_t *begin)
{
    for (uint32_t i = 0; i < l->n_steps; i++) {
        const struct planned_step *planned = &l->steps[i];
        struct plan_step record = {.nodes = plan_string(l->b, planned->nodes)};
        bool good = check_order(l, planned);
        switch (planned->step.kind) {
        case STEP_LAUNCH: good = good && set_launch(l, planned->step.kernel, &record); break;
        case STEP_READ: good = good && set_read(l, planned, begin, &record); break;
        case STEP_FILL:
        case STEP_COPY: set_move(l, planned, &record); break;
        case STEP_LIST: set_list(l, planned->step.node, &record); break;
        case STEP_BRANCH:
        case STEP_LOOP: set_control(l, planned, &record); break;
        }
        if (!good)
            return false;
        PLAN_PUSH(&l->own[PLAN_STEPS], &record);
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

/* An output in an input's memory needs room there before the plan runs. */
static bool check_aliases(struct plan_layout *l)
{
    for (int k = 0; k < l->g->n_outputs; k++)
        if (l->g->output_alias[k] >= 0 &&
            scalar_segment_of(l->scalars, plan_bytes(l, l->g->outputs[k])) != 0) {
            diag_error(l->b->diag, STATUS_UNSUPPORTED, l->g->output_names[k],
                       "cannot lie in an input's memory: its size depends on the data");
            return false;
        }
    return true;
}

bool plan_add_program(struct plan_builder *b, int index)
{
    struct plan_layout l;
    struct plan_program record = {0};
    const uint32_t *begin;
    bool *copied = ARENA_ARRAY(b->g->arena, (size_t)b->g->n_outputs, bool), again;
    memset(copied, 0, (size_t)b->g->n_outputs * sizeof *copied);
    do {
        l = (struct plan_layout){.b = b,
                                 .g = b->g,
                                 .own = b->own[index],
                                 .program = b->programs[index],
                                 .copied = copied};
        plan_lay_out_steps(&l);
        if (!plan_settle_aliases(&l, &again))
            return false;
    } while (again);
    plan_share_buffers(&l);
    l.scalars = scalar_create(b->g, l.n_segments, l.segments);
    want_sizes(&l);
    plan_want_taps(&l);
    if (!scalar_emit(l.scalars, string_of, b) || !check_aliases(&l))
        return false;
    add_scalars(&l, &record.bind_scalars, &begin);
    if (!add_steps(&l, begin) || !plan_place_buffers(&l, &record))
        return false;
    plan_add_taps(&l);
    record.main_steps = l.bodies[0].n_steps;
    PLAN_PUSH(&l.own[PLAN_PROGRAM], &record);
    if (b->kept)
        b->kept[index] = l;
    return true;
}
