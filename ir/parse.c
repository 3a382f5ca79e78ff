/* The parser of the text form: one statement a line, bodies nested, see docs/ir.md. */
#include "parse.h"

#include <inttypes.h>
#include <string.h>

enum { MOST_VALUES = 1 << 24, MOST_DEPTH = 32 /* of bodies in bodies */ };

/* --- Values ---------------------------------------------------------------------------------- */

static struct value *value_ref(struct parser *ps)
{
    int64_t id;
    if (!parse_expect(ps, "%") || !parse_int(ps, &id))
        return NULL;
    if (id < 0 || id >= ps->cap_values || !ps->values[id]) {
        parse_fail(ps, "%%%" PRId64 " is not defined above", id);
        return NULL;
    }
    if (ps->values[id]->graph != ps->g) {
        parse_fail(ps, "%%%" PRId64 " is of another body: a body sees its own inputs only", id);
        return NULL;
    }
    return ps->values[id];
}

static bool define(struct parser *ps, int64_t id, struct value *v)
{
    if (id < 0 || id > MOST_VALUES)
        return parse_fail(ps, "%%%" PRId64 " is no value number", id);
    if (id >= ps->cap_values) {
        uint32_t cap = (uint32_t)id * 2 + 64;
        struct value **values = ARENA_ARRAY(ps->g->arena, cap, struct value *);
        if (ps->cap_values)
            memcpy(values, ps->values, ps->cap_values * sizeof *values);
        ps->values = values;
        ps->cap_values = cap;
    }
    if (ps->values[id])
        return parse_fail(ps, "%%%" PRId64 " is defined twice", id);
    ps->values[id] = v;
    v->id = (uint32_t)id;
    if (ps->g->root->next_id <= v->id)
        ps->g->root->next_id = v->id + 1;
    return true;
}

/* --- Statements ------------------------------------------------------------------------------ */

static int64_t parse_bound(struct parser *ps)
{
    int64_t bound = 0;
    if (parse_accept(ps, "-inf"))
        return INT64_MIN;
    if (parse_accept(ps, "inf"))
        return INT64_MAX;
    parse_int(ps, &bound);
    return bound;
}

static void parse_symbol(struct parser *ps)
{
    size_t length;
    const char *name = parse_word(ps, &length);
    if (ps->failed || !parse_expect(ps, "in") || !parse_expect(ps, "["))
        return;
    int64_t lower = parse_bound(ps);
    parse_expect(ps, ",");
    int64_t upper = parse_bound(ps);
    if (!parse_expect(ps, "]"))
        return;
    name = arena_strndup(ps->g->arena, name, length);
    if (dim_symbol_find(ps->g->dims, name))
        parse_fail(ps, "symbol %s is declared twice", name);
    else if (lower > upper)
        parse_fail(ps, "symbol %s has no value", name);
    else
        graph_symbol(ps->g, name, (struct symbol_source){.kind = SYMBOL_FREE}, lower, upper);
}

static void parse_source(struct parser *ps)
{
    size_t length;
    const char *name = parse_word(ps, &length);
    int64_t a = 0, b = 0;
    if (ps->failed || !parse_expect(ps, "="))
        return;
    name = arena_strndup(ps->g->arena, name, length);
    const struct dim *d = dim_symbol_find(ps->g->dims, name);
    if (!d) {
        parse_fail(ps, "there is no symbol %s", name);
        return;
    }
    const struct graph *root = ps->g->root;
    struct symbol_source *source = &root->symbols[d->symbol];
    if (source->kind == SYMBOL_LOOP_INDEX) {
        parse_fail(ps, "symbol %s is the index of a loop", name);
    } else if (parse_accept(ps, "dim")) {
        if (!parse_int(ps, &a) || !parse_expect(ps, ",") || !parse_int(ps, &b))
            return;
        if (a < 0 || a >= root->n_inputs || b < 0 || b >= root->inputs[a]->rank)
            parse_fail(ps, "there is no dim %" PRId64 " of input %" PRId64, b, a);
        else
            *source = (struct symbol_source){SYMBOL_INPUT_DIM, (int)a, (int)b, NULL, 0};
    } else if (parse_expect(ps, "element")) {
        struct value *v = value_ref(ps);
        if (v && parse_expect(ps, ",") && parse_int(ps, &a))
            *source = (struct symbol_source){SYMBOL_ELEMENT, 0, 0, v, a};
    }
}

static void parse_check(struct parser *ps)
{
    int kind = parse_choice(ps, text_constraints, 3);
    const struct dim *a = parse_dim(ps);
    parse_expect(ps, ",");
    const struct dim *b = parse_dim(ps);
    if (ps->failed || !parse_expect(ps, ":"))
        return;
    const char *text = parse_quoted(ps);
    if (!ps->failed && !graph_constrain(ps->g, kind, a, b, "%s", text))
        ps->failed = true; /* reported */
}

/* Inputs and outputs of a body need no name. */
static bool has_name(struct parser *ps)
{
    parse_blanks(ps);
    return !ps->g->outer || *ps->p == '"';
}

