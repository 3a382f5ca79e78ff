/* --explain=memory: buffers of a run, and how near their arena is to what must be alive at once. */
#include "../codegen/plan_report.h"
#include "explain.h"

#include <inttypes.h>
#include <string.h>

static const char *const kinds[] = {[PLAN_BUFFER_ARENA] = "arena",
                                    [PLAN_BUFFER_INPUT] = "input",
                                    [PLAN_BUFFER_OUTPUT] = "output",
                                    [PLAN_BUFFER_WEIGHT] = "weight",
                                    [PLAN_BUFFER_ZEROED] = "zeroed"};

static bool is_shown(const struct plan_report_buffer *buffer)
{
    return buffer->used || buffer->kind != PLAN_BUFFER_ARENA;
}

/* The values in a buffer, the first one's shape before them. */
static void print_contents(struct text *out, const struct graph *g,
                           const struct plan_report_buffer *buffer)
{
    if (!buffer->value)
        return;
    explain_value(out, g, buffer->value);
    const struct node *def = buffer->value->def;
    if (!buffer->value->name && def && def->origin)
        text_printf(out, " of %s", def->origin);
    for (const struct value **v = buffer->inside; v && *v; v++) {
        text_printf(out, "; holds ");
        explain_value(out, g, *v);
    }
}

static void json_buffer(struct explain *x, const struct plan_report_buffer *buffer, uint32_t number)
{
    struct text contents = {.arena = x->g->arena}, size = {.arena = x->g->arena};
    int64_t bytes;
    print_contents(&contents, x->g, buffer);
    json_open(&x->out, NULL, '{');
    json_int(&x->out, "buffer", number);
    json_string(&x->out, "kind", kinds[buffer->kind]);
    json_string(&x->out, "contents", contents.data ? contents.data : "");
    if (dim_is_const(buffer->size, &bytes)) {
        json_int(&x->out, "bytes", bytes);
    } else {
        dim_print(&size, x->g->dims, buffer->size);
        json_string(&x->out, "bytes", size.data);
    }
    json_int(&x->out, "first_step", buffer->first);
    json_int(&x->out, "last_step", buffer->last);
    if (buffer->offset >= 0)
        json_int(&x->out, "offset", buffer->offset);
    else
        json_null(&x->out, "offset");
    if (buffer->alias != PLAN_NONE)
        json_int(&x->out, "alias", buffer->alias);
    else
        json_null(&x->out, "alias");
    json_close(&x->out, '}');
}

static void text_buffer(struct explain *x, const struct plan_report_buffer *buffer, uint32_t number)
{
    struct text *out = &x->out.text, bytes = {.arena = x->g->arena};
    dim_print(&bytes, x->g->dims, buffer->size);
    text_printf(out, "%4" PRIu32 "  %-6s  %10s bytes, ", number, kinds[buffer->kind], bytes.data);
    text_printf(out, "steps %" PRIu32 "-%" PRIu32, buffer->first, buffer->last);
    if (buffer->offset >= 0)
        text_printf(out, ", at %" PRId64, buffer->offset);
    if (buffer->alias != PLAN_NONE)
        text_printf(out, ", in buffer %" PRIu32, buffer->alias);
    text_printf(out, ": ");
    print_contents(out, x->g, buffer);
    text_printf(out, "\n");
}

static void json_totals(struct explain *x, const struct plan_report *report)
{
    json_int(&x->out, "steps", report->n_steps);
    if (report->live_bytes >= 0) {
        json_int(&x->out, "arena_bytes", report->arena_bytes);
        json_int(&x->out, "live_bytes", report->live_bytes);
    } else {
        json_null(&x->out, "arena_bytes");
        json_string(&x->out, "live_bytes", report->live_formula);
    }
}

static void text_totals(struct explain *x, const struct plan_report *report)
{
    struct text *out = &x->out.text;
    if (report->live_bytes < 0) {
        text_printf(out, "alive at once, by free dims: %s bytes; placed when the plan runs\n",
                    report->live_formula);
        return;
    }
    text_printf(out,
                "arena %" PRId64 " bytes; no placement needs less than %" PRId64
                ", which are alive at once, results in operands that end",
                report->arena_bytes, report->live_bytes);
    if (report->live_bytes > 0) {
        int64_t over = report->arena_bytes - report->live_bytes;
        int64_t tenths = over / (report->live_bytes / 1000 > 0 ? report->live_bytes / 1000 : 1);
        text_printf(out, " (+%" PRId64 ".%" PRId64 " %%)", tenths / 10, tenths % 10);
    }
    text_printf(out, "\n");
}

bool explain_memory(struct explain *x)
{
    struct plan_report report;
    if (!plan_report(x->g, x->programs, x->n_programs, x->index, x->diag, &report))
        return false;
    if (x->json) {
        json_open(&x->out, "memory", '{');
        json_totals(x, &report);
        json_open(&x->out, "buffers", '[');
    }
    for (uint32_t i = 0; i < report.n_buffers; i++)
        if (is_shown(&report.buffers[i]))
            (x->json ? json_buffer : text_buffer)(x, &report.buffers[i], i);
    if (x->json) {
        json_close(&x->out, ']');
        json_close(&x->out, '}');
    } else {
        text_totals(x, &report);
    }
    return true;
}
