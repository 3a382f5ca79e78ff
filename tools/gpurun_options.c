#include "gpurun.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_THREADS = 1024, MAX_RUNS = 1000000000 };

enum {
    OPT_DEVICE = 256,
    OPT_INPUT,
    OPT_INPUTS,
    OPT_SEED,
    OPT_SHAPE,
    OPT_OUTPUTS,
    OPT_SKIP_HASH,
    OPT_JSON,
    OPT_RTOL,
    OPT_ATOL,
    OPT_WARM_UP,
    OPT_RUNS,
    OPT_RACE,
    OPT_ISOLATE,
    OPT_THREADS,
    OPT_STATS,
    OPT_VERSION
};

/* Which commands take an option: bits 1 << COMMAND_*. */
enum {
    RUN = 1 << COMMAND_RUN,
    TEST = 1 << COMMAND_TEST,
    BENCH = 1 << COMMAND_BENCH,
    COMPARE = 1 << COMMAND_COMPARE,
    INSPECT = 1 << COMMAND_INSPECT,
    ON_DEVICE = RUN | TEST | BENCH | COMPARE,
    ALL = ON_DEVICE | INSPECT
};

static const struct option_row {
    const char *name;
    int has_argument, code, commands;
} rows[] = {
    {"device", required_argument, OPT_DEVICE, ON_DEVICE},
    {"input", required_argument, OPT_INPUT, RUN | BENCH | COMPARE},
    {"inputs", required_argument, OPT_INPUTS, RUN | BENCH | COMPARE},
    {"seed", required_argument, OPT_SEED, RUN | BENCH | COMPARE},
    {"shape", required_argument, OPT_SHAPE, RUN | BENCH | COMPARE},
    {"outputs", required_argument, OPT_OUTPUTS, RUN},
    {"skip-hash", no_argument, OPT_SKIP_HASH, ALL},
    {"json", no_argument, OPT_JSON, INSPECT | COMPARE},
    {"rtol", required_argument, OPT_RTOL, TEST | COMPARE},
    {"atol", required_argument, OPT_ATOL, TEST | COMPARE},
    {"warm-up", required_argument, OPT_WARM_UP, BENCH},
    {"runs", required_argument, OPT_RUNS, BENCH},
    {"race", no_argument, OPT_RACE, ON_DEVICE},
    {"isolate", no_argument, OPT_ISOLATE, ON_DEVICE},
    {"threads", required_argument, OPT_THREADS, ON_DEVICE},
    {"stats", optional_argument, OPT_STATS, ON_DEVICE},
    {"help", no_argument, 'h', ALL},
    {"version", no_argument, OPT_VERSION, ALL},
};

enum { N_ROWS = sizeof rows / sizeof rows[0] };

static const char *const commands[COMMAND_COUNT] = {"run", "test", "bench", "compare", "inspect"};

void gpurun_help(void)
{
    fputs("Runs plans that gpucc made.\n"
          "\n"
          "gpurun run PLAN {(--input NAME=FILE)… | --inputs DIR | --seed N} [--outputs DIR]\n"
          "gpurun test PLAN DIR… [--rtol R] [--atol A]\n"
          "gpurun bench PLAN [inputs as for run; default --seed 1] [--warm-up N] [--runs N]\n"
          "gpurun compare MODEL|DIR PLAN [inputs as for bench] [--rtol R] [--atol A] [--json]\n"
          "gpurun inspect PLAN [--json]\n"
          "\n"
          "  --device=cuda[:N]    GPU number N (default: cuda:0)\n"
          "  --device=emu[:sm_XX] the emulator, as a GPU with that SM (default: the plan's\n"
          "                       highest target)\n"
          "  --input NAME=FILE    an input: .npy, .npz (its array NAME, not compressed), .pb\n"
          "                       (TensorProto), else raw bytes\n"
          "  --inputs DIR         input_0.pb, input_1.pb, … in the order of the graph's inputs\n"
          "  --seed N             random inputs: floats in [-1, 1), integers and bool 0 or 1\n"
          "  --shape NAME=DIMS    shape of an input, for --seed (free dims are 1 unless given)\n"
          "                       and raw files: --shape image=8x3x224x224\n"
          "  --outputs DIR        write output_0.pb, … there, as in ONNX's test data\n"
          "  --rtol R, --atol A   allow |a-b| <= A + R*|b| (default 1e-3, 1e-7); compare: R of\n"
          "                       the largest |b|, and exit 4 only where one of them is given\n"
          "  --warm-up N, --runs N  runs before the timing, and timed ones\n"
          "  --race               emulator: look for races on shared and global memory\n"
          "  --isolate            emulator: every buffer in an allocation of its own, so that\n"
          "                       an access beyond it is seen even if another follows\n"
          "  --threads N          emulator: host threads (default: all cores)\n"
          "  --stats[=FILE]       emulator: print its counters, or write them to FILE as JSON,\n"
          "                       with those of each kernel and its instructions by form\n"
          "  --skip-hash          do not check the plan's hashes (all else is checked)\n"
          "  --version, --help\n"
          "\n"
          "compare runs the plan step by step and holds each value that a kernel leaves in\n"
          "memory against the reference evaluator's of the ONNX model that the plan was made\n"
          "of; with DIR, a data set, the outputs alone against its.\n"
          "A DIR of test is a data set (input_*.pb, output_*.pb) or holds test_data_set_*.\n"
          "Exit codes: 0 ok, 1 bad model, 2 usage, 3 unsupported, 4 numbers out of tolerance,\n"
          "5 limit, 6 no device or driver, 7 file cannot be read or written, 8 plan damaged or\n"
          "unfit, 70 internal error.\n",
          stdout);
}

