/*
 * "Element index of value v": recursion from a value to the memory it comes from, through views
 * (which change the index), gathers (which load it) and scalar maps (which compute).
 */
#include "emit_state.h"

#include <string.h>

/* Where a view's element comes from: element index of v where guard holds. */
struct source {
    struct value *v;
    const struct index *index[MAX_RANK];
    const char *guard; /* a condition as text, or NULL: always */
};

/* --- Index text ----------------------------------------------------------------------------- */

/* The variable that holds the atom; quotients and remainders get one where they are first used. */
static const char *atom_name(struct emitter *e, const struct atom *atom)
{
    if (atom->kind == ATOM_VAR)
        return atom->name;
    const char *name = emit_recall(e, MEMO_ATOM, atom, 0, NULL);
    if (name)
        return name;
    const struct index *of = atom->of;
    bool bare = of->n_terms == 1 && dim_is(of->constant, 0) && dim_is(of->terms[0].coefficient, 1);
    const char *operand = emit_index(e, of), *by = emit_dim(e, atom->by);
    name = emit_fresh(e, "i");
    emit_line(e, bare ? "const idx_t %s = %s %c %s;" : "const idx_t %s = (%s) %c %s;", name,
              operand, atom->kind == ATOM_DIV ? '/' : '%', by);
    emit_remember(e, MEMO_ATOM, atom, 0, NULL, name);
    return name;
}

/* Printing order: large strides first, unknown ones before known ones. */
static int64_t weight(const struct dim *coefficient)
{
    int64_t c;
    if (!dim_is_const(coefficient, &c))
        return INT64_MAX;
    return c < 0 ? -(c + 1) : c;
}

static void append_term(struct emitter *e, struct text *out, const struct index_term *term)
{
    const char *name = atom_name(e, term->atom);
    int64_t c = 0;
    bool known = dim_is_const(term->coefficient, &c), negative = known && c < 0;
    if (out->length)
        text_printf(out, negative ? " - " : " + ");
    else if (negative)
        text_printf(out, "-");
    text_printf(out, "%s", name);
    if (!known)
        text_printf(out, " * %s", emit_dim(e, term->coefficient));
    else if (c != 1 && c != -1)
        text_printf(out, " * %s", emit_dim(e, dim_const(e->g->dims, negative ? -c : c)));
}

const char *emit_index(struct emitter *e, const struct index *index)
{
    struct text out = {.arena = e->g->arena};
    const struct index_term **order =
        ARENA_ARRAY(e->g->arena, (size_t)index->n_terms + 1, const struct index_term *);
    for (int i = 0; i < index->n_terms; i++) {
        int at = i;
        while (at > 0 && weight(order[at - 1]->coefficient) < weight(index->terms[i].coefficient)) {
            order[at] = order[at - 1];
            at--;
        }
        order[at] = &index->terms[i];
    }
    for (int i = 0; i < index->n_terms; i++)
        append_term(e, &out, order[i]);
    int64_t c;
    bool known = dim_is_const(index->constant, &c);
    if (index->n_terms == 0)
        text_printf(&out, "%s", emit_dim(e, index->constant));
    else if (!known || c > 0)
        text_printf(&out, " + %s", emit_dim(e, index->constant));
    else if (c < 0)
        text_printf(&out, " - %s", emit_dim(e, dim_const(e->g->dims, -c)));
    return out.data;
}

/* An index without its constant, and the constant moved to the other side of a comparison. */
static const char *terms_only(struct emitter *e, const struct index *index)
{
    return emit_index(e, index_sub(e->ix, index, index_dim(e->ix, index->constant)));
}

/* Adds what is not provable of 0 <= index < extent to the guard. */
static void add_guard(struct emitter *e, struct source *s, const struct index *index,
                      const struct dim *extent)
{
    struct dim_table *dims = e->g->dims;
    const char *join = " && ";
    if (!index_nonnegative(e->ix, index)) {
        const char *least = emit_dim(e, dim_sub(dims, dim_const(dims, 0), index->constant));
        s->guard = arena_printf(e->g->arena, "%s%s%s >= %s", s->guard ? s->guard : "",
                                s->guard ? join : "", terms_only(e, index), least);
    }
    if (!index_below(e->ix, index, extent)) {
        const char *end = emit_dim(e, dim_sub(dims, extent, index->constant));
        s->guard = arena_printf(e->g->arena, "%s%s%s < %s", s->guard ? s->guard : "",
                                s->guard ? join : "", terms_only(e, index), end);
    }
}

