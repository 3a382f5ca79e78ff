/* The warps of one block take turns on a host thread; barriers among them. */
#include "machine.h"

#include <inttypes.h>
#include <string.h>

#include "race.h"

/* Rounds in which every warp spins and no barrier is passed: minutes, then it is called a hang. */
static const uint64_t max_spins = UINT64_C(1) << 17;

static uint32_t not_done(const struct block *b)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < b->n_warps; i++) {
        n += b->warps[i].state != WARP_DONE;
    }
    return n;
}

/* Lets the warps of a barrier go on if all it waits for are there. */
static void release(struct block *b, uint32_t id)
{
    struct barrier *bar = &b->barriers[id];
    uint32_t expected = bar->expected ? bar->expected : not_done(b);
    if (!bar->arrived || bar->arrived < expected) {
        return;
    }
    for (uint32_t i = 0; i < b->n_warps; i++) {
        struct warp *w = &b->warps[i];
        if (w->state == WARP_BARRIER && w->barrier == id) {
            w->state = WARP_READY;
            w->splits[0].pc++;
            if (b->race) {
                race_join(w->clock, bar->clock);
                race_join(w->fenced, bar->fenced);
                w->clock[i]++;
            }
        }
    }
    *bar = (struct barrier){0};
    b->spins = 0;
}

static void arrive(struct block *b, struct warp *w)
{
    const struct insn *in = &b->kernel->code[w->splits[0].pc];
    int lane = __builtin_ctz(w->live);
    uint32_t id = ((const uint32_t *)(const void *)(w->regs + in->a))[lane];
    if (id >= MAX_BARRIERS) {
        fault(w, in, lane, "barrier %" PRIu32 " of %d", id, MAX_BARRIERS);
    }
    struct barrier *bar = &b->barriers[id];
    if (in->b != NO_SLOT) {
        uint32_t threads = ((const uint32_t *)(const void *)(w->regs + in->b))[lane];
        if (!threads || threads % LANES || threads > LANES * b->n_warps) {
            fault(w, in, lane, "barrier for %" PRIu32 " threads in a block of %" PRIu32 " warps",
                  threads, b->n_warps);
        }
        if (bar->arrived && bar->expected != threads / LANES) {
            fault(w, in, lane, "warps disagree on the threads of barrier %" PRIu32, id);
        }
        bar->expected = threads / LANES;
    }
    bar->arrived++;
    w->barrier = id;
    if (b->race) {
        race_join(bar->clock, w->clock);
        race_join(bar->fenced, w->fenced);
    }
    if (in->op == BARRIER_ARRIVE) {
        w->state = WARP_READY;
        w->splits[0].pc++;
        if (b->race) {
            w->clock[w->index]++;
        }
    }
    release(b, id);
}

_Noreturn static void deadlock(struct block *b)
{
    for (uint32_t i = 0; i < b->n_warps; i++) {
        struct warp *w = &b->warps[i];
        if (w->state == WARP_BARRIER) {
            const struct insn *in = &b->kernel->code[w->splits[0].pc];
            fault(w, in, __builtin_ctz(w->live),
                  "deadlock: %" PRIu32 " warps arrived at barrier %" PRIu32
                  ", and no other can get there",
                  b->barriers[w->barrier].arrived, w->barrier);
        }
    }
    struct warp *w = &b->warps[0];
    for (uint32_t i = 0; i < b->n_warps; i++) {
        w = b->warps[i].state == WARP_READY ? &b->warps[i] : w;
    }
    fault(w, &b->kernel->code[w->splits[0].pc], __builtin_ctz(w->live),
          "the block does not come to an end");
}

static void run_warp(struct block *b, struct warp *w)
{
    warp_run(w);
    if (w->state == WARP_BARRIER) {
        arrive(b, w);
    } else if (w->state == WARP_DONE) {
        b->spins = 0;
        for (uint32_t id = 0; id < MAX_BARRIERS; id++) {
            release(b, id);
        }
    } else if (++b->spins > max_spins * b->n_warps) {
        deadlock(b);
    }
}

void block_run(struct block *b)
{
    uint32_t start = b->first_warp;
    while (not_done(b)) {
        bool ran = false;
        for (uint32_t i = 0; i < b->n_warps; i++) {
            struct warp *w = &b->warps[(i + start) % b->n_warps];
            if (w->state == WARP_READY) {
                run_warp(b, w);
                ran = true;
            }
        }
        if (!ran) {
            deadlock(b);
        }
        start += b->shuffle ? (b->shuffle = b->shuffle * 1664525u + 1013904223u) >> 16 : 0;
    }
}
