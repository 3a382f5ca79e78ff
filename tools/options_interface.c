/* gpucc's options about the model's border: --shape, --freeze, --output, --no-output, --io and
 * --alias. */
#include "options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool option_bad(struct diag *diag, const char *option, const char *value, const char *wanted)
{
    diag_error(diag, STATUS_USAGE, NULL, "%s '%s': wanted %s", option, value, wanted);
    return false;
}

/* A copy of the list with room for one more, which is zero. */
static void *grown(struct arena *arena, const void *list, int n, size_t size)
{
    char *larger = arena_alloc(arena, ((size_t)n + 1) * size);
    if (n)
        memcpy(larger, list, (size_t)n * size);
    memset(larger + (size_t)n * size, 0, size);
    return larger;
}

/* NAME=REST, cut at the last '=': a name may hold some itself. NULL for the rest if there is none.
 */
static const char *cut(struct arena *arena, const char *text, const char **rest)
{
    const char *equal = strrchr(text, '=');
    *rest = equal && equal != text ? equal + 1 : NULL;
    return *rest ? arena_strndup(arena, text, (size_t)(equal - text)) : text;
}

bool option_shape(struct arena *arena, struct diag *diag, const char *text, struct options *out)
{
    static const char wanted[] = "NAME=DIMS, such as image=1x3x224x224";
    struct frontend_options *o = &out->frontend;
    struct frontend_shape *shapes = grown(arena, o->shapes, o->n_shapes, sizeof *shapes);
    struct frontend_shape *shape = &shapes[o->n_shapes];
    int64_t *dims = ARENA_ARRAY(arena, MAX_RANK, int64_t);
    const char *at;
    shape->input = cut(arena, text, &at);
    shape->dims = dims;
    if (!at)
        return option_bad(diag, "--shape", text, wanted);
    while (*at || shape->rank) {
        char *end;
        errno = 0;
        long long extent = strtoll(at, &end, 10);
        if (errno || end == at || extent < 0 || shape->rank == MAX_RANK)
            return option_bad(diag, "--shape", text, wanted);
        dims[shape->rank++] = extent;
        if (!*end)
            break;
        if (*end != 'x')
            return option_bad(diag, "--shape", text, wanted);
        at = end + 1;
    }
    o->shapes = shapes;
    o->n_shapes++;
    return true;
}

bool option_freeze(struct arena *arena, struct diag *diag, const char *text, struct options *out)
{
    struct frozen_file *files = grown(arena, out->frozen, out->n_frozen, sizeof *files);
    struct frozen_file *file = &files[out->n_frozen];
    file->input = cut(arena, text, &file->path);
    if (!file->path || !*file->path)
        return option_bad(diag, "--freeze", text, "NAME=FILE, such as mask=mask.npy");
    out->frozen = files;
    out->n_frozen++;
    return true;
}

static void add_name(struct arena *arena, const char *name, const char *const **names, int *n)
{
    const char **larger = grown(arena, *names, *n, sizeof *larger);
    larger[(*n)++] = name;
    *names = larger;
}

bool option_output(struct arena *arena, const char *text, struct options *out)
{
    add_name(arena, text, &out->frontend.outputs, &out->frontend.n_outputs);
    return true;
}

bool option_no_output(struct arena *arena, const char *text, struct options *out)
{
    add_name(arena, text, &out->frontend.dropped, &out->frontend.n_dropped);
    return true;
}

/* Strings have no place in a plan, and complex numbers no casts. */
static enum dtype find_type(const char *text, size_t length)
{
    for (int i = DT_NONE + 1; i < DT_COUNT; i++) {
        const char *name = dtype_info[i].text;
        if (i != DT_STRING && i != DT_C64 && i != DT_C128 && strlen(name) == length &&
            !strncmp(name, text, length))
            return (enum dtype)i;
    }
    return DT_NONE;
}

bool option_io(struct arena *arena, struct diag *diag, const char *text, struct options *out)
{
    struct frontend_options *o = &out->frontend;
    struct frontend_io *list = grown(arena, o->io, o->n_io, sizeof *list);
    struct frontend_io *io = &list[o->n_io];
    const char *type;
    io->name = cut(arena, text, &type);
    const char *colon = type ? strchr(type, ':') : NULL;
    size_t length = type ? (colon ? (size_t)(colon - type) : strlen(type)) : 0;
    io->type = find_type(type, length);
    io->layout = colon ? colon + 1 : NULL;
    bool good = type && (io->type != DT_NONE || (!length && colon)) &&
                (!io->layout || frontend_knows_layout(io->layout));
    if (!good)
        return option_bad(diag, "--io", text,
                          "NAME=TYPE, NAME=TYPE:LAYOUT or NAME=:LAYOUT, such as image=u8:nhwc; "
                          "layouts are nwc, ncw, nhwc, nchw, ndhwc, ncdhw");
    o->io = list;
    o->n_io++;
    return true;
}

bool option_alias(struct arena *arena, struct diag *diag, const char *text, struct options *out)
{
    struct frontend_options *o = &out->frontend;
    struct frontend_alias *list = grown(arena, o->aliases, o->n_aliases, sizeof *list);
    struct frontend_alias *alias = &list[o->n_aliases];
    alias->output = cut(arena, text, &alias->input);
    if (!alias->input || !*alias->input)
        return option_bad(diag, "--alias", text, "OUTPUT=INPUT, such as present_k=past_k");
    o->aliases = list;
    o->n_aliases++;
    return true;
}
