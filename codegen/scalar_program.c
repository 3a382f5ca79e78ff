#include "scalar_program.h"

#include <string.h>

enum { NO_SEGMENT = -1 };

/* The slot of a dim, and the segment whose code defines it. */
struct known_slot {
    uint32_t slot; /* PLAN_NONE: not emitted yet */
    int segment;
};

/* A constraint, or a wanted dim, and when it can be checked or computed. */
struct check {
    const struct constraint *constraint;
    int segment;
};
struct want {
    const struct dim *d;
    int segment; /* set when the program is emitted */
};

struct scalar_program {
    struct graph *g;
    int n_segments;
    const struct scalar_segment *segments;
    int n_symbols;       /* those that there were at the start … */
    int *segment_of;     /* … and their segments */
    uint32_t *record_of; /* by segment: READS record */
    struct want *wants;
    int n_wants, cap_wants;
    struct check *checks;
    int n_checks;
    struct known_slot *slots; /* by dim id */
    uint32_t cap_slots;
    int segment; /* the one being emitted */
    struct plan_scalar *code;
    uint32_t n, cap;
    uint32_t *begin; /* n_segments + 1 entries */
    uint32_t (*string)(void *context, const char *text);
    void *context;
};

/* Room for one more element; the old array stays in the arena. */
static void *grow(struct arena *arena, void *array, size_t count, size_t capacity, size_t size)
{
    void *larger = arena_array(arena, capacity, size);
    if (count)
        memcpy(larger, array, count * size);
    return larger;
}

/* Which segment makes a symbol known. */
static int find_segment(const struct scalar_program *s, int symbol)
{
    struct symbol_source source = scalar_source(s->g, symbol);
    if (source.kind == SYMBOL_INPUT_DIM)
        return 0;
    for (int i = 0; i < s->n_segments; i++) {
        const struct scalar_segment *segment = &s->segments[i];
        if (source.kind == SYMBOL_ELEMENT && segment->read == source.value)
            return i;
        if (source.kind == SYMBOL_LOOP_INDEX && segment->index && segment->index->symbol == symbol)
            return i;
    }
    return NO_SEGMENT;
}

struct scalar_program *scalar_create(struct graph *g, int n_segments,
                                     const struct scalar_segment *segments)
{
    struct scalar_program *s = ARENA_NEW(g->arena, struct scalar_program);
    *s = (struct scalar_program){.g = g, .n_segments = n_segments, .segments = segments};
    s->n_symbols = dim_symbol_count(g->dims);
    s->begin = ARENA_ARRAY(g->arena, (size_t)n_segments + 1, uint32_t);
    s->record_of = ARENA_ARRAY(g->arena, (size_t)n_segments, uint32_t);
    for (int i = 0, records = 0; i < n_segments; i++)
        s->record_of[i] = segments[i].read ? (uint32_t)records++ : PLAN_NONE;
    s->segment_of = ARENA_ARRAY(g->arena, (size_t)s->n_symbols + 1, int);
    for (int i = 0; i < s->n_symbols; i++)
        s->segment_of[i] = find_segment(s, i);
    return s;
}

void scalar_want(struct scalar_program *s, const struct dim *d)
{
    if (s->n_wants == s->cap_wants) {
        s->cap_wants = s->cap_wants ? 2 * s->cap_wants : 256;
        s->wants =
            grow(s->g->arena, s->wants, (size_t)s->n_wants, (size_t)s->cap_wants, sizeof *s->wants);
    }
    s->wants[s->n_wants++].d = d;
}

struct symbol_source scalar_source(const struct graph *g, int symbol)
{
    return symbol < g->root->n_symbols ? g->root->symbols[symbol]
                                       : (struct symbol_source){.kind = SYMBOL_FREE};
}

bool scalar_is_known(const struct scalar_program *s, int a, int b)
{
    while (b > a)
        b = s->segments[b].outer;
    return a == b;
}

/* The later of two segments of which one is known in the other. */
static int later(const struct scalar_program *s, int a, int b)
{
    if (a == NO_SEGMENT || b == NO_SEGMENT)
        return NO_SEGMENT;
    int low = a < b ? a : b, high = a < b ? b : a;
    return scalar_is_known(s, low, high) ? high : NO_SEGMENT;
}

struct latest {
    const struct scalar_program *s;
    int segment;
};

