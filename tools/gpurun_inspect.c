/* gpurun inspect: what is in a plan, for people and for scripts. */
#include "gpurun.h"
#include "json_text.h"

#include "../runtime/plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Counted per inference; bodies of loops and branches count once, a GEMM is a launch. */
enum { LONGEST_FORMULA = 160 }; /* characters that a line of text has room for */

struct summary {
    uint32_t launches, copies, fills, distinct_kernels;
    int64_t peak_bytes; /* -1: free dims */
    const char *peak_formula;
    uint64_t weight_bytes; /* of the weights that the program reads */
};

static bool summarize(const struct gpucc_plan *plan, const struct program *p,
                      struct summary *summary)
{
    *summary = (struct summary){.peak_bytes = p->info->peak_bytes,
                                .peak_formula = rt_string(plan, p->info->peak_formula)};
    uint8_t *used = calloc((size_t)p->n_kernels + plan->n_weights + 1, 1);
    if (used == NULL)
        return false;
    for (uint32_t i = 0; i < p->n_steps; i++) {
        const struct plan_step *step = &p->steps[i];
        summary->launches += step->kind == PLAN_STEP_LAUNCH || step->kind == PLAN_STEP_GEMM;
        summary->copies += step->kind == PLAN_STEP_COPY;
        summary->fills += step->kind == PLAN_STEP_FILL;
        if (step->kind == PLAN_STEP_LAUNCH && !used[step->u.launch.kernel]++)
            summary->distinct_kernels++;
    }
    for (uint32_t i = 0; i < p->n_buffers; i++)
        if (p->buffers[i].kind == PLAN_BUFFER_WEIGHT && !used[p->n_kernels + p->buffers[i].index]) {
            used[p->n_kernels + p->buffers[i].index] = 1;
            summary->weight_bytes += plan->weights[p->buffers[i].index].bytes;
        }
    free(used);
    return true;
}

static void version_text(char *text, size_t bytes, uint32_t version)
{
    snprintf(text, bytes, "%u.%u", version / 1000, version % 1000 / 10);
}

static const char *kind_name(uint32_t kind)
{
    static const char *const names[] = {"tensor", "sequence", "optional", "map", "string"};
    return names[kind];
}

/* "optional of sequence of f32" into text. */
static void append_kind(struct text *text, const struct gpucc_plan *plan,
                        const struct plan_value *value)
{
    for (; value->element != PLAN_NONE; value = &plan->values[value->element])
        text_printf(text, "%s of ", kind_name(value->kind));
    text_printf(text, "%s",
                value->kind == PLAN_TENSOR ? dtype_info[value->dtype].text
                                           : kind_name(value->kind));
}

/* ---- JSON ---- */

static void json_value(struct json *json, const struct gpucc_plan *plan, uint32_t index)
{
    const struct plan_value *value = &plan->values[index];
    json_open(json, NULL, '{');
    json_string(json, "name", rt_string(plan, value->name));
    json_string(json, "kind", kind_name(value->kind));
    if (value->kind == PLAN_TENSOR) {
        json_string(json, "dtype", dtype_info[value->dtype].text);
        json_open(json, "shape", '[');
        for (uint32_t i = 0; i < value->rank; i++) {
            const struct plan_dim *dim = &plan->dims[value->first_dim + i];
            if (dim->value >= 0)
                json_int(json, NULL, dim->value);
            else
                json_string(json, NULL, rt_string(plan, dim->text));
        }
        json_close(json, ']');
    } else if (value->element != PLAN_NONE) {
        struct text element = {0};
        append_kind(&element, plan, &plan->values[value->element]);
        json_string(json, "element", element.failed ? "" : element.data);
        text_free(&element);
    }
    if (value->alias != PLAN_NONE)
        json_string(json, "in_memory_of", rt_string(plan, plan->values[value->alias].name));
    json_close(json, '}');
}

