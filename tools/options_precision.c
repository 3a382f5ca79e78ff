/* gpucc's options about precision: --precision, --keep and what belongs to them. */
#include "options.h"

#include <string.h>

#define LEVELS "fp32, fp32x3, tf32, fp16, bf16 or fp8"

static bool parse_level(struct diag *diag, const char *option, const char *text, const char *name,
                        enum precision_level *out)
{
    *out = precision_parse(name);
    if (!strcmp(name, "int8")) {
        diag_error(diag, STATUS_USAGE, NULL,
                   "%s '%s': int8 needs ranges that are measured on data, which gpucc cannot do "
                   "yet; models that are quantized already run on integers as they are",
                   option, text);
        return false;
    }
    return *out != PRECISION_COUNT || option_bad(diag, option, text, LEVELS);
}

bool option_precision(struct diag *diag, const char *text, struct options *out)
{
    return parse_level(diag, "--precision", text, text, &out->precision.wanted);
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
    return parse_level(diag, "--keep", text, equal + 1, &rule->precision);
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

bool options_check_precision(struct diag *diag, const struct options *o)
{
    bool good = check_level(diag, &o->targets, o->precision.wanted);
    for (int i = 0; i < o->precision.n_rules && good; i++)
        good = check_level(diag, &o->targets, o->precision.rules[i].precision);
    return good;
}
