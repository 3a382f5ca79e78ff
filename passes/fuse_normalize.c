/*
 * Normalizations of few rows in front of products:
 *
 *     normalize ─▶ scale, shift ─▶ x · w        becomes one kernel, of which every block makes the
 *                                               rows by itself (codegen/contract_rows.cuh)
 *
 * That is for decoding, where a product has a few rows, and a normalization, which takes next to no
 * work, costs a launch. Where rows are many, or a product has very many blocks, making the rows
 * again in each costs more than the launch.
 */
#include "fuse.h"

enum {
    /* A product whose weights are read once (codegen/contract_skinny.c): its sizes, and its
       blocks'. */
    MOST_ROWS = 8,
    LEAST_COLUMNS = 32,
    LEAST_DEPTH = 32,
    BLOCK_ELEMENTS = 1 << 15, /* of weights, of so many columns */
    FEWEST_COLUMNS = 4,
    MOST_COLUMNS = 16,
    MOST_STAGED = 1 << 15, /* bytes of rows that a block keeps in shared memory */
    TILE = 64,             /* rows and columns of a tile of other products */
    ELEMENT_WORK = 12,     /* operations that an element takes: two sums, maps, its way to there */
    MOST_MAPS = 8,         /* between the normalization and a product */
};

/* What the products that read a normalization have to do. */
struct products {
    int n;
    int64_t work;    /* operations of all blocks of all of them */
    const char *why; /* what is in the way, or NULL */
};

/* Known, at most eight rows in one batch, and a last axis of so many elements. */
static bool has_few_rows(const struct value *x, int64_t *rows, int64_t *length)
{
    if (x->rank < 2 || !dim_is_const(x->shape[x->rank - 1], length) ||
        !dim_is_const(x->shape[x->rank - 2], rows))
        return false;
    for (int i = 0; i < x->rank - 2; i++)
        if (!dim_is(x->shape[i], 1))
            return false;
    return *rows > 0 && *rows <= MOST_ROWS;
}

static bool is_multiplied(const struct value *v)
{
    return v->type != DT_F64 && v->type != DT_BOOL && dtype_info[v->type].bits <= 32;
}

/* Blocks of a product of few rows. */
static int64_t blocks_of(int64_t columns, int64_t length)
{
    int64_t of_block = BLOCK_ELEMENTS / length;
    of_block = of_block > MOST_COLUMNS ? MOST_COLUMNS : of_block;
    of_block = of_block < FEWEST_COLUMNS ? FEWEST_COLUMNS : of_block;
    return fuse_rounded_up(columns, of_block);
}

static void add_work(struct products *p, int64_t work)
{
    if (__builtin_add_overflow(p->work, work, &p->work))
        p->work = INT64_MAX;
}

/* A product of many rows: its tiles, too, would have to hold whole ones. */
static void add_tiles(const struct fusion *f, struct products *p, const struct node *node)
{
    const struct value *x = node->in[0], *y = node->out[0];
    int64_t columns = fuse_size(f, y->shape[y->rank - 1]);
    int64_t length = fuse_size(f, x->shape[x->rank - 1]), elements = fuse_elements(f, x);
    int64_t bytes = fuse_multiply(length, TILE * (int64_t)dtype_size(x->type));
    int64_t tiles = fuse_rounded_up(columns, TILE);
    add_work(p, fuse_multiply(fuse_multiply(tiles, elements), ELEMENT_WORK));
    p->why = arena_printf(f->g->arena,
                          "whose tiles of %d rows take parts of the depth, not %lld bytes at once",
                          TILE, (long long)bytes);
}

/* Adds a product whose first operand is made of the normalization. */
static void add_product(const struct fusion *f, struct products *p, const struct node *node)
{
    const struct value *x = node->in[0], *y = node->out[0];
    int64_t rows, length, columns;
    p->n++;
    if (!has_few_rows(x, &rows, &length)) {
        add_tiles(f, p, node);
        return;
    }
    bool suits = dim_is_const(y->shape[y->rank - 1], &columns) && columns >= LEAST_COLUMNS &&
                 length >= LEAST_DEPTH && dtype_is_float(x->type) && is_multiplied(x) &&
                 is_multiplied(node->in[1]) && is_multiplied(y) && dtype_is_float(y->type);
    if (!suits || rows * length > MOST_STAGED / (int64_t)dtype_size(x->type)) {
        p->why = suits ? "whose blocks have no room for them in shared memory"
                       : "which are too small, or of other types";
        return;
    }
    int64_t blocks = blocks_of(columns, length);
    add_work(p, fuse_multiply(fuse_multiply(blocks, rows * length), ELEMENT_WORK * FUSE_WAITING));
}

/* Read as it is, or repeated, in every block: a constant or an input. */
static bool is_at_hand(const struct value *v)
{
    while (v->def && v->def->kernel == KERNEL_UNASSIGNED &&
           (v->def->op == OP_expand || v->def->op == OP_reshape))
        v = v->def->in[0];
    return !v->def || v->def->kernel == KERNEL_CONSTANT;
}

/* A map of one value, with numbers at hand, or a reshape that leaves rows as they are. */
static bool keeps_rows(const struct node *node, const struct value *x)
{
    const struct value *y = node->out[0];
    if (node->op == OP_reshape)
        return y->rank > 0 && x->rank > 0 && y->shape[y->rank - 1] == x->shape[x->rank - 1];
    if (!fuse_is_scalar(node))
        return false;
    int reads = 0;
    for (int i = 0; i < node->n_in; i++) {
        reads += node->in[i] == x;
        if (node->in[i] != x && !is_at_hand(node->in[i]))
            return false;
    }
    return reads == 1;
}

