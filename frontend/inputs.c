/*
 * The borders of the graph: inputs with their free dims, and outputs.
 *
 * A free dim of an input is a symbol. dim_param is a hint: inputs that share one share the symbol,
 * and that they really agree is a constraint, checked whenever the plan is bound to inputs.
 */
#include "interface.h"
#include "list.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

typedef Onnx__TensorShapeProto__Dimension dimension;

/* What a dim_param stands for: the first input's symbol, or the size that --shape gave it. */
struct param {
    const char *name;
    const struct dim *dim;
    const char *input; /* where it was first seen, for messages */
    int axis;
    struct param *next;
};

struct input_walk {
    struct import *im;
    struct param *params;
};

static const Onnx__TypeProto__Tensor *tensor_type(const Onnx__ValueInfoProto *info)
{
    return info->type && info->type->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE
               ? info->type->tensor_type
               : NULL;
}

/* Names joined by operators, as exporters write them ("batch*seq"), are expressions. */
static bool is_plain_name(const char *text)
{
    for (; *text; text++)
        if (!isalnum((unsigned char)*text) && !strchr("_.:/?[]", *text))
            return false;
    return true;
}

static struct param *find_param(const struct input_walk *w, const char *name)
{
    for (struct param *p = w->params; p; p = p->next)
        if (strcmp(p->name, name) == 0)
            return p;
    return NULL;
}

static const char *dim_name(const dimension *d)
{
    return d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM && *d->dim_param
               ? d->dim_param
               : NULL;
}

static bool dim_fixed(const dimension *d, int64_t *size)
{
    *size = d->dim_value;
    return d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE &&
           d->dim_value >= 0;
}

/* The shape that --shape gives, or that of the tensor that --freeze does. */
static bool given_shape(const struct import *im, const char *input, struct frontend_shape *given)
{
    const struct frontend_frozen *frozen = interface_frozen(im, input);
    if (frozen)
        *given = (struct frontend_shape){input, frozen->tensor->rank, frozen->tensor->shape};
    for (int i = 0; i < im->options->n_shapes; i++)
        if (strcmp(im->options->shapes[i].input, input) == 0) {
            *given = im->options->shapes[i];
            return true;
        }
    return frozen;
}

/* An expression whose names are all known params: its value, else NULL. */
static const struct dim *known_expression(struct input_walk *w, const char *text)
{
    struct dim_table *dims = w->im->graph->dims;
    for (const char *c = text; *c;) {
        if (!isalpha((unsigned char)*c) && *c != '_') {
            c++;
            continue;
        }
        size_t n = 0;
        while (isalnum((unsigned char)c[n]) || c[n] == '_')
            n++;
        const char *name = arena_strndup(w->im->arena, c, n);
        bool is_function = strcmp(name, "floordiv") == 0 || strcmp(name, "mod") == 0 ||
                           strcmp(name, "min") == 0 || strcmp(name, "max") == 0;
        if (!is_function && !dim_symbol_find(dims, name))
            return NULL;
        c += n;
    }
    const char *end = text;
    const struct dim *d = dim_parse(dims, &end);
    return d && !*end ? d : NULL;
}

/* The dim of a free axis. */
static const struct dim *free_dim(struct input_walk *w, const dimension *d, const char *input,
                                  int index, int axis)
{
    struct graph *g = w->im->graph;
    const char *name = dim_name(d);
    struct symbol_source source = {.kind = SYMBOL_INPUT_DIM, .input = index, .axis = axis};
    struct param *same = name ? find_param(w, name) : NULL;
    const char *symbol = name && !same && is_plain_name(name)
                             ? name
                             : arena_printf(w->im->arena, "%s_%d", input, axis);
    const struct dim *own = graph_symbol(g, symbol, source, 0, INT64_MAX);
    if (same) {
        graph_constrain(
            g, MUST_EQUAL, own, same->dim,
            "dim %d of input '%s' must equal dim %d of input '%s': both are called '%s'", axis,
            input, same->axis, same->input, name);
        return same->dim;
    }
    if (!name)
        return own;
    if (!is_plain_name(name)) {
        const struct dim *value = known_expression(w, name);
        if (value && !graph_constrain(g, MUST_EQUAL, own, value,
                                      "dim %d of input '%s' must equal %s", axis, input, name))
            return NULL;
        if (value)
            return value;
    }
    struct param *p = ARENA_NEW(w->im->arena, struct param);
    *p = (struct param){name, own, input, axis, w->params};
    w->params = p;
    return own;
}

