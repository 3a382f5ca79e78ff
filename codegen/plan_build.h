/*
 * What the parts of the plan writer share. Private to plan_*.c.
 *
 *   plan_write.c      sections in order, header, hashes, the file
 *   plan_program.c    one program: steps, kernels, buffers, scalars; see plan_layout.h
 *   plan_weights.c    constants: which, their recipes, their bytes
 *   plan_report.c     memory, for --explain
 */
#ifndef GPUCC_CODEGEN_PLAN_BUILD_H
#define GPUCC_CODEGEN_PLAN_BUILD_H

#include "../runtime/plan_format.h"
#include "atomic_file.h"
#include "plan_write.h"
#include "target.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

/* What was streamed already: identical bytes are stored once. */
struct plan_known {
    XXH128_hash_t hash;
    uint64_t bytes, offset;
};

/* A weight: a constant that some kernel reads, in order of first use over all programs. */
struct plan_weights {
    struct value **at;
    uint32_t n, cap;
    uint32_t *number;               /* by value id: index into at, or PLAN_NONE */
    struct plan_weight *records;    /* offsets and hashes are filled while the bytes are streamed */
    struct plan_known *known;       /* n of them … */
    uint32_t n_known, mask, *table; /* … found by an open hash table of mask + 1 numbers */
};

/* Open hash table of the texts in STRINGS. */
struct plan_strings {
    uint32_t *slot;
    uint32_t n, cap;
};

struct plan_builder {
    struct graph *g;
    struct diag *diag;
    const struct compiled_set *compiled; /* NULL: plan_check */
    const struct nvrtc *nvrtc;
    int n_programs;
    struct program *const *programs;
    struct text shared[PLAN_SECTION_COUNT];           /* by kind: bytes of PLAN sections */
    struct text own[MAX_TARGETS][PLAN_SECTION_COUNT]; /* … of each program's sections */
    struct plan_strings strings;
    struct plan_weights weights;
    uint32_t n_values; /* records of VALUES that are taken: elements come behind */
    uint64_t *cubin_at, *ptx_at; /* by compiled kernel: offset in CODE */
    struct plan_layout *kept;    /* by program, for plan_report; or NULL */
};

/* Offset of a text in STRINGS; NULL and "" are 0. */
uint32_t plan_string(struct plan_builder *b, const char *text);

/* Appends a record to a section. */
#define PLAN_PUSH(section, record) text_append((section), (const char *)(record), sizeof *(record))

/* Number of a constant, which becomes a weight by this. */
uint32_t plan_weight_number(struct plan_builder *b, struct value *v);

/* A value whose bytes the plan holds: made of constants alone, and assigned to no kernel. */
bool plan_is_weight(const struct value *v);

/* Lays out all programs without machine code. NULL after reporting. */
struct plan_builder *plan_lay_out(struct graph *g, struct program *const *programs, int n_programs,
                                  struct diag *diag);

/* Fills the own[] sections of program `index`. False after reporting. */
bool plan_add_program(struct plan_builder *b, int index);

/* Makes RECIPES and the weights' records; the number of weights is final. From here on nothing is
 * taken from the arena: while the file is open no jump to its on_oom may happen. */
void plan_describe_weights(struct plan_builder *b);

struct plan_stream { /* bytes going to WEIGHT_DATA */
    struct atomic_file *file;
    uint64_t offset;           /* in the section */
    struct XXH3_state_s *hash; /* of the section so far */
};

/* Evaluates and streams the weights, and completes their records. False after reporting. */
bool plan_stream_weights(struct plan_builder *b, struct plan_stream *stream, const char *path);

#endif
