#include "options.h"
#include "../passes/passes.h"
#include "explain.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    OPT_TARGET = 256,
    OPT_SHAPE,
    OPT_NO_CACHE,
    OPT_EMIT,
    OPT_SAVE_TEMPS,
    OPT_VERSION,
    OPT_DUMP_AFTER,
    OPT_CHECK_PASSES,
    OPT_CHECK,
    OPT_FREEZE,
    OPT_OUTPUT,
    OPT_NO_OUTPUT,
    OPT_IO,
    OPT_ALIAS,
    OPT_PRECISION,
    OPT_KEEP,
    OPT_MAX_ERROR,
    OPT_CALIB,
    OPT_SAVE_PRECISION,
    OPT_LOAD_PRECISION,
    OPT_PRINT_OPS,
    OPT_PRINT_PASSES,
    OPT_EXPLAIN,
    OPT_EXPLAIN_FORMAT
};

enum { MAX_JOBS = 256 };

static const struct option long_options[] = {
    {"target", required_argument, NULL, OPT_TARGET},
    {"shape", required_argument, NULL, OPT_SHAPE},
    {"freeze", required_argument, NULL, OPT_FREEZE},
    {"output", required_argument, NULL, OPT_OUTPUT},
    {"no-output", required_argument, NULL, OPT_NO_OUTPUT},
    {"alias", required_argument, NULL, OPT_ALIAS},
    {"precision", required_argument, NULL, OPT_PRECISION},
    {"keep", required_argument, NULL, OPT_KEEP},
    {"max-error", required_argument, NULL, OPT_MAX_ERROR},
    {"calib", required_argument, NULL, OPT_CALIB},
    {"save-precision", required_argument, NULL, OPT_SAVE_PRECISION},
    {"load-precision", required_argument, NULL, OPT_LOAD_PRECISION},
    {"io", required_argument, NULL, OPT_IO},
    {"no-cache", no_argument, NULL, OPT_NO_CACHE},
    {"emit", required_argument, NULL, OPT_EMIT},
    {"save-temps", required_argument, NULL, OPT_SAVE_TEMPS},
    {"dump-after", required_argument, NULL, OPT_DUMP_AFTER},
    {"check-passes", no_argument, NULL, OPT_CHECK_PASSES},
    {"check", no_argument, NULL, OPT_CHECK},
    {"print-ops", no_argument, NULL, OPT_PRINT_OPS},
    {"print-passes", no_argument, NULL, OPT_PRINT_PASSES},
    {"explain", required_argument, NULL, OPT_EXPLAIN},
    {"explain-format", required_argument, NULL, OPT_EXPLAIN_FORMAT},
    {"verbose", no_argument, NULL, 'v'},
    {"version", no_argument, NULL, OPT_VERSION},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static const char *const emit_names[EMIT_COUNT] = {"plan", "ir", "cuda", "ptx", "cubin", "sass"};

struct pass_row {
    const char *name, *text;
};
static const struct pass_row passes[] = {
#define PASS(name, text) {#name, text},
    PASSES(PASS)
#undef PASS
};

enum { N_PASSES = sizeof passes / sizeof passes[0] };

static const char usage[] =
    "Usage: gpucc MODEL -o PLAN [options]\n"
    "Compiles an ONNX model, or a graph in text form, to a plan that gpurun and\n"
    "libgpucc_runtime run. Needs no GPU.\n"
    "\n"
    "  -o FILE                write to FILE; -: to stdout\n"
    "  --target=LIST          targets, separated by commas (default: " TARGETS_DEFAULT ")\n"
    "  --shape NAME=DIMS      fix the free dims of an input, as in image=1x3x224x224\n"
    "  --freeze NAME=FILE     make an input a constant, from a .npy, .npz or .pb file\n"
    "  --output NAME          make an inner value an output too, behind the model's own\n"
    "  --no-output NAME       leave out an output, and what only it needs\n"
    "  --io NAME=TYPE:LAYOUT  type and layout in which an input arrives or an output\n"
    "                         leaves, as in image=u8:nhwc; the kernels convert\n"
    "  --alias OUT=IN         an output lies in an input's memory, as in present_k=past_k\n"
    "  --precision=PRECISION  types of float values: fp32, fp32x3 (fp32 on tensor cores), tf32,\n"
    "                         fp16, bf16, fp8; without it each value has the model's type;\n"
    "                         auto: the fastest that --max-error allows\n"
    "  --max-error=rel:E      how far outputs may move, as a part of their largest magnitude, or\n"
    "                         abs:E, a number; layers that cost too much keep the model's type\n"
    "                         (tf32's: fp32x3; fp8's: fp16). Without it tf32 has rel:1e-3 and fp8\n"
    "                         rel:5e-2; none leaves the measuring out\n"
    "  --calib=DIR            inputs to measure on (input_0.pb or .npy, …), or a folder of\n"
    "                         test_data_set_*; without it, numbers from a seed\n"
    "  --save-precision=FILE  write which node has which precision, as text\n"
    "  --load-precision=FILE  take what was saved, for the same model\n"
    "  --keep PATTERN=PRECISION  the precision of nodes by name, operator or op, as in\n"
    "                         '/decoder/*=fp32' or 'Softmax=fp32'; later ones count more\n"
    "  -j N                   compile on N threads (default: all cores)\n"
    "  -MD                    write FILE.d, which names what FILE was made from\n"
    "  -g                     line information in the machine code\n"
    "  --no-cache             neither read nor write the compile cache\n"
    "  --emit=FORM            write another form, for one target, to FILE or stdout:\n"
    "                         ir, cuda, ptx, cubin (an ar archive of one per kernel),\n"
    "                         sass; or plan, for all targets\n"
    "  --save-temps=DIR       write DIR/TARGET/KERNEL.{cu,ptx,cubin}\n"
    "  --dump-after=PASS      print the graph to stderr after a pass, or after all\n"
    "  -fno-PASS              leave out a pass; -fno-all leaves out all\n"
    "  --check-passes         check that the graph survives its text form after each pass\n"
    "  -v, --verbose          say what is done, with the registers of every kernel\n"
    "  --check                only say whether gpucc can compile the model; writes nothing\n"
    "  --explain=TOPICS       print what was decided and why, topics separated by commas:\n"
    "                         fusion, precision, memory, cost; then -o may be missing\n"
    "  --explain-format=FORM  text (the default) or json\n"
    "  --print-ops            list the ONNX operators that gpucc knows, with their opsets\n"
    "  --print-passes         list the passes in their order, a name a line\n"
    "  --version              gpucc's version and the NVRTC it uses\n"
    "  -h, --help             this text\n";

void options_passes(struct text *out)
{
    for (int i = 0; i < N_PASSES; i++)
        text_printf(out, "%s\n", passes[i].name);
}

void options_help(struct text *out)
{
    text_printf(out, "%s\nTargets: ", usage);
    target_names(out);
    text_printf(out, "\n\nPasses:\n");
    for (int i = 0; i < N_PASSES; i++)
        text_printf(out, "  %-18s %s\n", passes[i].name, passes[i].text);
    text_printf(out,
                "\nExit codes: 0 ok, 1 bad model, 2 usage, 3 unsupported, 4 --max-error cannot "
                "be met,\n5 limit, 6 environment, 7 file cannot be read or written, 70 "
                "internal error.\n");
}

/* ---- values of options --------------------------------------------------------------------- */

static bool parse_emit(struct diag *diag, const char *text, struct options *out)
{
    for (int i = 0; i < EMIT_COUNT; i++)
        if (!strcmp(text, emit_names[i])) {
            out->emit = (enum emit)i;
            out->emit_given = true;
            return true;
        }
    return option_bad(diag, "--emit", text, "ir, cuda, ptx, cubin, sass or plan");
}

/* "fusion,cost" */
static bool parse_explain(struct diag *diag, const char *text, struct options *out)
{
    for (const char *at = text;; at++) {
        size_t length = strcspn(at, ",");
        unsigned topic = 0;
        while (topic < EXPLAIN_COUNT &&
               (strncmp(at, explain_names[topic], length) || explain_names[topic][length]))
            topic++;
        if (topic == EXPLAIN_COUNT)
            return option_bad(diag, "--explain", text,
                              "fusion, precision, memory or cost, separated by commas");
        out->explain |= 1u << topic;
        at += length;
        if (!*at)
            return true;
    }
}

static bool parse_explain_format(struct diag *diag, const char *text, struct options *out)
{
    out->explain_json = !strcmp(text, "json");
    return out->explain_json || !strcmp(text, "text") ||
           option_bad(diag, "--explain-format", text, "text or json");
}

static bool parse_jobs(struct diag *diag, const char *text, struct options *out)
{
    char *end;
    errno = 0;
    long n = strtol(text, &end, 10);
    if (errno || *end || end == text || n < 1 || n > MAX_JOBS)
        return option_bad(diag, "-j", text, "a number of threads from 1 to 256");
    out->jobs = (int)n;
    return true;
}

/* The table's name of a pass; dashes may stand for underscores. */
static const char *find_pass(const char *text)
{
    for (int i = 0; i < N_PASSES; i++) {
        const char *name = passes[i].name;
        size_t at = 0;
        while (name[at] && (text[at] == name[at] || (text[at] == '-' && name[at] == '_')))
            at++;
        if (!name[at] && !text[at])
            return name;
    }
    return NULL;
}

static void skip_pass(struct arena *arena, const char *pass, struct options *out)
{
    size_t n = 0;
    while (out->skip && out->skip[n])
        n++;
    const char **skip = ARENA_ARRAY(arena, n + 2, const char *);
    if (n)
        memcpy(skip, out->skip, n * sizeof *skip);
    skip[n] = pass;
    out->skip = skip;
}

static bool parse_skip(struct arena *arena, struct diag *diag, const char *text,
                       struct options *out)
{
    const char *pass = strncmp(text, "no-", 3) ? NULL : find_pass(text + 3);
    bool all = !strcmp(text, "no-all");
    if (!pass && !all)
        return option_bad(diag, "-f", text, "no-PASS with a pass that --help lists, or no-all");
    for (int i = 0; all && i < N_PASSES; i++)
        skip_pass(arena, passes[i].name, out);
    if (pass)
        skip_pass(arena, pass, out);
    return true;
}

static bool parse_one(struct arena *arena, struct diag *diag, int option, const char *text,
                      struct options *out)
{
    switch (option) {
    case 'o': out->output = text; return true;
    case 'j': return parse_jobs(diag, text, out);
    case 'g': out->line_info = true; return true;
    case 'v': out->verbose = true; return true;
    case 'h': out->help = true; return true;
    case 'f': return parse_skip(arena, diag, text, out);
    case 'M': out->depfile = true; return !strcmp(text, "D") || option_bad(diag, "-M", text, "-MD");
    case OPT_TARGET: out->targets_given = true; return target_list_parse(diag, text, &out->targets);
    case OPT_SHAPE: return option_shape(arena, diag, text, out);
    case OPT_FREEZE: return option_freeze(arena, diag, text, out);
    case OPT_OUTPUT: return option_output(arena, text, out);
    case OPT_NO_OUTPUT: return option_no_output(arena, text, out);
    case OPT_ALIAS: return option_alias(arena, diag, text, out);
    case OPT_PRECISION: return option_precision(diag, text, out);
    case OPT_MAX_ERROR: return option_max_error(diag, text, out);
    case OPT_CALIB: out->calibration = text; return true;
    case OPT_SAVE_PRECISION: out->save_precision = text; return true;
    case OPT_LOAD_PRECISION: out->load_precision = text; return true;
    case OPT_KEEP: return option_keep(arena, diag, text, out);
    case OPT_IO: return option_io(arena, diag, text, out);
    case OPT_NO_CACHE: out->no_cache = true; return true;
    case OPT_EMIT: return parse_emit(diag, text, out);
    case OPT_SAVE_TEMPS: out->save_temps = text; return true;
    case OPT_CHECK_PASSES: out->round_trip = true; return true;
    case OPT_CHECK: out->check = true; return true;
    case OPT_PRINT_OPS: out->print_ops = true; return true;
    case OPT_PRINT_PASSES: out->print_passes = true; return true;
    case OPT_EXPLAIN: return parse_explain(diag, text, out);
    case OPT_EXPLAIN_FORMAT: return parse_explain_format(diag, text, out);
    case OPT_VERSION: out->version = true; return true;
    case OPT_DUMP_AFTER:
        out->dump_after = !strcmp(text, "all") ? "all" : find_pass(text);
        return out->dump_after ||
               option_bad(diag, "--dump-after", text, "all, or a pass that --help lists");
    }
    return false;
}

/* ---- the whole line ------------------------------------------------------------------------ */

static bool report_option(struct diag *diag, int result, char **argv)
{
    const char *word = argv[optind - 1];
    if (result == ':' && optopt < 256 && optopt)
        diag_error(diag, STATUS_USAGE, NULL, "option -%c needs a value", optopt);
    else if (result == ':')
        diag_error(diag, STATUS_USAGE, NULL, "option %s needs a value", word);
    else if (optopt && optopt < 256)
        diag_error(diag, STATUS_USAGE, NULL, "unknown option -%c", optopt);
    else
        diag_error(diag, STATUS_USAGE, NULL, "unknown or ambiguous option %s", word);
    return false;
}

static bool usage_error(struct diag *diag, const char *text)
{
    diag_error(diag, STATUS_USAGE, NULL, "%s; see gpucc --help", text);
    return false;
}

/* What fits together, and what is left out. */
static bool complete(struct diag *diag, struct options *out)
{
    if (!options_complete_precision(diag, out))
        return false;
    if (out->output && !strcmp(out->output, "-")) { /* as --emit without -o */
        out->output = NULL;
        out->emit_given = true;
    }
    if (!out->input)
        return usage_error(diag, "no model given");
    if (out->check && (out->output || out->emit_given || out->save_temps || out->save_precision))
        return usage_error(diag, "--check writes nothing: no -o, --emit, --save-temps or "
                                 "--save-precision");
    if (out->depfile && !out->output)
        return usage_error(diag, "-MD needs -o");
    if (out->explain_json && !out->explain)
        return usage_error(diag, "--explain-format needs --explain");
    if (out->explain && out->emit_given && !out->output)
        return usage_error(diag, "--explain and --emit both write to stdout; use -o");
    if (out->check)
        return true;
    if (out->explain && !out->output) {
        if (!out->targets_given)
            out->targets.n = 1;
        return !out->save_temps || usage_error(diag, "--save-temps needs -o beside --explain");
    }
    if (out->emit == EMIT_PLAN && !out->output) {
        if (!out->emit_given)
            return usage_error(diag, "-o PLAN is missing");
        if (isatty(STDOUT_FILENO))
            return usage_error(diag, "a plan is not for a terminal; use -o");
        out->output = "/dev/stdout";
    }
    if (out->emit == EMIT_PLAN || out->emit == EMIT_IR)
        return true;
    if (out->targets_given && out->targets.n > 1)
        return usage_error(diag, "--emit takes one target");
    out->targets.n = 1;
    if (out->targets.at[0]->portable && (out->emit == EMIT_CUBIN || out->emit == EMIT_SASS))
        return usage_error(diag, "the target portable has PTX only");
    return true;
}

bool options_parse(struct arena *arena, struct diag *diag, int argc, char **argv,
                   struct options *out)
{
    *out = (struct options){.emit = EMIT_PLAN};
    if (!target_list_parse(diag, TARGETS_DEFAULT, &out->targets))
        return false;
    opterr = 0;
    for (int option;
         (option = getopt_long(argc, argv, ":o:j:M:f:gvh", long_options, NULL)) != -1;) {
        if (option == '?' || option == ':')
            return report_option(diag, option, argv);
        if (!parse_one(arena, diag, option, optarg, out))
            return false;
    }
    if (out->help || out->version || out->print_ops || out->print_passes)
        return true;
    if (optind < argc)
        out->input = argv[optind++];
    if (optind < argc) {
        diag_error(diag, STATUS_USAGE, NULL, "more than one model: '%s'", argv[optind]);
        return false;
    }
    return complete(diag, out);
}
