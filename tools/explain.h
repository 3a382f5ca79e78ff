/*
 * --explain: what gpucc decided about a model and why, as text or JSON. One file a topic; all read
 * what the passes and codegen left, none decides anything.
 */
#ifndef GPUCC_TOOLS_EXPLAIN_H
#define GPUCC_TOOLS_EXPLAIN_H

#include "../codegen/kernel.h"
#include "json_text.h"

/*        name        what it prints */
#define EXPLAIN_TOPICS(X)                                                                          \
    X(fusion, "kernels, what was fused into each, and what was not and why")                       \
    X(precision, "types per layer, and why some were kept")                                        \
    X(memory, "buffers, when they live and where they lie")                                        \
    X(cost, "model estimate of each kernel's time, and its bound")

enum explain_topic {
#define X(name, text) EXPLAIN_##name,
    EXPLAIN_TOPICS(X)
#undef X
    EXPLAIN_COUNT
};

extern const char *const explain_names[EXPLAIN_COUNT];

struct explain {
    struct graph *g;
    struct program *const *programs;
    int n_programs, index;          /* index: the one at hand */
    struct diag *diag;
    bool json;
    struct json out;                /* out.text serves both forms */
    void *sums;                     /* of the topic at hand */
};

/* Appends the topics (bits 1 << EXPLAIN_*) for all programs to out, text or JSON. False after
 * reporting. */
bool explain(struct graph *g, struct program *const *programs, int n_programs, unsigned topics,
             bool json, struct diag *diag, struct text *out);

/* One topic of the program at hand. */
bool explain_fusion(struct explain *x);
bool explain_precision(struct explain *x);
bool explain_memory(struct explain *x);
bool explain_cost(struct explain *x);

/* ---- shared by them (explain.c) ---- */

/* Calls visit for each step, those of bodies right behind their owners; number counts from 0. */
typedef void explain_step(struct explain *x, const struct step *step, int number, int depth);
void explain_each_step(struct explain *x, explain_step *visit);

/* "f32[1, 3, 224, 224]", with the value's name in front where it has one. */
void explain_value(struct text *out, const struct graph *g, const struct value *v);
/* A step that is no launch, in a line: "copy to …". */
void explain_move(struct text *out, const struct graph *g, const struct step *step);
/* ONNX nodes of a step: never NULL. */
const char *explain_nodes(const struct step *step);
/* The group's core, or a reduction in the same pass. */
bool explain_is_core(const struct group *group, const struct node *node);
/* Marks the nodes of the group that are computed behind its core; marks has n_nodes places. */
void explain_behind_core(const struct group *group, bool *marks);
/* Its products are made on tensor cores. */
bool explain_uses_tensor_cores(const struct kernel *kernel);
/* The pass's remarks (NULL: all passes'), each once: a list in JSON, lines in text. Returns how many. */
int explain_remarks(struct explain *x, const char *key, const char *pass);
/* "12.3 us", "4.5 MB". */
void explain_time(struct text *out, int64_t nanoseconds);
void explain_bytes(struct text *out, int64_t bytes);

#endif