static void json_summary(struct json *json, const struct summary *summary)
{
    json_int(json, "launches", summary->launches);
    json_int(json, "copies", summary->copies);
    json_int(json, "fills", summary->fills);
    json_int(json, "distinct_kernels", summary->distinct_kernels);
    if (summary->peak_bytes >= 0)
        json_int(json, "peak_activation_bytes", summary->peak_bytes);
    else
        json_null(json, "peak_activation_bytes");
    if (summary->peak_bytes < 0)
        json_string(json, "peak_activation_formula", summary->peak_formula);
    json_int(json, "weight_bytes", (int64_t)summary->weight_bytes);
}

static void json_kernel(struct json *json, const struct gpucc_plan *plan,
                        const struct plan_kernel *kernel)
{
    json_open(json, NULL, '{');
    json_string(json, "symbol", rt_string(plan, kernel->symbol));
    json_string(json, "family", rt_string(plan, kernel->family));
    json_open(json, "block", '[');
    for (int i = 0; i < 3; i++)
        json_int(json, NULL, kernel->block[i]);
    json_close(json, ']');
    json_int(json, "shared_bytes", kernel->shared_bytes);
    json_int(json, "static_shared_bytes", kernel->static_shared_bytes);
    json_int(json, "registers", kernel->registers);
    json_int(json, "spill_bytes", kernel->spill_bytes);
    json_int(json, "cubin_bytes", (int64_t)kernel->cubin_bytes);
    json_int(json, "ptx_bytes", (int64_t)kernel->ptx_bytes);
    json_close(json, '}');
}

/* The steps of a body: from the first up to, not including, the second number. */
static void json_body(struct json *json, const char *name, uint32_t first, uint32_t n)
{
    json_open(json, name, '[');
    json_int(json, NULL, first);
    json_int(json, NULL, (int64_t)first + n);
    json_close(json, ']');
}

static void json_program(struct json *json, const struct gpucc_plan *plan, const struct program *p,
                         const struct summary *summary)
{
    json_open(json, NULL, '{');
    json_string(json, "target", p->target->name);
    json_summary(json, summary);
    json_open(json, "kernels", '[');
    for (uint32_t i = 0; i < p->n_kernels; i++)
        json_kernel(json, plan, &p->kernels[i]);
    json_close(json, ']');
    json_open(json, "steps", '[');
    for (uint32_t i = 0; i < p->n_steps; i++) {
        const struct plan_step *step = &p->steps[i];
        json_open(json, NULL, '{');
        json_string(json, "kind", rt_step_name(step->kind));
        if (step->kind == PLAN_STEP_LAUNCH)
            json_string(json, "kernel", rt_string(plan, p->kernels[step->u.launch.kernel].symbol));
        json_string(json, "nodes", rt_string(plan, step->nodes));
        if (step->kind == PLAN_STEP_LOOP)
            json_body(json, "body", step->u.loop.first, step->u.loop.n);
        if (step->kind == PLAN_STEP_IF) {
            json_body(json, "then", step->u.branch.first_then, step->u.branch.n_then);
            json_body(json, "else", step->u.branch.first_else, step->u.branch.n_else);
        }
        json_close(json, '}');
    }
    json_close(json, ']');
    json_close(json, '}');
}

static void json_header(struct json *json, const struct gpucc_plan *plan)
{
    const struct plan_header *header = plan->header;
    char text[32];
    json_int(json, "format", header->version);
    json_string(json, "gpucc", header->gpucc_version);
    version_text(text, sizeof text, header->nvrtc_version);
    json_string(json, "nvrtc", text);
    json_string(json, "nvrtc_build", header->nvrtc_build);
    json_int(json, "cubin_abi", header->cubin_abi);
    json_int(json, "file_bytes", (int64_t)header->file_bytes);
    json_open(json, "targets", '[');
    for (uint32_t i = 0; i < header->n_targets; i++) {
        const struct plan_target *target = &plan->targets[i];
        json_open(json, NULL, '{');
        json_string(json, "name", target->name);
        json_int(json, "sm", target->sm);
        json_bool(json, "portable", (target->flags & PLAN_TARGET_PORTABLE) != 0);
        json_int(json, "minimum_driver", target->min_driver);
        json_int(json, "ptx_isa", target->ptx_isa);
        json_close(json, '}');
    }
    json_close(json, ']');
    json_open(json, "inputs", '[');
    for (uint32_t i = 0; i < header->n_inputs; i++)
        json_value(json, plan, i);
    json_close(json, ']');
    json_open(json, "outputs", '[');
    for (uint32_t i = 0; i < header->n_outputs; i++)
        json_value(json, plan, header->n_inputs + i);
    json_close(json, ']');
}

