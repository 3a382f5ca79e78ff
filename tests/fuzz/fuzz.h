/*
 * What the fuzz targets share. Each target is one file with LLVMFuzzerTestOneInput; a finding is a
 * sanitizer's report, a time-out, too much memory, or a broken rule of the target's own
 * (fuzz_broken).
 */
#ifndef GPUCC_TESTS_FUZZ_H
#define GPUCC_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

_Noreturn static inline void fuzz_broken(const char *rule, const char *detail)
{
    fprintf(stderr, "FUZZ RULE BROKEN: %s: %s\n", rule, detail);
    abort();
}

/* With FUZZ_SEEDS=1 every input is a seed, and a seed must be accepted: one that the parser refuses
 * at its first check (of an old version of a format, say) finds nothing. */
static inline void fuzz_result(size_t size, bool accepted, const char *why)
{
    static int seeds = -1;
    if (seeds < 0) {
        const char *value = getenv("FUZZ_SEEDS");
        seeds = value && *value == '1';
    }
    if (seeds && size > 0 && !accepted) /* libFuzzer itself adds the empty input */
        fuzz_broken("a seed is accepted", why);
}

/* A refusal comes with a reason. */
static inline void fuzz_reason(bool accepted, const char *why)
{
    if (!accepted && (!why || !*why))
        fuzz_broken("a refusal says why", "no message");
}

#endif