static void report_given_shape(struct input_walk *w, const char *input,
                               const struct frontend_shape *given,
                               const Onnx__TensorShapeProto *shape)
{
    struct text own = {0}, other = {0};
    for (size_t i = 0; i < shape->n_dim; i++) {
        const char *name = dim_name(shape->dim[i]), *gap = i ? "x" : "";
        int64_t size;
        if (dim_fixed(shape->dim[i], &size))
            text_printf(&own, "%s%" PRId64, gap, size);
        else
            text_printf(&own, "%s%s", gap, name ? name : "?");
    }
    for (int i = 0; i < given->rank; i++)
        text_printf(&other, "%s%" PRId64, i ? "x" : "", given->dims[i]);
    diag_error(w->im->diag, STATUS_USAGE, w->im->model->name,
               "%s %s=%s contradicts the model, where it is %s",
               interface_frozen(w->im, input) ? "--freeze" : "--shape", input,
               other.data ? other.data : "", own.data ? own.data : "");
    text_free(&own);
    text_free(&other);
}

/* A given shape gives sizes to names, so that other inputs with the same dim_param follow. */
static bool apply_given_shape(struct input_walk *w, const Onnx__ValueInfoProto *info,
                              const Onnx__TensorShapeProto *shape)
{
    struct frontend_shape given = {0};
    if (!given_shape(w->im, info->name, &given))
        return true;
    bool fits = (size_t)given.rank == shape->n_dim;
    for (int i = 0; fits && i < given.rank; i++) {
        int64_t size;
        fits = given.dims[i] >= 0 && (!dim_fixed(shape->dim[i], &size) || size == given.dims[i]);
        const char *name = dim_name(shape->dim[i]);
        if (!fits || !name || !is_plain_name(name))
            continue;
        struct param *p = find_param(w, name);
        if (p) {
            fits = dim_is(p->dim, given.dims[i]);
            continue;
        }
        p = ARENA_NEW(w->im->arena, struct param);
        *p = (struct param){name, dim_const(w->im->graph->dims, given.dims[i]), info->name, i,
                            w->params};
        w->params = p;
    }
    if (!fits)
        report_given_shape(w, info->name, &given, shape);
    return fits;
}

static bool import_list(struct import *im, struct scope *scope, const Onnx__ValueInfoProto *info)
{
    struct call c = {.import = im, .b = &im->b, .place = im->model->name};
    struct frontend_shape given;
    int rank;
    enum dtype type = list_declared(info->type, &rank);
    if (given_shape(im, info->name, &given) || interface_converts(im, info->name)) {
        diag_error(im->diag, STATUS_USAGE, im->model->name,
                   "--shape, --freeze and --io are for tensors, and input '%s' is none",
                   info->name);
        return false;
    }
    struct value *v = graph_add_input(im->graph, info->name, type, 0, NULL);
    list_set_rank(&c, v, rank);
    names_put(im->arena, &scope->names, info->name, v);
    return v;
}

static bool import_input(struct input_walk *w, struct scope *scope,
                         const Onnx__ValueInfoProto *info)
{
    struct import *im = w->im;
    const Onnx__TypeProto__Tensor *type = tensor_type(info);
    int index = im->graph->n_inputs, rank = (int)type->shape->n_dim, to[MAX_RANK];
    struct frontend_shape given = {0};
    const struct dim *shape[MAX_RANK];
    bool known = given_shape(im, info->name, &given);
    if (names_find(&scope->names, info->name)) {
        diag_error(im->diag, STATUS_BAD_MODEL, im->model->name, "input '%s' is listed twice",
                   info->name);
        return false;
    }
    const struct frontend_frozen *frozen = interface_frozen(im, info->name);
    if (frozen) {
        struct value *v = interface_constant(im, frozen, (enum dtype)type->elem_type);
        names_put(im->arena, &scope->names, info->name, v);
        return v;
    }
    if (!interface_axes(im, info->name, rank, to)) {
        names_put(im->arena, &scope->names, info->name, NULL);
        return false;
    }
    for (int i = 0; i < rank; i++) {
        int64_t size;
        if (known)
            shape[to[i]] = dim_const(im->graph->dims, given.dims[i]);
        else if (dim_fixed(type->shape->dim[i], &size))
            shape[to[i]] = dim_const(im->graph->dims, size);
        else
            shape[to[i]] = free_dim(w, type->shape->dim[i], info->name, index, to[i]);
        if (!shape[to[i]])
            return false;
    }
    enum dtype model_type = (enum dtype)type->elem_type;
    struct value *v = graph_add_input(im->graph, info->name,
                                      interface_type(im, info->name, model_type), rank, shape);
    v = v ? interface_input(im, v, model_type, to) : NULL;
    names_put(im->arena, &scope->names, info->name, v);
    return v;
}

