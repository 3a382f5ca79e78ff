/*
 * Assignments as text: a line for each node that has a float type, in the order of the graph,
 * bodies in their node's place: its precision, its op and the ONNX nodes it came from. The first
 * line tells whether a 16-bit model was raised to f32 before.
 */
#include "precision_rules.h"

#include "../ir/text.h"

#include <string.h>

static const char head[] = "gpucc precision 1\n", raised_head[] = "gpucc precision 1 of f32\n";

bool precision_text_is_raised(const char *text)
{
    return !strncmp(text, raised_head, strlen(raised_head));
}

static bool has_line(const struct assignment *a, const struct node *node)
{
    return choice_of(a, node) && node_float_type(a, node) != DT_NONE &&
           !facts_of(a, node->out[0])->constant;
}

/* What follows the precision in the line. */
static const char *identity(const struct assignment *a, const struct node *node)
{
    return arena_printf(a->g->arena, " %s %s\n", op_info[node->op].name,
                        node->origin ? node->origin : "");
}

static void save_graph(const struct assignment *a, const struct graph *g, struct text *out)
{
    for (const struct node *node = g->first; node; node = node->next) {
        if (has_line(a, node))
            text_printf(out, "%s%s", precision_names[choice_of(a, node)->precision],
                        identity(a, node));
        for (int i = 0; i < 2; i++)
            if (node->body[i])
                save_graph(a, node->body[i], out);
    }
}

const char *precision_save(struct assignment *a)
{
    struct text out = {.arena = a->g->arena};
    text_printf(&out, "%s", a->raised ? raised_head : head);
    save_graph(a, a->g, &out);
    return out.data;
}

struct reader {
    struct assignment *a;
    const char *at;
    int line;
};

static bool read_line(struct reader *r, struct node *node)
{
    const char *rest = identity(r->a, node);
    r->line++;
    for (int level = PRECISION_MODEL; level < PRECISION_AUTO; level++) {
        size_t length = strlen(precision_names[level]);
        if (strncmp(r->at, precision_names[level], length) ||
            strncmp(r->at + length, rest, strlen(rest)))
            continue;
        r->at += length + strlen(rest);
        if (!(r->a->wanted->candidates >> level & 1)) {
            diag_error(r->a->g->diag, STATUS_USAGE, NULL,
                       "--load-precision: line %d asks for %s, which not all targets have: name "
                       "others with --target",
                       r->line, precision_names[level]);
            return false;
        }
        if (!choice_of(r->a, node)->explicit)
            choice_of(r->a, node)->precision = (enum precision_level)level;
        return true;
    }
    diag_error(r->a->g->diag, STATUS_USAGE, NULL,
               "--load-precision: line %d is not for this model: wanted a precision and '%.*s'",
               r->line, (int)strlen(rest) - 2, rest + 1);
    return false;
}

static bool load_graph(struct reader *r, struct graph *g)
{
    for (struct node *node = g->first; node; node = node->next) {
        if (has_line(r->a, node) && !read_line(r, node))
            return false;
        for (int i = 0; i < 2; i++)
            if (node->body[i] && !load_graph(r, node->body[i]))
                return false;
    }
    return true;
}

bool precision_load(struct assignment *a, const char *text)
{
    const char *first = a->raised ? raised_head : head;
    struct reader r = {a, text + strlen(first), 1};
    if (strncmp(text, first, strlen(first))) {
        diag_error(a->g->diag, STATUS_USAGE, NULL,
                   "--load-precision: the file is no assignment of precisions");
        return false;
    }
    if (!load_graph(&r, a->g))
        return false;
    if (*r.at)
        diag_error(a->g->diag, STATUS_USAGE, NULL,
                   "--load-precision: the file has more lines than the model has nodes");
    return !*r.at;
}
