/*
 * Where images lie channels last (memory order [0, 2, 3, 1] of [N, C, H, W]).
 *
 * Convolutions by tensor cores read and write whole vectors of channels, so they want them
 * innermost; those in exact f32 multiply along pixels and want ONNX's order. Values that maps,
 * windows, concats, slices, rows and resizing gathers hand on from one to another form a region,
 * which lies one way or the other as a whole: whichever lets its convolutions, counted by elements
 * as often as they read them, gain more than is lost where others read or write it across. Nobody
 * copies: kernels at the rim of a region, and those that read the model's inputs and write its
 * outputs, reach across themselves.
 *
 * Constant weights lie as their kernels want to read them: a convolution's channels innermost, the
 * filters of a depthwise one side by side, and a product's depth innermost where its type cannot be
 * turned on the way (everything but f16 and bf16), or where the other operand has a few rows: then
 * each warp reads whole lines of it.
 */
#include "passes.h"

#include <string.h>

#include "match.h"

enum {
    LEAST_CHANNELS = 8, /* fewer make no vectors: such images stay as they are */
    TYPICAL_SIZE = 32,  /* what a free dim is taken for */
    MOST_CHAIN = 8,     /* maps between a constant and the weights it makes */
};

struct region {
    struct value *leader; /* of the region, by walking up; itself at the top */
    int convolutions, values;
    double gain, loss; /* elements, as often as they are read or written */
    const struct node *first;
    bool starts; /* `first` reads it; else it makes it */
};

struct layouts {
    struct graph *g;
    struct region *regions; /* by value id; figures at leaders */
    int64_t *typical;       /* by symbol */
    const struct layout *last[MAX_RANK + 1];
};

/* -- Kinds of nodes -- */

static bool is_half(enum dtype type)
{
    return type == DT_F16 || type == DT_BF16;
}

/* Multiplied by tensor cores, on targets that have them for the type. */
static bool is_for_tensor_cores(const struct node *node)
{
    enum dtype type = node->in[0]->type;
    if (type == DT_F32)
        return node->math != MATH_EXACT;
    return is_half(type) || dtype_info[type].bits <= 8;
}

/* Has the operand or result the elements of node's image, in its order? */
static bool is_handed_on(const struct node *node, const struct value *v)
{
    const struct value *y = node->n_out ? node->out[0] : NULL;
    enum op_class class = op_info[node->op].class;
    if (!y || v->rank != y->rank)
        return false;
    if (v == y)
        return true;
    bool first = v == node->in[0];
    switch (class) {
    case OC_SCALAR: return true;
    case OC_WINDOW:
    case OC_ROW:
    case OC_SCAN: return first;
    case OC_GATHER: return first && node->op == OP_gather && node->in[1]->rank == 1;
    default:
        return node->op == OP_concat || (first && (node->op == OP_slice || node->op == OP_pad));
    }
}

static bool hands_on(const struct node *node)
{
    switch (op_info[node->op].class) {
    case OC_SCALAR:
    case OC_WINDOW:
    case OC_ROW:
    case OC_SCAN: return true;
    case OC_GATHER: return node->op == OP_gather && node->in[1]->rank == 1;
    default: return node->op == OP_concat || node->op == OP_slice || node->op == OP_pad;
    }
}

/* Made where it is read: no reason for anything. */
static bool is_weightless(const struct value *v)
{
    return v->def && (op_info[v->def->op].class == OC_CONST || v->def->op == OP_expand);
}

static bool is_host_class(const struct node *node)
{
    enum op_class class = op_info[node->op].class;
    return class == OC_CONTROL || class == OC_LIST;
}

static bool is_read_back(const struct graph *g, const struct value *v)
{
    for (int i = 0; i < g->root->n_symbols; i++)
        if (g->root->symbols[i].kind == SYMBOL_ELEMENT && g->root->symbols[i].value == v)
            return true;
    return false;
}

/* Is the order of v's elements ours to choose? */
static bool is_free(const struct graph *g, const struct value *v)
{
    if (!v->def || v->is_output || v->layout || is_host_class(v->def) ||
        op_info[v->def->op].class == OC_SELECT || is_read_back(g, v))
        return false;
    for (const struct use *use = v->uses; use; use = use->next)
        if (is_host_class(use->node))
            return false;
    return true;
}

