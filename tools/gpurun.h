/* gpurun's parts: options, a plan opened on a device, and the commands. */
#ifndef GPUCC_TOOLS_GPURUN_H
#define GPUCC_TOOLS_GPURUN_H

#include "../runtime/gpucc_runtime.h"
#include "tensor_io.h"

enum command { COMMAND_RUN, COMMAND_TEST, COMMAND_BENCH, COMMAND_COMPARE, COMMAND_INSPECT,
               COMMAND_COUNT };

struct named_text { const char *name, *text; };

struct gpurun_options {
    enum command command;
    const char *plan;
    const char *reference;          /* compare: a model, or a data set */
    const char **folders;           /* test: data sets */
    int n_folders;
    bool emulator;
    int sm;                         /* emulator: compute capability, 0 = the plan's highest target */
    int ordinal;                    /* CUDA device */
    struct named_text *inputs, *shapes; /* NAME=FILE, NAME=DIMS */
    int n_inputs, n_shapes;
    const char *inputs_folder, *outputs_folder;
    bool seeded;
    uint64_t seed;
    bool skip_hash, json, race, isolate, statistics;
    const char *statistics_file;    /* JSON there; NULL: text */
    int threads;                    /* emulator: 0 = all cores */
    double rtol, atol;
    bool tolerance_given;           /* by --rtol or --atol */
    int warm_up, runs;              /* bench; runs 0: for about a second */
    bool help, version;
};

/* Lists are malloc'ed; options_free. False after reporting (USAGE). */
bool gpurun_options_parse(struct diag *diag, int argc, char **argv, struct gpurun_options *options);
void gpurun_options_free(struct gpurun_options *options);
void gpurun_help(void);

/* A plan on a device, with the input tensors of the coming run. */
struct session {
    struct diag *diag;
    const struct gpurun_options *options;
    struct gpucc_plan *plan;
    struct gpucc_device *device;
    struct gpucc_context *context;
    void *emulator;                 /* dlopen handle, or NULL */
    int n_inputs, n_outputs;
    struct tensor *inputs;          /* n_inputs; bound to the context */
};

/* All return false after reporting. Whatever happened, session_close frees. */
bool session_open(struct session *session, struct diag *diag, const struct gpurun_options *options);
void session_close(struct session *session);

/* Where the next run's inputs come from: input_0.pb, … of a folder; or what the options say (--input,
 * --inputs, or --seed, the default when `seed_by_default`). */
bool session_inputs_from_folder(struct session *session, const char *folder);
bool session_inputs_from_options(struct session *session, bool seed_by_default);

bool session_run(struct session *session);
/* After a run: later ones take the inputs from where that one copied them to on the device. */
bool session_keep_inputs(struct session *session);
/* The output of the last run; its data is malloc'ed. */
bool session_output(struct session *session, int output, struct tensor *tensor);

/* Reports the runtime's last error. Returns false. */
bool session_failed(struct session *session, enum gpucc_status status);

/* What the emulator counted since the session opened, as the options say. False after reporting. */
bool gpurun_statistics(struct session *session);

/* Random elements: floats in [-1, 1), integers and bool 0 or 1. */
void tensor_randomize(struct tensor *tensor, uint64_t seed);

struct comparison {
    double error;                   /* largest |got - wanted| */
    double relative;                /* largest |got - wanted| / |wanted| where wanted is not 0 */
    int64_t wrong;                  /* elements beyond atol + rtol * |wanted| */
    int64_t worst;                  /* element farthest beyond, or with the largest error */
};

/* Two tensors of the same type and shape. NaN equals NaN. */
struct comparison tensor_compare(const struct tensor *got, const struct tensor *wanted, double rtol,
                                 double atol);

/* printf, one line at most. Names come from models and plans: what would steer a terminal, or fake
 * a line, becomes '?'. */
void gpurun_print(const char *format, ...) __attribute__((format(printf, 1, 2)));

bool gpurun_test(struct session *session);
bool gpurun_bench(struct session *session);
bool gpurun_compare(struct session *session);
/* Needs no device. */
bool gpurun_inspect(struct diag *diag, const struct gpurun_options *options);

#endif
