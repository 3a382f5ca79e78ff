/* gpucc's options about precision: --precision, --keep and what belongs to them. */
#include "options.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LEVELS "fp32, fp32x3, tf32, fp16, bf16"

/* `automatic`: auto is one of them. */
static bool parse_level(struct diag *diag, const char *option, const char *text, const char *name,
                        bool automatic, enum precision_level *out)
{
    *out = precision_parse(name);
    if (!strcmp(name, "int8")) {
        diag_error(diag, STATUS_USAGE, NULL,
                   "%s '%s': int8 needs ranges that are measured on data, which gpucc cannot do "
                   "yet; models that are quantized already run on integers as they are",
                   option, text);
        return false;
    }
    return *out < PRECISION_AUTO || (automatic && *out == PRECISION_AUTO) ||
           option_bad(diag, option, text, automatic ? LEVELS ", fp8 or auto" : LEVELS " or fp8");
}

bool option_max_error(struct diag *diag, const char *text, struct options *out)
{
    struct precision *p = &out->precision;
    char *end;
    out->max_error_given = true;
    out->unmeasured = !strcmp(text, "none");
    if (out->unmeasured)
        return true;
    p->relative = !strncmp(text, "rel:", 4);
    p->max_error = strtod(text + 4 * (strlen(text) > 4), &end);
    if ((!p->relative && strncmp(text, "abs:", 4)) || *end || end == text + 4 ||
        !(p->max_error >= 0) || !isfinite(p->max_error))
        return option_bad(diag, "--max-error", text, "rel:E or abs:E, such as rel:1e-2, or none");
    return true;
}

bool option_precision(struct diag *diag, const char *text, struct options *out)
{
    return parse_level(diag, "--precision", text, text, true, &out->precision.wanted);
}

bool option_keep(struct arena *arena, struct diag *diag, const char *text, struct options *out)
{
    struct precision *p = &out->precision;
    const char *equal = strrchr(text, '=');
    if (!equal || equal == text)
        return option_bad(diag, "--keep", text, "PATTERN=PRECISION, such as 'Softmax=fp32'");
    struct precision_rule *rules =
        ARENA_ARRAY(arena, (size_t)p->n_rules + 1, struct precision_rule);
    if (p->n_rules)
        memcpy(rules, p->rules, (size_t)p->n_rules * sizeof *rules);
    struct precision_rule *rule = &rules[p->n_rules];
    rule->pattern = arena_strndup(arena, text, (size_t)(equal - text));
    p->rules = rules;
    p->n_rules++;
    return parse_level(diag, "--keep", text, equal + 1, false, &rule->precision);
}

/* ---- What targets have --------------------------------------------------------------------- */

static int first_sm(enum precision_level level)
{
    switch (level) {
    case PRECISION_FP8: return 89;
    case PRECISION_BF16:
    case PRECISION_TF32:
    case PRECISION_FP32X3: return 80;
    default: return 0;
    }
}

static bool check_level(struct diag *diag, const struct target_list *targets,
                        enum precision_level level)
{
    for (int i = 0; i < targets->n; i++)
        if (targets->at[i]->sm < first_sm(level)) {
            diag_error(diag, STATUS_USAGE, NULL,
                       "the target %s lacks %s, which sm_%d is the first to have: name others with "
                       "--target",
                       targets->at[i]->name, precision_names[level], first_sm(level));
            return false;
        }
    return true;
}