static void parse_output(struct parser *ps)
{
    const char *name = NULL;
    if (has_name(ps)) {
        name = parse_quoted(ps);
        parse_expect(ps, "=");
    }
    struct value *v = value_ref(ps);
    int64_t input = -1;
    if (v && parse_accept(ps, "alias") && parse_int(ps, &input) &&
        (ps->g->outer || input < 0 || input >= ps->g->n_inputs))
        parse_fail(ps, "there is no input %" PRId64 " to share memory with", input);
    if (!v || ps->failed)
        return;
    graph_add_output(ps->g, v, name);
    ps->g->output_alias[ps->g->n_outputs - 1] = (int)input;
}

static void parse_input(struct parser *ps, int64_t id)
{
    const char *name = has_name(ps) ? parse_quoted(ps) : NULL;
    parse_expect(ps, ":");
    enum dtype type = parse_dtype(ps);
    struct dims shape = parse_dims(ps);
    if (!ps->failed)
        define(ps, id, graph_add_input(ps->g, name, type, shape.n, shape.d));
}

/* What stands behind the operands, attributes and bodies: " : types", then " @kernel". */
struct result_type {
    enum dtype type;
    struct dims shape;
    const struct layout *layout;
};

/* n of them, or NULL where they are left out. */
static const struct result_type *parse_types(struct parser *ps, int n)
{
    if (!parse_accept(ps, ":"))
        return NULL;
    struct result_type *types = ARENA_ARRAY(ps->g->arena, (size_t)n, struct result_type);
    for (int i = 0; i < n && !ps->failed; i++) {
        if (i)
            parse_expect(ps, ",");
        types[i].type = parse_dtype(ps);
        types[i].shape = parse_dims(ps);
        if (parse_accept(ps, "layout"))
            types[i].layout = parse_layout(ps, types[i].shape.n);
    }
    return types;
}

/* The shape is the rule's, or one that the checks above make equal to it: a pass may have put one
 * operand in place of another. Then the written one holds. */
static void check_type(struct parser *ps, struct value *v, enum dtype type,
                       const struct dims *shape)
{
    bool same = v->type == type && v->rank == shape->n;
    for (int i = 0; same && i < v->rank; i++)
        same = graph_dims_equal(ps->g, v->shape[i], shape->d[i]);
    if (same) {
        v->shape = shape->d;
        return;
    }
    struct text text = {0};
    text_type(&text, ps->g, v);
    parse_fail(ps, "the shape rule gives %s", text.data ? text.data : "another type");
    text_free(&text);
}

static const struct op_info *parse_op(struct parser *ps, enum op *op)
{
    size_t length;
    const char *name = parse_word(ps, &length);
    if (ps->failed)
        return NULL;
    for (int i = 0; i < OP_COUNT; i++)
        if (strlen(op_info[i].name) == length && memcmp(op_info[i].name, name, length) == 0) {
            *op = (enum op)i;
            return &op_info[i];
        }
    ps->p = name;
    parse_fail(ps, "there is no op '%.*s'", (int)length, name);
    return NULL;
}

/* At most how many `%number` stand here in a list, so that there is room for them. */
static int count_values(struct parser *ps)
{
    int n = 0;
    parse_blanks(ps);
    for (const char *p = ps->p; *p && strchr("%0123456789, \t", *p); p++)
        n += *p == '%' && n < INT32_MAX;
    return n;
}

static struct value **parse_operands(struct parser *ps, const struct op_info *info, int *n_in)
{
    int room = count_values(ps);
    struct value **in = ARENA_ARRAY(ps->g->arena, (size_t)room, struct value *);
    *n_in = 0;
    while (*n_in < room && *ps->p == '%' && (in[*n_in] = value_ref(ps))) {
        ++*n_in;
        if (!parse_accept(ps, ","))
            break;
        parse_blanks(ps);
    }
    if (*n_in < info->least || (info->most >= 0 && *n_in > info->most))
        parse_fail(ps, "%s does not take %d operands", info->name, *n_in);
    return in;
}

static void parse_kernel(struct parser *ps, struct node *node)
{
    int64_t kernel;
    if (parse_accept(ps, "@constant"))
        node->kernel = KERNEL_CONSTANT;
    else if (parse_accept(ps, "@in_place"))
        node->kernel = KERNEL_IN_PLACE;
    else if (parse_accept(ps, "@") && parse_int(ps, &kernel)) {
        if (kernel < 0 || kernel > INT32_MAX / 2)
            parse_fail(ps, "@%" PRId64 " is no kernel number", kernel);
        else if ((node->kernel = (int)kernel) >= ps->g->n_kernels)
            ps->g->n_kernels = (int)kernel + 1;
    }
}

/* The loop names its index: that is the symbol's source, and the body may use it. */
static void parse_index(struct parser *ps, const struct attr_loop *loop)
{
    if (loop->index->kind != DIM_SYMBOL) {
        parse_fail(ps, "index must be a symbol");
        return;
    }
    struct symbol_source *source = &ps->g->root->symbols[loop->index->symbol];
    if (source->kind != SYMBOL_FREE)
        parse_fail(ps, "symbol %s has a source", dim_symbol_name(ps->g->dims, loop->index->symbol));
    source->kind = SYMBOL_LOOP_INDEX;
}