static void note_symbol(void *context, const struct dim *d)
{
    struct latest *latest = context;
    int segment = d->symbol < latest->s->n_symbols ? latest->s->segment_of[d->symbol] : NO_SEGMENT;
    latest->segment = later(latest->s, latest->segment, segment);
}

int scalar_segment_of(struct scalar_program *s, const struct dim *d)
{
    struct latest latest = {s, 0};
    dim_visit_symbols(d, note_symbol, &latest);
    return latest.segment;
}

/* ---- instructions --------------------------------------------------------------------------- */

static uint32_t push(struct scalar_program *s, struct plan_scalar instruction)
{
    if (s->n == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 256;
        s->code = grow(s->g->arena, s->code, s->n, s->cap, sizeof *s->code);
    }
    s->code[s->n] = instruction;
    return s->n++;
}

static uint32_t push_binary(struct scalar_program *s, enum plan_scalar_op op, uint32_t a,
                            uint32_t b)
{
    return push(s, (struct plan_scalar){.op = op, .a = a, .b = b});
}

static void remember(struct scalar_program *s, const struct dim *d, uint32_t slot)
{
    if (d->id >= s->cap_slots) {
        uint32_t capacity = d->id < 512 ? 1024 : d->id * 2;
        s->slots = grow(s->g->arena, s->slots, s->cap_slots, capacity, sizeof *s->slots);
        memset(s->slots + s->cap_slots, 0xff, (capacity - s->cap_slots) * sizeof *s->slots);
        s->cap_slots = capacity;
    }
    s->slots[d->id] = (struct known_slot){slot, s->segment};
}

uint32_t scalar_slot(const struct scalar_program *s, const struct dim *d)
{
    return d->id < s->cap_slots ? s->slots[d->id].slot : PLAN_NONE;
}

static uint32_t emit(struct scalar_program *s, const struct dim *d);

static uint32_t emit_constant(struct scalar_program *s, int64_t value)
{
    return emit(s, dim_const(s->g->dims, value));
}

/* What an element must not exceed stands before it, so that the runtime can reserve for the most.
 */
static void emit_upper_bounds(struct scalar_program *s, const struct dim *element)
{
    for (int i = 0; i < s->n_checks; i++) {
        const struct constraint *c = s->checks[i].constraint;
        if (s->checks[i].segment == s->segment && c->kind == MUST_LESS_EQUAL && c->a == element &&
            scalar_segment_of(s, c->b) < s->segment)
            emit(s, c->b);
    }
}

static uint32_t emit_symbol(struct scalar_program *s, const struct dim *d)
{
    struct symbol_source source = scalar_source(s->g, d->symbol);
    if (source.kind == SYMBOL_INPUT_DIM)
        return push(s, (struct plan_scalar){.op = PLAN_SC_INPUT_DIM,
                                            .a = (uint32_t)source.input,
                                            .b = (uint32_t)source.axis});
    int segment = s->segment_of[d->symbol];
    if (source.kind == SYMBOL_LOOP_INDEX)
        return push(s,
                    (struct plan_scalar){.op = PLAN_SC_LOOP_INDEX, .a = s->segments[segment].loop});
    int64_t lower, upper;
    dim_bounds(d, &lower, &upper);
    emit_upper_bounds(s, d);
    return push(s, (struct plan_scalar){.op = PLAN_SC_ELEMENT,
                                        .a = s->record_of[segment],
                                        .b = (uint32_t)source.element,
                                        .value = upper});
}

static uint32_t emit_term(struct scalar_program *s, const struct dim_term *term)
{
    uint32_t product = PLAN_NONE;
    for (int i = 0; i < term->n_atoms; i++) {
        uint32_t atom = emit(s, term->atoms[i]);
        product = product == PLAN_NONE ? atom : push_binary(s, PLAN_SC_MUL, product, atom);
    }
    if (product == PLAN_NONE)
        return emit_constant(s, term->coefficient);
    if (term->coefficient == 1)
        return product;
    return push_binary(s, PLAN_SC_MUL, product, emit_constant(s, term->coefficient));
}