/* --- Views: from the result's index to the operand's ---------------------------------------- */

/* Lanes that would each compute an index of their own cannot share a vector. */
static void note_lane_use(struct emitter *e, int n, const struct index *const *index)
{
    for (int i = 0; e->state->probe && i < n; i++)
        if (index_depends(index[i], e->state->probe->lane))
            e->state->probe->fits = false;
}

static void view_reshape(struct emitter *e, struct node *node, const struct index *const *at,
                         struct source *s)
{
    const struct value *x = node->in[0], *y = node->out[0];
    index_reshape(e->ix, y->rank, y->shape, at, x->rank, x->shape, s->index);
}

static void view_transpose(struct emitter *e, struct node *node, const struct index *const *at,
                           struct source *s)
{
    (void)e;
    for (int i = 0; i < node->out[0]->rank; i++)
        s->index[node->attr.transpose.perm.axis[i]] = at[i];
}

static void view_expand(struct emitter *e, struct node *node, const struct index *const *at,
                        struct source *s)
{
    struct dim_table *dims = e->g->dims;
    const struct dim *one = dim_const(dims, 1);
    for (int i = 0; i < node->out[0]->rank; i++) {
        const struct dim *from = node->in[0]->shape[i], *to = node->out[0]->shape[i];
        if (from == to)
            s->index[i] = at[i];
        else if (dim_is_const(from, NULL))
            s->index[i] = index_const(e->ix, 0);
        else /* the stride is 0 where the size turns out to be 1 */
            s->index[i] = index_mul(e->ix, at[i], dim_sub(dims, one, dim_eq(dims, from, one)));
    }
}

static void view_slice(struct emitter *e, struct node *node, const struct index *const *at,
                       struct source *s)
{
    const struct attr_slice *slice = &node->attr.slice;
    for (int i = 0; i < node->out[0]->rank; i++)
        s->index[i] = index_add(e->ix, index_dim(e->ix, slice->start.d[i]),
                                index_mul(e->ix, at[i], slice->step.d[i]));
}

/* A variable that holds the text, an index below extent; key and index say what it depends on. */
static const struct index *computed_index(struct emitter *e, const void *key,
                                          const struct index *of, const struct dim *extent,
                                          const char *function, const char *operand)
{
    const struct index *at[2] = {of, index_dim(e->ix, extent)};
    const char *name = emit_recall(e, MEMO_TEXT, key, 2, at);
    if (!name) {
        const char *size = emit_dim(e, extent);
        name = emit_fresh(e, "i");
        emit_line(e, "const idx_t %s = %s(%s, %s);", name, function, operand, size);
        emit_remember(e, MEMO_TEXT, key, 2, at, name);
    }
    return index_var(e->ix, name, extent);
}

static void view_pad(struct emitter *e, struct node *node, const struct index *const *at,
                     struct source *s)
{
    static const char *const function[] = {
        [PAD_REFLECT] = "pad_reflect", [PAD_EDGE] = "pad_edge", [PAD_WRAP] = "pad_wrap"};
    const struct attr_pad *pad = &node->attr.pad;
    for (int i = 0; i < node->out[0]->rank; i++) {
        const struct dim *extent = node->in[0]->shape[i];
        const struct index *x = index_sub(e->ix, at[i], index_dim(e->ix, pad->low.d[i]));
        s->index[i] = x;
        if (dim_is(pad->low.d[i], 0) && dim_is(pad->high.d[i], 0))
            continue;
        if (pad->mode == PAD_CONSTANT) {
            add_guard(e, s, x, extent);
        } else if (!index_nonnegative(e->ix, x) || !index_below(e->ix, x, extent)) {
            note_lane_use(e, 1, &x);
            s->index[i] = computed_index(e, function[pad->mode], x, extent, function[pad->mode],
                                         emit_index(e, x));
        }
    }
}

