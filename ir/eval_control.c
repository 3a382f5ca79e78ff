/* Evaluates control flow: bodies are run in place. */
#include "eval_array.h"

bool eval_op_branch(struct eval_call *c)
{
    return eval_fails(c, STATUS_UNSUPPORTED, "the evaluator does not run bodies");
}

bool eval_op_loop(struct eval_call *c)
{
    return eval_fails(c, STATUS_UNSUPPORTED, "the evaluator does not run bodies");
}
