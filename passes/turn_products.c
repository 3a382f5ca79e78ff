/*
 * A product whose result is transposed is the product of its transposed operands, the other way
 * round: (a·b)ᵀ = bᵀ·aᵀ. Operands are read in either order as they lie, but a result that is
 * transposed behind a kernel takes another one, or is stored element by element.
 *
 * Biases and activations between the product and the transpose go along, on the transposed result,
 * where one operand of each is a constant along all axes but the last.
 */
#include "passes.h"

#include "../ir/build.h"

enum { MOST_MAPS = 8 };

/* Found backwards from a transpose: the maps, last first, and the product. */
struct turned {
    struct builder b;
    int rank, n;
    struct node *maps[MOST_MAPS];
    int operand[MOST_MAPS]; /* of the map: what comes from the product */
    struct node *reshape, *product;
};

static bool swaps_last(const struct node *node)
{
    const struct perm *perm = &node->attr.transpose.perm;
    bool swaps = node->op == OP_transpose && perm->n >= 2;
    for (int i = 0; swaps && i < perm->n; i++)
        swaps = perm->axis[i] == (i < perm->n - 2 ? i : 2 * perm->n - 3 - i);
    return swaps;
}

/* Which operand is no expand of a vector along the last axis; -1: there is none, or several. */
static int varying_operand(const struct node *map)
{
    int which = -1;
    for (int i = 0; i < map->n_in; i++) {
        const struct node *def = map->in[i]->def;
        bool vector = def && def->op == OP_expand;
        for (int axis = 0; vector && axis < def->in[0]->rank - 1; axis++)
            vector = dim_is(def->in[0]->shape[axis], 1);
        if (!vector && which >= 0)
            return -1;
        which = vector ? which : i;
    }
    return which;
}

/* Only a reshape that takes leading axes together may stand behind the product. */
static bool splits_rows(const struct node *reshape)
{
    const struct value *x = reshape->in[0], *y = reshape->out[0];
    return x->rank == 2 && y->rank > 2 && x->shape[1] == y->shape[y->rank - 1];
}

static bool find(struct turned *t, struct graph *g, struct node *transpose)
{
    *t = (struct turned){.b = {g, transpose}, .rank = transpose->out[0]->rank};
    struct value *v = transpose->in[0];
    for (; v->def && value_single_use(v) && op_info[v->def->op].class == OC_SCALAR; t->n++) {
        int operand = varying_operand(v->def);
        if (operand < 0 || t->n == MOST_MAPS)
            return false;
        t->maps[t->n] = v->def;
        t->operand[t->n] = operand;
        v = v->def->in[operand];
    }
    if (v->def && value_single_use(v) && v->def->op == OP_reshape && splits_rows(v->def)) {
        t->reshape = v->def;
        v = v->def->in[0];
    }
    t->product = v->def;
    return v->def && value_single_use(v) && v->def->op == OP_matmul &&
           (t->reshape || v->rank == t->rank);
}

static struct value *swapped(struct turned *t, struct value *v)
{
    int perm[MAX_RANK];
    for (int i = 0; v && i < v->rank; i++)
        perm[i] = i < v->rank - 2 ? i : 2 * v->rank - 3 - i;
    return build_transpose(&t->b, v, perm);
}

/* The left operand in the shape of the result, its last axis the depth. */
static struct value *left(struct turned *t)
{
    struct value *a = t->product->in[0];
    const struct dim *shape[MAX_RANK];
    if (!t->reshape)
        return a;
    for (int i = 0; i < t->rank - 1; i++)
        shape[i] = t->reshape->out[0]->shape[i];
    shape[t->rank - 1] = a->shape[1];
    return build_reshape(&t->b, a, t->rank, shape);
}

/* The right operand, transposed, for each of the result's batches. */
static struct value *turned_right(struct turned *t)
{
    struct value *b = swapped(t, t->product->in[1]);
    const struct dim *shape[MAX_RANK];
    if (!t->reshape || !b)
        return b;
    for (int i = 0; i < t->rank - 2; i++)
        shape[i] = t->reshape->out[0]->shape[i];
    shape[t->rank - 2] = b->shape[0];
    shape[t->rank - 1] = b->shape[1];
    return build_expand(&t->b, b, t->rank, shape);
}

/* The map on the transposed result y. */
static struct value *turned_map(struct turned *t, int i, struct value *y)
{
    const struct node *map = t->maps[i];
    struct value *in[MAX_RANK] = {NULL};
    for (int k = 0; k < map->n_in && k < MAX_RANK; k++) {
        struct value *x = map->in[k];
        in[k] = k == t->operand[i]
                    ? y
                    : build_expand(&t->b, swapped(t, x->def->in[0]), y->rank, y->shape);
        if (!in[k])
            return NULL;
    }
    struct node *turned = graph_insert(t->b.g, t->b.before, map->op, map->n_in, in, &map->attr);
    return turned ? turned->out[0] : NULL;
}

/* Products and attention read operands in any order; who goes by elements or rows does not. */
static bool is_read_in_order(const struct value *v)
{
    for (const struct use *use = v->uses; use; use = use->next) {
        enum op_class class = op_info[use->node->op].class;
        if (class == OC_SCALAR || class == OC_ROW)
            return true;
    }
    return false;
}

static bool rewrite(struct graph *g, struct node *node)
{
    struct turned t;
    if (!swaps_last(node) || !is_read_in_order(node->out[0]) || !find(&t, g, node))
        return false;
    struct value *in[2] = {turned_right(&t), NULL};
    in[1] = swapped(&t, left(&t));
    if (!in[0] || !in[1])
        return false;
    struct node *turned = graph_insert(g, node, OP_matmul, 2, in, &t.product->attr);
    if (!turned)
        return false;
    turned->math = t.product->math;
    struct value *y = turned->out[0];
    for (int i = t.n - 1; i >= 0 && y; i--)
        y = turned_map(&t, i, y);
    if (!y)
        return false;
    graph_remark(g, "turn_products", t.product, "computed transposed, as it is read");
    value_replace_uses(g, node->out[0], y);
    return true;
}

bool pass_turn_products(struct graph *g)
{
    if (!pass_each_node(g, rewrite))
        return false;
    pass_simplify(g);
    pass_remove_dead(g);
    return true;
}