/* The index that element `at` of the index tensor picks along an axis of this extent. */
static const struct index *picked(struct emitter *e, struct value *indices,
                                  const struct index *const *at, const struct dim *extent)
{
    note_lane_use(e, indices->rank, at);
    const char *name = emit_value(e, indices, at);
    return computed_index(e, name, index_const(e->ix, 0), extent, "pick_index", name);
}

static void view_gather(struct emitter *e, struct node *node, const struct index *const *at,
                        struct source *s)
{
    struct value *x = node->in[0], *indices = node->in[1];
    int axis = (int)node->attr.gather.axis;
    for (int i = 0; i < x->rank; i++)
        s->index[i] = i < axis    ? at[i]
                      : i == axis ? picked(e, indices, at + axis, x->shape[axis])
                                  : at[i + indices->rank - 1];
}

static void view_gather_elements(struct emitter *e, struct node *node,
                                 const struct index *const *at, struct source *s)
{
    struct value *x = node->in[0];
    int axis = (int)node->attr.gather_elements.axis;
    for (int i = 0; i < x->rank; i++)
        s->index[i] = i == axis ? picked(e, node->in[1], at, x->shape[axis]) : at[i];
}

static void view_gather_nd(struct emitter *e, struct node *node, const struct index *const *at,
                           struct source *s)
{
    struct value *x = node->in[0], *indices = node->in[1];
    int batch = (int)node->attr.gather_nd.batch, lead = indices->rank - 1;
    const struct index *place[MAX_RANK];
    int64_t depth = 0;
    if (!dim_is_const(indices->shape[lead], &depth) || depth > x->rank - batch)
        emit_unsupported(e, node, "the last size of the indices is not known");
    for (int i = 0; i < lead; i++)
        place[i] = at[i];
    for (int i = 0; i < x->rank; i++) {
        if (i < batch) {
            s->index[i] = at[i];
        } else if (i < batch + depth) {
            place[lead] = index_const(e->ix, i - batch);
            s->index[i] = picked(e, indices, place, x->shape[i]);
        } else {
            s->index[i] = at[lead + i - batch - (int)depth];
        }
    }
}

/* The part that all of the index's range lies in, if there is one. */
static void view_concat(struct emitter *e, struct node *node, const struct index *const *at,
                        struct source *s)
{
    int axis = (int)node->attr.concat.axis;
    const struct dim *start = dim_const(e->g->dims, 0);
    s->v = NULL;
    for (int i = 0; i < node->n_in; i++) {
        const struct index *x = index_sub(e->ix, at[axis], index_dim(e->ix, start));
        const struct dim *extent = node->in[i]->shape[axis];
        if (index_nonnegative(e->ix, x) && index_below(e->ix, x, extent)) {
            s->v = node->in[i];
            memcpy(s->index, at, (size_t)s->v->rank * sizeof *at);
            s->index[axis] = x;
            return;
        }
        start = dim_add(e->g->dims, start, extent);
    }
}

typedef void view(struct emitter *, struct node *, const struct index *const *, struct source *);

static view *const views[OP_COUNT] = {
    [OP_reshape] = view_reshape,
    [OP_transpose] = view_transpose,
    [OP_expand] = view_expand,
    [OP_slice] = view_slice,
    [OP_pad] = view_pad,
    [OP_concat] = view_concat,
    [OP_gather] = view_gather,
    [OP_gather_elements] = view_gather_elements,
    [OP_gather_nd] = view_gather_nd,
};

/* One step towards memory; false when node is no view, or a concat of which several parts show. */
static bool step(struct emitter *e, struct node *node, const struct index *const *at,
                 struct source *s)
{
    if (!views[node->op])
        return false;
    s->v = node->in[0];
    views[node->op](e, node, at, s);
    return s->v != NULL;
}