/* A few channels make no vectors, but may lie in a concat that has more. */
static bool has_channels(const struct value *v)
{
    int64_t channels;
    if (!dim_is_const(v->shape[1], &channels) || channels >= LEAST_CHANNELS)
        return true;
    for (const struct use *use = v->uses; use; use = use->next)
        if (use->node->op == OP_concat)
            return true;
    return false;
}

static bool is_image(const struct graph *g, const struct value *v)
{
    return v->rank >= 3 && is_free(g, v) && !is_weightless(v) && has_channels(v);
}

/* -- Regions -- */

static struct value *leader_of(struct layouts *l, struct value *v)
{
    while (l->regions[v->id].leader && l->regions[v->id].leader != v) {
        struct value *up = l->regions[v->id].leader;
        if (l->regions[up->id].leader)
            l->regions[v->id].leader = l->regions[up->id].leader;
        v = up;
    }
    return v;
}

static void join(struct layouts *l, struct value *a, struct value *b)
{
    a = leader_of(l, a);
    b = leader_of(l, b);
    if (a != b)
        l->regions[b->id].leader = a;
}

/* An image whose channels become pixels, as behind a transposed convolution: x where node is the
 * last of the three views that make it, and its channels are x's; else NULL. */
static struct value *shuffled(struct graph *g, const struct node *node)
{
    const struct node *views[3];
    int64_t stride = 1;
    int axis = 1, operand;
    for (int i = 2; i >= 0; i--) {
        enum op wanted = i == 1 ? OP_transpose : OP_reshape;
        if (!node || node->op != wanted || (i < 2 && !match_reader(node->out[0], &operand)))
            return NULL;
        views[i] = node;
        node = node->in[0]->def;
    }
    struct value *x = views[0]->in[0];
    if (x->rank < 3 || x->rank != views[2]->out[0]->rank || !is_image(g, views[2]->out[0]))
        return NULL;
    for (int i = 0; i < 3 && axis >= 0; i++)
        axis = match_axis_behind(g, views[i], axis, &stride);
    return axis == 1 && stride == 1 ? x : NULL;
}

/* Is node the first of these views? */
static bool starts_shuffle(struct graph *g, const struct node *node)
{
    int operand;
    const struct node *second =
        node->op == OP_reshape ? match_reader(node->out[0], &operand) : NULL;
    const struct node *third = second ? match_reader(second->out[0], &operand) : NULL;
    return third && shuffled(g, third) == node->in[0];
}

static void join_all(struct layouts *l, const struct node *node)
{
    struct value *x = shuffled(l->g, node);
    if (x)
        join(l, node->out[0], x);
    if (!hands_on(node))
        return;
    for (int i = 0; i < node->n_in; i++)
        if (is_handed_on(node, node->in[i]) && !is_weightless(node->in[i]))
            join(l, node->out[0], node->in[i]);
}

static double elements(const struct layouts *l, const struct value *v)
{
    double n = 1;
    for (int i = 0; i < v->rank; i++) {
        int64_t size;
        n *= dim_eval(v->shape[i], l->typical, &size) && size > 0 ? (double)size : 1;
    }
    return n;
}

/* Elements that are out of order when channels lie last: none where there is one pixel. */
static double moved(const struct layouts *l, const struct value *v)
{
    bool pixels = false;
    for (int i = 2; i < v->rank; i++)
        pixels |= !dim_is(v->shape[i], 1);
    return pixels && v->rank >= 3 ? elements(l, v) : 0;
}

static void count(struct layouts *l, struct value *v, double gain, double loss)
{
    struct region *r = &l->regions[leader_of(l, v)->id];
    r->gain += gain;
    r->loss += loss;
}

/* How often a convolution reads each element of its image, about: once for each tap that meets it,
 * in each tile of filters. */
static double reads_of(const struct layouts *l, const struct node *node)
{
    enum { TILE = 64 };
    const struct value *w = node->in[1];
    int64_t filters, n;
    double reads = 1;
    for (int i = 2; i < w->rank; i++) {
        int64_t step = node->attr.conv.stride.v[i - 2];
        if (dim_eval(w->shape[i], l->typical, &n) && n > step)
            reads *= (double)n / (double)step;
    }
    if (reads > 1 && dim_eval(w->shape[0], l->typical, &filters) && filters > 0)
        reads *= (double)((filters / node->attr.conv.group + TILE - 1) / TILE);
    return reads;
}