static void parse_lines(struct parser *ps);

static struct graph *parse_body(struct parser *ps)
{
    struct graph *outer = ps->g, *body = graph_create_body(outer);
    if (ps->depth == MOST_DEPTH)
        parse_fail(ps, "bodies are nested more than %d deep", MOST_DEPTH);
    if (!parse_expect(ps, "{"))
        return NULL;
    ps->g = body;
    ps->depth++;
    parse_lines(ps);
    parse_expect(ps, "}");
    ps->depth--;
    ps->g = outer;
    return body;
}

/* `%a, %b = op %x, %y {attributes} {body} : types @kernel`, from behind the '='. */
static void parse_node(struct parser *ps, const int64_t *ids, int n_ids)
{
    union attr attr;
    struct graph *body[2] = {NULL, NULL};
    enum op op;
    int n_in, math = MATH_EXACT;
    memset(&attr, 0, sizeof attr);
    const struct op_info *info = parse_op(ps, &op);
    if (!info)
        return;
    struct value **in = parse_operands(ps, info, &n_in);
    if (info->results >= 0 && n_ids != info->results)
        parse_fail(ps, "%s has %d results", info->name, info->results);
    if (!ps->failed)
        parse_attrs(ps, info, &attr);
    if (!ps->failed && op == OP_loop)
        parse_index(ps, &attr.loop);
    bool multiplies = info->class == OC_CONTRACT || info->class == OC_ATTENTION;
    if (!ps->failed && multiplies && parse_accept(ps, "math")) {
        parse_expect(ps, "(");
        math = parse_choice(ps, text_math, MATH_COUNT);
        parse_expect(ps, ")");
    }
    for (int i = 0; i < 2 && !ps->failed && info->class == OC_CONTROL; i++)
        if (i == 0 || op == OP_branch)
            body[i] = parse_body(ps);
    if (!ps->failed && body[0] && body[0]->n_outputs != n_ids)
        parse_fail(ps, "the body has %d outputs for %d results", body[0]->n_outputs, n_ids);
    const struct result_type *types = ps->failed ? NULL : parse_types(ps, n_ids);
    if (ps->failed)
        return;
    struct node *node = graph_insert_control(ps->g, NULL, op, n_in, in, &attr, body[0], body[1]);
    if (!node) {
        ps->failed = true;
        return;
    }
    for (int i = 0; i < n_ids; i++) {
        if (types) {
            check_type(ps, node->out[i], types[i].type, &types[i].shape);
            node->out[i]->layout = types[i].layout;
        }
        define(ps, ids[i], node->out[i]);
    }
    node->math = (enum math)math;
    parse_kernel(ps, node);
}

static void parse_definition(struct parser *ps)
{
    int n = 0, room = count_values(ps);
    int64_t *ids = ARENA_ARRAY(ps->g->arena, (size_t)room, int64_t);
    do {
        if (n == room || !parse_expect(ps, "%") || !parse_int(ps, &ids[n])) {
            parse_fail(ps, "expected a value");
            return;
        }
        n++;
    } while (parse_accept(ps, ","));
    if (!parse_expect(ps, "="))
        return;
    if (parse_accept(ps, "input"))
        parse_input(ps, ids[0]);
    else
        parse_node(ps, ids, n);
}

static void parse_statement(struct parser *ps)
{
    if (*ps->p == '%')
        parse_definition(ps);
    else if (parse_accept(ps, "symbol"))
        parse_symbol(ps);
    else if (parse_accept(ps, "source"))
        parse_source(ps);
    else if (parse_accept(ps, "check"))
        parse_check(ps);
    else if (parse_accept(ps, "output"))
        parse_output(ps);
    else if (!ps->g->outer && parse_accept(ps, "graph"))
        ps->g->name = parse_quoted(ps);
    else
        parse_fail(ps, "expected a definition, symbol, source, check or output");
    parse_blanks(ps);
    if (!ps->failed && *ps->p && *ps->p != '\n')
        parse_fail(ps, "unexpected text at the end of the line");
}

/* Statements to the end of the text, or of the body. */
static void parse_lines(struct parser *ps)
{
    while (!ps->failed) {
        parse_blanks(ps);
        if (*ps->p == '\n') {
            ps->line_start = ++ps->p;
            ps->line++;
        } else if (*ps->p && (*ps->p != '}' || !ps->g->outer)) {
            ps->g->origin = arena_printf(ps->g->arena, "%s:%d", ps->file, ps->line);
            parse_statement(ps);
        } else {
            return;
        }
    }
}

struct graph *graph_parse(struct arena *arena, struct diag *diag, const char *file,
                          const char *text, size_t length)
{
    struct parser ps = {.file = file, .line = 1};
    ps.g = graph_create(arena, diag);
    const char *start = arena_strndup(arena, text, length);
    ps.p = ps.line_start = start;
    parse_lines(&ps);
    if ((size_t)(ps.p - start) != length)
        parse_fail(&ps, "there is a NUL character here");
    ps.g->origin = NULL;
    return ps.failed ? NULL : ps.g;
}
