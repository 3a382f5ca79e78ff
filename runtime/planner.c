#include "planner.h"

/* Larger first; ties by index. */
static bool before(const struct planner_item *items, uint32_t a, uint32_t b)
{
    return items[a].size != items[b].size ? items[a].size > items[b].size : a < b;
}

/* Restores the heap below `root`: the item that comes last in the order on top. */
static void sift(const struct planner_item *items, uint32_t *heap, uint32_t root, uint32_t n)
{
    for (;;) {
        uint32_t child = 2 * root + 1;
        if (child >= n)
            return;
        if (child + 1 < n && before(items, heap[child], heap[child + 1]))
            child++;
        if (!before(items, heap[root], heap[child]))
            return;
        uint32_t swap = heap[root];
        heap[root] = heap[child];
        heap[child] = swap;
        root = child;
    }
}

/* Heapsort, because qsort may allocate. */
static void sort(const struct planner_item *items, uint32_t *order, uint32_t n)
{
    for (uint32_t i = n / 2; i-- > 0;)
        sift(items, order, i, n);
    for (uint32_t i = n; i-- > 1;) {
        uint32_t last = order[0];
        order[0] = order[i];
        order[i] = last;
        sift(items, order, 0, i);
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
 * does. */
static bool find_gap(const struct planner_item *items, const uint32_t *placed, uint32_t n,
                     const struct planner_item *item, int64_t size, int64_t alignment,
                     int64_t *offset)
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
    if (tightest == INT64_MAX)
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

/*
 * scratch holds the items that need room. Its front is what is placed already, by offset; its rest
 * what is still to be placed, largest first.
 */
bool planner_place(struct planner_item *items, uint32_t n, int64_t alignment, uint32_t *scratch,
                   int64_t *total)
{
    uint32_t waiting = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (!legal(items, n, i))
            return false;
        items[i].offset = 0;
        if (items[i].size > 0 && items[i].alias == UINT32_MAX)
            scratch[waiting++] = i;
    }
    sort(items, scratch, waiting);

    int64_t most = 0;
    for (uint32_t placed = 0; placed < waiting; placed++) {
        uint32_t index = scratch[placed], at = placed;
        struct planner_item *item = &items[index];
        int64_t size, end;
        if (!rounded_size(item, alignment, &size) ||
            !find_gap(items, scratch, placed, item, size, alignment, &item->offset) ||
            __builtin_add_overflow(item->offset, size, &end))
            return false;
        if (end > most)
            most = end;
        for (; at > 0 && items[scratch[at - 1]].offset > item->offset; at--)
            scratch[at] = scratch[at - 1];
        scratch[at] = index;
    }
    for (uint32_t i = 0; i < n; i++)
        if (items[i].alias != UINT32_MAX)
            items[i].offset = items[items[i].alias].offset;
    *total = most;
    return true;
}
