#include "decode.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "atomics.h"

enum {
    MAX_INLINE_DEPTH = 32,
    MAX_CODE = 1 << 20, /* instructions of a kernel */
};
#define MAX_LOCAL (UINT64_C(512) * 1024)

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

static bool grow(struct decoder *d, struct arena *a, void *array, size_t n, size_t *cap,
                 size_t size)
{
    if (!arena_grow(a, array, n, cap, size)) {
        decode_fail(d, "out of memory");
        return false;
    }
    return true;
}

/* ---- Registers ---- */

static uint32_t new_reg(struct decoder *d, enum reg_class cls, bool pinned)
{
    if (!grow(d, &d->scratch, &d->regs, d->n_regs, &d->regs_cap, sizeof *d->regs)) {
        return 0;
    }
    d->regs[d->n_regs] = (struct vreg){.cls = cls, .pinned = pinned};
    return (uint32_t)d->n_regs++;
}

static uint32_t constant(struct decoder *d, enum reg_class cls, uint64_t value)
{
    struct kernel *k = d->k;
    for (uint32_t i = k->n_constants; i-- > 0;) {
        if (k->constants[i].cls == cls && k->constants[i].value == value) {
            return d->constant_regs[i];
        }
    }
    uint32_t r = new_reg(d, cls, true);
    if (!grow(d, &k->arena, &k->constants, k->n_constants, &d->constants_cap,
              sizeof *k->constants) ||
        !grow(d, &d->scratch, &d->constant_regs, k->n_constants, &d->constant_regs_cap,
              sizeof *d->constant_regs)) {
        return r;
    }
    d->constant_regs[k->n_constants] = r;
    k->constants[k->n_constants++] = (struct constant){.cls = cls, .value = value};
    return r;
}

/* ---- Instructions ---- */