/* Looks at all that reads v, which is made of the normalization. */
static void find_products(const struct fusion *f, const struct value *v, int depth,
                          struct products *p)
{
    if (fuse_is_wanted(f->g, v) || !v->uses)
        p->why = "its result must be in memory";
    for (const struct use *use = v->uses; use && !p->why; use = use->next) {
        const struct node *node = use->node;
        if (node->op == OP_matmul && use->operand == 0 && node->in[1] != v)
            add_product(f, p, node);
        else if (depth > 0 && keeps_rows(node, v))
            find_products(f, node->out[0], depth - 1, p);
        else
            p->why = arena_printf(f->g->arena, "%s reads it, too", op_info[node->op].name);
    }
}

/* Looks at what reads the normalization. saved: what a launch and a trip to memory are worth. */
static struct products products_of(const struct fusion *f, const struct node *norm, int64_t *saved)
{
    const struct value *y = norm->out[0];
    struct products p = {0};
    *saved = fuse_add(FUSE_LAUNCH_WORK, fuse_multiply(FUSE_MEMORY_WORK, fuse_elements(f, y)));
    if (!dtype_is_float(y->type) || !is_multiplied(y) || y->rank < 2 ||
        norm->attr.normalize.axes != UINT32_C(1) << (y->rank - 1))
        p.why = "its rows are not one axis of floats";
    else
        find_products(f, y, MOST_MAPS, &p);
    if (!p.why && p.work > *saved)
        p.why = "that costs more";
    return p;
}

static void tell(struct graph *g, const struct node *norm, const struct products *p, int64_t saved)
{
    const char *what = p->why
                           ? arena_printf(g->arena, "kept apart from %d products, %s", p->n, p->why)
                           : arena_printf(g->arena, "goes into %d products", p->n);
    graph_remark(
        g, "fuse_kernels", norm,
        "normalize %s: to make its rows in every block takes %lld operations, a launch and "
        "a trip to memory are worth %lld",
        what, (long long)p->work, (long long)saved);
}

bool fuse_may_go_into_products(const struct fusion *f, const struct node *norm)
{
    int64_t saved;
    struct products p = products_of(f, norm, &saved);
    if (p.why && p.n > 0)
        tell(f->g, norm, &p, saved);
    return !p.why;
}

/* --- Into their kernels --------------------------------------------------------------------- */

/* The nodes from the normalization to a product, the last first. */
struct path {
    int n;
    struct node *nodes[MOST_MAPS + 1];
};

static bool has_room(const struct fusion *f, const struct path *path, const struct node *product)
{
    const struct fused_kernel *k = &f->kernels[product->kernel];
    int buffers = k->n_buffers;
    for (int i = 0; i < path->n; i++)
        buffers += path->nodes[i]->n_in + path->nodes[i]->n_out;
    return k->n_nodes + path->n <= MOST_NODES && buffers <= MOST_BUFFERS;
}

/* Copies of the path's nodes join the kernel of its product, which reads them instead. */
static void join(struct fusion *f, const struct path *path, struct node *product)
{
    const struct value *x = product->in[0], *y = product->out[0];
    int64_t blocks =
        blocks_of(fuse_size(f, y->shape[y->rank - 1]), fuse_size(f, x->shape[x->rank - 1]));
    struct value *from = NULL, *to = NULL;
    for (int i = path->n - 1; i >= 0; i--) {
        struct node *node = path->nodes[i], *copy = node_clone(f->g, node, product);
        copy->order = node->order;
        for (int k = 0; from && k < copy->n_in; k++)
            if (copy->in[k] == from)
                node_set_operand(f->g, copy, k, to);
        from = node->out[0];
        to = copy->out[0];
        fusion_join(f, product->kernel, copy);
        fuse_note_results(f, copy, -1, fuse_multiply(fuse_elements(f, to), blocks));
    }
    node_set_operand(f->g, product, 0, to);
}

/* Goes on from the path's last node to all products; with `dry`, says whether there is room. */
static bool visit(struct fusion *f, const struct path *path, bool dry)
{
    bool room = true;
    for (struct use *use = path->nodes[0]->out[0]->uses, *next; use && room; use = next) {
        struct node *node = use->node;
        next = use->next;
        if (node->op == OP_matmul) {
            room = !dry || has_room(f, path, node);
            if (!dry)
                join(f, path, node);
            continue;
        }
        struct path longer = {.n = path->n + 1, .nodes = {node}};
        for (int i = 0; i < path->n; i++)
            longer.nodes[i + 1] = path->nodes[i];
        room = visit(f, &longer, dry);
        if (!dry)
            node_remove(f->g, node);
    }
    return room;
}

bool fuse_put_into_products(struct fusion *f, struct node *norm)
{
    const struct node *made = norm->in[0]->def;
    struct path path = {.n = 1, .nodes = {norm}};
    int64_t saved;
    struct products p = products_of(f, norm, &saved);
    if (!p.why && p.n > 1 && made && made->kernel == KERNEL_UNASSIGNED && fuse_is_scalar(made))
        p.why = "each of which would compute what it reads";
    if (!p.why && !visit(f, &path, true))
        p.why = "whose kernels have no room";
    tell(f->g, norm, &p, saved);
    if (p.why)
        return false;
    visit(f, &path, false);
    node_remove(f->g, norm);
    return true;
}

bool fuse_is_in_front(const struct fusion *f, const struct node *node)
{
    return node->op == OP_normalize && f->kernels[node->kernel].core != node;
}
