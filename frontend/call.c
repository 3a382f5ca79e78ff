/* What lowerings ask of the node they lower: messages, attributes, elements of shape inputs. */
#include "import.h"

#include <string.h>

#include "../ir/text.h"
#include "list.h"

/* "; its operands: f32[1, 3], i64[2]", as far as they are known. */
static void append_operands(struct call *c, struct text *text)
{
    enum { MOST_SHOWN = 8 };
    const char *before = "; its operands: ";
    for (int i = 0; i < c->n_in && i < MOST_SHOWN; i++)
        if (c->in[i]) {
            const struct list *list = as_static(c->in[i]);
            text_printf(text, "%s", before);
            if (list)
                text_printf(text, "%s of %d", dtype_info[list->type].text, list->n);
            else
                text_type(text, c->b->g, c->in[i]);
            before = ", ";
        }
}

static bool report(struct call *c, enum status status, const char *format, va_list args)
{
    struct text text = {0};
    text_vprintf(&text, format, args);
    append_operands(c, &text);
    diag_error(c->import->diag, status, c->place, "%s", text.data ? text.data : format);
    text_free(&text);
    return false;
}

bool call_error(struct call *c, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    report(c, STATUS_BAD_MODEL, format, args);
    va_end(args);
    return false;
}

bool call_unsupported(struct call *c, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    report(c, STATUS_UNSUPPORTED, format, args);
    va_end(args);
    return false;
}

bool call_result(struct call *c, struct value *v)
{
    c->out[0] = v;
    return v;
}

bool call_wants(const struct call *c, int output)
{
    return output < c->n_out && *c->node->output[output];
}

static const Onnx__AttributeProto *find_in(size_t n, Onnx__AttributeProto *const *attributes,
                                           const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (attributes[i]->name && strcmp(attributes[i]->name, name) == 0)
            return attributes[i];
    return NULL;
}

/* Follows ref_attr_name: inside a function, an attribute may stand for one of the caller's. */
static const Onnx__AttributeProto *find_attr(const Onnx__NodeProto *node, const struct scope *scope,
                                             const char *name)
{
    const Onnx__AttributeProto *a = find_in(node->n_attribute, node->attribute, name);
    if (!a || !a->ref_attr_name || !*a->ref_attr_name)
        return a;
    while (scope && !scope->caller)
        scope = scope->outer;
    if (!scope)
        return NULL;
    const struct call *caller = scope->caller;
    const Onnx__AttributeProto *given = find_attr(caller->node, caller->scope, a->ref_attr_name);
    return given ? given
                 : find_in(scope->function->n_attribute_proto, scope->function->attribute_proto,
                           a->ref_attr_name);
}

/* Files before IR version 2 name no type: the field that is set tells. */
static bool attr_is(const Onnx__AttributeProto *a, int type)
{
    if (a->type != ONNX__ATTRIBUTE_PROTO__TYPE__UNDEFINED)
        return a->type == type;
    switch (type) {
    case ONNX__ATTRIBUTE_PROTO__TYPE__FLOAT: return a->has_f;
    case ONNX__ATTRIBUTE_PROTO__TYPE__INT: return a->has_i;
    case ONNX__ATTRIBUTE_PROTO__TYPE__STRING: return a->has_s;
    case ONNX__ATTRIBUTE_PROTO__TYPE__TENSOR: return a->t;
    case ONNX__ATTRIBUTE_PROTO__TYPE__GRAPH: return a->g;
    default: return true;
    }
}

const Onnx__AttributeProto *call_attr(struct call *c, const char *name, int type)
{
    const Onnx__AttributeProto *a = find_attr(c->node, c->scope, name);
    if (!a)
        return NULL;
    bool ok = attr_is(a, type);
    if (type == ONNX__ATTRIBUTE_PROTO__TYPE__TENSOR)
        ok = ok && a->t;
    if (type == ONNX__ATTRIBUTE_PROTO__TYPE__GRAPH)
        ok = ok && a->g;
    if (ok)
        return a;
    if (!c->failed)
        call_error(c, "attribute '%s' is of the wrong kind", name);
    c->failed = true;
    return NULL;
}

const Onnx__GraphProto *attr_graph(struct call *c, const char *name)
{
    const Onnx__AttributeProto *a = call_attr(c, name, ONNX__ATTRIBUTE_PROTO__TYPE__GRAPH);
    if (!a && !c->failed)
        call_error(c, "attribute '%s' is missing", name);
    return a ? a->g : NULL;
}

bool attr_given(struct call *c, const char *name)
{
    return find_attr(c->node, c->scope, name);
}

int64_t attr_int(struct call *c, const char *name, int64_t otherwise)
{
    const Onnx__AttributeProto *a = call_attr(c, name, ONNX__ATTRIBUTE_PROTO__TYPE__INT);
    return a ? a->i : otherwise;
}

double attr_float(struct call *c, const char *name, double otherwise)
{
    const Onnx__AttributeProto *a = call_attr(c, name, ONNX__ATTRIBUTE_PROTO__TYPE__FLOAT);
    return a ? (double)a->f : otherwise;
}