/* Does the convolution want its image's channels last, more than once for each element? */
static bool taps_image(const struct layouts *l, const struct node *node)
{
    return node->op == OP_conv && is_for_tensor_cores(node) && node->attr.conv.group == 1 &&
           has_channels(node->in[0]) && reads_of(l, node) > 1;
}

/* Inputs and outputs lie as they must, but what taps read of them may be a copy, which is free to
 * lie otherwise. Whether one is made is fuse_kernels' choice: else it is a view like any. */
static bool separate_image(struct layouts *l, struct node *node)
{
    struct value *x = taps_image(l, node) ? node->in[0] : NULL;
    if (!x || (x->def && !x->is_output))
        return false;
    union attr attr = {.reshape = {{x->rank, x->shape}}};
    l->g->origin = node->origin;
    struct node *copy = graph_insert(l->g, node, OP_reshape, 1, &x, &attr);
    for (struct use *use = x->uses, *next; copy && use; use = next) {
        next = use->next;
        if (use->operand == 0 && taps_image(l, use->node))
            node_set_operand(l->g, use->node, 0, copy->out[0]);
    }
    return copy != NULL;
}

static void count_convolution(struct layouts *l, const struct node *node)
{
    bool wants = is_for_tensor_cores(node);
    struct value *sides[] = {node->in[0], node->out[0]};
    for (int i = 0; i < 2; i++) {
        struct region *r = &l->regions[leader_of(l, sides[i])->id];
        double n = is_image(l->g, sides[i]) ? moved(l, sides[i]) : 0;
        n *= i == 0 ? reads_of(l, node) : 1;
        count(l, sides[i], wants ? n : 0, wants ? 0 : n);
        if (wants && !r->first) {
            r->first = node;
            r->starts = i == 0;
        }
        r->convolutions += wants;
    }
}

/* Does the view end with the channels behind the pixels? Then that is how it wants to read them. */
static bool moves_channels_last(const struct node *node, int depth)
{
    if (node->op == OP_transpose) {
        const struct perm *perm = &node->attr.transpose.perm;
        return perm->n > 2 && perm->axis[perm->n - 1] == 1;
    }
    if (depth == 0 || node->op != OP_reshape)
        return false;
    const struct use *use = node->out[0]->uses;
    return use && !use->next && node->in[0]->rank >= 3 && node->out[0]->rank >= 3 &&
           node->out[0]->shape[1] == node->in[0]->shape[1] &&
           moves_channels_last(use->node, depth - 1);
}

/* What node reads or writes across, if its images lie channels last. */
static void count_rim(struct layouts *l, const struct node *node)
{
    enum op_class class = op_info[node->op].class;
    bool from_last = node->op == OP_transpose && node->attr.transpose.perm.n > 2 &&
                     node->attr.transpose.perm.axis[1] == node->attr.transpose.perm.n - 1;
    bool shuffle = shuffled(l->g, node) || starts_shuffle(l->g, node);
    for (int i = 0; i < node->n_out && !shuffle; i++)
        if (!hands_on(node) && class != OC_REDUCE && class != OC_CONTRACT && !from_last)
            count(l, node->out[i], 0, is_image(l->g, node->out[i]) ? moved(l, node->out[i]) : 0);
    for (int i = 0; i < node->n_in; i++) {
        struct value *x = node->in[i];
        if (class == OC_REDUCE || node->op == OP_conv || node->op == OP_conv_transpose ||
            (hands_on(node) && is_handed_on(node, x)) || moves_channels_last(node, 2) || shuffle)
            continue;
        count(l, x, 0, is_image(l->g, x) ? moved(l, x) : 0);
    }
}

/* Inputs and outputs keep ONNX's order. */
static void count_interface(struct layouts *l)
{
    for (int i = 0; i < l->g->n_inputs; i++)
        count(l, l->g->inputs[i], 0, moved(l, l->g->inputs[i]));
    for (int i = 0; i < l->g->n_outputs; i++)
        count(l, l->g->outputs[i], 0, moved(l, l->g->outputs[i]));
}

