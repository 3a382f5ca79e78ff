/* What lanes of a warp tell each other, and what they learn about themselves. */
#include "checks.h"
#include "exec.h"

enum { SHFL_UP, SHFL_DOWN, SHFL_BFLY, SHFL_IDX };

/* d[|d2] = a of lane b, clamped by c; lanes of mask e are here (the scheduler saw to that). */
HANDLER(shfl)
{
    (void)end;
    u32 source[LANES], *d = REG(u32, in->d), in_range = 0;
    const u32 *b = REG(u32, in->b), *c = REG(u32, in->c);
    memcpy(source, REG(u32, in->a), sizeof source);
    for (u32 m = w->mask; m; m &= m - 1) {
        int lane = __builtin_ctz(m), segment = (int)(c[lane] >> 8 & 31),
            clamp = (int)(c[lane] & 31);
        int by = (int)(b[lane] & 31), from = lane, ok = 1;
        int low = lane & segment, high = low | (clamp & ~segment);
        switch (in->op) {
        case SHFL_UP:
            from = lane - by;
            ok = from >= high;
            break;
        case SHFL_DOWN:
            from = lane + by;
            ok = from <= high;
            break;
        case SHFL_BFLY:
            from = lane ^ by;
            ok = from <= high;
            break;
        default:
            from = low | (by & ~segment);
            ok = from <= high;
            break;
        }
        from = ok ? from : lane;
        if (!(w->mask >> from & 1)) {
            fault(w, in, lane, "shuffle reads lane %d, which does not take part", from);
        }
        d[lane] = source[from];
        in_range |= (u32)ok << lane;
    }
    if (in->d2 != NO_SLOT) {
        set_predicate(w, in->d2, in_range);
    }
}

static void fill_lanes(struct warp *w, u32 slot, u32 value)
{
    u32 *d = REG(u32, slot);
    for (u32 m = w->mask; m; m &= m - 1) {
        d[__builtin_ctz(m)] = value;
    }
}

enum { VOTE_ALL, VOTE_ANY, VOTE_UNI };

HANDLER(vote)
{
    (void)end;
    u32 p = PREDICATE(in->a) & w->mask, m = w->mask;
    int yes = in->op == VOTE_ALL ? p == m : in->op == VOTE_ANY ? p != 0 : p == m || p == 0;
    set_predicate(w, in->d, yes ? ALL_LANES : 0);
}

HANDLER(ballot)
{
    (void)end;
    fill_lanes(w, in->d, PREDICATE(in->a) & w->mask);
}

HANDLER(activemask)
{
    for (; in < end; in++) {
        fill_lanes(w, in->d, w->mask);
    }
}

/* The lanes with the same value: match.any; op 1: match.all, with d2 telling whether all agree. */
#define MATCH(name, T)                                                                             \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        (void)end;                                                                                 \
        T value[LANES];                                                                            \
        u32 *d = REG(u32, in->d), all = 1;                                                         \
        memcpy(value, REG(T, in->a), sizeof value);                                                \
        for (u32 m = w->mask; m; m &= m - 1) {                                                     \
            int lane = __builtin_ctz(m);                                                           \
            u32 same = 0;                                                                          \
            for (int i = 0; i < LANES; i++) {                                                      \
                same |= (u32)(value[i] == value[lane]) << i;                                       \
            }                                                                                      \
            d[lane] = same & w->mask;                                                              \
            all &= d[lane] == w->mask;                                                             \
        }                                                                                          \
        if (in->op) {                                                                              \
            fill_lanes(w, in->d, all ? w->mask : 0);                                               \
            if (in->d2 != NO_SLOT) {                                                               \
                set_predicate(w, in->d2, all ? ALL_LANES : 0);                                     \
            }                                                                                      \
        }                                                                                          \
    }
MATCH(match_32, u32)
MATCH(match_64, u64)

#define REDUX(name, T, expression)                                                                 \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        (void)end;                                                                                 \
        const T *a = REG(T, in->a);                                                                \
        T x = a[__builtin_ctz(w->mask)];                                                           \
        for (u32 m = w->mask & (w->mask - 1); m; m &= m - 1) {                                     \
            T y = a[__builtin_ctz(m)];                                                             \
            x = (T)(expression);                                                                   \
        }                                                                                          \
        fill_lanes(w, in->d, (u32)x);                                                              \
    }
REDUX(redux_add, u32, x + y)
REDUX(redux_and, u32, x &y)
REDUX(redux_or, u32, x | y)
REDUX(redux_xor, u32, x ^ y)
REDUX(redux_min_s32, s32, x < y ? x : y)
REDUX(redux_max_s32, s32, x > y ? x : y)
REDUX(redux_min_u32, u32, x < y ? x : y)
REDUX(redux_max_u32, u32, x > y ? x : y)

/* elect.sync: the lowest lane of those here. */
HANDLER(elect)
{
    (void)end;
    u32 lane = (u32)__builtin_ctz(w->mask);
    if (in->d != NO_SLOT) {
        fill_lanes(w, in->d, lane);
    }
    set_predicate(w, in->d2, UINT32_C(1) << lane);
}

HANDLER(fence)
{
    for (; in < end; in++) {
        if (w->block->race) {
            race_fence(w);
        }
    }
}

HANDLER(nop)
{
    (void)w;
    (void)in;
    (void)end;
}

/* Counts up: there is no time here. */
HANDLER(clock_32)
{
    for (; in < end; in++) {
        fill_lanes(w, in->d, (u32)(w->ticks += 16));
    }
}

HANDLER(clock_64)
{
    for (; in < end; in++) {
        u64 *d = REG(u64, in->d), now = w->ticks += 16;
        for (u32 m = w->mask; m; m &= m - 1) {
            d[__builtin_ctz(m)] = now;
        }
    }
}

/* ---- Address spaces ---- */

MAP1(to_shared, u64, u64, x - WINDOW_SHARED)
MAP1(from_shared, u64, u64, x + WINDOW_SHARED)
MAP1(to_local, u64, u64, x - WINDOW_LOCAL)
MAP1(from_local, u64, u64, x + WINDOW_LOCAL)

/* isspacep: imm is the start of the window, or 0 for global memory. */
HANDLER(isspacep)
{
    for (; in < end; in++) {
        const u64 *a = REG(u64, in->a);
        u32 r = 0;
        for (int i = 0; i < LANES; i++) {
            u64 start = (u64)in->imm;
            int yes = start ? a[i] - start < WINDOW_BYTES : a[i] < WINDOW_SHARED;
            r |= (u32)yes << i;
        }
        set_predicate(w, in->d, r);
    }
}
