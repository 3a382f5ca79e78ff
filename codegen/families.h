/*
 * The kernel families: one function and one file each. Each makes the kernel (or kernels) of a group
 * and appends their launches; false after reporting what it cannot do.
 */
#ifndef GPUCC_CODEGEN_FAMILIES_H
#define GPUCC_CODEGEN_FAMILIES_H

#include "emit.h"

typedef bool family(struct codegen *c, const struct group *group);

family family_map;      /* no core */
family family_reduce;   /* reduce_*, arg_* */
family family_row;      /* softmax, log_softmax, normalize */
family family_contract; /* matmul, conv, conv_transpose */
family family_attention; /* attention */
family family_window;   /* pool_* */
family family_scan;     /* scan_* */
family family_scatter;  /* scatter_* */
family family_sort;     /* top_k, sort_rows */
family family_select;   /* compact, suppress */

#endif
