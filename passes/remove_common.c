/*
 * Common subexpressions: a node that computes what an earlier one has computed gives way to it.
 * Nodes are looked up in a hash table by op, operands and attributes. Nodes with bodies stay: each
 * loop has an index of its own.
 */
#include "passes.h"

#include <string.h>

struct entry {
    uint64_t hash;
    struct node *node;
};

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ hash >> 29;
}

static uint64_t mix_bytes(uint64_t hash, const void *bytes, size_t size)
{
    const unsigned char *p = bytes;
    for (size_t i = 0; i < size; i++)
        hash = mix(hash, p[i]);
    return hash;
}

/* Constants with more bytes than this are compared by address. */
enum { MOST_COMPARED_BYTES = 4096 };

static uint64_t hash_field(uint64_t hash, enum attr_kind kind, const void *p)
{
    const struct dims *dims = p;
    const struct ints *ints = p;
    const struct perm *perm = p;
    const struct constant *c;
    double number;
    switch (kind) {
    case AK_INT: return mix(hash, (uint64_t) * (const int64_t *)p);
    case AK_BOOL: return mix(hash, *(const bool *)p);
    case AK_FLOAT:
        memcpy(&number, p, sizeof number);
        return mix_bytes(hash, &number, sizeof number);
    case AK_DTYPE: return mix(hash, *(const enum dtype *)p);
    case AK_AXES: return mix(hash, *(const uint32_t *)p);
    case AK_DIM: return mix(hash, (*(const struct dim *const *)p)->id);
    case AK_DIMS:
        for (int i = 0; i < dims->n; i++)
            hash = mix(hash, dims->d[i]->id);
        return mix(hash, (uint64_t)dims->n);
    case AK_INTS: return mix_bytes(hash, ints->v, (size_t)ints->n * sizeof ints->v[0]);
    case AK_PERM: return mix_bytes(hash, perm->axis, (size_t)perm->n);
    case AK_PADMODE: return mix(hash, *(const enum pad_mode *)p);
    case AK_COMBINE: return mix(hash, *(const enum combine *)p);
    case AK_CONSTANT:
        c = *(const struct constant *const *)p;
        hash = mix(hash, c->size);
        return c->bytes && c->size <= MOST_COMPARED_BYTES ? mix_bytes(hash, c->bytes, c->size)
                                                          : mix(hash, (uint64_t)c->offset);
    }
    return hash;
}

static bool same_constant(const struct constant *a, const struct constant *b)
{
    if (a == b)
        return true;
    return a->size == b->size && a->bytes && b->bytes &&
           (a->bytes == b->bytes ||
            (a->size <= MOST_COMPARED_BYTES && memcmp(a->bytes, b->bytes, a->size) == 0));
}

static bool same_field(enum attr_kind kind, const void *p, const void *q)
{
    const struct dims *d = p, *e = q;
    const struct ints *i = p, *j = q;
    const struct perm *r = p, *s = q;
    switch (kind) {
    case AK_INT: return *(const int64_t *)p == *(const int64_t *)q;
    case AK_BOOL: return *(const bool *)p == *(const bool *)q;
    case AK_FLOAT: return memcmp(p, q, sizeof(double)) == 0;
    case AK_DTYPE: return *(const enum dtype *)p == *(const enum dtype *)q;
    case AK_AXES: return *(const uint32_t *)p == *(const uint32_t *)q;
    case AK_DIM: return *(const struct dim *const *)p == *(const struct dim *const *)q;
    case AK_DIMS:
        return d->n == e->n && (!d->n || !memcmp(d->d, e->d, (size_t)d->n * sizeof *d->d));
    case AK_INTS: return i->n == j->n && !memcmp(i->v, j->v, (size_t)i->n * sizeof i->v[0]);
    case AK_PERM: return r->n == s->n && !memcmp(r->axis, s->axis, (size_t)r->n);
    case AK_PADMODE: return *(const enum pad_mode *)p == *(const enum pad_mode *)q;
    case AK_COMBINE: return *(const enum combine *)p == *(const enum combine *)q;
    case AK_CONSTANT:
        return same_constant(*(const struct constant *const *)p,
                             *(const struct constant *const *)q);
    }
    return false;
}

static uint64_t hash_node(const struct node *node)
{
    const struct op_info *info = &op_info[node->op];
    uint64_t hash = mix(0, node->op);
    for (int i = 0; i < node->n_in; i++)
        hash = mix(hash, node->in[i]->id);
    for (int i = 0; i < info->n_fields; i++)
        hash = hash_field(hash, info->fields[i].kind,
                          (const char *)&node->attr + info->fields[i].offset);
    return hash;
}

static bool same_node(const struct node *a, const struct node *b)
{
    const struct op_info *info = &op_info[a->op];
    if (a->op != b->op || a->n_in != b->n_in || a->math != b->math)
        return false;
    for (int i = 0; i < a->n_in; i++)
        if (a->in[i] != b->in[i])
            return false;
    for (int i = 0; i < info->n_fields; i++)
        if (!same_field(info->fields[i].kind, (const char *)&a->attr + info->fields[i].offset,
                        (const char *)&b->attr + info->fields[i].offset))
            return false;
    for (int i = 0; i < a->n_out; i++)
        if (a->out[i]->type != b->out[i]->type || a->out[i]->layout != b->out[i]->layout)
            return false;
    return true;
}

static bool remove_from(struct graph *g)
{
    size_t nodes = 0, size = 16;
    bool changed = false;
    for (const struct node *node = g->first; node; node = node->next)
        nodes++;
    while (size < 2 * nodes)
        size *= 2;
    struct entry *table = ARENA_ARRAY(g->arena, size, struct entry);
    for (struct node *node = g->first, *next; node; node = next) {
        next = node->next;
        if (node->body[0])
            continue;
        uint64_t hash = hash_node(node);
        size_t at = hash & (size - 1);
        while (table[at].node && !(table[at].hash == hash && same_node(table[at].node, node)))
            at = (at + 1) & (size - 1);
        if (!table[at].node) {
            table[at] = (struct entry){hash, node};
            continue;
        }
        for (int i = 0; i < node->n_out; i++)
            value_replace_uses(g, node->out[i], table[at].node->out[i]);
        for (int i = 0; i < g->root->n_symbols; i++)
            if (g->root->symbols[i].kind == SYMBOL_ELEMENT &&
                g->root->symbols[i].value->def == node)
                g->root->symbols[i].value = table[at].node->out[g->root->symbols[i].value->index];
        node_remove(g, node);
        changed = true;
    }
    return changed;
}

bool pass_remove_common(struct graph *g)
{
    return pass_each_graph(g, remove_from);
}
