/*
 * Lists: what the host keeps of sequences and optionals. An element lies in an allocation of its own
 * on the device and is shared by all lists that hold it, since elements never change. A list belongs
 * to a buffer of the program and stays as it is until a step or the next run makes it anew.
 */
#ifndef GPUCC_RUNTIME_LIST_H
#define GPUCC_RUNTIME_LIST_H

#include "plan.h"

struct gpucc_context;
struct list_item;

struct list {
    int64_t n;                          /* elements; -1: an optional sequence that is not there */
    struct list_item **items;
};

/* What a caller bound to an input. */
struct list_binding {
    enum gpucc_memory memory;
    int n;
    struct list_bound { const void *data; size_t bytes; int rank; int64_t dims[GPUCC_MAX_RANK]; } item[];
};

/* Sequences and optionals of numeric tensors. *dtype: that of the elements. */
bool rt_is_list(const struct gpucc_plan *plan, const struct plan_value *value, uint32_t *dtype);
/* Whether an input or output is an optional sequence. */
bool rt_is_optional_sequence(const struct gpucc_plan *plan, const struct plan_value *value);

/* Carries out a LIST_* step. */
enum gpucc_status rt_list_step(struct gpucc_context *context, void *stream,
                               const struct plan_step *step);

/* Makes the lists of the inputs from what is bound. */
enum gpucc_status rt_list_inputs(struct gpucc_context *context, void *stream);

/* Gives up what a list holds; the device's context must be current, and nothing on it use the list. */
void rt_list_clear(struct gpucc_context *context, struct list *list);

#endif