/* Terms with a positive sign first, so that n - 1 never passes through -1 + n's overflow. */
static uint32_t emit_sum(struct scalar_program *s, const struct dim *d)
{
    uint32_t sum = PLAN_NONE;
    for (int sign = 0; sign < 2; sign++)
        for (int i = 0; i < d->n_terms; i++) {
            if ((d->terms[i].coefficient < 0) != (sign == 1))
                continue;
            uint32_t term = emit_term(s, &d->terms[i]);
            sum = sum == PLAN_NONE ? term : push_binary(s, PLAN_SC_ADD, sum, term);
        }
    return sum == PLAN_NONE ? emit_constant(s, 0) : sum;
}

static uint32_t emit_new(struct scalar_program *s, const struct dim *d)
{
    static const enum plan_scalar_op ops[] = {
        [DIM_FLOORDIV] = PLAN_SC_FLOORDIV, [DIM_MOD] = PLAN_SC_MOD, [DIM_MIN] = PLAN_SC_MIN,
        [DIM_MAX] = PLAN_SC_MAX,           [DIM_EQ] = PLAN_SC_EQ,   [DIM_LT] = PLAN_SC_LT,
    };
    switch (d->kind) {
    case DIM_CONST: return push(s, (struct plan_scalar){.op = PLAN_SC_CONST, .value = d->value});
    case DIM_SYMBOL: return emit_symbol(s, d);
    case DIM_SUM: return emit_sum(s, d);
    default: {
        uint32_t a = emit(s, d->a), b = emit(s, d->b);
        return push_binary(s, ops[d->kind], a, b);
    }
    }
}

/*
 * Equal dims are one pointer, so one slot each is common subexpression elimination. What a wanted
 * dim is made of may be emitted in a body first; elsewhere that slot means nothing, so there is a
 * new one. A wanted dim itself is emitted in the first segment that can, and known in all that use
 * it.
 */
static uint32_t emit(struct scalar_program *s, const struct dim *d)
{
    uint32_t slot = scalar_slot(s, d);
    if (slot == PLAN_NONE || !scalar_is_known(s, s->slots[d->id].segment, s->segment)) {
        slot = emit_new(s, d);
        remember(s, d, slot);
    }
    return slot;
}

/* ---- checks --------------------------------------------------------------------------------- */

static void emit_check(struct scalar_program *s, enum plan_scalar_op op, uint32_t a, uint32_t b,
                       const char *text)
{
    push(s, (struct plan_scalar){.op = op, .a = a, .b = b, .text = s->string(s->context, text)});
}

/* An input's axis that is not the source of its own symbol must equal what its shape says. */
static void check_input_dims(struct scalar_program *s)
{
    for (int i = 0; i < s->g->n_inputs; i++) {
        const struct value *v = s->g->inputs[i];
        for (int axis = 0; axis < v->rank; axis++) {
            const struct dim *d = v->shape[axis];
            struct symbol_source source = {.kind = SYMBOL_FREE};
            if (d->kind == DIM_SYMBOL)
                source = scalar_source(s->g, d->symbol);
            bool own = source.kind == SYMBOL_INPUT_DIM && source.input == i && source.axis == axis;
            if (dim_is_const(d, NULL) || own || scalar_segment_of(s, d) != 0)
                continue;
            struct text formula = {.arena = s->g->arena};
            dim_print(&formula, s->g->dims, d);
            uint32_t given =
                push(s, (struct plan_scalar){
                            .op = PLAN_SC_INPUT_DIM, .a = (uint32_t)i, .b = (uint32_t)axis});
            emit_check(s, PLAN_SC_MUST_EQUAL, given, emit(s, d),
                       arena_printf(s->g->arena, "input '%s', axis %d must be %s",
                                    v->name ? v->name : "", axis,
                                    formula.data));
        }
    }
}

/* Whatever was decided at compile time under a symbol's bounds holds only within them. */
static void check_bounds(struct scalar_program *s)
{
    for (int i = 0; i < s->n_symbols; i++) {
        const struct dim *d = dim_symbol_at(s->g->dims, i);
        if (s->segment_of[i] != s->segment)
            continue;
        int64_t lower, upper;
        dim_bounds(d, &lower, &upper);
        bool size = scalar_source(s->g, i).kind != SYMBOL_ELEMENT; /* never negative */
        const char *name = dim_symbol_name(s->g->dims, i);
        if (lower > (size ? 0 : INT64_MIN)) {
            uint32_t least = emit_constant(s, lower);
            emit_check(
                s, PLAN_SC_MUST_LESS_EQUAL, least, emit(s, d),
                arena_printf(s->g->arena, "%s must be at least %lld", name, (long long)lower));
        }
        if (upper < INT64_MAX) {
            uint32_t value = emit(s, d);
            emit_check(
                s, PLAN_SC_MUST_LESS_EQUAL, value, emit_constant(s, upper),
                arena_printf(s->g->arena, "%s must be at most %lld", name, (long long)upper));
        }
    }
}

