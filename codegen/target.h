/* Targets by name: what --target takes. The struct itself is in kernel.h, where families see it. */
#ifndef GPUCC_CODEGEN_TARGET_H
#define GPUCC_CODEGEN_TARGET_H

#include "kernel.h"

enum { MAX_TARGETS = 32 };

/* sm_80 serves 86, 87 and 89 as well, though of these only 87 has its shared memory: where a kernel
 * takes more, portable serves them, which is PTX that later drivers compile. */
#define TARGETS_DEFAULT "sm_80,sm_90a,portable"

struct target_list {
    int n;
    const struct target *at[MAX_TARGETS];
};

/*
 * Parses "sm_80,sm_90a,portable" into list, in the order given, repeats dropped. False after
 * reporting an unknown or empty name (USAGE, with the names that are known).
 */
bool target_list_parse(struct diag *diag, const char *text, struct target_list *list);

/* The names of all targets, separated by ", ", for help and errors. */
void target_names(struct text *out);

/* PTX of the target runs on exactly this SM and serves the emulator only ("a" targets). */
bool target_is_exact(const struct target *target);

#endif