static bool usage(struct diag *diag, const char *format, const char *text)
{
    char message[256];
    snprintf(message, sizeof message, format, text);
    diag_error(diag, STATUS_USAGE, NULL, "%s; see gpurun --help", message);
    return false;
}

static bool parse_int(const char *text, long long least, long long most, long long *value)
{
    char *end;
    errno = 0;
    *value = strtoll(text, &end, 10);
    return end != text && *end == 0 && errno == 0 && *value >= least && *value <= most;
}

static bool parse_device(const char *text, struct gpurun_options *options)
{
    long long number = 0;
    if (strncmp(text, "cuda", 4) == 0) {
        options->emulator = false;
        if (text[4] == ':' && !parse_int(text + 5, 0, 1023, &number))
            return false;
        options->ordinal = (int)number;
        return text[4] == 0 || text[4] == ':';
    }
    if (strncmp(text, "emu", 3) != 0)
        return false;
    options->emulator = true;
    if (text[3] == 0)
        return true;
    char digits[8] = "";
    if (sscanf(text + 3, ":sm_%4[0-9]", digits) != 1 || !parse_int(digits, 10, 999, &number))
        return false;
    options->sm = (int)number;
    const char *rest = text + 3 + strlen(":sm_") + strlen(digits);
    return rest[0] == 0 || ((rest[0] == 'a' || rest[0] == 'f') && rest[1] == 0);
}

static bool parse_tolerance(const char *text, double *value)
{
    char *end;
    *value = strtod(text, &end);
    return end != text && *end == 0 && isfinite(*value) && *value >= 0;
}

/* NAME=TEXT; the name ends at the last '=' of a shape, and at the first of a file. */
static bool add_named(struct named_text **list, int *n, char *text, char *equals)
{
    if (equals == NULL || equals == text || equals[1] == 0)
        return false;
    *equals = 0;
    (*list)[*n] = (struct named_text){text, equals + 1};
    ++*n;
    return true;
}

static bool apply(int code, char *argument, struct gpurun_options *o)
{
    long long number = 0;
    bool done = true;
    switch (code) {
    case OPT_DEVICE: return parse_device(argument, o);
    case OPT_INPUT: return add_named(&o->inputs, &o->n_inputs, argument, strchr(argument, '='));
    case OPT_SHAPE: return add_named(&o->shapes, &o->n_shapes, argument, strrchr(argument, '='));
    case OPT_INPUTS: o->inputs_folder = argument; return true;
    case OPT_OUTPUTS: o->outputs_folder = argument; return true;
    case OPT_SEED:
        done = parse_int(argument, 0, INT64_MAX, &number);
        o->seeded = true;
        o->seed = (uint64_t)number;
        return done;
    case OPT_RTOL: return (o->tolerance_given = true) && parse_tolerance(argument, &o->rtol);
    case OPT_ATOL: return (o->tolerance_given = true) && parse_tolerance(argument, &o->atol);
    case OPT_WARM_UP:
        done = parse_int(argument, 0, MAX_RUNS, &number);
        o->warm_up = (int)number;
        return done;
    case OPT_RUNS:
        done = parse_int(argument, 1, MAX_RUNS, &number);
        o->runs = (int)number;
        return done;
    case OPT_THREADS:
        done = parse_int(argument, 1, MAX_THREADS, &number);
        o->threads = (int)number;
        return done;
    case OPT_SKIP_HASH: return o->skip_hash = true;
    case OPT_JSON: return o->json = true;
    case OPT_ISOLATE: return o->isolate = true;
    case OPT_RACE: return o->race = true;
    case OPT_STATS: o->statistics_file = argument; return o->statistics = true;
    case OPT_VERSION: return o->version = true;
    default: return o->help = true;
    }
}

