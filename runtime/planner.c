#include "planner.h"

/* What is placed first: the largest, what lives longest, what begins first. */
enum order { BY_SIZE, BY_LIFETIME, BY_START, ORDERS };

/* Ties by size, then by index. */
static bool before(const struct planner_item *items, enum order order, uint32_t a, uint32_t b)
{
    const struct planner_item *x = &items[a], *y = &items[b];
    if (order == BY_LIFETIME && x->last - x->first != y->last - y->first)
        return x->last - x->first > y->last - y->first;
    if (order == BY_START && x->first != y->first)
        return x->first < y->first;
    return x->size != y->size ? x->size > y->size : a < b;
}

/* Restores the heap below `root`: the item that comes last in the order on top. */
static void sift(const struct planner_item *items, enum order order, uint32_t *heap, uint32_t root,
                 uint32_t n)
{
    for (;;) {
        uint32_t child = 2 * root + 1;
        if (child >= n)
            return;
        if (child + 1 < n && before(items, order, heap[child], heap[child + 1]))
            child++;
        if (!before(items, order, heap[root], heap[child]))
            return;
        uint32_t swap = heap[root];
        heap[root] = heap[child];
        heap[child] = swap;
        root = child;
    }
}

/* Heapsort, because qsort may allocate. */
static void sort(const struct planner_item *items, enum order order, uint32_t *sorted, uint32_t n)
{
    for (uint32_t i = n / 2; i-- > 0;)
        sift(items, order, sorted, i, n);
    for (uint32_t i = n; i-- > 1;) {
        uint32_t last = sorted[0];
        sorted[0] = sorted[i];
        sorted[i] = last;
        sift(items, order, sorted, 0, i);
    }
}

static bool rounded_size(const struct planner_item *item, int64_t alignment, int64_t *size)
{
    if (__builtin_add_overflow(item->size, alignment - 1, size))
        return false;
    *size &= ~(alignment - 1);
    return true;
}

/* The start of the tightest gap for an item between those placed (by offset) that live when it
 * does. What is left below a ceiling is a gap, too, in which it goes to the top; INT64_MAX: there
 * is none. */
static bool find_gap(const struct planner_item *items, const uint32_t *placed, uint32_t n,
                     const struct planner_item *item, int64_t size, int64_t alignment,
                     int64_t ceiling, int64_t *offset)
{
    int64_t end = 0, tightest = INT64_MAX;
    for (uint32_t i = 0; i < n; i++) {
        const struct planner_item *other = &items[placed[i]];
        int64_t other_size;
        if (other->first > item->last || item->first > other->last)
            continue;
        if (!rounded_size(other, alignment, &other_size))
            return false;
        int64_t gap = other->offset - end;
        if (gap >= size && gap < tightest) {
            tightest = gap;
            *offset = end;
        }
        if (other->offset + other_size > end)
            end = other->offset + other_size;
    }
    if (ceiling < INT64_MAX && end > 0 && ceiling - end >= size && ceiling - end < tightest)
        *offset = ceiling - size;
    else if (tightest == INT64_MAX)
        *offset = end;
    return true;
}

static bool legal(const struct planner_item *items, uint32_t n, uint32_t index)
{
    const struct planner_item *item = &items[index];
    if (item->size < 0 || item->last < item->first)
        return false;
    if (item->alias == UINT32_MAX)
        return true;
    if (item->alias >= n)
        return false;
    const struct planner_item *base = &items[item->alias];
    return base->alias == UINT32_MAX && base->size >= item->size && base->first <= item->first &&
           base->last >= item->last;
}

/* Most bytes alive at one time: no placement needs less. -1: they overflow. */
static int64_t least_total(const struct planner_item *items, uint32_t n, int64_t alignment)
{
    int64_t most = 0;
    for (uint32_t i = 0; i < n; i++) { /* the most are alive where one begins */
        int64_t alive = 0, size;
        for (uint32_t k = 0; k < n; k++) {
            if (items[k].alias != UINT32_MAX || items[k].first > items[i].first ||
                items[k].last < items[i].first)
                continue;
            if (!rounded_size(&items[k], alignment, &size) ||
                __builtin_add_overflow(alive, size, &alive))
                return -1;
        }
        most = alive > most ? alive : most;
    }
    return most;
}

/*
 * scratch holds the items that need room. Its front is what is placed already, by offset; its rest
 * what is still to be placed, in order.
 */
static bool place_by(struct planner_item *items, uint32_t n, enum order order, int64_t alignment,
                     int64_t ceiling, uint32_t *scratch, int64_t *total)
{
    uint32_t waiting = 0;
    for (uint32_t i = 0; i < n; i++) {
        items[i].offset = 0;
        if (items[i].size > 0 && items[i].alias == UINT32_MAX)
            scratch[waiting++] = i;
    }
    sort(items, order, scratch, waiting);
    *total = 0;
    for (uint32_t placed = 0; placed < waiting; placed++) {
        uint32_t index = scratch[placed], at = placed;
        struct planner_item *item = &items[index];
        int64_t size, end;
        if (!rounded_size(item, alignment, &size) ||
            !find_gap(items, scratch, placed, item, size, alignment, ceiling, &item->offset) ||
            __builtin_add_overflow(item->offset, size, &end))
            return false;
        if (end > *total)
            *total = end;
        for (; at > 0 && items[scratch[at - 1]].offset > item->offset; at--)
            scratch[at] = scratch[at - 1];
        scratch[at] = index;
    }
    return true;
}

bool planner_place(struct planner_item *items, uint32_t n, int64_t alignment, uint32_t *scratch,
                   int64_t *total)
{
    for (uint32_t i = 0; i < n; i++)
        if (!legal(items, n, i))
            return false;
    int64_t least = least_total(items, n, alignment), best = INT64_MAX;
    enum order chosen = BY_SIZE;
    int64_t ceiling = INT64_MAX;
    if (least < 0)
        return false;
    for (int i = 0; i < 2 * ORDERS && best > least; i++) {
        enum order order = (enum order)(i % ORDERS);
        int64_t top = i < ORDERS ? INT64_MAX : least;
        if (place_by(items, n, order, alignment, top, scratch, total) && *total < best) {
            best = *total;
            chosen = order;
            ceiling = top;
        }
    }
    if (best == INT64_MAX || !place_by(items, n, chosen, alignment, ceiling, scratch, total))
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (items[i].alias != UINT32_MAX)
            items[i].offset = items[items[i].alias].offset;
    return true;
}