/* -- Layouts -- */

static const struct layout *ordered(struct graph *g, int rank, const int8_t *axis)
{
    struct layout *layout = ARENA_NEW(g->arena, struct layout);
    *layout = (struct layout){.perm = {.n = rank}};
    memcpy(layout->perm.axis, axis, (size_t)rank * sizeof *axis);
    return layout;
}

static const struct layout *channels_last(struct layouts *l, int rank)
{
    int8_t axis[MAX_RANK] = {0};
    for (int i = 1; i < rank; i++)
        axis[i] = (int8_t)(i + 1 < rank ? i + 1 : 1);
    if (!l->last[rank])
        l->last[rank] = ordered(l->g, rank, axis);
    return l->last[rank];
}

static bool lies_last(struct layouts *l, struct value *v)
{
    const struct region *r = &l->regions[leader_of(l, v)->id];
    return r->gain > r->loss;
}

static bool order_images(struct layouts *l, const struct node *node)
{
    bool changed = false;
    for (int i = 0; i < node->n_out; i++) {
        struct value *v = node->out[i];
        if (!is_image(l->g, v) || !lies_last(l, v))
            continue;
        v->layout = channels_last(l, v->rank);
        l->regions[leader_of(l, v)->id].values++;
        changed = true;
    }
    /* A constant that is as large as the image is read beside it. */
    for (int i = 0; changed && i < node->n_in; i++)
        if (value_is_const(node->in[i]) && is_handed_on(node, node->in[i]) &&
            value_single_use(node->in[i]) && is_free(l->g, node->in[i]))
            node->in[i]->layout = node->out[0]->layout;
    return changed;
}

static void remark_regions(struct layouts *l)
{
    for (const struct node *node = l->g->first; node; node = node->next)
        for (int i = 0; i < node->n_out; i++) {
            struct value *v = node->out[i];
            const struct region *r = &l->regions[v->id];
            if (leader_of(l, v) != v || !r->first)
                continue;
            const char *side = r->starts ? "what it reads" : "its result";
            if (r->values)
                graph_remark(l->g, "choose_layout", r->first,
                             "%s lies in a region of %d values with their channels last", side,
                             r->values);
            else if (r->gain > 0)
                graph_remark(l->g, "choose_layout", r->first,
                             "%s stays in ONNX's order: channels last would help %.0f times that "
                             "an element is read or written, but %.0f would be across",
                             side, r->gain, r->loss);
        }
}

/* -- Weights -- */

/* Made of constants alone, by maps. */
static bool is_constant(const struct value *v, int depth)
{
    if (!v->def || depth == 0)
        return false;
    enum op_class class = op_info[v->def->op].class;
    if (v->def->op == OP_constant)
        return true;
    if (v->def->n_in == 0 || (class != OC_SCALAR && class != OC_VIEW))
        return false;
    for (int i = 0; i < v->def->n_in; i++)
        if (!is_constant(v->def->in[i], depth - 1))
            return false;
    return true;
}

static bool is_read_by_one_kind(const struct value *v, enum op op, int operand)
{
    for (const struct use *use = v->uses; use; use = use->next)
        if (use->node->op != op || use->operand != operand)
            return false;
    return true;
}

/* Orders the weights, and the constants that maps make them of where nobody else reads those. */
static bool order_weights(const struct graph *g, struct value *v, const struct layout *layout,
                          int depth)
{
    if (depth == 0 || !is_free(g, v))
        return false;
    v->layout = layout;
    for (int i = 0; op_info[v->def->op].class == OC_SCALAR && i < v->def->n_in; i++)
        if (value_single_use(v->def->in[i]) && v->def->in[i]->rank == v->rank)
            order_weights(g, v->def->in[i], layout, depth - 1);
    return true;
}

