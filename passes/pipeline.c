/* Runs the passes that passes.h lists, and checks the graph after each. */
#include "passes.h"

#include <stdio.h>
#include <string.h>

#include "../ir/text.h"

struct pass {
    const char *name;
    bool (*run)(struct graph *g);
};

static const struct pass passes[] = {
#define PASS(name, text) {#name, pass_##name},
    PASSES(PASS)
#undef PASS
};

enum { PASS_COUNT = sizeof passes / sizeof passes[0] };

static void dump(struct graph *g, const char *name)
{
    struct text text = {0};
    graph_print(&text, g, PRINT_ORIGINS);
    fprintf(stderr, "; after %s\n%s\n", name, text.data ? text.data : "");
    text_free(&text);
}

/* Printing and parsing must be inverse for whatever graph a pass leaves behind. */
static bool prints_and_parses(struct graph *g, const char *name)
{
    struct text once = {.arena = g->arena}, twice = {.arena = g->arena};
    bool same = false;
    graph_print(&once, g, 0);
    struct graph *copy = graph_parse(g->arena, g->diag, name, once.data, once.length);
    if (copy) {
        graph_print(&twice, copy, 0);
        same = once.length == twice.length && memcmp(once.data, twice.data, once.length) == 0;
    }
    if (!same)
        diag_error(g->diag, STATUS_INTERNAL, name, "the graph does not survive its text form");
    return same;
}

static bool is_skipped(const struct pass_options *options, const char *name)
{
    for (const char *const *skip = options->skip; skip && *skip; skip++)
        if (strcmp(*skip, name) == 0)
            return true;
    return false;
}

bool pass_each_graph(struct graph *g, bool (*run)(struct graph *g))
{
    bool changed = run(g);
    for (struct node *node = g->first; node; node = node->next)
        for (int i = 0; i < 2; i++)
            if (node->body[i])
                changed |= pass_each_graph(node->body[i], run);
    return changed;
}

bool pass_each_node(struct graph *g, bool (*visit)(struct graph *g, struct node *node))
{
    bool changed = false;
    const char *origin = g->origin;
    for (struct node *node = g->first, *next; node; node = next) {
        next = node->next;
        g->origin = node->origin;
        changed |= visit(g, node);
    }
    g->origin = origin;
    for (struct node *node = g->first; node; node = node->next)
        for (int i = 0; i < 2; i++)
            if (node->body[i])
                changed |= pass_each_node(node->body[i], visit);
    return changed;
}

bool pass_knows_attributes(const struct node *node)
{
    const struct op_info *info = &op_info[node->op];
    for (int i = 0; i < info->n_fields; i++) {
        const char *field = (const char *)&node->attr + info->fields[i].offset;
        struct dims dims = {0};
        if (info->fields[i].kind == AK_DIM)
            dims = (struct dims){1, (const struct dim *const *)field};
        else if (info->fields[i].kind == AK_DIMS)
            memcpy(&dims, field, sizeof dims);
        for (int k = 0; k < dims.n; k++)
            if (!dim_is_const(dims.d[k], NULL))
                return false;
    }
    return true;
}

static bool run(struct graph *g, const struct pass *pass, const struct pass_options *options)
{
    int errors = g->diag->errors;
    bool skipped = is_skipped(options, pass->name);
    if (skipped && pass->run != pass_fuse_kernels)
        return true;
    (skipped ? pass_split_kernels : pass->run)(g);
    graph_renumber(g);
    if (options->dump_after &&
        (strcmp(options->dump_after, "all") == 0 || strcmp(options->dump_after, pass->name) == 0))
        dump(g, pass->name);
    if (g->diag->errors != errors)
        return false;
    return (!options->verify || graph_verify(g, pass->name)) &&
           (!options->round_trip || prints_and_parses(g, pass->name));
}

bool passes_run(struct graph *g, const struct pass_options *options)
{
    graph_renumber(g);
    for (int i = 0; i < PASS_COUNT; i++)
        if (!run(g, &passes[i], options))
            return false;
    return true;
}

bool pass_run_by_name(struct graph *g, const char *name, bool *changed)
{
    for (int i = 0; i < PASS_COUNT; i++)
        if (strcmp(passes[i].name, name) == 0) {
            *changed = passes[i].run(g);
            graph_renumber(g);
            return true;
        }
    return false;
}
