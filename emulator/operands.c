/* Registers, instructions and operands: what decoding is made of. */
#include "decode.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "atomics.h"

enum { MAX_CODE = 1 << 20 }; /* instructions of a kernel */

void decode_fail(struct decoder *d, const char *format, ...)
{
    if (!d->failed) {
        int n = snprintf(d->message, d->size, "kernel %s: ", d->k->name);
        if (d->s && n >= 0 && (size_t)n < d->size) {
            n += snprintf(d->message + n, d->size - (size_t)n,
                          "PTX line %" PRIu32 ", %.*s: ", d->s->line, (int)d->s->op.n, d->s->op.s);
        }
        if (n >= 0 && (size_t)n < d->size) {
            va_list args;
            va_start(args, format);
            vsnprintf(d->message + n, d->size - (size_t)n, format, args);
            va_end(args);
        }
    }
    d->failed = true;
}

bool decode_grow(struct decoder *d, struct arena *a, void *array, size_t n, size_t *cap,
                 size_t size)
{
    if (!arena_grow(a, array, n, cap, size)) {
        decode_fail(d, "out of memory");
        return false;
    }
    return true;
}

/* ---- Registers ---- */

uint32_t new_reg(struct decoder *d, enum reg_class cls, bool pinned)
{
    if (!decode_grow(d, &d->scratch, &d->regs, d->n_regs, &d->regs_cap, sizeof *d->regs)) {
        return 0;
    }
    d->regs[d->n_regs] = (struct vreg){.cls = cls, .pinned = pinned};
    return (uint32_t)d->n_regs++;
}

uint32_t constant(struct decoder *d, enum reg_class cls, uint64_t value)
{
    struct kernel *k = d->k;
    for (uint32_t i = k->n_constants; i-- > 0;) {
        if (k->constants[i].cls == cls && k->constants[i].value == value) {
            return d->constant_regs[i];
        }
    }
    uint32_t r = new_reg(d, cls, true);
    if (!decode_grow(d, &k->arena, &k->constants, k->n_constants, &d->constants_cap,
                     sizeof *k->constants) ||
        !decode_grow(d, &d->scratch, &d->constant_regs, k->n_constants, &d->constant_regs_cap,
                     sizeof *d->constant_regs)) {
        return r;
    }
    d->constant_regs[k->n_constants] = r;
    k->constants[k->n_constants++] = (struct constant){.cls = cls, .value = value};
    return r;
}

/* ---- Instructions ---- */

struct insn *emit(struct decoder *d, exec_fn fn, enum insn_kind kind)
{
    struct kernel *k = d->k;
    if (k->n_code >= MAX_CODE) {
        decode_fail(d, "more than %d instructions", MAX_CODE);
    }
    if (d->failed ||
        !decode_grow(d, &k->arena, &k->code, k->n_code, &d->code_cap, sizeof *k->code) ||
        !decode_grow(d, &k->arena, &k->statements, k->n_code, &d->statements_cap,
                     sizeof *k->statements) ||
        !decode_grow(d, &k->arena, &k->forms, k->n_code, &d->forms_cap, sizeof *k->forms)) {
        static struct insn nowhere;
        return &nowhere;
    }
    k->statements[k->n_code] = d->s;
    k->forms[k->n_code] = d->form;
    struct insn *in = &k->code[k->n_code++];
    *in = (struct insn){.fn = fn,
                        .kind = (uint8_t)kind,
                        .run = 1,
                        .d = NO_SLOT,
                        .a = NO_SLOT,
                        .b = NO_SLOT,
                        .c = NO_SLOT,
                        .e = NO_SLOT,
                        .d2 = NO_SLOT,
                        .guard = NO_SLOT};
    return in;
}

/* The instruction emitted last has a register in that field. */
void refer(struct decoder *d, enum field field, uint32_t reg, bool write, uint32_t *element)
{
    if (!d->failed &&
        decode_grow(d, &d->scratch, &d->refs, d->n_refs, &d->refs_cap, sizeof *d->refs)) {
        d->refs[d->n_refs++] = (struct reference){d->k->n_code - 1, field, write, reg, element};
    }
}

