/*
 * What the user wants of the graph's border (frontend_options): inputs that become constants, types
 * and layouts other than the model's, outputs that the model does not have.
 */
#include "interface.h"
#include "list.h"

#include <string.h>

/* The layouts that --io knows: with the channels behind or in front of the image's axes. */
static const struct layout_name {
    const char *name;
    int rank;
    bool channels_last;
} layouts[] = {{"nwc", 3, true},   {"ncw", 3, false},  {"nhwc", 4, true},
               {"nchw", 4, false}, {"ndhwc", 5, true}, {"ncdhw", 5, false}};

static bool usage(struct import *im, const char *option, const char *name, const char *why)
{
    diag_error(im->diag, STATUS_USAGE, im->model->name, "%s %s: %s", option, name, why);
    return false;
}

const struct frontend_frozen *interface_frozen(const struct import *im, const char *input)
{
    for (int i = 0; i < im->options->n_frozen; i++)
        if (strcmp(im->options->frozen[i].input, input) == 0)
            return &im->options->frozen[i];
    return NULL;
}

static const struct frontend_io *find_io(const struct import *im, const char *name)
{
    for (int i = 0; i < im->options->n_io; i++)
        if (strcmp(im->options->io[i].name, name) == 0)
            return &im->options->io[i];
    return NULL;
}

bool interface_converts(const struct import *im, const char *name)
{
    return find_io(im, name);
}

bool frontend_knows_layout(const char *name)
{
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
        if (strcmp(layouts[i].name, name) == 0)
            return true;
    return false;
}

bool interface_axes(struct import *im, const char *name, int rank, int to[MAX_RANK])
{
    const struct frontend_io *io = find_io(im, name);
    for (int i = 0; i < rank; i++)
        to[i] = i;
    if (!io || !io->layout)
        return true;
    for (size_t k = 0; k < sizeof layouts / sizeof *layouts; k++) {
        const struct layout_name *layout = &layouts[k];
        if (strcmp(layout->name, io->layout) != 0 || layout->rank != rank)
            continue;
        for (int i = 1; i < rank; i++)
            to[i] =
                layout->channels_last ? (i == 1 ? rank - 1 : i - 1) : (i == rank - 1 ? 1 : i + 1);
        return true;
    }
    diag_error(im->diag, STATUS_USAGE, im->model->name, "--io %s: the layout %s is not for rank %d",
               name, io->layout, rank);
    return false;
}

enum dtype interface_type(const struct import *im, const char *name, enum dtype type)
{
    const struct frontend_io *io = find_io(im, name);
    return io && io->type != DT_NONE ? io->type : type;
}

/* Casts and transposes that follow are those of an input or output of this name. */
static void begin_interface(struct import *im, const char *name)
{
    char *origin = arena_printf(im->arena, "%s (--io)", name);
    disarm(origin, "");
    im->graph->origin = origin;
}

struct value *interface_input(struct import *im, struct value *input, enum dtype type,
                              const int to[MAX_RANK])
{
    const char *outer_origin = im->graph->origin;
    begin_interface(im, input->name);
    struct value *v = build_cast(&im->b, build_transpose(&im->b, input, to), type);
    im->graph->origin = outer_origin;
    return v;
}

/* The output as the user wants it: behind a cast and a transpose where it differs. */
static struct value *interface_output(struct import *im, struct value *v, const char *name)
{
    int to[MAX_RANK], perm[MAX_RANK];
    if (!find_io(im, name))
        return v;
    if (dtype_is_list(v->type)) {
        usage(im, "--io", name, "it is no tensor");
        return NULL;
    }
    if (!interface_axes(im, name, v->rank, to))
        return NULL;
    for (int i = 0; i < v->rank; i++)
        perm[to[i]] = i;
    const char *outer_origin = im->graph->origin;
    begin_interface(im, name);
    v = build_cast(&im->b, v, interface_type(im, name, v->type));
    v = build_transpose(&im->b, v, perm);
    im->graph->origin = outer_origin;
    return v;
}

struct value *interface_constant(struct import *im, const struct frontend_frozen *frozen,
                                 enum dtype type)
{
    const struct tensor *t = frozen->tensor;
    if (find_io(im, frozen->input)) {
        usage(im, "--io", frozen->input, "the input is frozen");
        return NULL;
    }
    if (t->type != type) {
        diag_error(im->diag, STATUS_USAGE, im->model->name,
                   "--freeze %s: the file holds %s, not %s", frozen->input,
                   dtype_info[t->type].text, dtype_info[type].text);
        return NULL;
    }
    struct value *v = build_constant(&im->b, type, t->rank, t->shape, t->data, frozen->input);
    if (v && !v->name)
        v->name = frozen->input;
    return v;
}

bool interface_add_output(struct import *im, struct value *v, const char *name)
{
    for (int i = 0; i < im->options->n_dropped; i++)
        if (strcmp(im->options->dropped[i], name) == 0)
            return true;
    v = interface_output(im, v, name);
    if (v)
        graph_add_output(im->graph, v, name);
    return v;
}

static bool is_listed(const Onnx__GraphProto *graph, const char *name, bool input, bool output)
{
    for (size_t i = 0; input && i < graph->n_input; i++)
        if (graph->input[i]->name && strcmp(graph->input[i]->name, name) == 0)
            return true;
    for (size_t i = 0; output && i < graph->n_output; i++)
        if (graph->output[i]->name && strcmp(graph->output[i]->name, name) == 0)
            return true;
    return false;
}

