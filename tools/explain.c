#include "explain.h"
#include "../codegen/emit.h"

#include <inttypes.h>
#include <string.h>

const char *const explain_names[EXPLAIN_COUNT] = {
#define X(name, text) #name,
    EXPLAIN_TOPICS(X)
#undef X
};

static bool (*const topics_of[EXPLAIN_COUNT])(struct explain *x) = {
#define X(name, text) explain_##name,
    EXPLAIN_TOPICS(X)
#undef X
};

/* ---- words ---------------------------------------------------------------------------------- */

void explain_value(struct text *out, const struct graph *g, const struct value *v)
{
    size_t start = out->length;
    if (v->name)
        text_printf(out, "%s ", v->name);
    if (v->name && !out->failed)
        disarm(out->data + start, "");
    text_printf(out, "%s", dtype_info[v->type].text);
    text_printf(out, "[");
    for (int i = 0; i < v->rank; i++) {
        text_printf(out, "%s", i ? ", " : "");
        dim_print(out, g->dims, v->shape[i]);
    }
    text_printf(out, "]");
    bool moved = false;
    for (int i = 0; v->layout && i < v->layout->perm.n; i++)
        moved |= v->layout->perm.axis[i] != i;
    for (int i = 0; moved && i < v->layout->perm.n; i++)
        text_printf(out, "%s%d", i ? "," : " in memory as axes ", v->layout->perm.axis[i]);
}

void explain_time(struct text *out, int64_t nanoseconds)
{
    text_printf(out, "%" PRId64 ".%" PRId64 " us", nanoseconds / 1000, nanoseconds % 1000 / 100);
}

void explain_bytes(struct text *out, int64_t bytes)
{
    if (bytes < 1000)
        text_printf(out, "%" PRId64 " B", bytes);
    else if (bytes < 1000000)
        text_printf(out, "%" PRId64 ".%" PRId64 " kB", bytes / 1000, bytes % 1000 / 100);
    else
        text_printf(out, "%" PRId64 ".%" PRId64 " MB", bytes / 1000000, bytes % 1000000 / 100000);
}

const char *explain_nodes(const struct step *step)
{
    const struct value *v = step->value;
    const char *nodes = step->kernel  ? step->kernel->nodes
                        : step->node  ? step->node->origin
                        : v && v->def ? v->def->origin
                                      : NULL;
    return nodes ? nodes : "";
}

void explain_move(struct text *out, const struct graph *g, const struct step *step)
{
    static const char *const verbs[] = {
        [STEP_LAUNCH] = "launch",         [STEP_FILL] = "fill",     [STEP_COPY] = "copy to",
        [STEP_READ] = "read to the host", [STEP_BRANCH] = "branch", [STEP_LOOP] = "loop",
        [STEP_LIST] = "list step"};
    text_printf(out, "%s", verbs[step->kind]);
    if (step->value) {
        text_printf(out, " ");
        explain_value(out, g, step->value);
    }
}

/* ---- groups --------------------------------------------------------------------------------- */

bool explain_is_core(const struct group *group, const struct node *node)
{
    return node == group->core || op_info[node->op].class == OC_REDUCE;
}

void explain_behind_core(const struct group *group, bool *marks)
{
    for (int i = 0; i < group->n_nodes; i++) {
        const struct node *node = group->nodes[i];
        marks[i] = false;
        for (int k = 0; k < i && !explain_is_core(group, node); k++)
            for (int o = 0; o < node->n_in; o++)
                if (node->in[o]->def == group->nodes[k])
                    marks[i] |= marks[k] || explain_is_core(group, group->nodes[k]);
    }
}

bool explain_uses_tensor_cores(const struct kernel *kernel)
{
    return strstr(kernel->source, "mma.sync") != NULL;
}

/* ---- walks ---------------------------------------------------------------------------------- */

static void each_step(struct explain *x, const struct program *program, explain_step *visit,
                      int *number, int depth)
{
    for (int i = 0; i < program->n_steps; i++) {
        const struct step *step = &program->steps[i];
        visit(x, step, (*number)++, depth);
        for (int k = 0; k < 2; k++)
            if (step->body[k])
                each_step(x, step->body[k], visit, number, depth + 1);
    }
}

void explain_each_step(struct explain *x, explain_step *visit)
{
    int number = 0;
    each_step(x, x->programs[x->index], visit, &number, 0);
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && !strcmp(a, b));
}

/* A pass that runs again says the same again. */
static bool was_said(const struct graph *root, const struct remark *remark)
{
    for (const struct remark *r = root->remarks; r != remark; r = r->next)
        if (same_text(r->pass, remark->pass) && same_text(r->origin, remark->origin) &&
            same_text(r->text, remark->text))
            return true;
    return false;
}

int explain_remarks(struct explain *x, const char *key, const char *pass)
{
    const struct graph *root = x->g->root;
    int n = 0;
    if (x->json)
        json_open(&x->out, key, '[');
    for (const struct remark *r = root->remarks; r; r = r->next) {
        if ((pass && strcmp(pass, r->pass)) || was_said(root, r))
            continue;
        n++;
        if (x->json) {
            json_open(&x->out, NULL, '{');
            json_string(&x->out, "pass", r->pass);
            json_string(&x->out, "nodes", r->origin ? r->origin : "");
            json_string(&x->out, "text", r->text);
            json_close(&x->out, '}');
        } else {
            text_printf(&x->out.text, "  %s%s%s%s%s\n", pass ? "" : r->pass, pass ? "" : ": ",
                        r->origin ? r->origin : "", r->origin ? ": " : "", r->text);
        }
    }
    if (x->json)
        json_close(&x->out, ']');
    return n;
}

/* ---- all topics ----------------------------------------------------------------------------- */

bool explain(struct graph *g, struct program *const *programs, int n_programs, unsigned topics,
             bool json, struct diag *diag, struct text *out)
{
    struct explain x = {
        .g = g, .programs = programs, .n_programs = n_programs, .diag = diag, .json = json};
    x.out.text.arena = g->arena;
    bool good = true, first = true;
    if (json)
        json_open(&x.out, NULL, '[');
    for (x.index = 0; x.index < n_programs; x.index++) {
        if (json) {
            json_open(&x.out, NULL, '{');
            json_string(&x.out, "target", programs[x.index]->target->name);
        }
        for (int topic = 0; topic < EXPLAIN_COUNT && good; topic++) {
            if (!(topics >> topic & 1))
                continue;
            if (!json)
                text_printf(&x.out.text, "%s%s for %s\n", first ? "" : "\n", explain_names[topic],
                            programs[x.index]->target->name);
            first = false;
            good = topics_of[topic](&x);
        }
        if (json)
            json_close(&x.out, '}');
    }
    if (json)
        json_close(&x.out, ']');
    *out = x.out.text;
    return good;
}