/* What all targets have, and the rates of the one with the slowest memory. */
static void set_rates(const struct target_list *targets, struct precision *p)
{
    const struct peak *slowest = NULL;
    p->candidates = ~0u;
    for (int i = 0; i < targets->n; i++) {
        const struct peak *peak = &targets->at[i]->peak;
        for (int level = PRECISION_FP32; level < PRECISION_AUTO; level++)
            if (targets->at[i]->sm < first_sm((enum precision_level)level))
                p->candidates &= ~(1u << level);
        if (!slowest || peak->bandwidth < slowest->bandwidth)
            slowest = peak;
    }
    const double giga = 1; /* Gflop/s and GB/s are operations and bytes per nanosecond */
    p->rates.bytes = giga * slowest->bandwidth;
    p->rates.operations[PRECISION_FP32] = giga * slowest->fp32;
    p->rates.operations[PRECISION_TF32] = giga * slowest->tf32;
    p->rates.operations[PRECISION_FP32X3] = giga * slowest->tf32 / 3;
    p->rates.operations[PRECISION_FP16] = giga * slowest->half;
    p->rates.operations[PRECISION_BF16] = giga * slowest->half;
    p->rates.operations[PRECISION_FP8] = giga * slowest->f8;
}

static bool usage(struct diag *diag, const char *text)
{
    diag_error(diag, STATUS_USAGE, NULL, "%s", text);
    return false;
}

/* The budget that a precision has of its own; 0: none. */
static double own_budget(enum precision_level level)
{
    return level == PRECISION_FP8 ? 5e-2 : level == PRECISION_TF32 ? 1e-3 : 0;
}

/* What a layer may have where the precision costs it too much, beside the model's type. */
static unsigned instead_of(enum precision_level level)
{
    return level == PRECISION_FP8    ? 1u << PRECISION_FP16
           : level == PRECISION_TF32 ? 1u << PRECISION_FP32X3
                                     : 0;
}

/* What a search may choose from: auto from all. */
static void set_search(struct options *o)
{
    struct precision *p = &o->precision;
    double own = own_budget(p->wanted);
    p->searches = !o->unmeasured && (p->wanted == PRECISION_AUTO || o->max_error_given || own > 0);
    if (p->wanted != PRECISION_AUTO && p->wanted != PRECISION_MODEL)
        p->candidates &= 1u << p->wanted | instead_of(p->wanted);
    if (own > 0 && !o->max_error_given) {
        p->assumed = p->relative = true;
        p->max_error = own;
    }
}

static bool leaves_out_precision(const struct options *o)
{
    for (const char *const *skip = o->skip; skip && *skip; skip++)
        if (!strcmp(*skip, "set_precision"))
            return true;
    return false;
}

/* What is asked for and left out at once: said, since nothing changes silently. */
static bool check_skipped(struct diag *diag, const struct options *o)
{
    if (!leaves_out_precision(o))
        return true;
    if (o->save_precision)
        return usage(diag, "--save-precision needs the pass that -fno-set_precision (or -fno-all) "
                           "leaves out");
    if (precision_changes(&o->precision) || o->load_precision)
        diag_warning(diag, NULL,
                     "-fno-set_precision (or -fno-all) leaves out what --precision, --keep or "
                     "--load-precision asks for: every value keeps the model's type");
    return true;
}

bool options_complete_precision(struct diag *diag, struct options *o)
{
    bool automatic = o->precision.wanted == PRECISION_AUTO;
    bool good = check_level(diag, &o->targets, o->precision.wanted);
    for (int i = 0; i < o->precision.n_rules && good; i++)
        good = check_level(diag, &o->targets, o->precision.rules[i].precision);
    set_rates(&o->targets, &o->precision);
    if (good && automatic && (!o->max_error_given || o->unmeasured))
        return usage(diag, "--precision=auto needs --max-error=rel:E or abs:E");
    if (good && o->max_error_given && o->precision.wanted == PRECISION_MODEL)
        return usage(diag, "--max-error needs --precision");
    set_search(o);
    good = good && check_skipped(diag, o);
    if (good && o->calibration && !o->precision.searches)
        return usage(diag, "--calib needs --max-error=rel:E or abs:E, or --precision=tf32 or fp8");
    if (good && o->load_precision && o->precision.wanted != PRECISION_MODEL)
        return usage(diag, "--load-precision takes the place of --precision");
    return good;
}