static bool is_wanted_output(const struct frontend_options *o, const char *name)
{
    for (int i = 0; i < o->n_outputs; i++)
        if (strcmp(o->outputs[i], name) == 0)
            return true;
    return false;
}

static bool is_initializer(const Onnx__GraphProto *graph, const char *name)
{
    for (size_t i = 0; i < graph->n_initializer; i++)
        if (graph->initializer[i]->name && strcmp(graph->initializer[i]->name, name) == 0)
            return true;
    return false;
}

/* Says which names there are instead. */
static bool no_such(struct import *im, const Onnx__GraphProto *graph, const char *option,
                    const char *name, bool input, bool output)
{
    struct text names = {.arena = im->arena};
    int n = 0;
    for (size_t i = 0; input && i < graph->n_input; i++)
        if (graph->input[i]->name && !is_initializer(graph, graph->input[i]->name))
            text_add_name(&names, n++, graph->input[i]->name);
    for (size_t i = 0; output && i < graph->n_output; i++)
        if (graph->output[i]->name)
            text_add_name(&names, n++, graph->output[i]->name);
    return usage(im, option, name,
                 arena_printf(im->arena, "there is no such %s, but %s",
                              !output  ? "input"
                              : !input ? "output"
                                       : "input or output",
                              n ? names.data : "none at all"));
}

bool interface_check(struct import *im, const Onnx__GraphProto *graph)
{
    const struct frontend_options *o = im->options;
    bool ok = true;
    for (int i = 0; i < o->n_shapes; i++) {
        if (!is_listed(graph, o->shapes[i].input, true, false))
            ok = no_such(im, graph, "--shape", o->shapes[i].input, true, false);
        else if (interface_frozen(im, o->shapes[i].input))
            ok = usage(im, "--shape", o->shapes[i].input, "the input is frozen");
        for (int k = 0; k < i; k++)
            if (strcmp(o->shapes[k].input, o->shapes[i].input) == 0)
                ok = usage(im, "--shape", o->shapes[i].input, "is given twice");
    }
    for (int i = 0; i < o->n_frozen; i++)
        if (!is_listed(graph, o->frozen[i].input, true, false))
            ok = no_such(im, graph, "--freeze", o->frozen[i].input, true, false);
        else if (interface_frozen(im, o->frozen[i].input) != &o->frozen[i])
            ok = usage(im, "--freeze", o->frozen[i].input, "is given twice");
    for (int i = 0; i < o->n_io; i++)
        if (!is_listed(graph, o->io[i].name, true, true) && !is_wanted_output(o, o->io[i].name))
            ok = no_such(im, graph, "--io", o->io[i].name, true, true);
        else if (find_io(im, o->io[i].name) != &o->io[i])
            ok = usage(im, "--io", o->io[i].name, "is given twice");
    for (int i = 0; i < o->n_dropped; i++)
        if (!is_listed(graph, o->dropped[i], false, true))
            ok = no_such(im, graph, "--no-output", o->dropped[i], false, true);
    return ok;
}

static int find_input(const struct graph *g, const char *name)
{
    for (int i = 0; i < g->n_inputs; i++)
        if (strcmp(g->inputs[i]->name, name) == 0)
            return i;
    return -1;
}

static bool set_alias(struct import *im, const Onnx__GraphProto *graph,
                      const struct frontend_alias *alias)
{
    struct graph *g = im->graph;
    const char *option = arena_printf(im->arena, "--alias %s", alias->output);
    int input = find_input(g, alias->input), output = g->n_outputs - 1;
    while (output >= 0 && strcmp(g->output_names[output], alias->output) != 0)
        output--;
    if (input < 0)
        return no_such(im, graph, option, alias->input, true, false);
    if (output < 0)
        return no_such(im, graph, option, alias->input, false, true);
    if (dtype_is_list(g->inputs[input]->type) || dtype_is_list(g->outputs[output]->type))
        return usage(im, option, alias->input, "one of them is no tensor");
    for (int i = 0; i < g->n_outputs; i++)
        if (g->output_alias[i] == input || (i == output && g->output_alias[i] >= 0))
            return usage(im, option, alias->input, "one of them is in another --alias already");
    g->output_alias[output] = input;
    return true;
}

bool interface_outputs(struct import *im, struct scope *scope, const Onnx__GraphProto *graph)
{
    const struct frontend_options *o = im->options;
    bool ok = true;
    for (int i = 0; i < o->n_outputs; i++) {
        const char *name = o->outputs[i];
        const struct name_entry *e = names_find(&scope->names, name);
        bool twice = is_listed(graph, name, false, true);
        for (int k = 0; k < i; k++)
            twice |= strcmp(o->outputs[k], name) == 0;
        if (twice)
            ok = usage(im, "--output", name, "it is an output already");
        else if (!e)
            ok = usage(im, "--output", name, "the model's graph has no value of that name");
        else if (is_list(e->value))
            ok = usage(im, "--output", name, "it is no tensor");
        else
            ok &= e->value && interface_add_output(im, e->value, name);
    }
    if (ok && !im->graph->n_outputs) {
        bool none = !graph->n_output;
        diag_error(im->diag, none ? STATUS_BAD_MODEL : STATUS_USAGE, im->model->name,
                   none ? "the model has no output" : "no output is left");
        return false;
    }
    for (int i = 0; ok && i < o->n_aliases; i++)
        ok = set_alias(im, graph, &o->aliases[i]);
    return ok;
}
