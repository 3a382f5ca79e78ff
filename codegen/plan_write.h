/* The plan writer: programs, compiled kernels and constants become one file
 * (runtime/plan_format.h). */
#ifndef GPUCC_CODEGEN_PLAN_WRITE_H
#define GPUCC_CODEGEN_PLAN_WRITE_H

#include "compile.h"

/*
 * Writes the plan. Constants that kernels read are evaluated one at a time and streamed, so memory
 * is bounded by the largest of them. The file appears complete or not at all. Its bytes depend on
 * the graph, the programs, gpucc and NVRTC alone. False after reporting.
 */
bool plan_write(const char *path, struct graph *g, struct program *const *programs, int n_programs,
                const struct compiled_set *compiled, const struct nvrtc *nvrtc, struct diag *diag);

/* Whether plan_write could make a plan of these programs, without their machine code and without
 * writing anything. False after reporting. */
bool plan_check(struct graph *g, struct program *const *programs, int n_programs,
                struct diag *diag);

#endif
