/*
 * The table of targets. SMs and peak figures are those of the largest common part, which comes
 * first in the row's comment; rates are dense.
 */
#include "target.h"

#include <string.h>

/* clang-format off */
/*
 * Where the figures come from:
 *
 *   shared/block  CUDA C++ Programming Guide 13.0, "Technical Specifications per Compute Capability"
 *   driver        the first CUDA whose nvcc takes the architecture (CUDA Toolkit Release Notes)
 *   T4            NVIDIA T4 data sheet; Turing architecture white paper (fp64: 1/32 of fp32, SMs, clock)
 *   A100          A100 80 GB (SXM) data sheet
 *   A40           A40 data sheet; GA102 white paper (fp64: 1/64 of fp32)
 *   Orin          Jetson AGX Orin technical brief: 85 sparse Tflop/s of f16, 170 Top/s of i8
 *   L40           L40 data sheet; Ada white paper
 *   H100          H100 data sheet and white paper (SXM5). No sheet gives its clock: its figures belong to
 *                 1,980 MHz, with tensor cores 1,830; 1,755 is the PCIe card's boost clock
 *   B200, B300    HGX B200 and HGX B300 data sheets, "up to 8 TB/s" of the Blackwell technical brief (the
 *                 HGX boards state 62 TB/s for eight). tf32 is half of f16: the sheets round it to 1.1.
 *                 SMs and clock of B200 are what devices report; 160 SMs of B300 are the whole chip's
 *                 ("Inside NVIDIA Blackwell Ultra"), and its clock is not public
 *   Thor          Jetson T5000 data sheet: 2,560 cores, 1.57 GHz, 1,035 sparse Tflop/s of f8; the other
 *                 rates in proportion, i8 like f8
 *   RTX PRO 6000  RTX Blackwell PRO white paper, with sums in f32
 *   GB10          DGX Spark data sheet: 6,144 cores, 273 GB/s, 1 Pflop/s of sparse f4; 31 Tflop/s of fp32
 *                 (Hot Chips 2025), which is 2,523 MHz. Its other rates are not public: tensor cores in
 *                 the proportions of RTX PRO 6000
 */
enum { KB = 1024 };

static const struct target targets[] = {
    /* name       architecture  sm   portable  SMs  shared/block  driver
       {clock, GB/s, fp32, fp64, tf32, half, i8, f8} */
    {"sm_75",    "sm_75",       75, false,  40,  64 * KB,  10000,
     {1590, 320, 8100, 253, 0, 65000, 130000, 0}},  /* T4 */
    {"sm_80",    "sm_80",       80, false, 108, 163 * KB,  11000,
     {1410, 2039, 19500, 9700, 156000, 312000, 624000, 0}},  /* A100 80 GB */
    {"sm_86",    "sm_86",       86, false,  84,  99 * KB,  11010,
     {1740, 696, 37400, 585, 74800, 149700, 299300, 0}},  /* A40; RTX 3090 */
    {"sm_87",    "sm_87",       87, false,  16, 163 * KB,  11040,
     {1300, 204, 5300, 83, 21000, 42500, 85000, 0}},  /* Jetson AGX Orin */
    {"sm_89",    "sm_89",       89, false, 142,  99 * KB,  11080,
     {2490, 864, 90500, 1414, 90500, 181000, 362000, 362000}},  /* L40; RTX 4090 */
    {"sm_90",    "sm_90",       90, false, 132, 227 * KB,  11080,
     {1755, 3350, 66900, 33500, 494700, 989400, 1978900, 1978900}},  /* H100 SXM; H200 */
    {"sm_90a",   "sm_90a",      90, false, 132, 227 * KB,  12000,
     {1755, 3350, 66900, 33500, 494700, 989400, 1978900, 1978900}},
    {"sm_100",   "sm_100",     100, false, 148, 227 * KB,  12080,
     {1965, 8000, 75000, 37000, 1125000, 2250000, 4500000, 4500000}},  /* B200 */
    {"sm_100a",  "sm_100a",    100, false, 148, 227 * KB,  12080,
     {1965, 8000, 75000, 37000, 1125000, 2250000, 4500000, 4500000}},
    {"sm_103",   "sm_103",     103, false, 160, 227 * KB,  12090,
     {1920, 8000, 75000, 1250, 1125000, 2250000, 150000, 4500000}},  /* B300 */
    {"sm_110",   "sm_110",     110, false,  20, 227 * KB,  13000,
     {1575, 273, 8060, 126, 129000, 258000, 517000, 517000}},  /* Jetson Thor */
    {"sm_120",   "sm_120",     120, false, 188,  99 * KB,  12080,
     {2617, 1792, 125000, 1968, 251900, 503800, 1007000, 1007000}},  /* RTX PRO 6000; RTX 5090 */
    {"sm_121",   "sm_121",     121, false,  48,  99 * KB,  12090,
     {2523, 273, 31000, 484, 62500, 125000, 250000, 250000}},  /* GB10 */
    {"portable", "compute_80",  80, true,  108,  99 * KB,  11000,
     {1410, 2039, 19500, 9700, 156000, 312000, 624000, 0}},  /* PTX; the least of 80 and later, figures of A100 */
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
