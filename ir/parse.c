/* The parser of the text form: one statement a line, bodies nested, see docs/ir.md. */
#include "text.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_VALUES = 1 << 24, MOST_DEPTH = 32 /* of bodies in bodies */ };

struct parser {
    struct graph *g; /* the root or the body at hand */
    int depth;
    const char *file;
    const char *p; /* next character; the text ends with a NUL */
    const char *line_start;
    int line;
    bool failed;
    struct value **values; /* by id, those of all bodies too */
    uint32_t cap_values;
};

__attribute__((format(printf, 2, 3))) static bool fail(struct parser *ps, const char *format, ...)
{
    char message[512], where[512];
    va_list args;
    if (ps->failed)
        return false;
    ps->failed = true;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    snprintf(where, sizeof where, "%s:%d:%d", ps->file, ps->line,
             (int)(ps->p - ps->line_start) + 1);
    diag_error(ps->g->diag, STATUS_BAD_MODEL, where, "%s", message);
    return false;
}

/* --- Tokens ---------------------------------------------------------------------------------- */

static void skip_blanks(struct parser *ps)
{
    while (*ps->p == ' ' || *ps->p == '\t' || *ps->p == '\r')
        ps->p++;
    if (*ps->p == ';' || *ps->p == '#')
        ps->p += strcspn(ps->p, "\n");
}

static bool accept(struct parser *ps, const char *token)
{
    skip_blanks(ps);
    size_t n = strlen(token);
    if (strncmp(ps->p, token, n) != 0)
        return false;
    if (isalpha((unsigned char)token[0]) && (isalnum((unsigned char)ps->p[n]) || ps->p[n] == '_'))
        return false;
    ps->p += n;
    return true;
}

static bool expect(struct parser *ps, const char *token)
{
    return !ps->failed && (accept(ps, token) || fail(ps, "expected '%s'", token));
}

/* Letters, digits and underscores; empty on an error. */
static const char *word(struct parser *ps, size_t *length)
{
    skip_blanks(ps);
    const char *start = ps->p;
    while (isalnum((unsigned char)*ps->p) || *ps->p == '_')
        ps->p++;
    *length = (size_t)(ps->p - start);
    if (*length == 0)
        fail(ps, "expected a name");
    return start;
}

