/* Losses: negative log likelihood, and cross entropy over softmax. */
#include "lower.h"

enum loss_reduction { LOSS_NONE, LOSS_SUM, LOSS_MEAN };

/*
 * scores [N, C, D…] are log probabilities, target [N, D…] classes, weight [C] or NULL. An element
 * whose target is ignore_index counts for nothing, in the mean too.
 */
static struct value *likelihood_loss(struct call *c, struct value *scores, struct value *target,
                                     struct value *weight)
{
    static const char *const names[] = {"none", "sum", "mean", NULL};
    enum loss_reduction reduction =
        (enum loss_reduction)attr_choice(c, "reduction", names, LOSS_MEAN);
    struct builder *b = c->b;
    uint32_t all = (1u << target->rank) - 1;
    union attr attr = {.gather_elements = {1}};
    struct value *index = build_unsqueeze(b, target, 2);
    if (!scores || !index)
        return NULL;
    struct value *loss =
        build_tensor(b, OP_gather_elements, 2, (struct value *[]){scores, index}, &attr);
    loss = build_unary(b, OP_neg, build_squeeze(b, loss, 2));
    struct value *zero = v_number(c, scores, 0), *counts = NULL;
    if (weight)
        counts = build_gather(b, weight, target, 0);
    if (attr_given(c, "ignore_index")) {
        struct value *ignored =
            v_eq(c, target, build_int(b, target->type, attr_int(c, "ignore_index", 0)));
        counts = build_select(b, ignored, zero, counts ? counts : v_number(c, scores, 1));
        loss = build_select(b, ignored, zero, loss);
    }
    if (counts)
        loss = v_mul(c, loss, counts);
    if (reduction == LOSS_NONE)
        return loss;
    if (reduction == LOSS_MEAN && !counts)
        return build_mean(b, loss, all, false);
    struct value *sum = build_reduce(b, OP_reduce_sum, loss, all, false);
    if (reduction == LOSS_SUM)
        return sum;
    return v_div(c, sum, build_reduce(b, OP_reduce_sum, counts, all, false));
}

static bool check_target(struct call *c)
{
    struct value *x = c->in[0], *target = c->in[1];
    return (x->rank >= 2 && target->rank == x->rank - 1) ||
           call_error(c, "scores of rank %d and a target of rank %d", x->rank, target->rank);
}

bool lower_nll_loss(struct call *c)
{
    return check_target(c) && call_result(c, likelihood_loss(c, c->in[0], c->in[1], c->in[2]));
}

bool lower_cross_entropy(struct call *c)
{
    if (!check_target(c))
        return false;
    struct value *scores = build_softmax(c->b, c->in[0], 2, true);
    c->out[1] = scores;
    return call_result(c, likelihood_loss(c, scores, c->in[1], c->in[2]));
}
