/* Inside the evaluator: rounding arrays in place, see eval_session.h. */
#ifndef GPUCC_IR_EVAL_ROUND_H
#define GPUCC_IR_EVAL_ROUND_H

#include "eval_run.h"

/* *a itself where nobody else reads it, else a copy. Arrays of other types than floats stay. */
void array_round(struct eval_call *c, struct array *a, enum eval_rounding rounding);

#endif