static bool parse_int(struct parser *ps, int64_t *value)
{
    char *end;
    skip_blanks(ps);
    errno = 0;
    *value = strtoll(ps->p, &end, 10);
    if (end == ps->p || errno)
        return fail(ps, "expected an integer");
    ps->p = end;
    return true;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static const char *quoted(struct parser *ps)
{
    struct text out = {.arena = ps->g->arena};
    if (!expect(ps, "\""))
        return "";
    while (*ps->p && *ps->p != '"' && *ps->p != '\n') {
        char c = *ps->p++;
        if (c == '\\' && *ps->p == 'x' && hex_digit(ps->p[1]) >= 0 && hex_digit(ps->p[2]) >= 0) {
            c = (char)(hex_digit(ps->p[1]) * 16 + hex_digit(ps->p[2]));
            ps->p += 3;
        } else if (c == '\\' && *ps->p) {
            c = *ps->p++;
        }
        text_append(&out, &c, 1);
    }
    expect(ps, "\"");
    return out.data ? out.data : "";
}

static struct value *value_ref(struct parser *ps)
{
    int64_t id;
    if (!expect(ps, "%") || !parse_int(ps, &id))
        return NULL;
    if (id < 0 || id >= ps->cap_values || !ps->values[id]) {
        fail(ps, "%%%" PRId64 " is not defined above", id);
        return NULL;
    }
    if (ps->values[id]->graph != ps->g) {
        fail(ps, "%%%" PRId64 " is of another body: a body sees its own inputs only", id);
        return NULL;
    }
    return ps->values[id];
}

static bool define(struct parser *ps, int64_t id, struct value *v)
{
    if (id < 0 || id > MOST_VALUES)
        return fail(ps, "%%%" PRId64 " is no value number", id);
    if (id >= ps->cap_values) {
        uint32_t cap = (uint32_t)id * 2 + 64;
        struct value **values = ARENA_ARRAY(ps->g->arena, cap, struct value *);
        if (ps->cap_values)
            memcpy(values, ps->values, ps->cap_values * sizeof *values);
        ps->values = values;
        ps->cap_values = cap;
    }
    if (ps->values[id])
        return fail(ps, "%%%" PRId64 " is defined twice", id);
    ps->values[id] = v;
    v->id = (uint32_t)id;
    if (ps->g->root->next_id <= v->id)
        ps->g->root->next_id = v->id + 1;
    return true;
}

/* --- Types and attributes -------------------------------------------------------------------- */

static const struct dim *parse_dim(struct parser *ps)
{
    skip_blanks(ps);
    int declared = dim_symbol_count(ps->g->dims);
    const struct dim *d = ps->failed ? NULL : dim_parse(ps->g->dims, &ps->p);
    if (!d)
        fail(ps, "expected a dim");
    else if (dim_symbol_count(ps->g->dims) > declared)
        fail(ps, "symbol %s needs a symbol line above", dim_symbol_name(ps->g->dims, declared));
    return d;
}

static struct dims parse_dims(struct parser *ps)
{
    struct dims dims = {0};
    const struct dim **d = ARENA_ARRAY(ps->g->arena, MAX_RANK, const struct dim *);
    dims.d = d;
    if (!expect(ps, "[") || accept(ps, "]"))
        return dims;
    do {
        if (dims.n == MAX_RANK) {
            fail(ps, "more than %d dims", MAX_RANK);
            return dims;
        }
        d[dims.n] = parse_dim(ps);
        if (!d[dims.n])
            return dims;
        dims.n++;
    } while (accept(ps, ","));
    expect(ps, "]");
    return dims;
}

static struct ints parse_ints(struct parser *ps)
{
    struct ints ints = {0};
    if (!expect(ps, "[") || accept(ps, "]"))
        return ints;
    do {
        if (ints.n == MAX_RANK) {
            fail(ps, "more than %d integers", MAX_RANK);
            return ints;
        }
        if (!parse_int(ps, &ints.v[ints.n]))
            return ints;
        ints.n++;
    } while (accept(ps, ","));
    expect(ps, "]");
    return ints;
}

static enum dtype parse_dtype(struct parser *ps)
{
    size_t length;
    const char *name = word(ps, &length);
    enum dtype type = dtype_parse(name, length);
    if (type == DT_NONE)
        fail(ps, "'%.*s' is no element type", (int)length, name);
    return type;
}

static struct perm parse_perm(struct parser *ps)
{
    struct ints ints = parse_ints(ps);
    struct perm perm = {.n = ints.n};
    for (int i = 0; i < ints.n; i++) {
        if (ints.v[i] < 0 || ints.v[i] >= MAX_RANK)
            fail(ps, "axis %" PRId64 " is out of range", ints.v[i]);
        else
            perm.axis[i] = (int8_t)ints.v[i];
    }
    return perm;
}

static uint32_t parse_axes(struct parser *ps)
{
    struct perm perm = parse_perm(ps);
    uint32_t axes = 0;
    for (int i = 0; i < perm.n; i++)
        axes |= 1u << perm.axis[i];
    return axes;
}

static int parse_choice(struct parser *ps, const char *const *names, int n)
{
    size_t length;
    const char *name = word(ps, &length);
    for (int i = 0; i < n; i++)
        if (strlen(names[i]) == length && memcmp(names[i], name, length) == 0)
            return i;
    fail(ps, "'%.*s' is not known here", (int)length, name);
    return 0;
}

static bool fits(enum dtype type, uint64_t bits, bool negative)
{
    bool is_signed = dtype_info[type].cls == DC_S;
    int magnitude_bits = dtype_info[type].bits - is_signed;
    uint64_t most = magnitude_bits == 64 ? UINT64_MAX : ((uint64_t)1 << magnitude_bits) - 1;
    if (negative)
        return is_signed ? ~bits <= most : bits == 0;
    return bits <= most;
}

/* One literal element, written at out in the type's buffer representation. */
static bool parse_element(struct parser *ps, enum dtype type, unsigned char *out)
{
    char *end;
    size_t size = dtype_size(type);
    uint64_t bits = 0;
    skip_blanks(ps);
    errno = 0;
    if (strncmp(ps->p, "0x", 2) == 0) {
        ps->p += 2;
        for (size_t i = 2 * size; i > 0; i--, ps->p++) {
            int digit = hex_digit(*ps->p);
            if (digit < 0)
                return fail(ps, "expected %zu hexadecimal digits", 2 * size);
            out[(i - 1) / 2] = (unsigned char)(out[(i - 1) / 2] << 4 | digit);
        }
        return true;
    }
    if (type == DT_F32 || type == DT_F64) {
        double d = strtod(ps->p, &end);
        float f = strtof(ps->p, NULL);
        if (end == ps->p)
            return fail(ps, "expected a number");
        memcpy(out, type == DT_F32 ? (void *)&f : (void *)&d, size);
        ps->p = end;
        return true;
    }
    if (type == DT_BOOL && (accept(ps, "true") || (accept(ps, "false") && (bits = 2)))) {
        out[0] = bits == 0;
        return true;
    }
    if (!dtype_is_int(type))
        return fail(ps, "a literal of type %s is written as its bits, 0x…", dtype_info[type].text);
    bool negative = *ps->p == '-';
    bits = negative ? (uint64_t)strtoll(ps->p, &end, 10) : strtoull(ps->p, &end, 10);
    if (end == ps->p || errno)
        return fail(ps, "expected an integer");
    if (!fits(type, bits, negative))
        return fail(ps, "the number does not fit in %s", dtype_info[type].text);
    ps->p = end;
    memcpy(out, &bits, size);
    return true;
}

/* [elements] or opaque "initializer" size, for the type and shape that stand before it. */
static struct constant *parse_constant(struct parser *ps, enum dtype type, const struct dims *shape)
{
    struct constant *c = ARENA_NEW(ps->g->arena, struct constant);
    int64_t n = 1, size = 0;
    if (accept(ps, "opaque")) {
        c->initializer = quoted(ps);
        if (parse_int(ps, &size) && size < 0)
            fail(ps, "a size cannot be negative");
        c->size = (size_t)size;
        return c;
    }
    for (int i = 0; i < shape->n; i++)
        if (!dim_is_const(shape->d[i], &size) || size < 0 || __builtin_mul_overflow(n, size, &n) ||
            n > 1 << 24) {
            fail(ps, "a constant needs a fixed shape of reasonable size");
            return c;
        }
    unsigned char *bytes = arena_array(ps->g->arena, (size_t)n + 1, 16); /* widest type */
    expect(ps, "[");
    for (int64_t i = 0; i < n && !ps->failed; i++) {
        if (i)
            expect(ps, ",");
        parse_element(ps, type, bytes + (size_t)i * dtype_size(type));
    }
    expect(ps, "]");
    c->bytes = bytes;
    c->size = (size_t)n * dtype_size(type);
    return c;
}

static void parse_attr(struct parser *ps, const struct attr_field *field, union attr *attr)
{
    void *p = (char *)attr + field->offset;
    char *end;
    switch (field->kind) {
    case AK_INT: parse_int(ps, p); break;
    case AK_BOOL:
        *(bool *)p = accept(ps, "true");
        if (!*(bool *)p)
            expect(ps, "false");
        break;
    case AK_FLOAT:
        skip_blanks(ps);
        *(double *)p = strtod(ps->p, &end);
        if (end == ps->p)
            fail(ps, "expected a number");
        ps->p = end;
        break;
    case AK_DTYPE: *(enum dtype *)p = parse_dtype(ps); break;
    case AK_AXES: *(uint32_t *)p = parse_axes(ps); break;
    case AK_DIM: *(const struct dim **)p = parse_dim(ps); break;
    case AK_DIMS: *(struct dims *)p = parse_dims(ps); break;
    case AK_INTS: *(struct ints *)p = parse_ints(ps); break;
    case AK_PERM: *(struct perm *)p = parse_perm(ps); break;
    case AK_PADMODE:
        *(enum pad_mode *)p = (enum pad_mode)parse_choice(ps, text_pad_modes, 4);
        break;
    case AK_COMBINE: *(enum combine *)p = (enum combine)parse_choice(ps, text_combines, 5); break;
    case AK_CONSTANT:
        *(struct constant **)p = parse_constant(ps, attr->constant.type, &attr->constant.shape);
        break;
    }
}

/* {name=value, …}: every field of the op, in the order of ops.def. */
static void parse_attrs(struct parser *ps, const struct op_info *info, union attr *attr)
{
    if (info->n_fields == 0)
        return;
    for (int i = 0; i < info->n_fields && !ps->failed; i++) {
        if (!expect(ps, i ? "," : "{") || !expect(ps, info->fields[i].name) || !expect(ps, "="))
            return;
        parse_attr(ps, &info->fields[i], attr);
    }
    expect(ps, "}");
}

static const struct layout *parse_layout(struct parser *ps, int rank)
{
    struct layout *layout = ARENA_NEW(ps->g->arena, struct layout);
    if (!expect(ps, "("))
        return NULL;
    layout->perm = parse_perm(ps);
    expect(ps, ",");
    struct ints align = parse_ints(ps);
    expect(ps, ",");
    struct ints block = parse_ints(ps);
    expect(ps, ")");
    if (layout->perm.n != rank || align.n != rank || block.n != rank)
        fail(ps, "a layout has as many axes as its value");
    memcpy(layout->align, align.v, sizeof layout->align);
    memcpy(layout->block, block.v, sizeof layout->block);
    return layout;
}

/* --- Statements ------------------------------------------------------------------------------ */

static int64_t parse_bound(struct parser *ps)
{
    int64_t bound = 0;
    if (accept(ps, "-inf"))
        return INT64_MIN;
    if (accept(ps, "inf"))
        return INT64_MAX;
    parse_int(ps, &bound);
    return bound;
}

static void parse_symbol(struct parser *ps)
{
    size_t length;
    const char *name = word(ps, &length);
    if (ps->failed || !expect(ps, "in") || !expect(ps, "["))
        return;
    int64_t lower = parse_bound(ps);
    expect(ps, ",");
    int64_t upper = parse_bound(ps);
    if (!expect(ps, "]"))
        return;
    name = arena_strndup(ps->g->arena, name, length);
    if (dim_symbol_find(ps->g->dims, name))
        fail(ps, "symbol %s is declared twice", name);
    else
        graph_symbol(ps->g, name, (struct symbol_source){.kind = SYMBOL_FREE}, lower, upper);
}

static void parse_source(struct parser *ps)
{
    size_t length;
    const char *name = word(ps, &length);
    int64_t a = 0, b = 0;
    if (ps->failed || !expect(ps, "="))
        return;
    name = arena_strndup(ps->g->arena, name, length);
    const struct dim *d = dim_symbol_find(ps->g->dims, name);
    if (!d) {
        fail(ps, "there is no symbol %s", name);
        return;
    }
    const struct graph *root = ps->g->root;
    struct symbol_source *source = &root->symbols[d->symbol];
    if (source->kind == SYMBOL_LOOP_INDEX) {
        fail(ps, "symbol %s is the index of a loop", name);
    } else if (accept(ps, "dim")) {
        if (!parse_int(ps, &a) || !expect(ps, ",") || !parse_int(ps, &b))
            return;
        if (a < 0 || a >= root->n_inputs || b < 0 || b >= root->inputs[a]->rank)
            fail(ps, "there is no dim %" PRId64 " of input %" PRId64, b, a);
        else
            *source = (struct symbol_source){SYMBOL_INPUT_DIM, (int)a, (int)b, NULL, 0};
    } else if (expect(ps, "element")) {
        struct value *v = value_ref(ps);
        if (v && expect(ps, ",") && parse_int(ps, &a))
            *source = (struct symbol_source){SYMBOL_ELEMENT, 0, 0, v, a};
    }
}

static void parse_check(struct parser *ps)
{
    int kind = parse_choice(ps, text_constraints, 3);
    const struct dim *a = parse_dim(ps);
    expect(ps, ",");
    const struct dim *b = parse_dim(ps);
    if (ps->failed || !expect(ps, ":"))
        return;
    const char *text = quoted(ps);
    if (!ps->failed && !graph_constrain(ps->g, kind, a, b, "%s", text))
        ps->failed = true; /* reported */
}

/* Inputs and outputs of a body need no name. */
static bool has_name(struct parser *ps)
{
    skip_blanks(ps);
    return !ps->g->outer || *ps->p == '"';
}

static void parse_output(struct parser *ps)
{
    const char *name = NULL;
    if (has_name(ps)) {
        name = quoted(ps);
        expect(ps, "=");
    }
    struct value *v = value_ref(ps);
    if (v)
        graph_add_output(ps->g, v, name);
}

static void parse_input(struct parser *ps, int64_t id)
{
    const char *name = has_name(ps) ? quoted(ps) : NULL;
    expect(ps, ":");
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
    if (!accept(ps, ":"))
        return NULL;
    struct result_type *types = ARENA_ARRAY(ps->g->arena, (size_t)n, struct result_type);
    for (int i = 0; i < n && !ps->failed; i++) {
        if (i)
            expect(ps, ",");
        types[i].type = parse_dtype(ps);
        types[i].shape = parse_dims(ps);
        if (accept(ps, "layout"))
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
    fail(ps, "the shape rule gives %s", text.data ? text.data : "another type");
    text_free(&text);
}

static const struct op_info *parse_op(struct parser *ps, enum op *op)
{
    size_t length;
    const char *name = word(ps, &length);
    if (ps->failed)
        return NULL;
    for (int i = 0; i < OP_COUNT; i++)
        if (strlen(op_info[i].name) == length && memcmp(op_info[i].name, name, length) == 0) {
            *op = (enum op)i;
            return &op_info[i];
        }
    ps->p = name;
    fail(ps, "there is no op '%.*s'", (int)length, name);
    return NULL;
}

/* At most how many `%number` stand here in a list, so that there is room for them. */
static int count_values(struct parser *ps)
{
    int n = 0;
    skip_blanks(ps);
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
        if (!accept(ps, ","))
            break;
        skip_blanks(ps);
    }
    if (*n_in < info->least || (info->most >= 0 && *n_in > info->most))
        fail(ps, "%s does not take %d operands", info->name, *n_in);
    return in;
}

static void parse_kernel(struct parser *ps, struct node *node)
{
    int64_t kernel;
    if (accept(ps, "@constant"))
        node->kernel = KERNEL_CONSTANT;
    else if (accept(ps, "@") && parse_int(ps, &kernel)) {
        if (kernel < 0 || kernel > INT32_MAX / 2)
            fail(ps, "@%" PRId64 " is no kernel number", kernel);
        else if ((node->kernel = (int)kernel) >= ps->g->n_kernels)
            ps->g->n_kernels = (int)kernel + 1;
    }
}

/* The loop names its index: that is the symbol's source, and the body may use it. */
static void parse_index(struct parser *ps, const struct attr_loop *loop)
{
    if (loop->index->kind != DIM_SYMBOL) {
        fail(ps, "index must be a symbol");
        return;
    }
    struct symbol_source *source = &ps->g->root->symbols[loop->index->symbol];
    if (source->kind != SYMBOL_FREE)
        fail(ps, "symbol %s has a source", dim_symbol_name(ps->g->dims, loop->index->symbol));
    source->kind = SYMBOL_LOOP_INDEX;
}

static void parse_lines(struct parser *ps);

static struct graph *parse_body(struct parser *ps)
{
    struct graph *outer = ps->g, *body = graph_create_body(outer);
    if (ps->depth == MOST_DEPTH)
        fail(ps, "bodies are nested more than %d deep", MOST_DEPTH);
    if (!expect(ps, "{"))
        return NULL;
    ps->g = body;
    ps->depth++;
    parse_lines(ps);
    expect(ps, "}");
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
    int n_in;
    memset(&attr, 0, sizeof attr);
    const struct op_info *info = parse_op(ps, &op);
    if (!info)
        return;
    struct value **in = parse_operands(ps, info, &n_in);
    if (info->results >= 0 && n_ids != info->results)
        fail(ps, "%s has %d results", info->name, info->results);
    if (!ps->failed)
        parse_attrs(ps, info, &attr);
    if (!ps->failed && op == OP_loop)
        parse_index(ps, &attr.loop);
    for (int i = 0; i < 2 && !ps->failed && info->class == OC_CONTROL; i++)
        if (i == 0 || op == OP_branch)
            body[i] = parse_body(ps);
    if (!ps->failed && body[0] && body[0]->n_outputs != n_ids)
        fail(ps, "the body has %d outputs for %d results", body[0]->n_outputs, n_ids);
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
    parse_kernel(ps, node);
}

static void parse_definition(struct parser *ps)
{
    int n = 0, room = count_values(ps);
    int64_t *ids = ARENA_ARRAY(ps->g->arena, (size_t)room, int64_t);
    do {
        if (n == room || !expect(ps, "%") || !parse_int(ps, &ids[n])) {
            fail(ps, "expected a value");
            return;
        }
        n++;
    } while (accept(ps, ","));
    if (!expect(ps, "="))
        return;
    if (accept(ps, "input"))
        parse_input(ps, ids[0]);
    else
        parse_node(ps, ids, n);
}

static void parse_statement(struct parser *ps)
{
    if (*ps->p == '%')
        parse_definition(ps);
    else if (accept(ps, "symbol"))
        parse_symbol(ps);
    else if (accept(ps, "source"))
        parse_source(ps);
    else if (accept(ps, "check"))
        parse_check(ps);
    else if (accept(ps, "output"))
        parse_output(ps);
    else if (!ps->g->outer && accept(ps, "graph"))
        ps->g->name = quoted(ps);
    else
        fail(ps, "expected a definition, symbol, source, check or output");
    skip_blanks(ps);
    if (!ps->failed && *ps->p && *ps->p != '\n')
        fail(ps, "unexpected text at the end of the line");
}

/* Statements to the end of the text, or of the body. */
static void parse_lines(struct parser *ps)
{
    while (!ps->failed) {
        skip_blanks(ps);
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
        fail(&ps, "there is a NUL character here");
    ps.g->origin = NULL;
    return ps.failed ? NULL : ps.g;
}
