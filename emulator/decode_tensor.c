/* The forms of the tensor cores: mma, ldmatrix, cp.async; and the loops around them. */
#include "decode.h"

#include <inttypes.h>
#include <string.h>

/* The elements of a vector operand, or the operand alone; fails if there are not n. */
static const struct operand *elements(struct decoder *d, const struct operand *o, uint32_t n)
{
    uint32_t have = o->kind == OPERAND_VECTOR ? o->n_elements : 1;
    if (have != n) {
        decode_fail(d, "a vector of %" PRIu32 " where %" PRIu32 " are wanted", have, n);
        return NULL;
    }
    return o->kind == OPERAND_VECTOR ? o->elements : o;
}

/* An instruction that all lanes execute together, on n slots for the caller to fill. NULL where
 * decoding has failed. */
static struct insn *emit_aligned(struct decoder *d, const struct form *f, uint32_t n,
                                 uint32_t **slots)
{
    *slots = d->failed ? NULL : arena_alloc(&d->k->arena, n, sizeof **slots);
    if (!*slots) {
        decode_fail(d, "out of memory"); /* counts only if nothing failed before */
        return NULL;
    }
    struct insn *in = emit(d, handler(d, f), KIND_ALIGNED);
    in->mod = f->mod;
    in->v = *slots;
    return in;
}

/* Operands: letter of a register, then registers of D, of A, of B, and of C if not as many as of D.
 */
void decode_mma(struct decoder *d, const struct instance *at, const struct form *f)
{
    want_operands(d, 4, 4);
    if (d->failed) {
        return;
    }
    const char *s = f->operands;
    uint32_t counts[4] = {(uint32_t)(s[1] - '0'), (uint32_t)(s[2] - '0'), (uint32_t)(s[3] - '0'),
                          (uint32_t)(s[s[4] ? 4 : 1] - '0')};
    uint32_t regs[32], n = 0;
    for (int i = 0; i < 4; i++) {
        const struct operand *e = elements(d, &d->s->operands[i], counts[i]);
        for (uint32_t k = 0; e && k < counts[i]; k++) {
            regs[n++] = i ? source(d, at, &e[k], s[0]) : destination(d, at, &e[k], s[0]);
        }
    }
    uint32_t *slots;
    struct insn *in = emit_aligned(d, f, n, &slots);
    if (!in) {
        return;
    }
    in->n = (uint8_t)counts[0];
    in->size = (uint8_t)counts[1];
    in->width = (uint8_t)counts[2];
    for (uint32_t i = counts[0]; i < n; i++) {
        refer(d, FIELD_V, regs[i], false, &slots[i]);
    }
    for (uint32_t i = 0; i < counts[0]; i++) {
        refer(d, FIELD_V, regs[i], true, &slots[i]);
    }
}

/* Operands: l to load or s to store, then how many matrices. */
void decode_matrix(struct decoder *d, const struct instance *at, const struct form *f)
{
    want_operands(d, 2, 2);
    if (d->failed) {
        return;
    }
    bool load = f->operands[0] == 'l';
    uint32_t n = (uint32_t)(f->operands[1] - '0'), regs[4];
    const struct operand *e = elements(d, &d->s->operands[load ? 0 : 1], n);
    struct address a = decode_address(d, at, &d->s->operands[load ? 1 : 0]);
    for (uint32_t i = 0; e && i < n; i++) {
        regs[i] = load ? destination(d, at, &e[i], 'w') : source(d, at, &e[i], 'w');
    }
    if (!space_fits(SPACE_SHARED, a.space)) {
        decode_fail(d, "the variable is in another space");
    }
    uint32_t *slots;
    struct insn *in = emit_aligned(d, f, n, &slots);
    if (!in) {
        return;
    }
    in->n = (uint8_t)n;
    in->imm = a.offset;
    in->address32 = a.bits32;
    refer(d, FIELD_A, a.reg, false, NULL);
    for (uint32_t i = 0; i < n; i++) {
        refer(d, FIELD_V, regs[i], load, &slots[i]);
    }
}

/*
 * Operands: the sizes allowed, "4" for 4, 8 and 16 or "x" for 16 only. mod 1: a cache policy comes
 * last. Between size and policy: the bytes to take from the source, or a predicate to take none.
 */
void decode_async(struct decoder *d, const struct instance *at, const struct form *f)
{
    uint32_t policy = f->mod & 1, n = d->s->n_operands - (d->s->n_operands > 3 ? policy : 0);
    want_operands(d, 3 + policy, 4 + policy);
    if (d->failed) {
        return;
    }
    const struct operand *o = d->s->operands;
    uint64_t bytes = o[2].imm;
    bool small = f->operands[0] == '4' && (bytes == 4 || bytes == 8);
    if (o[2].kind != OPERAND_INT || (bytes != 16 && !small)) {
        decode_fail(d, "a copy of so many bytes");
        return;
    }
    struct address to = decode_address(d, at, &o[0]), from = decode_address(d, at, &o[1]);
    bool ignore =
        n == 4 && o[3].kind == OPERAND_REG && d->regs[at->first_reg + o[3].reg].cls == REG_PRED;
    uint32_t take = n == 4 ? source(d, at, &o[3], ignore ? 'p' : 'w') : 0;
    if (policy) {
        source(d, at, &o[d->s->n_operands - 1], 'l');
    }
    if (!space_fits(SPACE_SHARED, to.space) || !space_fits(SPACE_GLOBAL, from.space)) {
        decode_fail(d, "the variable is in another space");
    }
    if (from.bits32 || from.offset != (int32_t)from.offset || to.offset != (int32_t)to.offset) {
        decode_fail(d, "the address has 32 bits, or an offset more");
    }
    struct insn *in = emit(d, handler(d, f), KIND_EXEC);
    in->size = (uint8_t)bytes;
    in->imm = (int64_t)((uint64_t)from.offset << 32 | (uint32_t)to.offset);
    in->address32 = to.bits32;
    refer(d, FIELD_A, to.reg, false, NULL);
    refer(d, FIELD_B, from.reg, false, NULL);
    if (n == 4) {
        refer(d, ignore ? FIELD_D2 : FIELD_E, take, false, NULL);
    }
}