static void print_json(struct json *json, const struct gpucc_plan *plan,
                       const struct summary *summaries)
{
    json_open(json, NULL, '{');
    json_header(json, plan);
    json_summary(json, &summaries[0]);
    json_open(json, "programs", '[');
    for (uint32_t i = 0; i < plan->header->n_targets; i++)
        json_program(json, plan, &plan->programs[i], &summaries[i]);
    json_close(json, ']');
    json_close(json, '}');
}

/* ---- for people ---- */

static void print_value(const struct gpucc_plan *plan, const char *what, uint32_t index)
{
    const struct plan_value *value = &plan->values[index];
    gpurun_print("%s ", what);
    gpurun_print("%s", rt_string(plan, value->name));
    if (value->kind != PLAN_TENSOR) {
        struct text kind = {0};
        append_kind(&kind, plan, value);
        gpurun_print(": %s\n", kind.failed ? "" : kind.data);
        text_free(&kind);
        return;
    }
    gpurun_print(": %s[", dtype_info[value->dtype].text);
    for (uint32_t i = 0; i < value->rank; i++) {
        const struct plan_dim *dim = &plan->dims[value->first_dim + i];
        gpurun_print("%s", i > 0 ? " x " : "");
        if (dim->value >= 0)
            gpurun_print("%" PRId64, dim->value);
        else
            gpurun_print("%s", rt_string(plan, dim->text));
    }
    gpurun_print("]\n");
}

/* What is worth knowing of a step, in a few words. */
static void say_facts(const struct program *p, const struct plan_step *step, char *facts,
                      size_t bytes)
{
    const struct plan_kernel *kernel;
    uint32_t trips = step->u.loop.trips;
    facts[0] = 0;
    switch (step->kind) {
    case PLAN_STEP_LAUNCH:
        kernel = &p->kernels[step->u.launch.kernel];
        snprintf(facts, bytes, "%u threads, %u registers",
                 kernel->block[0] * kernel->block[1] * kernel->block[2], kernel->registers);
        break;
    case PLAN_STEP_READ_DIM:
        snprintf(facts, bytes, "%s%u scalars",
                 step->u.read.read == PLAN_NONE ? "" : "a tensor, then ", step->u.read.n_scalars);
        break;
    case PLAN_STEP_IF:
        snprintf(facts, bytes, "%u or %u steps", step->u.branch.n_then, step->u.branch.n_else);
        break;
    case PLAN_STEP_LOOP:
        if (trips == PLAN_NONE)
            snprintf(facts, bytes, "until its end");
        else if (p->scalars[trips].op == PLAN_SC_CONST)
            snprintf(facts, bytes, "%" PRId64 " times%s", p->scalars[trips].value,
                     step->u.loop.again == PLAN_NONE ? "" : " at most");
        else
            snprintf(facts, bytes, "%s",
                     step->u.loop.again == PLAN_NONE ? "as often as sizes say" : "may end early");
        break;
    default: break;
    }
}

