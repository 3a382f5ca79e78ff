/*
 * A warp's control flow. The split with the lowest pc runs first: code is laid out so that this
 * brings lanes together again where their paths meet, with no analysis beforehand. A split that
 * needs other lanes (.sync, a barrier) waits for them; one that spins lets the others go first.
 */
#include "machine.h"

#include <inttypes.h>

enum { FUEL = 20000 }; /* backward branches before a split yields */

static uint32_t predicate(const struct warp *w, uint32_t slot)
{
    return *(const uint32_t *)(const void *)(w->regs + slot);
}

/* The lanes of mask for which in's guard holds. */
static uint32_t guarded(const struct warp *w, const struct insn *in, uint32_t mask)
{
    if (in->guard == NO_SLOT) {
        return mask;
    }
    uint32_t p = predicate(w, in->guard);
    return mask & (in->guard_not ? ~p : p);
}

static void add_split(struct warp *w, uint32_t pc, uint32_t mask)
{
    w->splits[w->n_splits++] = (struct split){.pc = pc, .mask = mask};
}

static void merge(struct warp *w)
{
    for (uint32_t i = 0; i < w->n_splits; i++) {
        for (uint32_t j = i + 1; j < w->n_splits;) {
            if (w->splits[i].pc == w->splits[j].pc) {
                w->splits[i].mask |= w->splits[j].mask;
                w->splits[i].blocked = false;
                w->splits[i].yielded &= w->splits[j].yielded;
                w->splits[j] = w->splits[--w->n_splits];
            } else {
                j++;
            }
        }
    }
}

/* The lowest split that may run; those that yielded only if there is no other. */
static struct split *choose(struct warp *w)
{
    struct split *best = NULL;
    for (int pass = 0; pass < 2 && !best; pass++) {
        for (uint32_t i = 0; i < w->n_splits; i++) {
            struct split *s = &w->splits[i];
            if (!s->blocked && (pass || !s->yielded) && (!best || s->pc < best->pc)) {
                best = s;
            }
        }
    }
    return best;
}

/* The pc at which another split stands or waits, nearest above s. */
static uint32_t nearest(const struct warp *w, const struct split *s)
{
    uint32_t limit = UINT32_MAX;
    for (uint32_t i = 0; i < w->n_splits; i++) {
        const struct split *o = &w->splits[i];
        if (o != s && o->pc > s->pc && o->pc < limit) {
            limit = o->pc;
        }
    }
    return limit;
}

static void unblock(struct warp *w)
{
    for (uint32_t i = 0; i < w->n_splits; i++) {
        w->splits[i].blocked = false;
    }
}

/* Lanes leave for good; those that wait for them look again. */
static void leave(struct warp *w, struct split *s, uint32_t lanes, uint32_t pc)
{
    w->live &= ~lanes;
    s->mask &= ~lanes;
    s->pc = pc;
    unblock(w);
    if (!s->mask) {
        *s = w->splits[--w->n_splits];
    }
}

/* May the lanes of mask go through an instruction that names its lanes? If not, they wait. */
static bool converged(struct warp *w, const struct insn *in, uint32_t mask)
{
    uint32_t waiting = mask, seen = 0;
    while (waiting) { /* lanes may name different, disjoint masks */
        int lane = __builtin_ctz(waiting);
        uint32_t members = ((const uint32_t *)(const void *)(w->regs + in->e))[lane];
        if (!(members >> lane & 1)) {
            fault(w, in, lane, "the lane is not in the mask 0x%08" PRIx32 " that it names",
                  members);
        }
        if (members & w->born & ~w->live) {
            fault(w, in, lane,
                  "the mask 0x%08" PRIx32 " names lanes 0x%08" PRIx32 " that have exited", members,
                  members & w->born & ~w->live);
        }
        members &= w->live;
        if ((mask & members) != members || (seen & members)) {
            return false;
        }
        seen |= members;
        waiting &= ~members;
    }
    return true;
}