static bool order_filters(struct layouts *l, const struct node *node)
{
    struct value *w = node->in[1];
    int8_t axis[MAX_RANK] = {0};
    int64_t channels;
    int taps = w->rank - 2;
    if (node->op != OP_conv || !is_for_tensor_cores(node) || w->rank < 3 || w->layout ||
        !is_constant(w, MOST_CHAIN) || !is_read_by_one_kind(w, OP_conv, 1) ||
        !dim_is_const(w->shape[1], &channels))
        return false;
    for (int i = 0; i < taps; i++)
        axis[i] = axis[i + 1] = (int8_t)(2 + i);
    if (channels == 1) { /* taps, then filters side by side */
        axis[taps] = 1;
        axis[taps + 1] = 0;
        return order_weights(l->g, w, ordered(l->g, w->rank, axis), MOST_CHAIN);
    }
    if (channels < LEAST_CHANNELS)
        return false;
    return order_weights(l->g, w, channels_last(l, w->rank), MOST_CHAIN);
}

/* Floats as they are in the model, or rounded: not unpacked from bytes where they are read. */
static bool is_stored_float(const struct value *v)
{
    while (v->def && dtype_is_float(v->type) && v->def->n_in == 1 &&
           (op_info[v->def->op].class == OC_SCALAR || op_info[v->def->op].class == OC_VIEW))
        v = v->def->in[0];
    return value_is_const(v) && dtype_is_float(v->type);
}

/* A product of a few rows, or of a few columns for many rows, reads both operands in vectors along
 * the depth, if that is made of such. */
static bool is_skinny(const struct node *node)
{
    enum { FEW = 8, LEAST = 32, VECTOR = 8 }; /* see contract_skinny.c */
    const struct value *a = node->in[0], *b = node->in[1];
    int64_t rows = LEAST, depth, columns;
    if (!dim_is_const(a->shape[a->rank - 1], &depth) || depth < LEAST || depth % VECTOR != 0 ||
        !dim_is_const(b->shape[b->rank - 1], &columns))
        return false;
    bool known = dim_is_const(a->shape[a->rank - 2], &rows);
    return (known && rows <= FEW && columns >= LEAST) ||
           (columns > 1 && columns <= FEW && rows >= LEAST);
}

static bool order_matrix(struct layouts *l, const struct node *node)
{
    struct value *b = node->in[1];
    int8_t axis[MAX_RANK] = {0};
    if (node->op != OP_matmul || b->layout)
        return false;
    bool few = is_skinny(node) && is_stored_float(b);
    if ((!few && (!is_for_tensor_cores(node) || is_half(b->type))) || !is_constant(b, MOST_CHAIN) ||
        !is_read_by_one_kind(b, OP_matmul, 1))
        return false;
    for (int i = 0; i < b->rank; i++)
        axis[i] = (int8_t)i;
    axis[b->rank - 1] = (int8_t)(b->rank - 2);
    axis[b->rank - 2] = (int8_t)(b->rank - 1);
    return order_weights(l->g, b, ordered(l->g, b->rank, axis), MOST_CHAIN);
}

static bool choose(struct graph *g)
{
    struct layouts l = {.g = g};
    const char *origin = g->origin;
    bool changed = false;
    size_t symbols = (size_t)dim_symbol_count(g->dims) + 1;
    l.typical = ARENA_ARRAY(g->arena, symbols, int64_t);
    for (size_t i = 0; i < symbols; i++)
        l.typical[i] = TYPICAL_SIZE;
    for (struct node *node = g->first; node; node = node->next)
        changed |= separate_image(&l, node);
    g->origin = origin;
    graph_renumber(g->root);
    size_t ids = (size_t)g->root->next_id + 1;
    l.regions = ARENA_ARRAY(g->arena, ids, struct region);
    memset(l.regions, 0, ids * sizeof *l.regions);
    for (const struct node *node = g->first; node; node = node->next)
        join_all(&l, node);
    for (const struct node *node = g->first; node; node = node->next) {
        count_rim(&l, node);
        if (node->op == OP_conv)
            count_convolution(&l, node);
    }
    count_interface(&l);
    for (const struct node *node = g->first; node; node = node->next)
        changed |= order_images(&l, node);
    remark_regions(&l);
    for (const struct node *node = g->first; node; node = node->next)
        changed |= op_info[node->op].class == OC_CONTRACT &&
                   (order_filters(&l, node) || order_matrix(&l, node));
    return changed;
}

bool pass_choose_layout(struct graph *g)
{
    return pass_each_graph(g, choose);
}
