/* The printer of the text form; parse.c is its inverse and docs/ir.md the language. */
#include "text.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_LITERAL_ELEMENTS = 64 };

const char *const text_pad_modes[4] = {"constant", "reflect", "edge", "wrap"};
const char *const text_combines[5] = {"none", "add", "mul", "min", "max"};
const char *const text_math[MATH_COUNT] = {"exact", "tf32", "f32x3"};

const char *const text_constraints[3] = {
    [MUST_EQUAL] = "equal", [MUST_BROADCAST] = "broadcast", [MUST_LESS_EQUAL] = "less_equal"};

void text_quoted(struct text *out, const char *s)
{
    text_printf(out, "\"");
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\')
            text_printf(out, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            text_printf(out, "\\x%02x", c);
        else
            text_printf(out, "%c", c);
    }
    text_printf(out, "\"");
}

static void print_dims(struct text *out, const struct dim_table *t, int n,
                       const struct dim *const *d)
{
    text_printf(out, "[");
    for (int i = 0; i < n; i++) {
        text_printf(out, i ? ", " : "");
        dim_print(out, t, d[i]);
    }
    text_printf(out, "]");
}

void text_type(struct text *out, const struct graph *g, const struct value *v)
{
    text_printf(out, "%s", dtype_info[v->type].text);
    print_dims(out, g->dims, v->rank, v->shape);
}

/* The fewest digits that give the same float or double back. */
static void print_float(struct text *out, double value, int most_digits)
{
    char digits[40];
    if (isnan(value) || isinf(value)) {
        text_printf(out, "%s", isnan(value) ? "nan" : value < 0 ? "-inf" : "inf");
        return;
    }
    for (int n = 6; n <= most_digits; n++) {
        snprintf(digits, sizeof digits, "%.*g", n, value);
        double back = strtod(digits, NULL);
        if (most_digits == 9 ? (float)back == (float)value : back == value)
            break;
    }
    text_printf(out, "%s", digits);
}

/* One element. Types without a host counterpart, and NaNs with a payload, print as their bits. */
static void print_element(struct text *out, enum dtype type, const unsigned char *p)
{
    size_t size = dtype_size(type);
    uint64_t bits = 0;
    float f;
    double d;
    if (size <= 8)
        memcpy(&bits, p, size);
    if (type == DT_F32 && (memcpy(&f, p, 4), !isnan(f))) {
        print_float(out, f, 9);
    } else if (type == DT_F64 && (memcpy(&d, p, 8), !isnan(d))) {
        print_float(out, d, 17);
    } else if (type == DT_BOOL) {
        text_printf(out, "%s", bits ? "true" : "false");
    } else if (dtype_info[type].cls == DC_U) {
        text_printf(out, "%" PRIu64, bits);
    } else if (dtype_info[type].cls == DC_S) {
        int shift = 64 - 8 * (int)size;
        text_printf(out, "%" PRId64, (int64_t)(bits << shift) >> shift);
    } else {
        text_printf(out, "0x");
        for (size_t i = size; i > 0; i--)
            text_printf(out, "%02x", p[i - 1]);
    }
}

static void print_constant(struct text *out, const struct value *v, const struct constant *c)
{
    int64_t n;
    if (c->bytes && value_elements_const(v, &n) && n <= MOST_LITERAL_ELEMENTS) {
        text_printf(out, "[");
        for (int64_t i = 0; i < n; i++) {
            text_printf(out, i ? ", " : "");
            print_element(out, v->type,
                          (const unsigned char *)c->bytes + (size_t)i * dtype_size(v->type));
        }
        text_printf(out, "]");
        return;
    }
    text_printf(out, "opaque ");
    text_quoted(out, c->initializer ? c->initializer : "");
    text_printf(out, " %zu", c->size);
}

static void print_perm(struct text *out, const struct perm *perm)
{
    text_printf(out, "[");
    for (int i = 0; i < perm->n; i++)
        text_printf(out, i ? ", %d" : "%d", perm->axis[i]);
    text_printf(out, "]");
}

