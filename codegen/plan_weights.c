/* The constants of a plan: which there are, how they came to be, and their bytes. */
#include "../ir/eval.h"
#include "../ir/text.h"
#include "layout.h"
#include "plan_build.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

bool plan_is_weight(const struct value *v)
{
    return v->def && (v->def->op == OP_constant || v->def->kernel == KERNEL_CONSTANT);
}

uint32_t plan_weight_number(struct plan_builder *b, struct value *v)
{
    struct plan_weights *w = &b->weights;
    struct arena *arena = b->g->arena;
    if (!w->number) {
        w->number = ARENA_ARRAY(arena, (size_t)b->g->root->next_id + 1, uint32_t);
        memset(w->number, 0xff, ((size_t)b->g->root->next_id + 1) * sizeof *w->number);
    }
    if (w->number[v->id] == PLAN_NONE) {
        if (w->n == w->cap) {
            w->cap = w->cap ? 2 * w->cap : 64;
            struct value **larger = ARENA_ARRAY(arena, w->cap, struct value *);
            if (w->n)
                memcpy(larger, w->at, w->n * sizeof *larger);
            w->at = larger;
        }
        w->number[v->id] = w->n;
        w->at[w->n++] = v;
    }
    return w->number[v->id];
}

/* ---- recipes ------------------------------------------------------------------------------- */

static void print_source(struct text *out, const struct value *v, const struct constant *c)
{
    text_printf(out, "%s[", dtype_info[v->type].text);
    for (int i = 0; i < v->rank; i++) {
        int64_t extent = 0;
        dim_is_const(v->shape[i], &extent);
        text_printf(out, "%s%" PRId64, i ? ", " : "", extent);
    }
    text_printf(out, "]");
    if (c->initializer)
        text_printf(out, " initializer \"%s\"", c->initializer);
    if (c->file)
        text_printf(out, " file \"%s\" offset %" PRId64, c->file, c->offset);
    if (!c->initializer && !c->file)
        text_printf(out, " literal");
    text_printf(out, ", %zu bytes", c->size);
}

/*
 * One line for each node the value depends on, operands first:
 *   %12 = constant f32[64, 3, 7, 7] initializer "conv1.weight", 37632 bytes
 *   %15 = mul %12, %14 : f32
 * The lines name nodes by the ids they have in --emit=ir.
 */
static void print_recipe(struct plan_builder *b, struct text *out, const struct value *v,
                         uint32_t *printed, uint32_t mark)
{
    const struct node *node = v->def;
    if (!node || printed[v->id] == mark)
        return;
    for (int i = 0; i < node->n_in; i++)
        print_recipe(b, out, node->in[i], printed, mark);
    for (int i = 0; i < node->n_out; i++)
        printed[node->out[i]->id] = mark;
    if (node->op == OP_constant) {
        text_printf(out, "%%%" PRIu32 " = constant ", v->id);
        print_source(out, v, node->attr.constant.data);
        text_printf(out, "\n");
    } else {
        text_node(out, b->g, node, 0);
    }
}

/* … and at the end, where the elements have another order: "memory %15 [0, 2, 3, 1]". */
static void print_order(struct text *out, const struct value *v)
{
    if (!v->layout)
        return;
    text_printf(out, "memory %%%" PRIu32 " [", v->id);
    for (int i = 0; i < v->rank; i++)
        text_printf(out, "%s%d", i ? ", " : "", layout_axis(v, i));
    text_printf(out, "]\n");
}

