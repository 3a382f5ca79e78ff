/* gpucc --emit: forms other than the plan. */
#ifndef GPUCC_TOOLS_EMIT_FORMS_H
#define GPUCC_TOOLS_EMIT_FORMS_H

#include "../codegen/compile.h"
#include "options.h"

/* Appends the form to out, for the one program. ptx, cubin and sass need the set compiled.
 * False after reporting. */
bool emit_form(enum emit form, struct graph *g, struct program *program,
               const struct compiled_set *set, const struct nvrtc *nvrtc, struct text *out,
               struct diag *diag);

/* Text of what nvdisasm makes of a cubin, appended. False after reporting. */
bool disassemble(const void *cubin, size_t size, const struct nvrtc *nvrtc, struct text *out,
                 struct diag *diag);

#endif
