/*
 * The table of targets. Limits are those of CUDA's programming guide, per compute capability;
 * the SMs are those of the largest common part.
 */
#include "target.h"

#include <string.h>

/* clang-format off */
enum { KB = 1024 };

static const struct target targets[] = {
    /* name       architecture  sm   portable  SMs  shared/block  driver */
    {"sm_75",     "sm_75",       75, false,     40,  64 * KB,  10000},  /* T4 */
    {"sm_80",     "sm_80",       80, false,    108, 163 * KB,  11000},  /* A100 */
    {"sm_86",     "sm_86",       86, false,     84,  99 * KB,  11010},  /* A40, RTX 3090 */
    {"sm_87",     "sm_87",       87, false,     16, 163 * KB,  11040},  /* Jetson Orin */
    {"sm_89",     "sm_89",       89, false,    142,  99 * KB,  11080},  /* L40, RTX 4090 */
    {"sm_90",     "sm_90",       90, false,    132, 227 * KB,  11080},  /* H100, H200 */
    {"sm_90a",    "sm_90a",      90, false,    132, 227 * KB,  12000},
    {"sm_100",    "sm_100",     100, false,    148, 227 * KB,  12080},  /* B200 */
    {"sm_100a",   "sm_100a",    100, false,    148, 227 * KB,  12080},
    {"sm_103",    "sm_103",     103, false,    160, 227 * KB,  12090},  /* B300 */
    {"sm_110",    "sm_110",     110, false,     20, 227 * KB,  13000},  /* Jetson Thor */
    {"sm_120",    "sm_120",     120, false,    188,  99 * KB,  12080},  /* RTX PRO 6000, RTX 5090 */
    {"sm_121",    "sm_121",     121, false,     48,  99 * KB,  12090},  /* GB10 */
    {"portable",  "compute_80",  80, true,     108,  99 * KB,  11000},  /* PTX; the least of 80 and later */
};
/* clang-format on */

enum { N_TARGETS = sizeof targets / sizeof targets[0] };

static const struct target *find(const char *name, size_t length)
{
    for (int i = 0; i < N_TARGETS; i++)
        if (strlen(targets[i].name) == length && !memcmp(targets[i].name, name, length))
            return &targets[i];
    return NULL;
}

const struct target *target_find(const char *name)
{
    return find(name, strlen(name));
}

void target_names(struct text *out)
{
    for (int i = 0; i < N_TARGETS; i++)
        text_printf(out, "%s%s", i ? ", " : "", targets[i].name);
}

bool target_is_exact(const struct target *target)
{
    return target->nvrtc_arch[strlen(target->nvrtc_arch) - 1] == 'a';
}

bool target_list_parse(struct diag *diag, const char *text, struct target_list *list)
{
    list->n = 0;
    for (;;) {
        size_t length = strcspn(text, ",");
        const struct target *target = find(text, length);
        if (!target) {
            struct text names = {0};
            target_names(&names);
            diag_error(diag, STATUS_USAGE, NULL, "unknown target '%.*s'; known are %s", (int)length,
                       text, names.failed ? "" : names.data);
            text_free(&names);
            return false;
        }
        bool repeated = false;
        for (int i = 0; i < list->n; i++)
            repeated |= list->at[i] == target;
        if (!repeated)
            list->at[list->n++] = target;
        if (!text[length])
            return true;
        text += length + 1;
    }
}