static void print_ints(struct text *out, int n, const int64_t *v)
{
    text_printf(out, "[");
    for (int i = 0; i < n; i++)
        text_printf(out, i ? ", %" PRId64 : "%" PRId64, v[i]);
    text_printf(out, "]");
}

static void print_axes(struct text *out, uint32_t axes)
{
    const char *comma = "";
    text_printf(out, "[");
    for (int i = 0; i < MAX_RANK; i++)
        if (axes >> i & 1) {
            text_printf(out, "%s%d", comma, i);
            comma = ", ";
        }
    text_printf(out, "]");
}

static void print_attr(struct text *out, const struct graph *g, const struct node *node,
                       const struct attr_field *field)
{
    const void *p = (const char *)&node->attr + field->offset;
    const struct dims *dims = p;
    const struct ints *ints = p;
    text_printf(out, "%s=", field->name);
    switch (field->kind) {
    case AK_INT: text_printf(out, "%" PRId64, *(const int64_t *)p); break;
    case AK_BOOL: text_printf(out, "%s", *(const bool *)p ? "true" : "false"); break;
    case AK_FLOAT: print_float(out, *(const double *)p, 17); break;
    case AK_DTYPE: text_printf(out, "%s", dtype_info[*(const enum dtype *)p].text); break;
    case AK_AXES: print_axes(out, *(const uint32_t *)p); break;
    case AK_DIM: dim_print(out, g->dims, *(const struct dim *const *)p); break;
    case AK_DIMS: print_dims(out, g->dims, dims->n, dims->d); break;
    case AK_INTS: print_ints(out, ints->n, ints->v); break;
    case AK_PERM: print_perm(out, p); break;
    case AK_PADMODE: text_printf(out, "%s", text_pad_modes[*(const enum pad_mode *)p]); break;
    case AK_COMBINE: text_printf(out, "%s", text_combines[*(const enum combine *)p]); break;
    case AK_CONSTANT: print_constant(out, node->out[0], *(struct constant *const *)p); break;
    }
}

static void print_layout(struct text *out, const struct layout *layout, int rank)
{
    text_printf(out, " layout(");
    print_perm(out, &layout->perm);
    text_printf(out, ", ");
    print_ints(out, rank, layout->align);
    text_printf(out, ", ");
    print_ints(out, rank, layout->block);
    text_printf(out, ")");
}

static void print_result_types(struct text *out, const struct graph *g, const struct node *node)
{
    for (int i = 0; i < node->n_out; i++) {
        text_printf(out, i ? ", " : " : ");
        text_type(out, g, node->out[i]);
        if (node->out[i]->layout)
            print_layout(out, node->out[i]->layout, node->out[i]->rank);
    }
}

static void print_contents(struct text *out, const struct graph *g, int flags);

static void indent(struct text *out, const struct graph *g)
{
    for (; g->outer; g = g->outer)
        text_printf(out, "  ");
}

static void print_bodies(struct text *out, const struct graph *g, const struct node *node,
                         int flags)
{
    for (int i = 0; i < 2 && node->body[i]; i++) {
        text_printf(out, " {\n");
        print_contents(out, node->body[i], flags);
        indent(out, g);
        text_printf(out, "}");
    }
}

void text_node(struct text *out, const struct graph *g, const struct node *node, int flags)
{
    const struct op_info *info = &op_info[node->op];
    for (int i = 0; i < node->n_out; i++)
        text_printf(out, "%s%%%" PRIu32, i ? ", " : "", node->out[i]->id);
    text_printf(out, " = %s", info->name);
    for (int i = 0; i < node->n_in; i++)
        text_printf(out, "%s%%%" PRIu32, i ? ", " : " ", node->in[i]->id);
    for (int i = 0; i < info->n_fields; i++) {
        text_printf(out, i ? ", " : " {");
        print_attr(out, g, node, &info->fields[i]);
    }
    if (info->n_fields)
        text_printf(out, "}");
    if (node->math != MATH_EXACT)
        text_printf(out, " math(%s)", text_math[node->math]);
    print_bodies(out, g, node, flags);
    print_result_types(out, g, node);
    if (node->kernel >= 0)
        text_printf(out, " @%d", node->kernel);
    else if (node->kernel == KERNEL_CONSTANT)
        text_printf(out, " @constant");
    else if (node->kernel == KERNEL_IN_PLACE)
        text_printf(out, " @in_place");
    if ((flags & PRINT_ORIGINS) && node->origin)
        text_printf(out, "    ; %s", node->origin);
    text_printf(out, "\n");
}

