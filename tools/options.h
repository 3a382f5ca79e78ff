/* gpucc's command line. */
#ifndef GPUCC_TOOLS_OPTIONS_H
#define GPUCC_TOOLS_OPTIONS_H

#include "../codegen/target.h"
#include "../frontend/frontend.h"

enum emit { EMIT_PLAN, EMIT_IR, EMIT_CUDA, EMIT_PTX, EMIT_CUBIN, EMIT_SASS, EMIT_COUNT };

struct options {
    const char *input, *output; /* output NULL: stdout */
    enum emit emit;
    struct target_list targets;
    bool emit_given, targets_given;
    struct frontend_options frontend; /* --shape */
    int jobs;                         /* 0: all cores */
    bool depfile, no_cache, line_info, verbose;
    bool round_trip; /* --check-passes */
    bool check;      /* verify only: write nothing */
    bool help, version, print_ops;
    const char *save_temps, *dump_after;
    const char *const *skip; /* -fno-<pass>, NULL-terminated */
};

/* Everything lives in the arena. False after reporting (USAGE). */
bool options_parse(struct arena *arena, struct diag *diag, int argc, char **argv,
                   struct options *out);

void options_help(struct text *out);

#endif
