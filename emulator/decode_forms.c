/* Statements to instructions, by the class of their form. */
#include "decode.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "atomics.h"

/* ---- Forms with an operand string ---- */

void decode_alu(struct decoder *d, const struct instance *at, const struct form *f)
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
    bool aligned = f->class == FORM_ALIGNED;
    struct insn *in = emit(d, handler(d, f),
                           meet      ? KIND_CONVERGE
                           : aligned ? KIND_ALIGNED
                                     : KIND_EXEC);
    in->mod = in->op = f->mod;
    in->imm = imm;
    bool self = meet || aligned || f->class == FORM_SELF || !n_dest;
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

void decode_mov(struct decoder *d, const struct instance *at, const struct form *f)
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

void decode_space(struct decoder *d, const struct instance *at, const struct form *f)
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

void decode_cvt(struct decoder *d, const struct instance *at, const struct form *f)
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

void decode_setp(struct decoder *d, const struct instance *at, const struct form *f)
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

void decode_set(struct decoder *d, const struct instance *at, const struct form *f)
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

struct address decode_address(struct decoder *d, const struct instance *at, const struct operand *o)
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

bool space_fits(enum space wanted, enum space have)
{
    return have == SPACE_GENERIC || wanted == SPACE_GENERIC || wanted == have ||
           (wanted == SPACE_PARAM && have == SPACE_LOCAL);
}

void decode_memory(struct decoder *d, const struct instance *at, const struct form *f)
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

void decode_atomic(struct decoder *d, const struct instance *at, const struct form *f)
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

void decode_shfl(struct decoder *d, const struct instance *at, const struct form *f)
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

void decode_barrier(struct decoder *d, const struct instance *at, const struct form *f)
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