static bool parse_options(struct diag *diag, int argc, char **argv, struct gpurun_options *o)
{
    struct option table[N_ROWS + 1] = {{NULL, 0, NULL, 0}};
    for (int i = 0; i < N_ROWS; i++)
        table[i] = (struct option){rows[i].name, rows[i].has_argument, NULL, rows[i].code};
    opterr = 0;
    for (;;) {
        int row = -1, code = getopt_long(argc, argv, ":h", table, &row);
        if (code == -1)
            return true;
        if (code == '?')
            return usage(diag, "no such option: %s", argv[optind - 1]);
        if (code == ':')
            return usage(diag, "%s needs an argument", argv[optind - 1]);
        if (row >= 0 && !(rows[row].commands >> o->command & 1)) {
            char text[64];
            snprintf(text, sizeof text, "--%s is no option of %s", rows[row].name,
                     commands[o->command]);
            return usage(diag, "%s", text);
        }
        char *argument = optarg;
        if (!apply(code, argument, o)) {
            char text[200];
            snprintf(text, sizeof text, "--%s: '%s' is not understood", rows[row].name, argument);
            return usage(diag, "%s", text);
        }
    }
}

static bool check(struct diag *diag, struct gpurun_options *o, int n_rest)
{
    if (o->help || o->version)
        return true;
    if (n_rest == 0)
        return usage(diag, "%s needs a PLAN", commands[o->command]);
    if (o->command == COMMAND_TEST && n_rest < 2)
        return usage(diag, "test needs a DIR%s", "");
    if (o->command == COMMAND_COMPARE && n_rest != 2)
        return usage(diag, "compare needs a MODEL or DIR, and a PLAN%s", "");
    if (o->command != COMMAND_TEST && o->command != COMMAND_COMPARE && n_rest > 1)
        return usage(diag, "%s takes one PLAN", commands[o->command]);
    if ((o->n_inputs > 0) + (o->inputs_folder != NULL) + o->seeded > 1)
        return usage(diag, "--input, --inputs and --seed%s exclude each other", "");
    if (!o->emulator && (o->race || o->isolate || o->threads > 0 || o->statistics))
        return usage(diag, "--race, --isolate, --threads and --stats need --device=emu%s", "");
    return true;
}

bool gpurun_options_parse(struct diag *diag, int argc, char **argv, struct gpurun_options *o)
{
    *o = (struct gpurun_options){
        .command = COMMAND_COUNT, .rtol = 1e-3, .atol = 1e-7, .warm_up = 10};
    if (argc < 2)
        return usage(diag, "which command? run, test, bench, compare or inspect%s", "");
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return o->help = true;
    if (strcmp(argv[1], "--version") == 0)
        return o->version = true;
    for (int i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(argv[1], commands[i]) == 0)
            o->command = (enum command)i;
    if (o->command == COMMAND_COUNT)
        return usage(diag, "no such command: %s", argv[1]);
    o->inputs = calloc((size_t)argc, sizeof *o->inputs);
    o->shapes = calloc((size_t)argc, sizeof *o->shapes);
    o->folders = calloc((size_t)argc, sizeof *o->folders);
    if (o->inputs == NULL || o->shapes == NULL || o->folders == NULL) {
        diag_error(diag, STATUS_LIMIT, NULL, "out of memory");
        return false;
    }
    argc--, argv++; /* the command takes the program's place */
    if (!parse_options(diag, argc, argv, o) || !check(diag, o, argc - optind))
        return false;
    bool compares = o->command == COMMAND_COMPARE;
    for (int i = optind; i < argc; i++)
        if (compares && i == optind)
            o->reference = argv[i];
        else if (i == optind + compares)
            o->plan = argv[i];
        else
            o->folders[o->n_folders++] = argv[i];
    return true;
}

void gpurun_options_free(struct gpurun_options *options)
{
    free(options->inputs);
    free(options->shapes);
    free(options->folders);
}