const char *attr_string(struct call *c, const char *name, const char *otherwise)
{
    const Onnx__AttributeProto *a = call_attr(c, name, ONNX__ATTRIBUTE_PROTO__TYPE__STRING);
    return a ? arena_strndup(c->import->arena, a->s.len ? (const char *)a->s.data : "", a->s.len)
             : otherwise;
}

int attr_ints(struct call *c, const char *name, const int64_t **v)
{
    const Onnx__AttributeProto *a = call_attr(c, name, ONNX__ATTRIBUTE_PROTO__TYPE__INTS);
    *v = a ? a->ints : NULL;
    if (!a)
        return 0;
    if (a->n_ints > MAX_ELEMENTS) {
        c->failed = true;
        call_error(c, "attribute '%s' has %zu numbers", name, a->n_ints);
        return 0;
    }
    return (int)a->n_ints;
}

bool attr_ints_exactly(struct call *c, const char *name, int count, int64_t otherwise, int64_t *v)
{
    const int64_t *given;
    int n = attr_ints(c, name, &given);
    for (int i = 0; i < count; i++)
        v[i] = i < n ? given[i] : otherwise;
    if (n == 0 || n == count)
        return !c->failed;
    c->failed = true;
    return call_error(c, "attribute '%s' has %d numbers where %d belong", name, n, count);
}

enum dtype attr_dtype(struct call *c, const char *name, enum dtype otherwise)
{
    int64_t type = attr_int(c, name, otherwise);
    if (type == otherwise || (type > DT_NONE && type < DT_COUNT && type != DT_STRING))
        return (enum dtype)type;
    if (type == DT_STRING)
        call_unsupported(c, "attribute '%s' asks for strings", name);
    else
        call_error(c, "attribute '%s' is no element type", name);
    c->failed = true;
    return otherwise;
}

int attr_choice(struct call *c, const char *name, const char *const *names, int otherwise)
{
    const char *given = attr_string(c, name, NULL);
    if (!given)
        return otherwise;
    for (int i = 0; names[i]; i++)
        if (strcmp(given, names[i]) == 0)
            return i;
    struct text choices = {.arena = c->import->arena};
    for (int i = 0; names[i]; i++)
        text_printf(&choices, "%s%s", i ? ", " : "", names[i]);
    call_error(c, "attribute '%s' is '%s', none of: %s", name, given, choices.data);
    c->failed = true;
    return otherwise;
}

int call_axis(struct call *c, int64_t axis, int rank)
{
    if (axis >= -rank && axis < rank)
        return (int)(axis < 0 ? axis + rank : axis);
    call_error(c, "axis %lld is out of range for rank %d", (long long)axis, rank);
    return -1;
}

bool call_axes(struct call *c, int n, const int64_t *axes, int rank, uint32_t *mask)
{
    *mask = 0;
    for (int i = 0; i < n; i++) {
        int axis = call_axis(c, axes[i], rank);
        if (axis < 0)
            return false;
        if (*mask & 1u << axis)
            return call_error(c, "axis %d is named twice", axis);
        *mask |= 1u << axis;
    }
    return true;
}

const struct element_list *import_elements(const struct import *im, const struct value *v)
{
    for (const struct element_list *e = im->elements; e; e = e->next)
        if (e->value == v)
            return e;
    return NULL;
}

/* Symbols for the elements of v, made once per value. */
static const struct dim **element_symbols(struct import *im, struct value *v, int n)
{
    const struct element_list *known = import_elements(im, v);
    if (known)
        return known->d;
    struct element_list *e = ARENA_NEW(im->arena, struct element_list);
    *e = (struct element_list){v, n, ARENA_ARRAY(im->arena, n, const struct dim *), im->elements};
    im->elements = e;
    int bits = dtype_info[v->type].bits;
    bool is_signed = dtype_info[v->type].cls == DC_S;
    int64_t upper = v->type == DT_BOOL ? 1
                    : bits == 64       ? INT64_MAX
                                       : ((int64_t)1 << (is_signed ? bits - 1 : bits)) - 1;
    int64_t lower = is_signed ? -upper - 1 : 0;
    for (int i = 0; i < n; i++) {
        const char *base = v->name ? v->name : "element";
        struct symbol_source source = {.kind = SYMBOL_ELEMENT, .value = v, .element = i};
        e->d[i] = graph_symbol(im->graph, arena_printf(im->arena, n > 1 ? "%s_%d" : "%s", base, i),
                               source, lower, upper);
    }
    return e->d;
}

int value_dims(struct call *c, struct value *v, const char *what, const struct dim *d[MAX_ELEMENTS])
{
    int64_t n;
    if (!v)
        return -1; /* reported */
    if (!dtype_can_be_size(v->type))
        return call_error(c, "%s holds no integers, or too small ones", what), -1;
    if (v->rank > 1)
        return call_error(c, "%s has rank %d, not 1", what, v->rank), -1;
    if (!value_elements_const(v, &n))
        return call_unsupported(
                   c, "the rank of its result depends on the run: %s has no fixed size", what),
               -1;
    if (n > MAX_ELEMENTS)
        return call_unsupported(c, "%s decides shapes and has %lld elements", what, (long long)n),
               -1;
    if (n > 0 && !graph_known_elements(c->b->g, v, d, MAX_ELEMENTS))
        memcpy(d, element_symbols(c->import, v, (int)n), (size_t)n * sizeof *d);
    return (int)n;
}