/* A cache policy has no effect: any value will do. The fraction may be left out. */
void decode_policy(struct decoder *d, const struct instance *at)
{
    want_operands(d, 1, 2);
    if (d->failed) {
        return;
    }
    if (d->s->n_operands == 2) {
        source(d, at, &d->s->operands[1], 'f');
    }
    uint32_t to = destination(d, at, &d->s->operands[0], 'l');
    move(d, named_handler(d, "mov.b64"), to, constant(d, REG_64, 0), 0);
}

/* ---- Runs of mma ---- */

bool is_mma(const struct kernel *k, uint32_t insn)
{
    return k->forms[insn] && !strncmp(k->forms[insn], "mma.", 4) &&
           k->code[insn].kind == KIND_ALIGNED;
}

struct entries { /* which fragments are in the handler's entries after an instruction */
    const uint32_t *a[MMA_A_ENTRIES], *b[MMA_B_ENTRIES];
    uint32_t next_a, next_b;
};

/* The entry of slots among n, which replaces the oldest if it is new. */
static uint32_t entry(const uint32_t **entries, uint32_t n, uint32_t *next, const uint32_t *slots,
                      uint32_t count, bool *fresh)
{
    for (uint32_t i = 0; i < n; i++) {
        if (entries[i] && !memcmp(entries[i], slots, count * sizeof *slots)) {
            *fresh = false;
            return i;
        }
    }
    uint32_t i = (*next)++ % n;
    entries[i] = slots;
    *fresh = true;
    return i;
}

static void assign_entries(struct insn *in, struct entries *e)
{
    bool fresh_a, fresh_b;
    const uint32_t *a = in->v + in->n, *b = a + in->size;
    uint32_t i = entry(e->a, MMA_A_ENTRIES, &e->next_a, a, in->size, &fresh_a);
    uint32_t j = entry(e->b, MMA_B_ENTRIES, &e->next_b, b, in->width, &fresh_b);
    in->imm = i | j << 8 | (fresh_a ? MMA_NEW_A : 0) | (fresh_b ? MMA_NEW_B : 0);
}

/* Does an mma read as A or B what one of those before it in [first, in) writes? */
static bool reads_sums(const struct insn *first, const struct insn *in)
{
    const uint32_t *sources = in->v + in->n;
    for (const struct insn *x = first; x < in; x++) {
        for (uint32_t i = 0; i < x->n; i++) {
            for (uint32_t k = 0; k < (uint32_t)in->size + in->width; k++) {
                if (x->v[i] == sources[k]) {
                    return true;
                }
            }
        }
    }
    return false;
}

void decode_mma_runs(struct kernel *k)
{
    enum { LONGEST = 256 };
    for (uint32_t i = 0; i < k->n_code;) {
        struct insn *first = &k->code[i];
        struct entries e = {.next_a = 0};
        uint32_t n = 0;
        bool mma = is_mma(k, i);
        while (i + n < k->n_code && n < LONGEST && first[n].kind == KIND_ALIGNED &&
               first[n].fn == first->fn && first[n].mod == first->mod &&
               first[n].guard == NO_SLOT && (!mma || !reads_sums(first, &first[n]))) {
            if (mma) {
                assign_entries(&first[n], &e);
            }
            n++;
        }
        for (uint32_t r = 0; r < n; r++) {
            first[r].run = (uint16_t)(n - r);
        }
        if (mma && !n) { /* guarded: alone, with entries of its own */
            assign_entries(first, &e);
        }
        i += n ? n : 1;
    }
}

/* ---- Main loops ---- */

static bool has(const struct kernel *k, uint32_t first, uint32_t last, bool marked)
{
    for (uint32_t i = first; i <= last; i++) {
        if (marked ? k->code[i].main_loop : is_mma(k, i)) {
            return true;
        }
    }
    return false;
}

void decode_main_loops(struct kernel *k)
{
    /* The end of an inner loop comes before that of the loop around it. */
    for (uint32_t i = 0; i < k->n_code; i++) {
        const struct insn *in = &k->code[i];
        if (in->kind != KIND_BRANCH || in->target > i || has(k, in->target, i, true) ||
            !has(k, in->target, i, false)) {
            continue;
        }
        for (uint32_t m = in->target; m <= i; m++) {
            k->code[m].main_loop = 1;
        }
    }
}