void begin_block(struct decoder *d)
{
    struct kernel *k = d->k;
    if (k->n_code && k->code[k->n_code - 1].kind == KIND_BLOCK) {
        return;
    }
    const char *form = d->form;
    d->form = NULL;
    emit(d, NULL, KIND_BLOCK)->target = k->n_blocks++;
    d->form = form;
}

exec_fn handler(struct decoder *d, const struct form *f)
{
    return d->k->isa->handlers[f - form_table];
}

/* The handler of a form known to be in the table. */
exec_fn named_handler(struct decoder *d, const char *name)
{
    const struct form *f = form_find((struct slice){name, (uint32_t)strlen(name)});
    if (!f) {
        decode_fail(d, "internal: no form '%s'", name);
        return NULL;
    }
    return handler(d, f);
}

enum dest dest_of(enum reg_class cls)
{
    static const enum dest dests[] = {DEST_SELF, DEST_16, DEST_32, DEST_64};
    return dests[cls];
}

/* A helper: to = fn(from); imm as the handler wants it. Returns to. */
uint32_t move(struct decoder *d, exec_fn fn, uint32_t to, uint32_t from, int64_t imm)
{
    struct insn *in = emit(d, fn, KIND_EXEC);
    in->imm = imm;
    in->dest = (uint8_t)dest_of(d->regs[to].cls);
    refer(d, FIELD_A, from, false, NULL);
    refer(d, FIELD_D, to, true, NULL);
    return to;
}

/* ---- Symbols ---- */

static uint64_t place_shared(struct decoder *d, const struct variable *v)
{
    struct kernel *k = d->k;
    for (size_t i = 0; i < d->n_shared; i++) {
        if (d->shared[i].v == v) {
            return d->shared[i].offset;
        }
    }
    uint64_t offset = (k->shared_bytes + v->align - 1) & ~(v->align - 1);
    if (decode_grow(d, &d->scratch, &d->shared, d->n_shared, &d->shared_cap, sizeof *d->shared)) {
        d->shared[d->n_shared++] = (struct shared_variable){v, offset};
    }
    if (offset + v->size > 232448) {
        decode_fail(d, "more than 227 KiB of static shared memory");
        return 0;
    }
    k->shared_bytes = (uint32_t)(offset + v->size);
    return offset;
}

/* The address of a variable in its space. */
static uint64_t variable_address(struct decoder *d, const struct instance *at,
                                 const struct variable *v, enum space *space)
{
    *space = v->space;
    switch (v->space) {
    case SPACE_SHARED: return place_shared(d, v);
    case SPACE_LOCAL: return at->frame + v->offset;
    case SPACE_PARAM: {
        uint32_t i = 0;
        for (const struct variable *p = at->f->formals; p; p = p->next, i++) {
            if (p == v && !at->formals) {
                return WINDOW_PARAM + v->offset;
            }
            if (p == v) {
                *space = SPACE_LOCAL;
                return at->formals[i];
            }
        }
        *space = SPACE_LOCAL;
        return v == at->f->result ? at->result : at->frame + v->offset;
    }
    default:
        if (v->external) {
            decode_fail(d, "variable %.*s is external", (int)v->name.n, v->name.s);
        }
        return v->offset;
    }
}

uint64_t symbol_address(struct decoder *d, const struct instance *at, struct slice name,
                        enum space *space)
{
    const struct variable *v = module_variable(d->m, at->f, d->s->scope, name);
    *space = SPACE_GENERIC;
    if (!v) {
        decode_fail(d, "unknown symbol '%.*s'", (int)name.n, name.s);
        return 0;
    }
    return variable_address(d, at, v, space);
}

/* ---- Operands ---- */

enum reg_class letter_class(char letter)
{
    switch (letter) {
    case 'p': return REG_PRED;
    case 'h': return REG_16;
    case 'w':
    case 'f': return REG_32;
    default: return REG_64;
    }
}

const char *class_name(enum reg_class cls)
{
    static const char *const names[] = {"a predicate", "16 bits", "32 bits", "64 bits"};
    return names[cls];
}