bool emit_is_core(const struct emitter *e, const struct node *node)
{
    return node == e->group->core || op_info[node->op].class == OC_REDUCE;
}

bool emit_is_inner(const struct emitter *e, const struct value *v)
{
    return v->def && v->def->kernel == e->group->id;
}

/* --- Loads ---------------------------------------------------------------------------------- */

/* How many of `width` lanes of this type one instruction moves: at most 16 bytes. */
int emit_lanes_at_once(enum dtype type, int width)
{
    while (dtype_size(type) * (size_t)width > 16)
        width /= 2;
    return width;
}

/* Would this load, in all lanes, be one aligned vector, or the same element? */
static void probe_load(struct emitter *e, const struct value *v, const struct index *offset)
{
    struct probe *probe = e->state->probe;
    const struct index *lane = NULL;
    for (int i = 0; i < offset->n_terms; i++) {
        const struct atom *atom = offset->terms[i].atom;
        if (atom->of && index_depends(atom->of, probe->lane))
            probe->fits = false;
        if (atom == probe->lane && dim_is(offset->terms[i].coefficient, 1))
            lane = index_var(e->ix, atom->name, atom->extent);
        else if (atom == probe->lane)
            probe->fits = false;
    }
    if (!lane)
        return;
    const struct index *base = index_sub(e->ix, offset, lane);
    const struct dim *width = dim_const(e->g->dims, probe->width);
    if (!index_terms_divisible(e->ix, base, probe->width) ||
        !dim_is(dim_mod(e->g->dims, base->constant, width), 0) ||
        !dim_is(dim_mod(e->g->dims, value_elements(e->g, v), width), 0))
        probe->fits = false;
}

/* The register with the vector around offset, and which lane of it; NULL: load one element. Around
 * an element that exists (by the guard, if any) it lies inside the buffer of whole vectors. */
static const char *vector_at(struct emitter *e, struct value *v, const struct index *offset,
                             const char *guard)
{
    struct emit_state *s = e->state;
    int64_t constant;
    const int width = emit_lanes_at_once(v->type, s->vector);
    const struct dim *vector = dim_const(e->g->dims, width);
    if (width == 1 || offset->n_terms == 0 || !dim_is_const(offset->constant, &constant) ||
        constant < 0 || !index_terms_divisible(e->ix, offset, width) ||
        !dim_is(dim_mod(e->g->dims, value_elements(e->g, v), vector), 0))
        return NULL;
    int64_t lane = constant % width;
    const struct index *key[2] = {index_sub(e->ix, offset, index_const(e->ix, lane))};
    const char *name = emit_recall(e, MEMO_VECTOR, v, 1, key);
    if (!name && guard) {
        key[1] = index_var(e->ix, guard, vector); /* its text is a name */
        name = emit_recall(e, MEMO_VECTOR, v, 2, key);
    }
    if (!name) {
        const char *buffer = emit_buffer(e, v, false), *at = emit_index(e, key[0]);
        const char *type = emit_storage_type(v->type), *some = "";
        if (guard)
            some = arena_printf(e->g->arena, "!(%s) ? vec<%s, %d>() : ", guard, type, width);
        name = emit_fresh(e, "x");
        emit_line(e, "const vec<%s, %d> %s = %sload<%d>(%s + %s);", type, width, name, some, width,
                  buffer, at);
        emit_remember(e, MEMO_VECTOR, v, guard ? 2 : 1, key, name);
    }
    return arena_printf(e->g->arena, "%s.at[%d]", name, (int)lane);
}

/* The element as an expression. */
static const char *load_text(struct emitter *e, struct value *v, const struct index *offset,
                             const char *guard)
{
    if (e->state->probe)
        probe_load(e, v, offset);
    const char *lane = vector_at(e, v, offset, guard);
    if (lane)
        return lane;
    const char *buffer = emit_buffer(e, v, false);
    return arena_printf(e->g->arena, "%s[%s]", buffer, emit_index(e, offset));
}

/* A new variable of v's register type. */
static const char *define(struct emitter *e, const struct value *v, const char *text)
{
    const char *name = emit_fresh(e, "v");
    emit_line(e, "const %s %s = %s;", emit_register_type(v->type), name, text);
    return name;
}

