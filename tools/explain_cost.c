/* --explain=cost: the model's estimate of each step. */
#include "../codegen/estimate.h"
#include "explain.h"

#include <inttypes.h>
#include <string.h>

/* Over the steps of the program at hand. */
struct sums {
    int64_t nanoseconds, bytes, operations[UNIT_COUNT];
    int steps, bound_by[BOUND_COUNT];
};

static struct estimate estimate_of(const struct explain *x, const struct step *step)
{
    const struct target *target = x->programs[x->index]->target;
    if (step->kernel)
        return estimate_kernel(x->g, target, step->kernel);
    int64_t bytes = step->value ? estimate_bytes(x->g, step->value) : 0;
    return estimate_move(target, step->kind == STEP_COPY ? bytes : 0, bytes);
}

static void add(struct sums *sums, const struct estimate *e)
{
    sums->nanoseconds += e->nanoseconds;
    sums->bytes += e->bytes_read + e->bytes_written;
    for (int i = 0; i < UNIT_COUNT; i++)
        sums->operations[i] += e->operations[i];
    sums->bound_by[e->bound]++;
    sums->steps++;
}

static void print_operations(struct text *out, const int64_t *operations)
{
    for (int i = 0; i < UNIT_COUNT; i++)
        if (operations[i])
            text_printf(out, ", %" PRId64 ".%03" PRId64 " Mop %s", operations[i] / 1000000,
                        operations[i] % 1000000 / 1000, unit_names[i]);
}

static void json_operations(struct explain *x, const int64_t *operations)
{
    json_open(&x->out, "operations", '{');
    for (int i = 0; i < UNIT_COUNT; i++)
        if (operations[i])
            json_int(&x->out, unit_names[i], operations[i]);
    json_close(&x->out, '}');
}

static void cost_step(struct explain *x, const struct step *step, int number, int depth)
{
    if (!step->kernel && step->kind != STEP_COPY && step->kind != STEP_FILL)
        return;
    struct estimate e = estimate_of(x, step);
    add(x->sums, &e);
    if (x->json) {
        json_open(&x->out, NULL, '{');
        json_int(&x->out, "step", number);
        json_string(&x->out, "kernel", step->kernel ? step->kernel->symbol : "");
        json_string(&x->out, "nodes", explain_nodes(step));
        json_int(&x->out, "nanoseconds", e.nanoseconds);
        json_string(&x->out, "bound", bound_names[e.bound]);
        json_int(&x->out, "bytes_read", e.bytes_read);
        json_int(&x->out, "bytes_written", e.bytes_written);
        json_int(&x->out, "blocks", e.blocks);
        json_operations(x, e.operations);
        json_close(&x->out, '}');
        return;
    }
    struct text *out = &x->out.text, time = {.arena = x->g->arena};
    explain_time(&time, e.nanoseconds);
    text_printf(out, "%4d  %*s%12s  %-10s  ", number, 2 * depth, "", time.data,
                bound_names[e.bound]);
    explain_bytes(out, e.bytes_read);
    text_printf(out, " read, ");
    explain_bytes(out, e.bytes_written);
    text_printf(out, " written");
    print_operations(out, e.operations);
    text_printf(out, ", %" PRId64 " blocks: ", e.blocks);
    if (!step->kernel)
        explain_move(out, x->g, step);
    text_printf(out, "%s%s\n", step->kernel ? "" : " ", explain_nodes(step));
}

static void json_total(struct explain *x)
{
    const struct sums *sums = x->sums;
    json_close(&x->out, ']');
    json_int(&x->out, "nanoseconds", sums->nanoseconds);
    json_int(&x->out, "bytes", sums->bytes);
    json_operations(x, sums->operations);
    json_close(&x->out, '}');
}

static void text_total(struct explain *x)
{
    const struct sums *sums = x->sums;
    struct text *out = &x->out.text;
    text_printf(out, "total ");
    explain_time(out, sums->nanoseconds);
    text_printf(out, " for %d steps, ", sums->steps);
    explain_bytes(out, sums->bytes);
    text_printf(out, " moved");
    print_operations(out, sums->operations);
    for (int i = 0; i < BOUND_COUNT; i++)
        if (sums->bound_by[i])
            text_printf(out, "; %d bound by %s", sums->bound_by[i], bound_names[i]);
    text_printf(out, "\n");
}

bool explain_cost(struct explain *x)
{
    static const char label[] = "model estimate, uncalibrated";
    struct sums sums = {0};
    x->sums = &sums;
    if (x->json) {
        json_open(&x->out, "cost", '{');
        json_string(&x->out, "what", label);
        json_open(&x->out, "steps", '[');
    } else {
        text_printf(&x->out.text,
                    "(%s: peak figures of data sheets, each step by itself, free dims as %d)\n",
                    label, 32);
    }
    explain_each_step(x, cost_step);
    (x->json ? json_total : text_total)(x);
    return true;
}
