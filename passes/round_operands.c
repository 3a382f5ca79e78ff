/*
 * Operands of products in tf32 are rounded where they are made, once, and not wherever the tensor
 * cores read them: constants while the plan is written, others by the kernel that computes them.
 * The loops of products then multiply what they find, with less than half of the instructions.
 *
 * A value is rounded here if all its readers, behind views and concats, are such products: nobody
 * else sees a difference, and the products none either. What the model is given, and what is moved
 * by an index, stays as it is: rounding would be a kernel, or would break its copies.
 */
#include "passes.h"

enum { MOST_VIEWS = 16 };
/* Products of so few rows are multiplied in f32 as they are, see codegen/contract_skinny.c. */
enum { FEW_ROWS = 8 };

static bool is_few(const struct dim *d)
{
    int64_t n;
    return dim_is_const(d, &n) && n <= FEW_ROWS;
}

/* Does the product go to the tensor cores? */
static bool is_rounded_product(const struct node *node)
{
    const struct value *y = node->out[0];
    if (node->math != MATH_TF32 || y->rank < 2)
        return false;
    if (node->op == OP_conv)
        return node->attr.conv.group == 1 && !is_few(y->shape[1]);
    return node->op == OP_matmul && !is_few(y->shape[y->rank - 1]) &&
           !is_few(y->shape[y->rank - 2]);
}

/* v has readers, and all of them are products that round it. */
static bool is_only_multiplied(const struct value *v, int views)
{
    if (v->is_output || !v->uses || v->type != DT_F32)
        return false;
    for (const struct use *use = v->uses; use; use = use->next) {
        const struct node *reader = use->node;
        bool product = is_rounded_product(reader) && use->operand < 2;
        bool view = op_info[reader->op].class == OC_VIEW && views > 0;
        if (!product && !(view && is_only_multiplied(reader->out[0], views - 1)))
            return false;
    }
    return true;
}

/* Can the kernel that makes the node's results round them as well? */
static bool may_round(const struct node *node)
{
    switch (op_info[node->op].class) {
    case OC_CONST:
    case OC_SCALAR:
    case OC_REDUCE:
    case OC_ROW:
    case OC_CONTRACT:
    case OC_ATTENTION:
    case OC_WINDOW: return node->op != OP_round_tf32 && !node->body[0];
    default: return false;
    }
}

static bool round_result(struct graph *g, struct node *node, struct value *v)
{
    if (!is_only_multiplied(v, MOST_VIEWS))
        return false;
    struct node *made = graph_insert(g, node->next, OP_round_tf32, 1, &v, NULL);
    if (!made)
        return false;
    value_replace_uses(g, v, made->out[0]);
    node_set_operand(g, made, 0, v);
    return true;
}

static bool visit(struct graph *g, struct node *node)
{
    bool changed = false;
    for (int i = 0; may_round(node) && i < node->n_out; i++)
        changed |= round_result(g, node, node->out[i]);
    return changed;
}

bool pass_round_operands(struct graph *g)
{
    return pass_each_node(g, visit);
}
