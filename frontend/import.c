/*
 * The walk: nodes in the model's order, each looked up in the table of operators and lowered;
 * bodies of functions and of branches decided at compile time are walked in place.
 *
 * A node that cannot be lowered is reported and its outputs have no value; nodes that need them are
 * passed over in silence (unless they are unknown themselves), so one run reports every cause.
 */
#include "interface.h"
#include "list.h"

#include <string.h>

enum {
    NEWEST_OPSET = 28,    /* of ONNX's own domain, that operators.def was written for */
    MAX_SCOPE_DEPTH = 64, /* functions and branches inside one another */
    MAX_NODES = 1 << 18,  /* nodes after inlining */
};

/* The entry of a name in the scopes from here outwards; NULL: nobody makes it. *v: its value,
 * brought into the body that is being built. */
static const struct name_entry *scope_find(struct call *c, const struct scope *scope,
                                           const char *name, struct value **v)
{
    *v = NULL;
    for (; scope; scope = scope->outer) {
        const struct name_entry *e = names_find(&scope->names, name);
        if (e) {
            *v = import_capture(c, c->import->body, scope->body, e->value);
            return e;
        }
    }
    return NULL;
}

/* "ai.onnx" is another spelling of the empty domain. */
static const char *plain_domain(const char *domain)
{
    return !domain || strcmp(domain, "ai.onnx") == 0 ? "" : domain;
}

/* The opset of a domain in a scope; 0 when it is not imported. */
static int64_t opset_of(const struct scope *scope, const char *domain)
{
    for (size_t i = 0; i < scope->n_opsets; i++)
        if (strcmp(plain_domain(scope->opsets[i]->domain), domain) == 0)
            return scope->opsets[i]->version;
    return 0;
}

