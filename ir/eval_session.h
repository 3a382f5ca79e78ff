/*
 * Measuring with the evaluator: a graph is run once, all its values are kept, and then run again with
 * some nodes rounding their operands and results as a lower precision would. Only what such a node
 * changes is computed again.
 */
#ifndef GPUCC_IR_EVAL_SESSION_H
#define GPUCC_IR_EVAL_SESSION_H

#include "eval.h"

enum eval_rounding {
    ROUND_NONE,
    ROUND_F16,
    ROUND_BF16,
    ROUND_TF32,
    ROUND_F8,        /* f8e4m3fn, saturating */
    ROUND_F8_WEIGHTS /* … scaled by channel of the contraction's result */
};

/* What nodes round. Asked for float operands and results of every node that runs, bodies' too. */
struct eval_hook {
    void *context;
    bool (*changes)(void *context, const struct node *node); /* of the root: something is rounded */
    enum eval_rounding (*operand)(void *context, const struct node *node, int operand);
    enum eval_rounding (*result)(void *context, const struct node *node, int result);
};

struct eval_session;

/* Runs g on inputs, which must outlive the session. NULL after reporting to g->diag. */
struct eval_session *eval_session_open(struct graph *g, const struct tensor *inputs);
void eval_session_close(struct eval_session *session);

/* Is there a number among the outputs of the first run? No error can be seen in NaNs, or where
 * outputs have no elements. */
bool eval_session_tells(const struct eval_session *session);

/* How far the outputs are from those of the first run, at worst. */
struct eval_error {
    double absolute; /* |a - b| */
    double relative; /* |a - b|, by the largest |b| of the output */
};

/* Runs with what the hook rounds. Outputs that are not floats must stay as they are, sizes too: the
 * error is infinite where they do not, or where the run fails. False for want of memory. */
bool eval_session_try(struct eval_session *session, const struct eval_hook *hook,
                      struct eval_error *error);

/* Error of outputs that came from another graph on the same inputs. g itself may have changed since
 * the session was opened. */
void eval_session_compare(const struct eval_session *session, const struct tensor *outputs,
                          struct eval_error *error);

#endif