static void print_bound(struct text *out, int64_t bound)
{
    if (bound == INT64_MIN || bound == INT64_MAX)
        text_printf(out, "%sinf", bound < 0 ? "-" : "");
    else
        text_printf(out, "%" PRId64, bound);
}

static void print_symbols(struct text *out, const struct graph *g)
{
    for (int i = 0; i < dim_symbol_count(g->dims); i++) {
        int64_t lower, upper;
        dim_bounds(dim_symbol_at(g->dims, i), &lower, &upper);
        text_printf(out, "symbol %s in [", dim_symbol_name(g->dims, i));
        print_bound(out, lower);
        text_printf(out, ", ");
        print_bound(out, upper);
        text_printf(out, "]\n");
    }
}

/* Behind the nodes, since an element may be of any node's result. */
static void print_sources(struct text *out, const struct graph *g)
{
    for (int i = 0; i < g->root->n_symbols; i++) {
        const struct symbol_source *s = &g->root->symbols[i];
        const struct graph *place = s->kind == SYMBOL_ELEMENT ? s->value->graph : g->root;
        const char *name = dim_symbol_name(g->dims, i);
        if (place != g || (s->kind != SYMBOL_INPUT_DIM && s->kind != SYMBOL_ELEMENT))
            continue;
        indent(out, g);
        if (s->kind == SYMBOL_INPUT_DIM)
            text_printf(out, "source %s = dim %d, %d\n", name, s->input, s->axis);
        else
            text_printf(out, "source %s = element %%%" PRIu32 ", %" PRId64 "\n", name, s->value->id,
                        s->element);
    }
}

/* In front of the nodes: what must be equal counts as equal in their types. */
static void print_constraints(struct text *out, const struct graph *g)
{
    for (const struct constraint *c = g->constraints; c; c = c->next) {
        indent(out, g);
        text_printf(out, "check %s ", text_constraints[c->kind]);
        dim_print(out, g->dims, c->a);
        text_printf(out, ", ");
        dim_print(out, g->dims, c->b);
        text_printf(out, " : ");
        text_quoted(out, c->text ? c->text : "");
        text_printf(out, "\n");
    }
}

/* Names are for the root's inputs and outputs; those of a body have one at most for people. */
static void print_name(struct text *out, const struct graph *g, const char *name,
                       const char *behind)
{
    if (g->outer && !name)
        return;
    text_quoted(out, name ? name : "");
    text_printf(out, "%s", behind);
}

static void print_contents(struct text *out, const struct graph *g, int flags)
{
    print_constraints(out, g);
    for (int i = 0; i < g->n_inputs; i++) {
        indent(out, g);
        text_printf(out, "%%%" PRIu32 " = input ", g->inputs[i]->id);
        print_name(out, g, g->inputs[i]->name, " ");
        text_printf(out, ": ");
        text_type(out, g, g->inputs[i]);
        text_printf(out, "\n");
    }
    for (const struct node *node = g->first; node; node = node->next) {
        indent(out, g);
        text_node(out, g, node, flags);
    }
    print_sources(out, g);
    for (int i = 0; i < g->n_outputs; i++) {
        indent(out, g);
        text_printf(out, "output ");
        print_name(out, g, g->output_names[i], " = ");
        text_printf(out, "%%%" PRIu32, g->outputs[i]->id);
        if (g->output_alias[i] >= 0)
            text_printf(out, " alias %d", g->output_alias[i]);
        text_printf(out, "\n");
    }
}

void graph_print(struct text *out, struct graph *g, int flags)
{
    text_printf(out, "graph ");
    text_quoted(out, g->name ? g->name : "");
    text_printf(out, "\n");
    print_symbols(out, g);
    print_contents(out, g, flags);
}