static bool same_text(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

static const Onnx__FunctionProto *find_function(const struct import *im, const char *domain,
                                                const Onnx__NodeProto *node)
{
    const Onnx__ModelProto *model = im->model->proto;
    for (size_t i = 0; i < model->n_functions; i++) {
        const Onnx__FunctionProto *f = model->functions[i];
        if (same_text(f->name, node->op_type) && same_text(plain_domain(f->domain), domain) &&
            same_text(f->overload, node->overload))
            return f;
    }
    return NULL;
}

/* A node's name, or that of its first output: node tests and some exporters name no nodes. */
static const char *node_name(const Onnx__NodeProto *node)
{
    if (node->name && *node->name)
        return node->name;
    return node->n_output ? node->output[0] : "";
}

static bool import_initializer(struct import *im, struct scope *scope, const char *name,
                               struct value *v)
{
    if (v && !v->name)
        v->name = name;
    names_put(im->arena, &scope->names, name, v);
    return v;
}

bool import_initializers(struct import *im, struct scope *scope, const Onnx__GraphProto *graph)
{
    bool ok = true;
    const char *outer_origin = im->graph->origin;
    im->graph->origin = "initializer";
    for (size_t i = 0; i < graph->n_initializer; i++) {
        const Onnx__TensorProto *t = graph->initializer[i];
        if (t->name && *t->name)
            ok &= import_initializer(im, scope, t->name, import_tensor(im, im->model->name, t));
    }
    for (size_t i = 0; i < graph->n_sparse_initializer; i++) {
        const Onnx__SparseTensorProto *t = graph->sparse_initializer[i];
        if (t->values && t->values->name && *t->values->name)
            ok &= import_initializer(im, scope, t->values->name,
                                     import_sparse(im, im->model->name, t));
    }
    im->graph->origin = outer_origin;
    return ok;
}

/* Finds the values of the inputs. False: one has no value (reported before, unless unknown here).
 */
static bool find_inputs(struct call *c)
{
    bool ok = true;
    for (int i = 0; i < c->n_in; i++) {
        const char *name = c->node->input[i];
        if (!*name)
            continue;
        const struct name_entry *e = scope_find(c, c->scope, name, &c->in[i]);
        if (!e)
            call_error(c, "input %d, '%s', is made by no node, or needs itself", i, name);
        ok &= e && (c->in[i] || e->omitted);
    }
    return ok;
}

/* The operands that are there, for a message. */
static void see_inputs(struct call *c)
{
    for (int i = 0; i < c->n_in; i++)
        scope_find(c, c->scope, c->node->input[i], &c->in[i]);
}

static bool check_arity(struct call *c)
{
    const struct operator* row = c->row;
    if (c->n_in > row->most && row->most >= 0)
        return call_error(c, "%d inputs, but the operator takes %d at most", c->n_in, row->most);
    for (int i = 0; i < c->n_in && !row->lists; i++)
        if (is_list(c->in[i]))
            return call_error(c, "input %d, '%s', is no tensor", i, c->node->input[i]);
    for (int i = 0; i < row->least; i++)
        if (i >= c->n_in || !c->in[i])
            return call_error(c, "input %d is missing", i);
    for (int i = row->least; i < c->n_in && row->most < 0 && row->most != ANY_INPUTS; i++)
        if (!c->in[i])
            return call_error(c, "input %d is missing", i);
    return true;
}

/* Walks the body of a function as if it stood in the caller's place. */
static bool inline_function(struct call *c, const Onnx__FunctionProto *f)
{
    struct import *im = c->import;
    if (c->scope->depth >= MAX_SCOPE_DEPTH) {
        diag_error(im->diag, STATUS_LIMIT, c->place,
                   "more than %d functions and branches are nested (a recursion?)",
                   MAX_SCOPE_DEPTH);
        return false;
    }
    struct scope scope = {
        .body = im->body,
        .caller = c,
        .function = f,
        .opsets = f->n_opset_import ? f->opset_import : c->scope->opsets,
        .n_opsets = f->n_opset_import ? f->n_opset_import : c->scope->n_opsets,
        .depth = c->scope->depth + 1,
    };
    if ((size_t)c->n_in > f->n_input)
        return call_error(c, "%d inputs, but the function takes %zu", c->n_in, f->n_input);
    for (size_t i = 0; i < f->n_input; i++) {
        struct value *v = i < (size_t)c->n_in ? c->in[i] : NULL;
        names_put(im->arena, &scope.names, f->input[i], v)->omitted = !v;
    }
    bool ok = import_nodes(im, &scope, f->n_node, f->node);
    if (im->diag->status == STATUS_LIMIT)
        return false;
    for (int i = 0; i < c->n_out && (size_t)i < f->n_output; i++) {
        const struct name_entry *e = names_find(&scope.names, f->output[i]);
        if (e)
            c->out[i] = e->value;
        else
            ok = call_error(c, "output '%s' of the function is made by no node", f->output[i]);
    }
    return ok;
}

bool call_inline_graph(struct call *c, const Onnx__GraphProto *graph, int n_in,
                       struct value *const *in, int n_out, struct value **out)
{
    struct import *im = c->import;
    if (c->scope->depth >= MAX_SCOPE_DEPTH) {
        diag_error(im->diag, STATUS_LIMIT, c->place,
                   "more than %d functions and branches are nested", MAX_SCOPE_DEPTH);
        return false;
    }
    struct scope scope = *c->scope;
    scope.body = im->body;
    scope.outer = c->scope;
    scope.names = (struct name_map){0};
    scope.depth++;
    if ((size_t)n_out > graph->n_output || (size_t)n_in > graph->n_input)
        return call_error(c, "its subgraph has %zu inputs and %zu outputs, not %d and %d",
                          graph->n_input, graph->n_output, n_in, n_out);
    for (int i = 0; i < n_in; i++)
        if (graph->input[i]->name && *graph->input[i]->name && in[i])
            names_put(im->arena, &scope.names, graph->input[i]->name, in[i]);
    if (!import_initializers(im, &scope, graph) ||
        !import_nodes(im, &scope, graph->n_node, graph->node))
        return false;
    for (int i = 0; i < n_out; i++) {
        const char *name = graph->output[i]->name;
        if (!name || !scope_find(c, &scope, name, &out[i]))
            return call_error(c, "output '%s' of its subgraph is made by no node",
                              name ? name : "");
        if (!out[i])
            return false;
    }
    return true;
}

static bool lower_node(struct call *c, const char *domain)
{
    const Onnx__FunctionProto *f = find_function(c->import, domain, c->node);
    bool known;
    c->opset = opset_of(c->scope, domain);
    c->row = f ? NULL : operator_find(domain, c->node->op_type, c->opset, &known);
    if (!f && !c->row) {
        see_inputs(c);
        if (known && c->opset == 0)
            return call_error(c, "the model imports no opset of its domain");
        if (known)
            return call_unsupported(c, "gpucc does not know the operator in this opset");
        return call_unsupported(c, "gpucc does not know the operator%s%s", *domain ? " of " : "",
                                domain);
    }
    if (!find_inputs(c))
        return false;
    if (f)
        return inline_function(c, f);
    return check_arity(c) && c->row->lower(c) && !c->failed;
}

static void import_node(struct import *im, struct scope *scope, const Onnx__NodeProto *node)
{
    const char *domain = plain_domain(node->domain);
    const char *op = node->op_type ? node->op_type : "";
    struct call c = {.import = im, .b = &im->b, .node = node, .scope = scope};
    c.n_in = (int)node->n_input;
    c.n_out = (int)node->n_output;
    while (c.n_in > 0 && !*node->input[c.n_in - 1])
        c.n_in--; /* an omitted input at the end is as good as none */
    c.in = ARENA_ARRAY(im->arena, node->n_input + MAX_RANK, struct value *);
    c.out = ARENA_ARRAY(im->arena, node->n_output + MAX_RANK, struct value *);
    c.place = arena_printf(im->arena, "%s: node '%s' (%s%s%s, opset %lld)", im->model->name,
                           node_name(node), domain, *domain ? "." : "", op,
                           (long long)opset_of(scope, domain));
    const char *outer_origin = im->graph->origin;
    int errors = im->diag->errors;
    /* Inside a function or branch the node of the main graph is the one people know. */
    if (scope->depth == 0) {
        char *origin = arena_printf(im->arena, "%s (%s)", node_name(node), op);
        disarm(origin, "");
        im->graph->origin = origin;
    }

    bool ok = node->op_type ? lower_node(&c, domain) : call_error(&c, "it names no operator");
    for (int i = 0; i < c.n_out; i++) {
        const char *name = node->output[i];
        struct value *v = ok ? c.out[i] : NULL;
        if (!*name)
            continue;
        if (names_find(&scope->names, name))
            call_error(&c, "output '%s' has a name that is taken", name);
        if (ok && !v && im->diag->errors == errors)
            call_unsupported(&c, "gpucc does not compute output %d, '%s'", i, name);
        if (v && !v->name && v->def)
            v->name = name;
        names_put(im->arena, &scope->names, name, v);
    }
    im->graph->origin = outer_origin;
}

bool import_nodes(struct import *im, struct scope *scope, size_t n, Onnx__NodeProto *const *nodes)
{
    int errors = im->diag->errors;
    const size_t *order = order_nodes(im, n, nodes);
    for (size_t i = 0; i < n; i++) {
        if (im->diag->status == STATUS_LIMIT)
            return false; /* nothing after it is worth a message */
        if (++im->n_nodes > MAX_NODES) {
            diag_error(im->diag, STATUS_LIMIT, im->model->name, "more than %d nodes", MAX_NODES);
            return false;
        }
        import_node(im, scope, nodes[order[i]]);
    }
    return im->diag->errors == errors;
}

struct graph *frontend_load(struct arena *arena, struct diag *diag, struct model *model,
                            const struct frontend_options *options)
{
    static const struct frontend_options none;
    const Onnx__ModelProto *proto = model->proto;
    int errors = diag->errors;
    struct graph *g = graph_create(arena, diag);
    struct import im = {.model = model, .arena = arena, .diag = diag, .graph = g};
    im.b = (struct builder){g, NULL};
    im.options = options ? options : &none;
    struct scope scope = {.opsets = proto->opset_import, .n_opsets = proto->n_opset_import};
    g->name = proto->graph->name ? proto->graph->name : "";
    if (proto->n_opset_import == 0)
        diag_error(diag, STATUS_BAD_MODEL, model->name, "the model names no opset");
    if (opset_of(&scope, "") > NEWEST_OPSET)
        diag_warning(diag, model->name, "opset %lld is newer than the newest gpucc knows, %d",
                     (long long)opset_of(&scope, ""), NEWEST_OPSET);

    bool ok = interface_check(&im, proto->graph);
    if (!ok)
        return NULL;
    ok &= import_initializers(&im, &scope, proto->graph);
    ok &= import_inputs(&im, &scope, proto->graph);
    ok &= import_nodes(&im, &scope, proto->graph->n_node, proto->graph->node);
    g->origin = model->name;
    ok = ok && import_outputs(&im, &scope, proto->graph);
    g->origin = NULL;
    return ok && diag->errors == errors ? g : NULL;
}