/* Runs fn once for each set of lanes that name the same mask. */
static void run_converged(struct warp *w, const struct insn *in, uint32_t mask)
{
    while (mask) {
        uint32_t members =
            ((const uint32_t *)(const void *)(w->regs + in->e))[__builtin_ctz(mask)] & mask;
        w->mask = members;
        in->fn(w, in, in + 1);
        mask &= ~members;
    }
}

/* brx.idx: each lane to its own target. */
static void branch_index(struct warp *w, struct split *s, const struct insn *in, uint32_t lanes)
{
    const uint32_t *index = (const uint32_t *)(const void *)(w->regs + in->a);
    uint32_t stay = s->mask & ~lanes, here = (uint32_t)(in - w->block->kernel->code);
    while (lanes) {
        int first = __builtin_ctz(lanes);
        uint32_t same = 0;
        if (index[first] >= (uint64_t)in->imm) {
            fault(w, in, first, "branch index %" PRIu32 " of %" PRId64 " targets", index[first],
                  in->imm);
        }
        for (uint32_t m = lanes; m; m &= m - 1) {
            same |= (uint32_t)(index[__builtin_ctz(m)] == index[first]) << __builtin_ctz(m);
        }
        lanes &= ~same;
        if (!lanes && !stay) {
            s->pc = in->v[index[first]];
            s->mask = same;
            return;
        }
        add_split(w, in->v[index[first]], same);
        w->divergences++;
    }
    s->pc = here + 1;
    s->mask = stay;
}

/* Where a branch leads: true if the split goes on at *next at once. */
static bool branch(struct warp *w, struct split *s, const struct insn *in, const struct insn **next)
{
    const struct insn *code = w->block->kernel->code;
    uint32_t taken = guarded(w, in, s->mask), here = (uint32_t)(in - code);
    if (!taken) {
        *next = in + 1;
        return true;
    }
    if (taken != s->mask) {
        w->divergences++;
        s->pc = here + 1;
        s->mask &= ~taken;
        add_split(w, in->target, taken);
        return false;
    }
    s->pc = in->target;
    if (in->target <= here && --w->fuel < 0) {
        s->yielded = true;
        return false;
    }
    *next = code + in->target;
    return w->n_splits == 1;
}

/* A barrier wants the whole warp: true if it is here. */
static bool at_barrier(struct warp *w, struct split *s, const struct insn *in)
{
    s->pc = (uint32_t)(in - w->block->kernel->code);
    if (guarded(w, in, s->mask) != s->mask) {
        fault(w, in, __builtin_ctz(s->mask),
              "divergent barrier: its guard holds for some lanes only");
    }
    if (w->n_splits > 1) {
        s->blocked = true;
        return false;
    }
    if (w->live != w->born) {
        fault(w, in, __builtin_ctz(s->mask),
              "divergent barrier: lanes 0x%08" PRIx32 " of the warp have exited",
              w->born & ~w->live);
    }
    w->state = WARP_BARRIER;
    return true;
}

static void run_plain(struct warp *w, const struct insn *in, uint32_t mask, bool all)
{
    uint32_t lanes = guarded(w, in, mask);
    if (!lanes) {
        return;
    }
    if (all && lanes == mask) {
        w->mask = mask;
        in->fn(w, in, in + in->run);
        return;
    }
    for (uint32_t i = 0; i < in->run; i++) {
        w->block->kernel->isa->masked(w, in + i, lanes);
    }
}

/*
 * An instruction for the whole warp: false if lanes are still missing. What a warp that has lost
 * lanes does with it is undefined.
 */
static bool run_aligned(struct warp *w, const struct insn *in, uint32_t mask)
{
    uint32_t lanes = guarded(w, in, mask);
    if (!lanes) {
        return true;
    }
    if (w->live != w->born) {
        fault(w, in, __builtin_ctz(lanes), "lanes 0x%08" PRIx32 " of the warp have exited",
              w->born & ~w->live);
    }
    if (lanes != w->live) {
        return false;
    }
    if (lanes != ALL_LANES) {
        fault(w, in, __builtin_ctz(lanes), "the warp has only the lanes 0x%08" PRIx32, lanes);
    }
    w->mask = lanes;
    in->fn(w, in, in + 1);
    return true;
}