static const char *load(struct emitter *e, struct value *v, const struct index *const *index)
{
    struct home home;
    emit_home(e, v, index, &home);
    const char *name = emit_recall(e, MEMO_LOAD, home.buffer, 1, &home.offset);
    if (!name) {
        name = define(e, v, load_text(e, home.buffer, home.offset, NULL));
        emit_remember(e, MEMO_LOAD, home.buffer, 1, &home.offset, name);
    }
    return name;
}

/* --- Values --------------------------------------------------------------------------------- */

/* Can v be written as one expression whose evaluation is harmless outside its guard? */
static bool is_plain(const struct emitter *e, const struct value *v)
{
    while (emit_is_inner(e, v) && !emit_is_core(e, v->def)) {
        const struct node *node = v->def;
        bool plain = node->op == OP_reshape || node->op == OP_transpose || node->op == OP_slice ||
                     node->op == OP_expand;
        if (!plain)
            return false;
        v = node->in[0];
    }
    return !emit_is_inner(e, v);
}

static const char *fill_of(struct emitter *e, const struct node *node)
{
    static const struct index *const none[MAX_RANK];
    const struct index *first[MAX_RANK];
    if (node->n_in < 2)
        return emit_literal(e, node->out[0]->type, 0);
    for (int i = 0; i < node->in[1]->rank; i++)
        first[i] = index_const(e->ix, 0);
    return emit_value(e, node->in[1], node->in[1]->rank ? first : none);
}

/* s where its guard holds, the fill of the pad node elsewhere. */
static const char *guarded(struct emitter *e, const struct node *node, const struct source *s)
{
    const char *fill = fill_of(e, node);
    if (e->state->probe)
        e->state->probe->fits = false;
    if (is_plain(e, s->v)) {
        struct access x;
        struct value *v = s->v;
        emit_access(e, v, s->index, &x);
        const char *literal = emit_constant(e, x.buffer);
        const char *text = literal ? literal : load_text(e, x.buffer, x.offset, s->guard);
        return define(e, node->out[0],
                      arena_printf(e->g->arena, "%s ? %s : %s", s->guard, text, fill));
    }
    const char *name = emit_fresh(e, "v");
    emit_line(e, "%s %s = %s;", emit_register_type(node->out[0]->type), name, fill);
    emit_open(e, "if (%s)", s->guard);
    emit_line(e, "%s = %s;", name, emit_value(e, s->v, s->index));
    emit_close(e);
    return name;
}

/* "} else if (…) {": the next arm of a chain. */
static void emit_else(struct emitter *e, const char *condition)
{
    e->state->indent--;
    emit_pop_scope(e);
    if (condition)
        emit_line(e, "} else if (%s) {", condition);
    else
        emit_line(e, "} else {");
    emit_push_scope(e);
    e->state->indent++;
}

/* A concat of which several parts may show: a chain of ifs. */
static const char *chosen(struct emitter *e, const struct node *node, const struct index *const *at)
{
    int axis = (int)node->attr.concat.axis, first = 0, last = node->n_in - 1;
    const struct dim *start = dim_const(e->g->dims, 0), *end = start;
    const struct index *x[MAX_RANK];
    memcpy(x, at, (size_t)node->out[0]->rank * sizeof *x);
    while (last > 0 && dim_is(node->in[last]->shape[axis], 0))
        last--;
    while (first < last && dim_is(node->in[first]->shape[axis], 0))
        first++;
    if (first == last)
        return emit_value(e, node->in[first], at);
    if (e->state->probe)
        e->state->probe->fits = false;
    const char *along = emit_index(e, at[axis]), *name = emit_fresh(e, "v");
    emit_line(e, "%s %s;", emit_register_type(node->out[0]->type), name);
    for (int i = first; i <= last; i++) {
        end = dim_add(e->g->dims, start, node->in[i]->shape[axis]);
        if (end == start)
            continue;
        const char *condition =
            i < last ? arena_printf(e->g->arena, "%s < %s", along, emit_dim(e, end)) : NULL;
        if (i == first)
            emit_open(e, "if (%s)", condition);
        else
            emit_else(e, condition);
        x[axis] = index_sub(e->ix, at[axis], index_dim(e->ix, start));
        emit_line(e, "%s = %s;", name, emit_value(e, node->in[i], x));
        start = end;
    }
    emit_close(e);
    return name;
}

