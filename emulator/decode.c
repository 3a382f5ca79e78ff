/* Decoding a kernel: statements in order, calls inlined, targets resolved, registers to slots. */
#include "decode.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "atomics.h"

enum { MAX_INLINE_DEPTH = 32 };
#define MAX_LOCAL (UINT64_C(512) * 1024) /* bytes of a lane */

/* ---- Control flow ---- */

static void fix_later(struct decoder *d, const struct instance *at, uint32_t statement,
                      uint32_t *element)
{
    if (!d->failed &&
        decode_grow(d, &d->scratch, &d->fixups, d->n_fixups, &d->fixups_cap, sizeof *d->fixups)) {
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
    if (!d->s->n_operands) {
        decode_fail(d, "a call names no function");
        return;
    }
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
    case FORM_ALIGNED:
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
    case FORM_POLICY: decode_policy(d, at); break;
    case FORM_MMA: decode_mma(d, at, f); break;
    case FORM_MATRIX: decode_matrix(d, at, f); break;
    case FORM_ASYNC: decode_async(d, at, f); break;
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
        if (!decode_grow(d, &d->scratch, &d->refs, d->n_refs, &d->refs_cap, sizeof *d->refs)) {
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
    k->block_tensor = arena_alloc(&k->arena, k->n_blocks + 1, sizeof *k->block_tensor);
    if (!k->block_length || !k->block_runs || !k->block_tensor) {
        decode_fail(d, "out of memory");
        return;
    }
    uint32_t block = 0;
    for (uint32_t i = 0; i < k->n_code; i++) {
        if (k->code[i].kind == KIND_BLOCK) {
            block = k->code[i].target;
        } else {
            k->block_length[block]++;
            k->block_tensor[block] += is_mma(k, i);
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
        decode_mma_runs(k);
        decode_main_loops(k);
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