/* Runs a split until it must stop: it ends, waits, splits up, or reaches another one. */
static void run_split(struct warp *w, struct split *s)
{
    const struct insn *code = w->block->kernel->code, *in = code + s->pc;
    uint32_t limit = nearest(w, s), mask = s->mask;
    bool all = mask == w->live; /* a lane that has exited may get any value */
    w->mask = mask;
    for (;;) {
        switch ((enum insn_kind)in->kind) {
        case KIND_EXEC:
            if (__builtin_expect(all && in->guard == NO_SLOT, 1)) {
                in->fn(w, in, in + in->run);
            } else {
                run_plain(w, in, mask, all);
                w->mask = mask;
            }
            in += in->run;
            break;
        case KIND_BLOCK:
            if ((uint32_t)(in - code) >= limit) {
                s->pc = (uint32_t)(in - code);
                return;
            }
            w->runs[in->target]++;
            in++;
            break;
        case KIND_CONVERGE: {
            uint32_t lanes = guarded(w, in, mask);
            if (lanes && !converged(w, in, lanes)) {
                s->pc = (uint32_t)(in - code);
                s->blocked = true;
                return;
            }
            run_converged(w, in, lanes);
            w->mask = mask;
            in++;
            break;
        }
        case KIND_ALIGNED:
            if (__builtin_expect(mask == ALL_LANES && in->guard == NO_SLOT, 1)) {
                in->fn(w, in, in + in->run);
                in += in->run;
                break;
            }
            if (!run_aligned(w, in, mask)) {
                s->pc = (uint32_t)(in - code);
                s->blocked = true;
                return;
            }
            w->mask = mask;
            in++;
            break;
        case KIND_BRANCH:
            if (!branch(w, s, in, &in)) {
                return;
            }
            break;
        case KIND_BRANCH_INDEX: {
            uint32_t lanes = guarded(w, in, mask);
            if (lanes) {
                branch_index(w, s, in, lanes);
                return;
            }
            in++;
            break;
        }
        case KIND_EXIT: {
            uint32_t lanes = guarded(w, in, mask);
            if (lanes) {
                leave(w, s, lanes, (uint32_t)(in - code) + 1);
                return;
            }
            in++;
            break;
        }
        case KIND_BARRIER:
            if (guarded(w, in, mask)) {
                at_barrier(w, s, in);
                return;
            }
            in++;
            break;
        case KIND_TRAP: {
            uint32_t lanes = guarded(w, in, mask);
            if (lanes) {
                fault(w, in, __builtin_ctz(lanes), "trap");
            }
            in++;
            break;
        }
        }
    }
}

_Noreturn static void stuck(struct warp *w)
{
    const struct split *s = &w->splits[0];
    const struct insn *in = &w->block->kernel->code[s->pc];
    const char *what =
        in->kind == KIND_BARRIER ? "divergent barrier" : "divergent .sync instruction";
    fault(w, in, __builtin_ctz(s->mask),
          "%s: lanes 0x%08" PRIx32 " wait for lanes 0x%08" PRIx32 " that wait elsewhere", what,
          s->mask, w->live & ~s->mask);
}

void warp_run(struct warp *w)
{
    w->fuel = FUEL;
    while (w->state == WARP_READY) {
        merge(w);
        if (!w->n_splits) {
            w->state = WARP_DONE;
            return;
        }
        struct split *s = choose(w);
        if (!s) {
            stuck(w);
        }
        if (s->yielded) { /* all that may run have spun: another warp's turn */
            for (uint32_t i = 0; i < w->n_splits; i++) {
                w->splits[i].yielded = false;
            }
            if (w->fuel < 0) {
                return;
            }
        }
        run_split(w, s);
        if (w->fuel < 0 && w->n_splits > 1) {
            bool others = false;
            for (uint32_t i = 0; i < w->n_splits; i++) {
                others |= !w->splits[i].yielded && !w->splits[i].blocked;
            }
            w->fuel = others ? FUEL : w->fuel;
        }
    }
}