static void check_constraints(struct scalar_program *s)
{
    static const enum plan_scalar_op ops[] = {
        [MUST_EQUAL] = PLAN_SC_MUST_EQUAL,
        [MUST_BROADCAST] = PLAN_SC_MUST_BROADCAST,
        [MUST_LESS_EQUAL] = PLAN_SC_MUST_LESS_EQUAL,
    };
    for (int i = 0; i < s->n_checks; i++) {
        const struct constraint *c = s->checks[i].constraint;
        if (s->checks[i].segment != s->segment)
            continue;
        uint32_t a = emit(s, c->a), b = emit(s, c->b);
        emit_check(s, ops[c->kind], a, b, c->text);
    }
}

struct sourceless {
    const struct graph *g;
    bool found;
};

static void find_sourceless(void *context, const struct dim *d)
{
    struct sourceless *sourceless = context;
    const struct graph *g = sourceless->g;
    sourceless->found |=
        d->symbol < g->root->n_symbols && g->root->symbols[d->symbol].kind == SYMBOL_FREE;
}

/* A graph in text form may lack a symbol's source; else gpucc has lost what computes one. */
static bool report_unknown(struct scalar_program *s, const struct dim *d)
{
    struct text text = {0};
    struct sourceless sourceless = {.g = s->g};
    dim_visit_symbols(d, find_sourceless, &sourceless);
    dim_print(&text, s->g->dims, d);
    diag_error(s->g->diag, sourceless.found ? STATUS_BAD_MODEL : STATUS_INTERNAL, NULL,
               sourceless.found ? "the size %s has a symbol without a source"
                                : "nothing in the plan computes the size %s",
               text.failed ? "" : text.data);
    text_free(&text);
    return false;
}

/* When each wanted dim and each constraint is known; a body's are checked when it runs. */
static bool find_segments(struct scalar_program *s)
{
    for (int i = 0; i < s->n_wants; i++) {
        s->wants[i].segment = scalar_segment_of(s, s->wants[i].d);
        if (s->wants[i].segment == NO_SEGMENT)
            return report_unknown(s, s->wants[i].d);
    }
    int n = 0;
    for (int i = 0; i < s->n_segments; i++)
        if (s->segments[i].body)
            for (const struct constraint *c = s->segments[i].body->constraints; c; c = c->next)
                n++;
    s->checks = ARENA_ARRAY(s->g->arena, (size_t)n + 1, struct check);
    for (int i = 0; i < s->n_segments; i++) {
        if (!s->segments[i].body)
            continue;
        for (const struct constraint *c = s->segments[i].body->constraints; c; c = c->next) {
            int a = later(s, i, scalar_segment_of(s, c->a));
            int b = later(s, i, scalar_segment_of(s, c->b));
            if (later(s, a, b) == NO_SEGMENT)
                return report_unknown(s, a == NO_SEGMENT ? c->a : c->b);
            s->checks[s->n_checks++] = (struct check){c, later(s, a, b)};
        }
    }
    return true;
}

bool scalar_emit(struct scalar_program *s, uint32_t (*string)(void *context, const char *text),
                 void *context)
{
    s->string = string;
    s->context = context;
    if (!find_segments(s))
        return false;
    for (s->segment = 0; s->segment < s->n_segments; s->segment++) {
        s->begin[s->segment] = s->n;
        check_bounds(s);
        if (!s->segment)
            check_input_dims(s);
        check_constraints(s);
        for (int i = 0; i < s->n_wants; i++)
            if (s->wants[i].segment == s->segment)
                emit(s, s->wants[i].d);
    }
    s->begin[s->n_segments] = s->n;
    return true;
}

const struct plan_scalar *scalar_code(const struct scalar_program *s, uint32_t *n,
                                      const uint32_t **begin)
{
    *n = s->n;
    *begin = s->begin;
    return s->code;
}