static struct insn *emit(struct decoder *d, exec_fn fn, enum insn_kind kind)
{
    struct kernel *k = d->k;
    if (k->n_code >= MAX_CODE) {
        decode_fail(d, "more than %d instructions", MAX_CODE);
    }
    if (d->failed || !grow(d, &k->arena, &k->code, k->n_code, &d->code_cap, sizeof *k->code) ||
        !grow(d, &k->arena, &k->statements, k->n_code, &d->statements_cap, sizeof *k->statements) ||
        !grow(d, &k->arena, &k->forms, k->n_code, &d->forms_cap, sizeof *k->forms)) {
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
static void refer(struct decoder *d, enum field field, uint32_t reg, bool write, uint32_t *element)
{
    if (!d->failed && grow(d, &d->scratch, &d->refs, d->n_refs, &d->refs_cap, sizeof *d->refs)) {
        d->refs[d->n_refs++] = (struct reference){d->k->n_code - 1, field, write, reg, element};
    }
}

static void begin_block(struct decoder *d)
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

static exec_fn handler(struct decoder *d, const struct form *f)
{
    return d->k->isa->handlers[f - form_table];
}

/* The handler of a form known to be in the table. */
static exec_fn named_handler(struct decoder *d, const char *name)
{
    const struct form *f = form_find((struct slice){name, (uint32_t)strlen(name)});
    if (!f) {
        decode_fail(d, "internal: no form '%s'", name);
        return NULL;
    }
    return handler(d, f);
}

static enum dest dest_of(enum reg_class cls)
{
    static const enum dest dests[] = {DEST_SELF, DEST_16, DEST_32, DEST_64};
    return dests[cls];
}

/* A helper: to = fn(from); imm as the handler wants it. Returns to. */
static uint32_t move(struct decoder *d, exec_fn fn, uint32_t to, uint32_t from, int64_t imm)
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
    if (grow(d, &d->scratch, &d->shared, d->n_shared, &d->shared_cap, sizeof *d->shared)) {
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

static uint64_t symbol_address(struct decoder *d, const struct instance *at, struct slice name,
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

static enum reg_class letter_class(char letter)
{
    switch (letter) {
    case 'p': return REG_PRED;
    case 'h': return REG_16;
    case 'w':
    case 'f': return REG_32;
    default: return REG_64;
    }
}

static const char *class_name(enum reg_class cls)
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
static uint32_t source_register(struct decoder *d, const struct instance *at,
                                const struct operand *o, char letter)
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

static uint32_t source(struct decoder *d, const struct instance *at, const struct operand *o,
                       char letter)
{
    uint32_t r = source_register(d, at, o, letter);
    if (!d->failed && d->regs[r].cls != letter_class(letter)) {
        decode_fail(d, "an operand has %s where %s are wanted", class_name(d->regs[r].cls),
                    class_name(letter_class(letter)));
    }
    return r;
}

static uint32_t destination(struct decoder *d, const struct instance *at, const struct operand *o,
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

static void want_operands(struct decoder *d, uint32_t low, uint32_t high)
{
    if (d->s->n_operands < low || d->s->n_operands > high) {
        decode_fail(d, "%" PRIu32 " operands where %" PRIu32 " are wanted", d->s->n_operands, low);
    }
}

/* ---- Forms with an operand string ---- */

static void decode_alu(struct decoder *d, const struct instance *at, const struct form *f)
{
    static const enum field fields[] = {FIELD_A, FIELD_B, FIELD_C, FIELD_E};
    const char *equals = strchr(f->operands, '='), *letters = equals + 1;
    uint32_t n_dest = (uint32_t)(equals - f->operands), n = (uint32_t)strlen(letters), regs[4];
    int64_t imm = 0;
    bool meet = f->class == FORM_MEET;
    want_operands(d, n_dest + n, n_dest + n);
    if (d->failed) {
        return;
    }
    const struct operand *o = d->s->operands + n_dest;
    for (uint32_t i = 0; i < n; i++) {
        if (letters[i] == 'i') {
            imm = (int64_t)o[i].imm;
            if (o[i].kind != OPERAND_INT) {
                decode_fail(d, "operand %" PRIu32 " is not an integer constant", n_dest + i + 1);
            }
        } else {
            regs[i] = source(d, at, &o[i], letters[i]);
        }
    }
    uint32_t dest = n_dest ? destination(d, at, d->s->operands, f->operands[0]) : 0;
    const struct operand *second = n_dest ? d->s->operands->second : NULL;
    uint32_t dest2 = second ? destination(d, at, second, 'p') : 0;
    uint32_t carry = d->carry;
    if (f->class == FORM_CARRY && carry == NO_SLOT) {
        carry = d->carry = new_reg(d, REG_PRED, false);
    }
    struct insn *in = emit(d, handler(d, f), meet ? KIND_CONVERGE : KIND_EXEC);
    in->mod = in->op = f->mod;
    in->imm = imm;
    bool self = meet || f->class == FORM_SELF || !n_dest;
    in->dest = self ? DEST_SELF : (uint8_t)dest_of(letter_class(f->operands[0]));
    for (uint32_t i = 0; i < n; i++) {
        if (letters[i] != 'i') {
            bool last = i == n - 1 && (meet || (f->class == FORM_CARRY && n == 3));
            refer(d, last ? FIELD_E : fields[i], regs[i], false, NULL);
        }
    }
    if (f->class == FORM_CARRY) {
        if (n == 2) {
            refer(d, FIELD_E, regs[0], false, NULL); /* not used, but must be readable */
        }
        if (f->mod & 1) {
            refer(d, FIELD_C, carry, false, NULL);
        }
        if (f->mod & 2) {
            refer(d, FIELD_D2, carry, true, NULL);
        }
    }
    if (n_dest) {
        refer(d, FIELD_D, dest, true, NULL);
    }
    if (second) {
        refer(d, FIELD_D2, dest2, true, NULL);
    }
}

/* d = f(a), with registers given. */
static void emit_map(struct decoder *d, const struct form *f, uint32_t dest, uint32_t a)
{
    move(d, handler(d, f), dest, a, 0);
    d->k->code[d->k->n_code ? d->k->n_code - 1 : 0].mod = f->mod;
}

static void decode_mov(struct decoder *d, const struct instance *at, const struct form *f)
{
    want_operands(d, 2, 2);
    if (d->failed) {
        return;
    }
    const struct operand *to = &d->s->operands[0], *from = &d->s->operands[1];
    const exec_fn *extra = d->k->isa->extra;
    char letter = f->operands[0];
    enum reg_class cls = letter_class(letter);
    uint32_t bits = 8 * decode_class_bytes(cls) / LANES;
    if (to->kind == OPERAND_VECTOR) {
        uint32_t a = source(d, at, from, letter), n = to->n_elements;
        bool halves = n && bits / n == 16;
        if ((n != 2 && n != 4) || (!halves && bits / n != 32)) {
            decode_fail(d, "a vector of %" PRIu32 " for %" PRIu32 " bits", n, bits);
            return;
        }
        exec_fn part = extra[!halves      ? EXTRA_part_32
                             : bits == 64 ? EXTRA_part_16_64
                                          : EXTRA_part_16];
        for (uint32_t i = 0; i < n; i++) {
            if (to->elements[i].kind != OPERAND_SINK) {
                uint32_t r = destination(d, at, &to->elements[i], halves ? 'h' : 'w');
                move(d, part, r, a, (int64_t)(i * bits / n));
            }
        }
        return;
    }
    if (from->kind == OPERAND_VECTOR) {
        uint32_t n = from->n_elements, regs[4];
        bool halves = n && bits / n == 16;
        if ((n != 2 && n != 4) || (!halves && bits / n != 32)) {
            decode_fail(d, "a vector of %" PRIu32 " for %" PRIu32 " bits", n, bits);
            return;
        }
        for (uint32_t i = 0; i < n; i++) {
            regs[i] = source(d, at, &from->elements[i], halves ? 'h' : 'w');
        }
        uint32_t dest = destination(d, at, to, letter);
        static const enum field fields[] = {FIELD_A, FIELD_B, FIELD_C, FIELD_E};
        struct insn *in = emit(d,
                               extra[n == 4   ? EXTRA_pack_16x4
                                     : halves ? EXTRA_pack_16
                                              : EXTRA_pack_32],
                               KIND_EXEC);
        in->dest = (uint8_t)dest_of(cls);
        for (uint32_t i = 0; i < n; i++) {
            refer(d, fields[i], regs[i], false, NULL);
        }
        refer(d, FIELD_D, dest, true, NULL);
        return;
    }
    uint32_t a = source_register(d, at, from, letter);
    uint32_t dest = destination(d, at, to, letter);
    if (!d->failed && d->regs[a].cls != cls) {
        decode_fail(d, "the source has %s", class_name(d->regs[a].cls));
        return;
    }
    emit_map(d, f, dest, a);
}

static void decode_space(struct decoder *d, const struct instance *at, const struct form *f)
{
    static const uint64_t windows[] = {[SPACE_GLOBAL] = 0,
                                       [SPACE_SHARED] = WINDOW_SHARED,
                                       [SPACE_LOCAL] = WINDOW_LOCAL,
                                       [SPACE_PARAM] = WINDOW_PARAM};
    decode_alu(d, at, f);
    if (!d->failed) {
        d->k->code[d->k->n_code - 1].imm = (int64_t)windows[f->mod];
    }
}

/* ---- Conversions: registers may be wider than the type ---- */

static enum reg_class type_class(const char *type)
{
    const char *digits = type + strcspn(type, "0123456789");
    int bits = atoi(digits);
    return bits <= 16 ? REG_16 : bits == 32 ? REG_32 : REG_64;
}

static uint32_t narrow(struct decoder *d, uint32_t r, enum reg_class to)
{
    enum reg_class from = d->regs[r].cls;
    if (from == to || d->failed) {
        return r;
    }
    if (from < to || from == REG_PRED) {
        decode_fail(d, "the source has only %s", class_name(from));
        return r;
    }
    enum extra_handler h = to == REG_32     ? EXTRA_part_32
                           : from == REG_32 ? EXTRA_part_16
                                            : EXTRA_part_16_64;
    return move(d, d->k->isa->extra[h], new_reg(d, to, false), r, 0);
}

static void decode_cvt(struct decoder *d, const struct instance *at, const struct form *f)
{
    want_operands(d, 2, 2);
    const char *equals = strchr(f->operands, '=');
    enum reg_class from = type_class(equals + 1), to = type_class(f->operands);
    if (d->failed) {
        return;
    }
    static const char letters[] = {[REG_16] = 'h', [REG_32] = 'w', [REG_64] = 'l'};
    bool from_float = equals[1] == 'f';
    char letter = from_float && from == REG_32   ? 'f'
                  : from_float && from == REG_64 ? 'd'
                                                 : letters[from];
    uint32_t a = narrow(d, source_register(d, at, &d->s->operands[1], letter), from);
    const struct operand *o = &d->s->operands[0];
    if (d->failed || o->kind != OPERAND_REG) {
        decode_fail(d, "the destination is not a register");
        return;
    }
    uint32_t dest = at->first_reg + o->reg;
    enum reg_class have = d->regs[dest].cls;
    if (have == to) {
        emit_map(d, f, dest, a);
        return;
    }
    if (have < to) {
        decode_fail(d, "the destination has only %s", class_name(have));
        return;
    }
    uint32_t value = new_reg(d, to, false);
    emit_map(d, f, value, a);
    bool is_signed = f->operands[0] == 's';
    const char *widen = to == REG_32     ? (is_signed ? "cvt.s64.s32" : "cvt.u64.u32")
                        : have == REG_32 ? (is_signed ? "cvt.s32.s16" : "cvt.u32.u16")
                                         : (is_signed ? "cvt.s64.s16" : "cvt.u64.u16");
    move(d, named_handler(d, widen), dest, value, 0);
}

/* ---- Comparisons ---- */

static void decode_setp(struct decoder *d, const struct instance *at, const struct form *f)
{
    uint32_t n = f->mod & MOD_COMBINE ? 4 : 3;
    want_operands(d, n, n);
    if (d->failed) {
        return;
    }
    const struct operand *o = d->s->operands;
    uint32_t a = source(d, at, &o[1], f->operands[0]), b = source(d, at, &o[2], f->operands[1]);
    uint32_t c = n == 4 ? source(d, at, &o[3], 'p') : 0;
    uint32_t p = destination(d, at, &o[0], 'p');
    uint32_t q = o[0].second ? destination(d, at, o[0].second, 'p') : 0;
    struct insn *in = emit(d, handler(d, f), KIND_EXEC);
    in->mod = f->mod;
    refer(d, FIELD_A, a, false, NULL);
    refer(d, FIELD_B, b, false, NULL);
    if (n == 4) {
        refer(d, FIELD_C, c, false, NULL);
    }
    refer(d, FIELD_D, p, true, NULL);
    if (o[0].second) {
        refer(d, FIELD_D2, q, true, NULL);
    }
}

static void decode_set(struct decoder *d, const struct instance *at, const struct form *f)
{
    want_operands(d, 3, 3);
    if (d->failed) {
        return;
    }
    const struct operand *o = d->s->operands;
    uint32_t a = source(d, at, &o[1], f->operands[0]), b = source(d, at, &o[2], f->operands[1]);
    uint32_t p = new_reg(d, REG_PRED, false), dest = destination(d, at, &o[0], 'w');
    struct insn *in = emit(d, handler(d, f), KIND_EXEC);
    refer(d, FIELD_A, a, false, NULL);
    refer(d, FIELD_B, b, false, NULL);
    refer(d, FIELD_D, p, true, NULL);
    uint32_t yes = constant(d, REG_32, f->class == FORM_SETF ? 0x3f800000 : 0xffffffff);
    uint32_t no = constant(d, REG_32, 0);
    in = emit(d, named_handler(d, "selp.b32"), KIND_EXEC);
    in->dest = DEST_32;
    refer(d, FIELD_A, yes, false, NULL);
    refer(d, FIELD_B, no, false, NULL);
    refer(d, FIELD_C, p, false, NULL);
    refer(d, FIELD_D, dest, true, NULL);
}

/* ---- Memory ---- */

struct address {
    uint32_t reg;
    int64_t offset;
    bool bits32;
    enum space space; /* of a symbol; GENERIC for a register */
};

static struct address decode_address(struct decoder *d, const struct instance *at,
                                     const struct operand *o)
{
    struct address a = {.offset = o->offset};
    if (o->kind != OPERAND_MEMORY || o->n_elements != 1) {
        decode_fail(d, "expected an address in brackets");
        return a;
    }
    const struct operand *base = o->elements;
    if (base->kind == OPERAND_SYMBOL) {
        uint64_t address = symbol_address(d, at, base->symbol, &a.space);
        a.reg = constant(d, REG_64, address + (uint64_t)base->offset);
    } else if (base->kind == OPERAND_INT) {
        a.reg = constant(d, REG_64, base->imm);
    } else {
        a.reg = source_register(d, at, base, 'l');
        enum reg_class cls = d->failed ? REG_64 : d->regs[a.reg].cls;
        a.bits32 = cls == REG_32;
        if (cls != REG_32 && cls != REG_64) {
            decode_fail(d, "an address of %s", class_name(cls));
        }
    }
    return a;
}

static bool space_fits(enum space wanted, enum space have)
{
    return have == SPACE_GENERIC || wanted == SPACE_GENERIC || wanted == have ||
           (wanted == SPACE_PARAM && have == SPACE_LOCAL);
}

static void decode_memory(struct decoder *d, const struct instance *at, const struct form *f)
{
    bool load = f->class == FORM_LD;
    want_operands(d, 2, 2);
    if (d->failed) {
        return;
    }
    const struct operand *value = &d->s->operands[load ? 0 : 1];
    const struct operand *place = &d->s->operands[load ? 1 : 0];
    uint32_t size = (uint32_t)(f->operands[1] - '0'), n = (uint32_t)(f->operands[2] - '0');
    const struct operand *elements = value->kind == OPERAND_VECTOR ? value->elements : value;
    uint32_t have = value->kind == OPERAND_VECTOR ? value->n_elements : 1;
    if (have != n) {
        decode_fail(d, "a vector of %" PRIu32 " where %" PRIu32 " are wanted", have, n);
        return;
    }
    struct address a = decode_address(d, at, place);
    char letter = size <= 2 ? 'h' : size == 4 ? 'w' : 'l';
    enum reg_class cls = letter_class(letter);
    uint32_t regs[8];
    for (uint32_t i = 0; i < n; i++) { /* the first register says how wide all are */
        if (elements[i].kind == OPERAND_REG && !d->failed) {
            enum reg_class c = d->regs[at->first_reg + elements[i].reg].cls;
            cls = c > cls ? c : cls;
        }
    }
    static const char letters[] = {[REG_16] = 'h', [REG_32] = 'w', [REG_64] = 'l'};
    letter = letters[cls];
    for (uint32_t i = 0; i < n; i++) {
        regs[i] =
            load ? destination(d, at, &elements[i], letter) : source(d, at, &elements[i], letter);
    }
    if (!space_fits((enum space)f->mod, a.space)) {
        decode_fail(d, "the variable is in another space");
    }
    exec_fn fn = handler(d, f);
    if (f->mod == SPACE_PARAM && a.space == SPACE_LOCAL) { /* of a call: on the stack */
        fn = named_handler(d, load ? "ld.local.b32" : "st.local.b32");
    } else if (f->mod == SPACE_PARAM && !load) {
        decode_fail(d, "the kernel's parameters cannot be written");
    }
    uint32_t *v = arena_alloc(&d->k->arena, n, sizeof *v);
    if (!v) {
        decode_fail(d, "out of memory");
        return;
    }
    struct insn *in = emit(d, fn, KIND_EXEC);
    in->imm = a.offset;
    in->address32 = a.bits32;
    in->v = v;
    in->n = (uint8_t)n;
    in->size = (uint8_t)size;
    in->width = (uint8_t)(decode_class_bytes(cls) / LANES);
    in->sign = f->operands[0] == 's';
    in->generic = f->mod == SPACE_GENERIC;
    refer(d, FIELD_A, a.reg, false, NULL);
    for (uint32_t i = 0; i < n; i++) {
        refer(d, FIELD_V, regs[i], load, &v[i]);
    }
}

static void decode_atomic(struct decoder *d, const struct instance *at, const struct form *f)
{
    uint32_t first = f->class == FORM_ATOM ? 1 : 0, n = first + 2 + (f->mod == ATOMIC_CAS);
    want_operands(d, n, n);
    if (d->failed) {
        return;
    }
    const struct operand *o = d->s->operands;
    char size = f->operands[0];
    bool is_float = f->mod == ATOMIC_ADD_F32 || f->mod == ATOMIC_ADD_F64;
    char letter = size == '2' ? 'h' : size == '4' ? (is_float ? 'f' : 'w') : is_float ? 'd' : 'l';
    struct address a = decode_address(d, at, &o[first]);
    uint32_t b = source(d, at, &o[first + 1], letter);
    uint32_t c = f->mod == ATOMIC_CAS ? source(d, at, &o[first + 2], letter) : 0;
    bool keep = first && o[0].kind != OPERAND_SINK;
    uint32_t dest = keep ? destination(d, at, &o[0], letter) : 0;
    struct insn *in = emit(d, handler(d, f), KIND_EXEC);
    in->imm = a.offset;
    in->address32 = a.bits32;
    in->op = f->mod;
    in->n = 1;
    in->generic = !strstr(f->public.name, ".global") && !strstr(f->public.name, ".shared");
    in->size = in->width = (uint8_t)(size - '0');
    refer(d, FIELD_A, a.reg, false, NULL);
    refer(d, FIELD_B, b, false, NULL);
    if (f->mod == ATOMIC_CAS) {
        refer(d, FIELD_C, c, false, NULL);
    }
    if (keep) { /* an atomic leaves the other lanes as they are: no end of the old value */
        refer(d, FIELD_D, dest, true, NULL);
    }
}

static void decode_shfl(struct decoder *d, const struct instance *at, const struct form *f)
{
    want_operands(d, 5, 5);
    if (d->failed) {
        return;
    }
    static const enum field fields[] = {FIELD_A, FIELD_B, FIELD_C, FIELD_E};
    const struct operand *o = d->s->operands;
    uint32_t regs[4];
    for (int i = 0; i < 4; i++) {
        regs[i] = source(d, at, &o[i + 1], 'w');
    }
    uint32_t dest = destination(d, at, &o[0], 'w');
    uint32_t p = o[0].second ? destination(d, at, o[0].second, 'p') : 0;
    struct insn *in = emit(d, handler(d, f), KIND_CONVERGE);
    in->op = f->mod;
    for (int i = 0; i < 4; i++) {
        refer(d, fields[i], regs[i], false, NULL);
    }
    refer(d, FIELD_D, dest, true, NULL);
    if (o[0].second) {
        refer(d, FIELD_D2, p, true, NULL);
    }
}

static void decode_barrier(struct decoder *d, const struct instance *at, const struct form *f)
{
    want_operands(d, f->mod == BARRIER_ARRIVE ? 2 : 1, 2);
    if (d->failed) {
        return;
    }
    uint32_t id = source(d, at, &d->s->operands[0], 'w');
    bool counted = d->s->n_operands == 2;
    uint32_t threads = counted ? source(d, at, &d->s->operands[1], 'w') : 0;
    struct insn *in = emit(d, NULL, KIND_BARRIER);
    in->op = f->mod;
    refer(d, FIELD_A, id, false, NULL);
    if (counted) {
        refer(d, FIELD_B, threads, false, NULL);
    }
}

/* ---- Control flow ---- */

static void fix_later(struct decoder *d, const struct instance *at, uint32_t statement,
                      uint32_t *element)
{
    if (!d->failed &&
        grow(d, &d->scratch, &d->fixups, d->n_fixups, &d->fixups_cap, sizeof *d->fixups)) {
        d->fixups[d->n_fixups++] = (struct fixup){d->k->n_code - 1, at, statement, element};
    }
}

static const struct label *find_label(struct decoder *d, const struct instance *at,
                                      struct slice name)
{
    const struct label *l = function_label(at->f, d->s->scope, name);
    if (!l) {
        decode_fail(d, "unknown label '%.*s'", (int)name.n, name.s);
    }
    return l;
}

static void decode_bra(struct decoder *d, const struct instance *at)
{
    want_operands(d, 1, 1);
    if (!d->failed && d->s->operands[0].kind != OPERAND_SYMBOL) {
        decode_fail(d, "the target is not a label");
    }
    const struct label *l = d->failed ? NULL : find_label(d, at, d->s->operands[0].symbol);
    if (l) {
        emit(d, NULL, KIND_BRANCH);
        fix_later(d, at, l->statement, NULL);
    }
}

static void decode_brx(struct decoder *d, const struct instance *at)
{
    want_operands(d, 2, 2);
    if (d->failed || d->s->operands[1].kind != OPERAND_SYMBOL) {
        decode_fail(d, "the target is not a list of labels");
        return;
    }
    const struct label *list = find_label(d, at, d->s->operands[1].symbol);
    uint32_t a = source(d, at, &d->s->operands[0], 'w');
    if (d->failed || !list->n_targets) {
        decode_fail(d, "the target is not a list of labels");
        return;
    }
    uint32_t *targets = arena_alloc(&d->k->arena, list->n_targets, sizeof *targets);
    if (!targets) {
        decode_fail(d, "out of memory");
        return;
    }
    struct insn *in = emit(d, NULL, KIND_BRANCH_INDEX);
    in->v = targets;
    in->imm = list->n_targets;
    refer(d, FIELD_A, a, false, NULL);
    for (uint32_t i = 0; i < list->n_targets; i++) {
        const struct label *l = find_label(d, at, list->targets[i]);
        if (l) {
            fix_later(d, at, l->statement, &targets[i]);
        }
    }
}

static void decode_function(struct decoder *d, struct instance *at);

/* Binds the callee's parameters to the caller's variables and decodes its body in place. */
static void decode_call(struct decoder *d, const struct instance *at)
{
    const struct operand *o = d->s->operands, *end = o + d->s->n_operands;
    const struct operand *result = o < end && o->kind == OPERAND_VECTOR ? o++ : NULL;
    const struct operand *name = o < end && o->kind == OPERAND_SYMBOL ? o++ : NULL;
    const struct operand *actual = o < end && o->kind == OPERAND_VECTOR ? o++ : NULL;
    if (!name || o < end) {
        decode_fail(d, "only direct calls are supported");
        return;
    }
    const struct function *f = module_function(d->m, name->symbol);
    if (!f || !f->has_body) {
        decode_fail(d, "function '%.*s' has no body here", (int)name->symbol.n, name->symbol.s);
        return;
    }
    for (const struct instance *i = at; i; i = i->caller) {
        if (i->f == f) {
            decode_fail(d, "recursive calls are not supported");
            return;
        }
    }
    uint32_t n = actual ? actual->n_elements : 0;
    struct instance *callee = arena_alloc(&d->scratch, 1, sizeof *callee);
    uint64_t *formals = arena_alloc(&d->scratch, n + 1, sizeof *formals);
    if (!callee || !formals) {
        decode_fail(d, "out of memory");
        return;
    }
    if (n != f->n_formals || (result ? result->n_elements : 0) != (f->result ? 1u : 0u) ||
        at->depth >= MAX_INLINE_DEPTH) {
        decode_fail(d, "the call does not fit '%.*s'", (int)f->name.n, f->name.s);
        return;
    }
    enum space space;
    *callee = (struct instance){.f = f, .caller = at, .depth = at->depth + 1, .formals = formals};
    for (uint32_t i = 0; i < n + (f->result ? 1u : 0u); i++) {
        const struct operand *e = i < n ? &actual->elements[i] : &result->elements[0];
        uint64_t address = 0;
        space = SPACE_GENERIC;
        if (e->kind == OPERAND_SYMBOL) {
            address = symbol_address(d, at, e->symbol, &space);
        }
        if (space != SPACE_LOCAL) {
            decode_fail(d, "arguments must be .param variables");
            return;
        }
        *(i < n ? &formals[i] : &callee->result) = address;
    }
    decode_function(d, callee);
}

static void decode_ret(struct decoder *d, const struct instance *at)
{
    if (at->caller) {
        emit(d, NULL, KIND_BRANCH);
        fix_later(d, at, at->f->n_statements, NULL);
    } else {
        emit(d, NULL, KIND_EXIT);
    }
}

/* ---- Statements and functions ---- */

static void decode_form(struct decoder *d, const struct instance *at, const struct form *f)
{
    switch (f->class) {
    case FORM_ALU:
    case FORM_SELF:
    case FORM_MEET:
    case FORM_CARRY: decode_alu(d, at, f); break;
    case FORM_MOV: decode_mov(d, at, f); break;
    case FORM_SPACE: decode_space(d, at, f); break;
    case FORM_CVT: decode_cvt(d, at, f); break;
    case FORM_SETP: decode_setp(d, at, f); break;
    case FORM_SET:
    case FORM_SETF: decode_set(d, at, f); break;
    case FORM_LD:
    case FORM_ST: decode_memory(d, at, f); break;
    case FORM_ATOM:
    case FORM_RED: decode_atomic(d, at, f); break;
    case FORM_SHFL: decode_shfl(d, at, f); break;
    case FORM_BRA: decode_bra(d, at); break;
    case FORM_BRX: decode_brx(d, at); break;
    case FORM_CALL: decode_call(d, at); break;
    case FORM_RET: decode_ret(d, at); break;
    case FORM_EXIT: emit(d, NULL, KIND_EXIT); break;
    case FORM_TRAP: emit(d, NULL, KIND_TRAP); break;
    case FORM_BAR: decode_barrier(d, at, f); break;
    case FORM_NOP: emit(d, handler(d, f), KIND_EXEC); break;
    }
}

/* Everything that the statement emitted runs only where the guard holds. */
static void guard(struct decoder *d, const struct instance *at, uint32_t first)
{
    const struct operand *g = d->s->guard;
    if (g->kind != OPERAND_REG || d->regs[at->first_reg + g->reg].cls != REG_PRED) {
        decode_fail(d, "the guard is not a predicate");
        return;
    }
    size_t n = d->k->n_code - first;
    for (size_t i = 0; i < n; i++) { /* the order of references is that of instructions */
        uint32_t insn = first + (uint32_t)i;
        d->k->code[insn].guard_not = g->negate;
        d->k->code[insn].guard = 0; /* there is one; its slot comes later */
        size_t at_ref = d->n_refs;
        if (!grow(d, &d->scratch, &d->refs, d->n_refs, &d->refs_cap, sizeof *d->refs)) {
            return;
        }
        while (at_ref > 0 && d->refs[at_ref - 1].insn > insn) {
            d->refs[at_ref] = d->refs[at_ref - 1];
            at_ref--;
        }
        d->refs[at_ref] =
            (struct reference){insn, FIELD_GUARD, false, at->first_reg + g->reg, NULL};
        d->n_refs++;
    }
}

static bool ends_block(const struct insn *in)
{
    return in->kind == KIND_BRANCH || in->kind == KIND_BRANCH_INDEX || in->kind == KIND_EXIT ||
           in->kind == KIND_TRAP;
}

static void decode_statement(struct decoder *d, const struct instance *at)
{
    const struct form *f = form_find(d->s->op);
    if (!f) {
        decode_fail(d, "unknown instruction form '%.*s'", (int)d->s->op.n, d->s->op.s);
        return;
    }
    if (f->public.ptx > d->m->ptx || f->public.sm > d->m->sm) {
        decode_fail(d, "needs PTX %d.%d and sm_%d; the module has PTX %d.%d and sm_%d",
                    f->public.ptx / 10, f->public.ptx % 10, f->public.sm, d->m->ptx / 10,
                    d->m->ptx % 10, d->m->sm);
        return;
    }
    d->form = f->public.name;
    uint32_t first = d->k->n_code;
    uint32_t skip = 0;
    if (f->class == FORM_CALL && d->s->guard) { /* jump around the body where it does not hold */
        emit(d, NULL, KIND_BRANCH);
        guard(d, at, first);
        if (d->failed) {
            return;
        }
        d->k->code[first].guard_not ^= 1;
        skip = first + 1;
        begin_block(d);
    }
    decode_form(d, at, f);
    if (skip && !d->failed) {
        begin_block(d);
        d->k->code[skip - 1].target = d->k->n_code - 1;
    } else if (d->s->guard && !d->failed) {
        guard(d, at, first);
    }
    d->form = NULL;
    if (!d->failed && d->k->n_code > first && ends_block(&d->k->code[d->k->n_code - 1])) {
        begin_block(d);
    }
}

static bool enter(struct decoder *d, struct instance *at)
{
    const struct function *f = at->f;
    at->first_reg = (uint32_t)d->n_regs;
    for (uint32_t i = 0; i < f->n_registers && !d->failed; i++) {
        new_reg(d, f->classes[i], false);
    }
    at->frame = (d->k->local_bytes + UINT64_C(15)) & ~UINT64_C(15);
    if (f->frame_bytes > MAX_LOCAL || at->frame + f->frame_bytes > MAX_LOCAL) {
        decode_fail(d, "more than %" PRIu64 " bytes of local memory", MAX_LOCAL);
        return false;
    }
    d->k->local_bytes = (uint32_t)(at->frame + f->frame_bytes);
    at->starts = arena_alloc(&d->scratch, f->n_statements + 1, sizeof *at->starts);
    if (!at->starts) {
        decode_fail(d, "out of memory");
    }
    return !d->failed;
}

static void decode_function(struct decoder *d, struct instance *at)
{
    const struct function *f = at->f;
    const struct statement *caller = d->s;
    if (!enter(d, at)) {
        return;
    }
    unsigned char *labelled = arena_alloc(&d->scratch, f->n_statements + 1, 1);
    if (!labelled) {
        decode_fail(d, "out of memory");
        return;
    }
    for (uint32_t i = 0; i < f->n_labels; i++) {
        labelled[f->labels[i].statement] = 1;
    }
    for (uint32_t i = 0; i < f->n_statements && !d->failed; i++) {
        d->s = &f->statements[i];
        if (labelled[i] || d->k->n_code == 0) {
            begin_block(d);
        }
        at->starts[i] = d->k->n_code - (d->k->code[d->k->n_code - 1].kind == KIND_BLOCK);
        decode_statement(d, at);
    }
    d->form = NULL;
    begin_block(d);
    at->starts[f->n_statements] = d->k->n_code ? d->k->n_code - 1 : 0;
    if (!at->caller && !d->failed) {
        emit(d, NULL, KIND_EXIT);
    }
    d->s = caller;
}

/* ---- Finishing ---- */

static void resolve_targets(struct decoder *d)
{
    for (size_t i = 0; i < d->n_fixups; i++) {
        const struct fixup *x = &d->fixups[i];
        uint32_t target = x->instance->starts[x->statement];
        *(x->element ? x->element : &d->k->code[x->insn].target) = target;
    }
}

/* How many instructions from each on share a handler and need no look in between. */
static void find_runs(struct kernel *k)
{
    for (uint32_t i = k->n_code; i-- > 0;) {
        struct insn *in = &k->code[i];
        bool plain = in->kind == KIND_EXEC && in->guard == NO_SLOT;
        if (plain && i + 1 < k->n_code && in[1].kind == KIND_EXEC && in[1].guard == NO_SLOT &&
            in[1].fn == in->fn && in[1].dest == in->dest && in[1].run < UINT16_MAX) {
            in->run = (uint16_t)(in[1].run + 1);
        }
    }
}

static void measure_blocks(struct decoder *d)
{
    struct kernel *k = d->k;
    k->block_length = arena_alloc(&k->arena, k->n_blocks + 1, sizeof *k->block_length);
    k->block_runs = arena_alloc(&k->arena, k->n_blocks + 1, sizeof *k->block_runs);
    if (!k->block_length || !k->block_runs) {
        decode_fail(d, "out of memory");
        return;
    }
    uint32_t block = 0;
    for (uint32_t i = 0; i < k->n_code; i++) {
        if (k->code[i].kind == KIND_BLOCK) {
            block = k->code[i].target;
        } else {
            k->block_length[block]++;
        }
    }
}

static void note_pinned(struct decoder *d)
{
    struct kernel *k = d->k;
    for (uint32_t i = 0; i < k->n_constants; i++) {
        k->constants[i].slot = d->regs[d->constant_regs[i]].slot;
    }
    for (int i = 0; i < SPECIALS; i++) {
        k->special[i] = d->special[i] == NO_SLOT ? NO_SLOT : d->regs[d->special[i]].slot;
    }
}

struct kernel *kernel_decode(const struct module *m, const struct function *f, int sm,
                             const struct isa *isa, char *message, size_t size)
{
    struct kernel *k = calloc(1, sizeof *k);
    if (!k) {
        snprintf(message, size, "out of memory");
        return NULL;
    }
    k->module = m;
    k->function = f;
    k->isa = isa;
    k->name = arena_alloc(&k->arena, f->name.n + 1, 1);
    if (!k->name) {
        snprintf(message, size, "out of memory");
        kernel_free(k);
        return NULL;
    }
    memcpy(k->name, f->name.s, f->name.n);
    struct decoder d = {
        .k = k, .m = m, .sm = sm, .carry = NO_SLOT, .message = message, .size = size};
    memset(d.special, 0xff, sizeof d.special);
    struct instance entry = {.f = f};
    begin_block(&d);
    decode_function(&d, &entry);
    if (!d.failed) {
        resolve_targets(&d);
        decode_assign_slots(&d);
    }
    if (!d.failed) {
        note_pinned(&d);
        find_runs(k);
        measure_blocks(&d);
    }
    arena_free(&d.scratch);
    if (d.failed) {
        kernel_free(k);
        return NULL;
    }
    return k;
}

void kernel_free(struct kernel *k)
{
    if (k) {
        arena_free(&k->arena);
        free(k);
    }
}
