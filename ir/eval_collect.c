/* A depth-first walk without recursion: chains of nodes may be longer than the stack is deep. */
#include "eval_collect.h"

#include <stdlib.h>

struct visit {
    const struct node *node;
    int operand; /* the next to look at */
};

struct walk {
    const struct node **seen; /* open hash set */
    size_t n_seen, n_slots;   /* slots: a power of two, at least twice n_seen */
    struct visit *path;
    size_t n_path, cap_path;
    const struct node **done;
    size_t n_done, cap_done;
};

static size_t set_place(const struct node **set, size_t slots, const struct node *node)
{
    size_t i = ((uintptr_t)node >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 20;
    while (set[i & (slots - 1)] && set[i & (slots - 1)] != node)
        i++;
    return i & (slots - 1);
}

static bool grow_set(struct walk *w)
{
    size_t slots = w->n_slots ? 2 * w->n_slots : 32;
    const struct node **set = calloc(slots, sizeof(*set));
    if (!set)
        return false;
    for (size_t i = 0; i < w->n_slots; i++)
        if (w->seen[i])
            set[set_place(set, slots, w->seen[i])] = w->seen[i];
    free(w->seen);
    w->seen = set;
    w->n_slots = slots;
    return true;
}

static bool grow(void **items, size_t *capacity, size_t n, size_t size)
{
    if (n < *capacity)
        return true;
    size_t more = *capacity ? 2 * *capacity : 32;
    void *moved = realloc(*items, more * size);
    if (!moved)
        return false;
    *items = moved;
    *capacity = more;
    return true;
}

/* Puts node on the path unless it was there before. */
static bool enter(struct walk *w, const struct node *node)
{
    if (2 * (w->n_seen + 1) > w->n_slots && !grow_set(w))
        return false;
    size_t place = set_place(w->seen, w->n_slots, node);
    if (w->seen[place])
        return true;
    w->seen[place] = node;
    w->n_seen++;
    if (!grow((void **)&w->path, &w->cap_path, w->n_path, sizeof(*w->path)))
        return false;
    w->path[w->n_path++] = (struct visit){node, 0};
    return true;
}

static bool leave(struct walk *w)
{
    if (!grow((void **)&w->done, &w->cap_done, w->n_done, sizeof(*w->done)))
        return false;
    w->done[w->n_done++] = w->path[--w->n_path].node;
    return true;
}

bool collect_nodes(const struct value *v, const struct node ***nodes, size_t *n, bool *no_memory)
{
    struct walk w = {0};
    bool constant = v->def != NULL && !v->def->body[0], ok = constant && enter(&w, v->def);
    while (ok && constant && w.n_path) {
        struct visit *top = &w.path[w.n_path - 1];
        if (top->operand == top->node->n_in) {
            ok = leave(&w);
            continue;
        }
        const struct node *def = top->node->in[top->operand++]->def;
        constant = def != NULL && !def->body[0]; /* bodies are run with the plan alone */
        ok = !constant || enter(&w, def);
    }
    free(w.seen);
    free(w.path);
    *nodes = w.done;
    *n = w.n_done;
    *no_memory = constant && !ok;
    return constant && ok;
}