int call_dims(struct call *c, int input, const struct dim *d[MAX_ELEMENTS])
{
    if (input >= c->n_in || !c->in[input])
        return call_error(c, "input %d is missing", input), -1;
    return value_dims(
        c, c->in[input],
        arena_printf(c->import->arena, "input %d ('%s')", input, c->node->input[input]), d);
}

const struct dim *call_dim(struct call *c, int input)
{
    const struct dim *d[MAX_ELEMENTS];
    int n = call_dims(c, input, d);
    if (n >= 0 && n != 1)
        call_error(c, "input %d has %d elements, not 1", input, n);
    return n == 1 ? d[0] : NULL;
}

int call_known(struct call *c, int input, int64_t v[MAX_ELEMENTS])
{
    return value_known(c, input < c->n_in ? c->in[input] : NULL, v);
}

int value_known(struct call *c, struct value *x, int64_t v[MAX_ELEMENTS])
{
    const struct dim *d[MAX_ELEMENTS];
    int64_t n;
    if (!x || !value_elements_const(x, &n) || n > MAX_ELEMENTS ||
        !(dtype_is_int(x->type) || x->type == DT_BOOL))
        return -1;
    if (n > 0 && !graph_known_elements(c->b->g, x, d, MAX_ELEMENTS))
        return -1;
    for (int i = 0; i < n; i++)
        if (!dim_is_const(d[i], &v[i]))
            return -1;
    return (int)n;
}

bool dim_from_data(struct call *c, const struct dim *d)
{
    struct symbol_source source;
    switch (d->kind) {
    case DIM_CONST: return false;
    case DIM_SYMBOL:
        source = c->b->g->root->symbols[d->symbol];
        return source.kind == SYMBOL_ELEMENT &&
               !(source.value->def && source.value->def->op == OP_compact);
    case DIM_SUM:
        for (int i = 0; i < d->n_terms; i++)
            for (int k = 0; k < d->terms[i].n_atoms; k++)
                if (dim_from_data(c, d->terms[i].atoms[k]))
                    return true;
        return false;
    default: return dim_from_data(c, d->a) || dim_from_data(c, d->b);
    }
}

const struct dim *dim_axis(struct call *c, const struct dim *axis, int rank)
{
    return D(add, axis, D(mul, D(lt, axis, d_const(c, 0)), d_const(c, rank)));
}

bool mark_axes(struct call *c, int n, const struct dim *const *axes, int rank,
               const struct dim **marked)
{
    for (int i = 0; i < rank; i++)
        marked[i] = d_const(c, 0);
    for (int k = 0; k < n; k++) {
        int64_t known;
        if (dim_is_const(axes[k], &known) && call_axis(c, known, rank) < 0)
            return false;
        const struct dim *axis = dim_axis(c, axes[k], rank);
        for (int i = 0; i < rank; i++)
            marked[i] = D(add, marked[i], D(eq, axis, d_const(c, i)));
    }
    for (int i = 0; i < rank; i++) {
        int64_t times;
        if (dim_is_const(marked[i], &times) && times > 1)
            return call_error(c, "axis %d is named twice", i);
    }
    return true;
}

void unmarked_sizes(struct call *c, int rank, const struct dim *const *shape,
                    const struct dim *const *marked, int n, const struct dim **d)
{
    /* Result axis k is the axis that has k unmarked ones before it. */
    const struct dim *before = d_const(c, 0);
    for (int k = 0; k < n; k++)
        d[k] = d_const(c, 0);
    for (int i = 0; i < rank; i++) {
        const struct dim *stays = D(sub, d_const(c, 1), marked[i]);
        for (int k = 0; k < n; k++) {
            const struct dim *here = D(mul, stays, D(eq, before, d_const(c, k)));
            if (!dim_is(here, 0))
                d[k] = D(add, d[k], D(mul, here, shape[i]));
        }
        before = D(add, before, stays);
    }
}

struct value *call_tensor(struct call *c, const Onnx__TensorProto *t)
{
    return import_tensor(c->import, c->place, t);
}

struct value *call_sparse_tensor(struct call *c, const Onnx__SparseTensorProto *t)
{
    return import_sparse(c->import, c->place, t);
}

struct value *v_number(struct call *c, struct value *x, double number)
{
    if (!x)
        return NULL;
    if (dtype_is_float(x->type))
        return build_float(c->b, x->type, number);
    /* A factor of the model may be anything; beyond 2^62 no integer formula of ours has a meaning.
     */
    double limit = 4611686018427387904.0;
    number = number > limit ? limit : number < -limit ? -limit : number;
    return build_int(c->b, x->type, number == number ? (int64_t)number : 0);
}

struct value *v_widen(struct call *c, struct value *x)
{
    return x && dtype_is_float(x->type) && dtype_info[x->type].bits < 32
               ? build_cast(c->b, x, DT_F32)
               : x;
}