void plan_describe_weights(struct plan_builder *b)
{
    struct plan_weights *w = &b->weights;
    w->records = ARENA_ARRAY(b->g->arena, (size_t)w->n + 1, struct plan_weight);
    w->known = ARENA_ARRAY(b->g->arena, (size_t)w->n + 1, struct plan_known);
    for (w->mask = 63; w->mask < 2 * w->n; w->mask = 2 * w->mask + 1)
        ;
    w->table = ARENA_ARRAY(b->g->arena, (size_t)w->mask + 1, uint32_t);
    memset(w->table, 0xff, ((size_t)w->mask + 1) * sizeof *w->table);
    uint32_t *printed = ARENA_ARRAY(b->g->arena, (size_t)b->g->root->next_id + 1, uint32_t);
    struct text *recipes = &b->shared[PLAN_RECIPES];
    for (uint32_t i = 0; i < w->n; i++) {
        w->records[i].recipe_offset = recipes->length;
        print_recipe(b, recipes, w->at[i], printed, i + 1);
        print_order(recipes, w->at[i]);
        w->records[i].recipe_bytes = (uint32_t)(recipes->length - w->records[i].recipe_offset);
    }
}

/* ---- bytes --------------------------------------------------------------------------------- */

static bool stream(struct plan_stream *s, const void *data, size_t size)
{
    XXH3_64bits_update(s->hash, data, size);
    s->offset += size;
    return atomic_file_write(s->file, data, size);
}

static bool stream_padding(struct plan_stream *s)
{
    static const char zeros[PLAN_BUFFER_ALIGN];
    return stream(s, zeros, (size_t)(-s->offset % PLAN_BUFFER_ALIGN));
}

/* Where in the table these bytes are, or belong. */
static uint32_t find_known(const struct plan_weights *w, XXH128_hash_t hash, uint64_t bytes)
{
    uint32_t at = (uint32_t)hash.low64 & w->mask;
    while (w->table[at] != PLAN_NONE) {
        const struct plan_known *k = &w->known[w->table[at]];
        if (XXH128_isEqual(k->hash, hash) && k->bytes == bytes)
            break;
        at = (at + 1) & w->mask;
    }
    return at;
}

/* The row-major bytes of a weight: the mapped file's own where they are there, else evaluated into
 * *owned. */
static bool evaluated_bytes(struct plan_builder *b, const struct value *v, struct tensor *owned,
                            const void **data, size_t *size)
{
    const struct constant *c = v->def->op == OP_constant ? v->def->attr.constant.data : NULL;
    if (c && (c->bytes || !c->size)) {
        *data = c->bytes;
        *size = c->size;
        return true;
    }
    if (!eval_constant(b->g, v, owned))
        return false;
    *data = owned->data;
    *size = owned->size;
    return true;
}

/* The bytes of a weight in the order of its layout. */
static bool weight_bytes(struct plan_builder *b, const struct value *v, struct tensor *owned,
                         const void **data, size_t *size)
{
    if (!evaluated_bytes(b, v, owned, data, size))
        return false;
    if (!v->layout || !*size)
        return true;
    void *arranged = malloc(*size);
    if (!arranged) {
        free(owned->data);
        diag_error(b->diag, STATUS_LIMIT, "weights", "out of memory: %zu bytes", *size);
        return false;
    }
    layout_arrange(v, *data, arranged);
    free(owned->data);
    owned->data = arranged;
    *data = arranged;
    return true;
}

bool plan_stream_weights(struct plan_builder *b, struct plan_stream *s, const char *path)
{
    struct plan_weights *w = &b->weights;
    for (uint32_t i = 0; i < w->n; i++) {
        struct tensor owned = {0};
        const void *data;
        size_t size;
        if (!weight_bytes(b, w->at[i], &owned, &data, &size))
            return false;
        XXH128_hash_t hash = XXH3_128bits(data, size);
        uint32_t at = find_known(w, hash, size);
        bool written = true;
        if (w->table[at] == PLAN_NONE) {
            written = stream_padding(s);
            w->known[w->n_known] = (struct plan_known){hash, size, s->offset};
            w->table[at] = w->n_known++;
            written = written && stream(s, data, size);
        }
        w->records[i].hash = XXH3_64bits(data, size);
        w->records[i].bytes = size;
        w->records[i].offset = w->known[w->table[at]].offset;
        free(owned.data);
        if (!written) {
            diag_error(b->diag, STATUS_IO, path, "%s", strerror(errno));
            return false;
        }
    }
    return true;
}
