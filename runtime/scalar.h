/* The scalar program: how every dim, stride, grid and size of a run is computed. */
#ifndef GPUCC_RUNTIME_SCALAR_H
#define GPUCC_RUNTIME_SCALAR_H

#include "plan.h"

struct scalar_state {
    int64_t *slots;                     /* by scalar */
    const int64_t *dims;                /* PLAN_MAX_RANK for each input */
    const int64_t *elements;            /* of all READS records, one after the other */
    const uint32_t *first_element;      /* by READS record */
    const int64_t *iteration;           /* by step: LOOP's */
};

enum scalar_mode {
    SCALARS_EXACT,
    SCALARS_LARGEST     /* elements take their upper bounds, and nothing is required of values */
};

/* Runs a segment. USAGE when a MUST_* fails, LIMIT on an overflow, a division by zero, or, in mode
 * LARGEST, an element without bound. */
enum gpucc_status rt_scalars_run(const struct gpucc_plan *plan, const struct program *program,
                                 struct segment segment, struct scalar_state *state,
                                 enum scalar_mode mode);

/* Widens n elements of an integer or bool tensor; false when one does not fit int64. */
bool rt_widen(uint32_t dtype, const void *from, uint32_t n, int64_t *to);

#endif
