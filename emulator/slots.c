/*
 * Registers to slots: the fewer bytes a warp's registers span, the more of them stay in the
 * first-level cache. Liveness over basic blocks gives each register one interval of instructions;
 * registers whose intervals do not touch share a slot. This holds for each lane by itself, and
 * writes are masked, so that divergence does not matter.
 */
#include "decode.h"

#include <string.h>

enum { WORD = 64 };

struct flow {
    uint32_t n_blocks, words;
    uint32_t *start;                /* of each block; [n_blocks] is the end */
    uint64_t *in, *out, *use, *def; /* bits by register, rows by block */
};

uint32_t decode_class_bytes(enum reg_class cls)
{
    static const uint32_t bytes[] = {[REG_PRED] = 4, [REG_16] = 64, [REG_32] = 128, [REG_64] = 256};
    return bytes[cls];
}

static bool bit(const uint64_t *row, uint32_t i)
{
    return row[i / WORD] >> (i % WORD) & 1;
}

static void set_bit(uint64_t *row, uint32_t i)
{
    row[i / WORD] |= UINT64_C(1) << (i % WORD);
}

/* The block that starts at an instruction (always a BLOCK marker). */
static uint32_t block_at(const struct kernel *k, uint32_t insn)
{
    return k->code[insn].target;
}

/* out |= in of a successor; has it grown? */
static bool join(struct flow *f, uint32_t block, uint32_t successor)
{
    bool grown = false;
    for (uint32_t i = 0; i < f->words; i++) {
        uint64_t *to = &f->out[(size_t)block * f->words + i];
        uint64_t more = f->in[(size_t)successor * f->words + i] & ~*to;
        *to |= more;
        grown |= more != 0;
    }
    return grown;
}

static bool join_successors(const struct kernel *k, struct flow *f, uint32_t b)
{
    uint32_t end = f->start[b + 1];
    const struct insn *last = &k->code[end - 1];
    bool guarded = last->guard != NO_SLOT, grown = false;
    if (last->kind == KIND_BRANCH) {
        grown |= join(f, b, block_at(k, last->target));
    } else if (last->kind == KIND_BRANCH_INDEX) {
        for (uint32_t i = 0; i < (uint32_t)last->imm; i++) {
            grown |= join(f, b, block_at(k, last->v[i]));
        }
    }
    bool leaves = last->kind == KIND_BRANCH || last->kind == KIND_BRANCH_INDEX ||
                  last->kind == KIND_EXIT || last->kind == KIND_TRAP;
    if ((!leaves || guarded) && b + 1 < f->n_blocks) {
        grown |= join(f, b, b + 1);
    }
    return grown;
}

/* What each block reads before it writes, and what it writes for all lanes. */
static void gather_uses(struct decoder *d, struct flow *f)
{
    uint32_t block = 0;
    for (size_t i = 0; i < d->n_refs;) {
        uint32_t insn = d->refs[i].insn;
        size_t end = i;
        while (end < d->n_refs && d->refs[end].insn == insn) {
            end++;
        }
        while (insn >= f->start[block + 1]) {
            block++;
        }
        uint64_t *use = f->use + (size_t)block * f->words, *def = f->def + (size_t)block * f->words;
        for (size_t r = i; r < end; r++) {
            if (!d->refs[r].write && !bit(def, d->refs[r].reg)) {
                set_bit(use, d->refs[r].reg);
            }
        }
        bool always = d->k->code[insn].guard == NO_SLOT;
        for (size_t r = i; r < end && always; r++) {
            if (d->refs[r].write) {
                set_bit(def, d->refs[r].reg);
            }
        }
        i = end;
    }
}

static void solve(const struct kernel *k, struct flow *f)
{
    size_t all = (size_t)f->n_blocks * f->words;
    memcpy(f->in, f->use, all * sizeof *f->in);
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t b = f->n_blocks; b-- > 0;) {
            if (!join_successors(k, f, b)) {
                continue;
            }
            changed = true;
            for (size_t i = (size_t)b * f->words; i < (size_t)(b + 1) * f->words; i++) {
                f->in[i] = f->use[i] | (f->out[i] & ~f->def[i]);
            }
        }
    }
}

static void extend(struct vreg *v, uint32_t insn)
{
    v->first = insn < v->first ? insn : v->first;
    v->last = insn > v->last ? insn : v->last;
}

static void intervals(struct decoder *d, const struct flow *f)
{
    for (size_t i = 0; i < d->n_regs; i++) {
        d->regs[i].first = UINT32_MAX;
        d->regs[i].last = 0;
    }
    for (size_t i = 0; i < d->n_refs; i++) {
        extend(&d->regs[d->refs[i].reg], d->refs[i].insn);
    }
    for (uint32_t b = 0; b < f->n_blocks; b++) {
        for (uint32_t w = 0; w < f->words; w++) {
            uint64_t in = f->in[(size_t)b * f->words + w], out = f->out[(size_t)b * f->words + w];
            for (; in; in &= in - 1) {
                extend(&d->regs[w * WORD + (uint32_t)__builtin_ctzll(in)], f->start[b]);
            }
            for (; out; out &= out - 1) {
                extend(&d->regs[w * WORD + (uint32_t)__builtin_ctzll(out)], f->start[b + 1] - 1);
            }
        }
    }
}