static const char *map_value(struct emitter *e, struct node *node, const struct index *const *index)
{
    const char *operand[3] = {"", "", ""};
    for (int i = 0; i < node->n_in; i++)
        operand[i] = emit_value(e, node->in[i], index);
    const char *text =
        node->op == OP_cast || node->op == OP_bitcast
            ? emit_cast_text(e, node, operand[0])
            : emit_scalar_text(e, node->op, node->out[0]->type, operand[0], operand[1], operand[2]);
    return text == operand[0] ? text : define(e, node->out[0], text);
}

static const char *iota_value(struct emitter *e, struct node *node,
                              const struct index *const *index)
{
    const struct index *i = index[node->attr.iota.axis];
    int64_t value;
    if (index_is_const(i, &value))
        return emit_literal(e, node->out[0]->type, (double)value);
    return define(e, node->out[0], emit_index(e, i));
}

static const char *size_value(struct emitter *e, struct node *node)
{
    int64_t value;
    if (dim_is_const(node->attr.size.value, &value))
        return emit_literal(e, DT_I64, (double)value);
    return define(e, node->out[0], emit_dim(e, node->attr.size.value));
}

static const char *compute(struct emitter *e, struct value *v, const struct index *const *index)
{
    struct node *node = v->def;
    struct source s = {0};
    if (op_info[node->op].class == OC_SCALAR)
        return map_value(e, node, index);
    if (node->op == OP_iota)
        return iota_value(e, node, index);
    if (node->op == OP_size)
        return size_value(e, node);
    if (node->op == OP_conv)
        return emit_window_value(e, node, index);
    if (step(e, node, index, &s))
        return s.guard ? guarded(e, node, &s) : emit_value(e, s.v, s.index);
    if (node->op == OP_concat)
        return chosen(e, node, index);
    diag_error(e->g->diag, STATUS_INTERNAL, node->origin,
               "kernel %d asks for a result of %s that it does not have", node->kernel,
               op_info[node->op].name);
    e->state->failed = true;
    return "0";
}

const char *emit_value(struct emitter *e, struct value *v, const struct index *const *index)
{
    const char *name = emit_recall(e, MEMO_VALUE, v, v->rank, index);
    if (name)
        return name;
    name = emit_constant(e, v);
    name = name ? name : emit_constant_at(e, v, index);
    if (name)
        return name;
    name = emit_is_inner(e, v) ? compute(e, v, index) : load(e, v, index);
    emit_remember(e, MEMO_VALUE, v, v->rank, index, name);
    return name;
}

void emit_result(struct emitter *e, struct value *v, const struct index *const *index,
                 const char *name)
{
    emit_remember(e, MEMO_VALUE, v, v->rank, index, name);
}

void emit_access(struct emitter *e, struct value *v, const struct index *const *index,
                 struct access *out)
{
    struct source s = {.v = v};
    const char *fill = NULL;
    memcpy(s.index, index, (size_t)v->rank * sizeof *index);
    *out = (struct access){.kind = ACCESS_COMPUTED};
    while (emit_is_inner(e, s.v)) {
        struct node *node = s.v->def;
        struct source next = {0};
        bool gathers = op_info[node->op].class == OC_GATHER;
        if (emit_is_core(e, node) || (fill && (gathers || node->op == OP_pad)) ||
            !step(e, node, s.index, &next))
            return;
        if (next.guard)
            fill = fill_of(e, node);
        else
            next.guard = s.guard;
        s = next;
    }
    struct home home;
    emit_home(e, s.v, s.index, &home);
    *out = (struct access){ACCESS_VIEWED, home.buffer, home.offset, s.guard, fill};
}
