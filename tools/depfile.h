/* -MD: a makefile rule that names what an output was made from. */
#ifndef GPUCC_TOOLS_DEPFILE_H
#define GPUCC_TOOLS_DEPFILE_H

#include "../ir/diag.h"

/* Writes OUTPUT.d: "OUTPUT: files…", and an empty rule for each file, so that make goes on when one
 * is removed. False after reporting (IO). */
bool depfile_write(const char *output, int n, const char *const *files, struct diag *diag);

#endif
