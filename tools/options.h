/* gpucc's command line. */
#ifndef GPUCC_TOOLS_OPTIONS_H
#define GPUCC_TOOLS_OPTIONS_H

#include "../codegen/target.h"
#include "../frontend/frontend.h"
#include "../passes/precision.h"

enum emit { EMIT_PLAN, EMIT_IR, EMIT_CUDA, EMIT_PTX, EMIT_CUBIN, EMIT_SASS, EMIT_COUNT };

struct frozen_file { /* --freeze */
    const char *input, *path;
};

struct options {
    const char *input, *output; /* output NULL: stdout */
    enum emit emit;
    struct target_list targets;
    bool emit_given, targets_given;
    struct frontend_options frontend; /* but for frozen: */
    struct precision precision;
    bool max_error_given;
    bool unmeasured;         /* --max-error=none */
    const char *calibration; /* --calib */
    const char *save_precision, *load_precision;
    struct frozen_file *frozen; /* files that gpucc has yet to read */
    int n_frozen;
    int jobs; /* 0: all cores */
    bool depfile, no_cache, line_info, verbose;
    bool round_trip;   /* --check-passes */
    bool check;        /* verify only: write nothing */
    unsigned explain;  /* bits 1 << EXPLAIN_* */
    bool explain_json; /* … as JSON */
    bool help, version, print_ops, print_passes;
    const char *save_temps, *dump_after;
    const char *const *skip; /* -fno-<pass>, NULL-terminated */
};

/* Everything lives in the arena. False after reporting (USAGE). */
bool options_parse(struct arena *arena, struct diag *diag, int argc, char **argv,
                   struct options *out);

void options_help(struct text *out);
/* --print-passes */
void options_passes(struct text *out);

/* options_interface.c: one option each, added to out. False after reporting. */
bool option_shape(struct arena *arena, struct diag *diag, const char *text, struct options *out);
bool option_freeze(struct arena *arena, struct diag *diag, const char *text, struct options *out);
bool option_output(struct arena *arena, const char *text, struct options *out);
bool option_no_output(struct arena *arena, const char *text, struct options *out);
bool option_alias(struct arena *arena, struct diag *diag, const char *text, struct options *out);
bool option_io(struct arena *arena, struct diag *diag, const char *text, struct options *out);
/* options_precision.c */
bool option_precision(struct diag *diag, const char *text, struct options *out);
bool option_max_error(struct diag *diag, const char *text, struct options *out);
bool option_keep(struct arena *arena, struct diag *diag, const char *text, struct options *out);
/* Every target has what was asked for, and options fit together; what auto may choose and how fast
 * it is. False after reporting (USAGE). */
bool options_complete_precision(struct diag *diag, struct options *o);
/* Reports that an option's value is wrong; false. */
bool option_bad(struct diag *diag, const char *option, const char *value, const char *wanted);

#endif