/* Bits of a literal for an operand of that letter. */
static uint64_t literal(struct decoder *d, const struct operand *o, char letter)
{
    bool wants_float = letter == 'f' || letter == 'd';
    if (o->kind == OPERAND_INT) {
        if (wants_float) {
            decode_fail(d, "an integer where a floating-point number is wanted");
        }
        return letter == 'p'   ? (o->imm ? UINT64_MAX : 0)
               : letter == 'h' ? o->imm & 0xffff
               : letter == 'w' ? o->imm & 0xffffffff
                               : o->imm;
    }
    if (o->kind == OPERAND_F64 && letter == 'f') {
        double wide;
        memcpy(&wide, &o->imm, sizeof wide);
        float narrow = (float)wide;
        uint32_t bits;
        memcpy(&bits, &narrow, sizeof bits);
        return bits;
    }
    bool fits =
        o->kind == OPERAND_F32 ? letter == 'f' || letter == 'w' : letter == 'd' || letter == 'l';
    if (!fits) {
        decode_fail(d, "a floating-point constant of another width");
    }
    return o->imm;
}

static uint32_t special_register(struct decoder *d, enum special s)
{
    if (s == SPECIAL_CLOCK || s == SPECIAL_CLOCK64 || s == SPECIAL_GLOBALTIMER) {
        bool wide = s != SPECIAL_CLOCK;
        uint32_t r = new_reg(d, wide ? REG_64 : REG_32, false);
        struct insn *in =
            emit(d, d->k->isa->extra[wide ? EXTRA_clock_64 : EXTRA_clock_32], KIND_EXEC);
        in->dest = DEST_SELF;
        refer(d, FIELD_D, r, true, NULL);
        return r;
    }
    if (d->special[s] == NO_SLOT) {
        d->special[s] = new_reg(d, REG_32, true);
    }
    return d->special[s];
}

/* The register that holds a source operand; its class is what it is. */
uint32_t source_register(struct decoder *d, const struct instance *at, const struct operand *o,
                         char letter)
{
    enum space space;
    switch (o->kind) {
    case OPERAND_REG: {
        uint32_t r = at->first_reg + o->reg;
        if (!o->negate) {
            return r;
        }
        uint32_t inverse = new_reg(d, REG_PRED, false);
        return move(d, named_handler(d, "not.pred"), inverse, r, 0);
    }
    case OPERAND_SPECIAL: return special_register(d, (enum special)o->reg);
    case OPERAND_INT:
    case OPERAND_F32:
    case OPERAND_F64: return constant(d, letter_class(letter), literal(d, o, letter));
    case OPERAND_SYMBOL:
        return constant(d, letter_class(letter),
                        symbol_address(d, at, o->symbol, &space) + (uint64_t)o->offset);
    default: decode_fail(d, "an operand of the wrong kind"); return 0;
    }
}

uint32_t source(struct decoder *d, const struct instance *at, const struct operand *o, char letter)
{
    uint32_t r = source_register(d, at, o, letter);
    if (!d->failed && d->regs[r].cls != letter_class(letter)) {
        decode_fail(d, "an operand has %s where %s are wanted", class_name(d->regs[r].cls),
                    class_name(letter_class(letter)));
    }
    return r;
}

uint32_t destination(struct decoder *d, const struct instance *at, const struct operand *o,
                     char letter)
{
    enum reg_class cls = letter_class(letter);
    if (o->kind == OPERAND_SINK) {
        return new_reg(d, cls, false);
    }
    if (o->kind != OPERAND_REG || o->negate) {
        decode_fail(d, "the destination is not a register");
        return 0;
    }
    uint32_t r = at->first_reg + o->reg;
    if (d->regs[r].cls != cls) {
        decode_fail(d, "the destination has %s where %s are wanted", class_name(d->regs[r].cls),
                    class_name(cls));
    }
    return r;
}

void want_operands(struct decoder *d, uint32_t low, uint32_t high)
{
    if (d->s->n_operands < low || d->s->n_operands > high) {
        decode_fail(d, "%" PRIu32 " operands where %" PRIu32 " are wanted", d->s->n_operands, low);
    }
}