/* Bodies are printed under their owners. Their depth is bounded: the plan was checked. */
static void print_steps(const struct gpucc_plan *plan, const struct program *p, uint32_t first,
                        uint32_t n, int depth)
{
    for (uint32_t i = first; i < first + n; i++) {
        const struct plan_step *step = &p->steps[i];
        const char *what = rt_step_name(step->kind);
        char facts[48];
        say_facts(p, step, facts, sizeof facts);
        if (step->kind == PLAN_STEP_LAUNCH)
            what = rt_string(plan, p->kernels[step->u.launch.kernel].symbol);
        gpurun_print("  %4u  %*s%-*s  %-27s  ", i, 2 * depth, "", depth < 14 ? 28 - 2 * depth : 0,
                     what, facts);
        gpurun_print("%s", rt_string(plan, step->nodes));
        gpurun_print("\n");
        if (step->kind == PLAN_STEP_LOOP)
            print_steps(plan, p, step->u.loop.first, step->u.loop.n, depth + 1);
        if (step->kind != PLAN_STEP_IF)
            continue;
        print_steps(plan, p, step->u.branch.first_then, step->u.branch.n_then, depth + 1);
        gpurun_print("        %*selse\n", 2 * depth, "");
        print_steps(plan, p, step->u.branch.first_else, step->u.branch.n_else, depth + 1);
    }
}

static void print_text(const struct gpucc_plan *plan, const struct summary *summaries)
{
    const struct plan_header *header = plan->header;
    char text[32];
    version_text(text, sizeof text, header->nvrtc_version);
    gpurun_print("plan format %u, %" PRIu64 " bytes, by gpucc %s with NVRTC %s (%s)\n",
                 header->version, header->file_bytes, header->gpucc_version, text,
                 header->nvrtc_build);
    for (uint32_t i = 0; i < header->n_targets; i++) {
        const struct plan_target *target = &plan->targets[i];
        version_text(text, sizeof text, target->min_driver);
        gpurun_print("target %s: driver for CUDA %s or newer\n", target->name, text);
    }
    for (uint32_t i = 0; i < header->n_inputs; i++)
        print_value(plan, "input", i);
    for (uint32_t i = 0; i < header->n_outputs; i++)
        print_value(plan, "output", header->n_inputs + i);
    for (uint32_t i = 0; i < header->n_targets; i++) {
        const struct summary *s = &summaries[i];
        gpurun_print("program %s: %u launches of %u kernels, %u copies, %u fills; weights %" PRIu64
                     " bytes; activations ",
                     plan->targets[i].name, s->launches, s->distinct_kernels, s->copies, s->fills,
                     s->weight_bytes);
        if (s->peak_bytes >= 0)
            gpurun_print("%" PRId64 " bytes\n", s->peak_bytes);
        else if (strlen(s->peak_formula) <= LONGEST_FORMULA)
            gpurun_print("%s bytes\n", s->peak_formula);
        else
            gpurun_print("depend on the free sizes (--json has the formula)\n");
        if (i == 0)
            print_steps(plan, &plan->programs[i], 0, plan->programs[i].info->main_steps, 0);
    }
}

bool gpurun_inspect(struct diag *diag, const struct gpurun_options *options)
{
    struct gpucc_plan *plan;
    enum gpucc_status status =
        gpucc_plan_open(options->plan, options->skip_hash ? GPUCC_SKIP_HASH : 0, &plan);
    if (status != GPUCC_OK) {
        diag_error(diag, (enum status)status, NULL, "%s", gpucc_last_error());
        return false;
    }
    struct summary summaries[PLAN_MAX_TARGETS];
    struct json json = {0};
    bool done = true;
    for (uint32_t i = 0; i < plan->header->n_targets && done; i++)
        done = summarize(plan, &plan->programs[i], &summaries[i]);
    if (done && options->json) {
        print_json(&json, plan, summaries);
        done = !json.text.failed;
        if (done)
            fputs(json.text.data, stdout);
    } else if (done) {
        print_text(plan, summaries);
    }
    text_free(&json.text);
    gpucc_plan_close(plan);
    if (!done)
        diag_error(diag, STATUS_LIMIT, options->plan, "out of memory");
    return done;
}