/* What gpucc can take as an input; reports what it cannot. */
static bool check_input(struct import *im, const Onnx__ValueInfoProto *info)
{
    const Onnx__TypeProto__Tensor *type = tensor_type(info);
    enum status status = STATUS_UNSUPPORTED;
    const char *why = NULL;
    int rank;
    if (list_declared(info->type, &rank) != DT_NONE)
        return true;
    if (!info->type || info->type->value_case == ONNX__TYPE_PROTO__VALUE__NOT_SET)
        why = "has no type";
    else if (!type)
        why = "is neither a tensor nor a sequence or optional of tensors";
    else if (type->elem_type == DT_STRING)
        why = "holds strings";
    else if (!type->shape)
        why = "has no shape, and its rank must be known";
    else if (type->shape->n_dim > MAX_RANK)
        why = "has more dims than gpucc can hold";
    else if (type->elem_type <= DT_NONE || type->elem_type >= DT_COUNT) {
        why = "has an unknown element type";
        status = STATUS_BAD_MODEL;
    }
    if (why)
        diag_error(im->diag, status, im->model->name, "input '%s' %s", info->name, why);
    return !why;
}

bool import_inputs(struct import *im, struct scope *scope, const Onnx__GraphProto *graph)
{
    struct input_walk w = {.im = im};
    im->graph->origin = im->model->name;
    const Onnx__ValueInfoProto **inputs =
        ARENA_ARRAY(im->arena, graph->n_input, const Onnx__ValueInfoProto *);
    size_t n = 0;
    bool ok = true;
    for (size_t i = 0; i < graph->n_input; i++) {
        const Onnx__ValueInfoProto *info = graph->input[i];
        if (!info->name || !*info->name) {
            diag_error(im->diag, STATUS_BAD_MODEL, im->model->name, "input %zu has no name", i);
            return false;
        }
        if (names_find(&scope->names, info->name))
            continue; /* an initializer, listed as an input too: a constant */
        if (check_input(im, info) &&
            (!tensor_type(info) || apply_given_shape(&w, info, tensor_type(info)->shape)))
            inputs[n++] = info;
        else {
            names_put(im->arena, &scope->names, info->name, NULL);
            ok = false;
        }
    }
    for (size_t i = 0; i < n; i++)
        ok &= tensor_type(inputs[i]) ? import_input(&w, scope, inputs[i])
                                     : import_list(im, scope, inputs[i]);
    return ok;
}

/* The type is binding; a shape that is provably another only makes consumers wonder. */
static bool check_output(struct import *im, const Onnx__ValueInfoProto *info, const struct value *v)
{
    const Onnx__TypeProto__Tensor *type = tensor_type(info);
    if (!type)
        return true; /* nothing declared, or no tensor: then its node failed before */
    if (type->elem_type != DT_NONE && type->elem_type != (int)v->type) {
        const char *declared = type->elem_type > 0 && type->elem_type < DT_COUNT
                                   ? dtype_info[type->elem_type].text
                                   : "an unknown type";
        diag_error(im->diag, STATUS_BAD_MODEL, im->model->name,
                   "output '%s' is declared as %s, but computed as %s", info->name, declared,
                   dtype_info[v->type].text);
        return false;
    }
    bool differs = type->shape && type->shape->n_dim != (size_t)v->rank;
    for (int i = 0; type->shape && !differs && i < v->rank; i++) {
        int64_t declared, ours;
        differs = dim_fixed(type->shape->dim[i], &declared) && dim_is_const(v->shape[i], &ours) &&
                  declared != ours;
    }
    if (differs)
        diag_warning(im->diag, im->model->name,
                     "output '%s' has another shape than the model declares", info->name);
    return true;
}

/* As what the model declares: an optional may leave as the sequence that it holds. */
static bool import_list_output(struct import *im, struct value *v, const Onnx__ValueInfoProto *info)
{
    struct call c = {.import = im, .b = &im->b, .place = im->model->name};
    int rank;
    enum dtype declared = list_declared(info->type, &rank);
    v = list_value(&c, v, declared != DT_NONE ? declared : list_type(v));
    return v && interface_add_output(im, v, info->name);
}

bool import_outputs(struct import *im, struct scope *scope, const Onnx__GraphProto *graph)
{
    bool ok = true;
    for (size_t i = 0; i < graph->n_output; i++) {
        const Onnx__ValueInfoProto *info = graph->output[i];
        const struct name_entry *e = info->name ? names_find(&scope->names, info->name) : NULL;
        if (!e) {
            diag_error(im->diag, STATUS_BAD_MODEL, im->model->name,
                       "output '%s' is made by no node", info->name ? info->name : "");
            ok = false;
        } else if (is_list(e->value)) {
            ok &= import_list_output(im, e->value, info);
        } else if (e->value && check_output(im, info, e->value)) {
            ok &= interface_add_output(im, e->value, info->name);
        } else {
            ok = false;
        }
    }
    return ok && interface_outputs(im, scope, graph);
}