/* Hands out slots along the instructions; frees those whose register has died before. */
static void hand_out(struct decoder *d)
{
    uint32_t n_code = d->k->n_code, bytes = 256; /* the scratch slot of masked execution */
    uint32_t *starts = arena_alloc(&d->scratch, n_code + 1, sizeof *starts);
    uint32_t *ends = arena_alloc(&d->scratch, n_code + 1, sizeof *ends);
    uint32_t *next_start = arena_alloc(&d->scratch, d->n_regs + 1, sizeof *next_start);
    uint32_t *next_end = arena_alloc(&d->scratch, d->n_regs + 1, sizeof *next_end);
    uint32_t *free_slots[REG_CLASSES], n_free[REG_CLASSES] = {0};
    bool out_of_memory = !starts || !ends || !next_start || !next_end;
    for (int c = 0; c < REG_CLASSES; c++) {
        free_slots[c] = arena_alloc(&d->scratch, d->n_regs + 1, sizeof **free_slots);
        out_of_memory |= !free_slots[c];
    }
    if (out_of_memory) {
        decode_fail(d, "out of memory");
        return;
    }
    for (uint32_t r = 0; r < d->n_regs; r++) { /* lists by instruction, 1-based */
        struct vreg *v = &d->regs[r];
        if (v->pinned) {
            bytes = (bytes + 63) & ~63u; /* wide registers on cache lines */
            v->slot = bytes;
            bytes += decode_class_bytes(v->cls);
        } else if (v->first <= v->last) {
            next_start[r] = starts[v->first];
            starts[v->first] = r + 1;
            next_end[r] = ends[v->last];
            ends[v->last] = r + 1;
        }
    }
    for (uint32_t i = 0; i < n_code; i++) {
        for (uint32_t r = starts[i]; r; r = next_start[r - 1]) {
            struct vreg *v = &d->regs[r - 1];
            if (n_free[v->cls]) {
                v->slot = free_slots[v->cls][--n_free[v->cls]];
            } else {
                bytes = v->cls == REG_PRED ? bytes : (bytes + 63) & ~63u;
                v->slot = bytes;
                bytes += decode_class_bytes(v->cls);
            }
        }
        for (uint32_t r = ends[i]; r; r = next_end[r - 1]) {
            struct vreg *v = &d->regs[r - 1];
            free_slots[v->cls][n_free[v->cls]++] = v->slot;
        }
    }
    d->k->register_bytes = (bytes + 255) & ~255u;
}

static void write_slots(struct decoder *d)
{
    for (size_t i = 0; i < d->n_refs; i++) {
        const struct reference *r = &d->refs[i];
        struct insn *in = &d->k->code[r->insn];
        uint32_t slot = d->regs[r->reg].slot;
        switch (r->field) {
        case FIELD_D: in->d = slot; break;
        case FIELD_A: in->a = slot; break;
        case FIELD_B: in->b = slot; break;
        case FIELD_C: in->c = slot; break;
        case FIELD_E: in->e = slot; break;
        case FIELD_D2: in->d2 = slot; break;
        case FIELD_GUARD: in->guard = slot; break;
        case FIELD_V: *r->element = slot; break;
        }
    }
}

void decode_assign_slots(struct decoder *d)
{
    const struct kernel *k = d->k;
    struct flow f = {.n_blocks = k->n_blocks, .words = (uint32_t)(d->n_regs + WORD - 1) / WORD};
    size_t all = (size_t)f.n_blocks * f.words;
    f.start = arena_alloc(&d->scratch, f.n_blocks + 1, sizeof *f.start);
    uint64_t *sets =
        all < SIZE_MAX / 64 ? arena_alloc(&d->scratch, 4 * all + 1, sizeof *sets) : NULL;
    if (!f.start || !sets) {
        decode_fail(d, "out of memory");
        return;
    }
    f.in = sets;
    f.out = sets + all;
    f.use = sets + 2 * all;
    f.def = sets + 3 * all;
    for (uint32_t i = 0; i < k->n_code; i++) {
        if (k->code[i].kind == KIND_BLOCK) {
            f.start[k->code[i].target] = i;
        }
    }
    f.start[f.n_blocks] = k->n_code;
    gather_uses(d, &f);
    solve(k, &f);
    intervals(d, &f);
    hand_out(d);
    if (!d->failed) {
        write_slots(d);
    }
}
