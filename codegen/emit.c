/* Kernels as text: parameters, lines, scopes, names, and the struct kernel at the end. */
#include "emit_state.h"
#include "skeleton.h"

#include <stdio.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* Room below 2^31 for the last block's surplus threads. */
#define INDEX_LIMIT (INT32_MAX - 65536)

static void grow(struct emitter *e, void *array, int *cap, int n, size_t size)
{
    if (n < *cap)
        return;
    int bigger = *cap ? *cap * 2 : 16;
    char *grown = arena_array(e->g->arena, (size_t)bigger, size), **slot = array;
    if (n)
        memcpy(grown, *slot, (size_t)n * size);
    *slot = grown;
    *cap = bigger;
}

/* --- Beginning ---------------------------------------------------------------------------------
 */

/* Decides between 32 and 64 bits by one value of the group: offsets count from the start of its
 * memory, which may be a whole concat's. */
static void require_width(struct emitter *e, struct value *part)
{
    const struct value *v = layout_whole(part);
    const struct dim *n = value_elements(e->g, v);
    int64_t least, most;
    dim_bounds(n, &least, &most);
    if (most <= INDEX_LIMIT)
        return;
    if (least > INDEX_LIMIT || dim_is_const(n, NULL)) {
        e->wide = true;
        return;
    }
    graph_constrain(e->g, MUST_LESS_EQUAL, n, dim_const(e->g->dims, INDEX_LIMIT),
                    "%s has too many elements for this plan (at most %d)",
                    v->name ? v->name : "an intermediate result", INDEX_LIMIT);
}

struct emitter *emit_begin(struct codegen *c, const struct group *group, const char *family)
{
    struct emitter *e = ARENA_NEW(c->g->arena, struct emitter);
    e->g = c->g;
    e->target = c->target;
    e->group = group;
    e->ix = index_table_create(c->g->arena, c->g->dims);
    e->state = ARENA_NEW(c->g->arena, struct emit_state);
    e->state->c = c;
    e->state->family = family;
    e->state->skeleton = "";
    e->state->defines.arena = e->state->functions.arena = e->state->body.arena = c->g->arena;
    e->state->out = &e->state->body;
    e->state->indent = 1;
    e->state->vector = 1;
    for (int i = 0; i < group->n_nodes; i++) {
        const struct node *node = group->nodes[i];
        for (int k = 0; k < node->n_in; k++)
            require_width(e, node->in[k]);
        for (int k = 0; k < node->n_out; k++)
            require_width(e, node->out[k]);
    }
    return e;
}

void emit_in_place(struct emitter *e)
{
    e->state->in_place = e->group->in_place;
}

struct value *emit_workspace(struct codegen *c, const struct group *group, enum dtype type,
                             const struct dim *n)
{
    struct value *v = ARENA_NEW(c->g->arena, struct value);
    const struct dim **shape = ARENA_ARRAY(c->g->arena, 1, const struct dim *);
    shape[0] = n;
    *v = (struct value){
        .id = c->g->next_id++, .type = type, .rank = 1, .shape = shape, .def = group->core};
    return v;
}

struct value *emit_workspace_zeroed(struct codegen *c, const struct group *group, enum dtype type,
                                    const struct dim *n)
{
    struct value *v = emit_workspace(c, group, type, n);
    v->zeroed = true;
    return v;
}

void emit_launch_grid(struct emitter *e, const struct dim *x, const struct dim *y,
                      const struct dim *z, int block_x, int block_y, int shared_bytes)
{
    const struct dim *one = dim_const(e->g->dims, 1);
    struct emit_state *s = e->state;
    s->grid[0] = x;
    s->grid[1] = y ? y : one;
    s->grid[2] = z ? z : one;
    s->block[0] = block_x;
    s->block[1] = block_y;
    s->block[2] = 1;
    s->shared_bytes = shared_bytes;
}

void emit_launch(struct emitter *e, const struct dim *blocks, int threads, int shared_bytes)
{
    emit_launch_grid(e, blocks, NULL, NULL, threads, 1, shared_bytes);
}

/* --- Lines and scopes --------------------------------------------------------------------------
 */

static void vline(struct emitter *e, const char *format, va_list args, const char *end)
{
    struct text *out = e->state->out;
    for (int i = 0; i < e->state->indent; i++)
        text_append(out, "    ", 4);
    text_vprintf(out, format, args);
    text_printf(out, "%s\n", end);
}

void emit_line(struct emitter *e, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vline(e, format, args, "");
    va_end(args);
}

void emit_push_scope(struct emitter *e)
{
    struct emit_state *s = e->state;
    if (s->n_scopes == MAX_SCOPES) {
        diag_error(e->g->diag, STATUS_LIMIT, NULL, "a kernel nests more than %d blocks",
                   MAX_SCOPES);
        s->failed = true;
        return;
    }
    s->scope[s->n_scopes++] = s->n_memos;
}

void emit_pop_scope(struct emitter *e)
{
    struct emit_state *s = e->state;
    if (s->n_scopes > 0)
        s->n_memos = s->scope[--s->n_scopes];
}

void emit_open(struct emitter *e, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vline(e, format, args, " {");
    va_end(args);
    emit_push_scope(e);
    e->state->indent++;
}

void emit_close(struct emitter *e)
{
    e->state->indent--;
    emit_pop_scope(e);
    emit_line(e, "}");
}

const char *emit_recall(struct emitter *e, int kind, const void *key, int rank,
                        const struct index *const *index)
{
    struct emit_state *s = e->state;
    for (int i = s->n_memos - 1; i >= 0; i--) {
        const struct memo *m = &s->memos[i];
        if (m->key == key && m->kind == kind && m->rank == rank &&
            (rank == 0 || memcmp(m->index, index, (size_t)rank * sizeof *index) == 0))
            return m->name;
    }
    return NULL;
}

void emit_remember(struct emitter *e, int kind, const void *key, int rank,
                   const struct index *const *index, const char *name)
{
    struct emit_state *s = e->state;
    grow(e, &s->memos, &s->cap_memos, s->n_memos, sizeof *s->memos);
    struct memo *m = &s->memos[s->n_memos++];
    *m = (struct memo){key, kind, rank, NULL, name};
    if (rank) {
        m->index = ARENA_ARRAY(e->g->arena, (size_t)rank, const struct index *);
        memcpy(m->index, index, (size_t)rank * sizeof *index);
    }
}

/* --- Skeleton parts ----------------------------------------------------------------------------
 */

void emit_define(struct emitter *e, const char *name, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    text_printf(&e->state->defines, "#define %s ", name);
    text_vprintf(&e->state->defines, format, args);
    text_append(&e->state->defines, "\n", 1);
    va_end(args);
}

void emit_function(struct emitter *e, const char *result, const char *name, const char *parameters)
{
    struct emit_state *s = e->state;
    text_printf(&s->functions, "static __device__ __forceinline__ %s %s(PARAMS%s%s)\n{\n", result,
                name, *parameters ? ", " : "", parameters);
    s->out = &s->functions;
    s->indent = 1;
    emit_push_scope(e);
}

void emit_function_end(struct emitter *e)
{
    struct emit_state *s = e->state;
    emit_pop_scope(e);
    text_printf(&s->functions, "}\n\n");
    s->out = &s->body;
    s->indent = 1;
}

void emit_skeleton(struct emitter *e, const char *file)
{
    const char *text = skeleton_find(file);
    if (!text) {
        diag_error(e->g->diag, STATUS_INTERNAL, NULL, "no skeleton is called %s", file);
        e->state->failed = true;
        return;
    }
    e->state->skeleton = arena_printf(e->g->arena, "%s%s%s", e->state->skeleton,
                                      *e->state->skeleton ? "\n" : "", text);
}

/* --- Parameters --------------------------------------------------------------------------------
 */

const char *emit_fresh(struct emitter *e, const char *prefix)
{
    struct emit_state *s = e->state;
    int i = 0;
    while (i < N_PREFIXES - 1 && s->fresh[i].prefix && strcmp(s->fresh[i].prefix, prefix) != 0)
        i++;
    s->fresh[i].prefix = prefix;
    return arena_printf(e->g->arena, "%s%d", prefix, s->fresh[i].next++);
}

static struct param *add_param(struct emitter *e, struct kernel_arg arg, const char *prefix)
{
    struct emit_state *s = e->state;
    grow(e, &s->params, &s->cap_params, s->n_params, sizeof *s->params);
    struct param *p = &s->params[s->n_params++];
    *p = (struct param){.arg = arg, .name = emit_fresh(e, prefix)};
    return p;
}

const char *emit_buffer(struct emitter *e, struct value *v, bool write)
{
    struct emit_state *s = e->state;
    struct param *p = NULL;
    for (int i = 0; i < s->n_params && !p; i++)
        if (s->params[i].arg.kind == ARG_BUFFER && s->params[i].arg.value == v)
            p = &s->params[i];
    if (!p)
        p = add_param(e, (struct kernel_arg){.kind = ARG_BUFFER, .value = v}, write ? "out" : "in");
    p->read |= !write;
    p->written |= write;
    return p->name;
}

const char *emit_dim(struct emitter *e, const struct dim *d)
{
    struct emit_state *s = e->state;
    int64_t value;
    if (dim_is_const(d, &value)) {
        const char *suffix = value > INT32_MAX || value < -INT32_MAX ? "LL" : "";
        return arena_printf(e->g->arena, "%lld%s", (long long)value, suffix);
    }
    for (int i = 0; i < s->n_params; i++)
        if (s->params[i].arg.kind != ARG_BUFFER && s->params[i].arg.dim == d)
            return s->params[i].name;
    struct kernel_arg arg = {.kind = e->wide ? ARG_I64 : ARG_I32, .dim = d};
    return add_param(e, arg, "n")->name;
}

/* --- The end -----------------------------------------------------------------------------------
 */

/* Inputs, outputs, sizes; each in order of first use. */
static int param_class(const struct param *p)
{
    if (p->arg.kind != ARG_BUFFER)
        return 2;
    return p->written ? 1 : 0;
}

static void sort_params(struct emit_state *s, struct param *sorted)
{
    int n = 0;
    for (int class = 0; class < 3; class ++)
        for (int i = 0; i < s->n_params; i++)
            if (param_class(&s->params[i]) == class)
                sorted[n++] = s->params[i];
}

/* Can another parameter point to the same memory? */
static bool may_be_shared(const struct emitter *e, const struct value *v)
{
    const struct emit_state *s = e->state;
    return s->shares_memory || v == s->in_place.from || v == s->in_place.to ||
           value_shares_memory(e->g, v);
}

static const char *param_text(struct emitter *e, const struct param *p)
{
    if (p->arg.kind != ARG_BUFFER)
        return arena_printf(e->g->arena, "idx_t %s", p->name);
    return arena_printf(e->g->arena, "%s%s *%s%s", p->written ? "" : "const ",
                        emit_storage_type(p->arg.value->type),
                        may_be_shared(e, p->arg.value) ? "" : "__restrict__ ", p->name);
}

/* The parameters, comma-separated, lines kept below 100 columns. */
static void append_params(struct emitter *e, struct text *out, const struct param *params,
                          int column, const char *line_end)
{
    int indent = column;
    for (int i = 0; i < e->state->n_params; i++) {
        const char *text = param_text(e, &params[i]);
        const char *comma = i + 1 < e->state->n_params ? "," : "";
        int length = (int)strlen(text) + 2;
        if (i > 0 && column + length > 98) {
            text_printf(out, "%s\n%*s", line_end, indent, "");
            column = indent;
        } else if (i > 0) {
            text_append(out, " ", 1);
        }
        text_printf(out, "%s%s", text, comma);
        column += length;
    }
}

static void append_macros(struct emitter *e, struct text *out, const struct param *params)
{
    text_printf(out, "#define PARAMS ");
    append_params(e, out, params, 15, " \\");
    text_printf(out, "\n#define ARGS");
    for (int i = 0; i < e->state->n_params; i++)
        text_printf(out, "%s %s", i ? "," : "", params[i].name);
    text_printf(out, "\n\n");
}

static void append_section(struct text *out, const struct text *section)
{
    if (section->length)
        text_append(out, section->data, section->length);
}

static const char *data_of(const struct text *t)
{
    return t->data ? t->data : "";
}

/* The whole source, with KERNEL for its symbol. */
static void assemble(struct emitter *e, struct text *out, const struct param *params)
{
    struct emit_state *s = e->state;
    const char *parts[] = {data_of(&s->defines), data_of(&s->functions), s->skeleton,
                           data_of(&s->body)};
    struct text heading = {.arena = e->g->arena};
    bool by_skeleton = *s->skeleton;
    int threads = s->block[0] * s->block[1];
    if (!by_skeleton) {
        text_printf(&heading, "extern \"C\" __global__ void __launch_bounds__(%d)\nKERNEL(",
                    threads);
        append_params(e, &heading, params, (int)strlen(s->family) + 18, "");
        text_printf(&heading, ")\n{\n");
    }
    text_printf(out, "typedef %s idx_t;\n\n", e->wide ? "long long" : "int");
    const char *scanned[] = {parts[0], parts[1], parts[2], parts[3], data_of(&heading), ""};
    struct text macros = {.arena = e->g->arena};
    if (by_skeleton || s->functions.length) {
        append_macros(e, &macros, params);
        scanned[5] = data_of(&macros);
    }
    prelude_append(out, scanned, 6);
    if (s->defines.length) {
        append_section(out, &s->defines);
        text_append(out, "\n", 1);
    }
    append_section(out, &macros);
    append_section(out, &s->functions);
    if (by_skeleton) {
        text_append(out, s->skeleton, strlen(s->skeleton));
    } else {
        append_section(out, &heading);
        append_section(out, &s->body);
        text_append(out, "}\n", 2);
    }
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* source with each word KERNEL replaced by symbol, in the arena. */
static const char *name_kernel(struct emitter *e, const struct text *source, const char *symbol)
{
    struct text named = {.arena = e->g->arena};
    const char *from = source->data, *at;
    while ((at = strstr(from, "KERNEL")) != NULL) {
        bool word = (at == source->data || !is_word(at[-1])) && !is_word(at[6]);
        text_append(&named, from, (size_t)(at - from));
        text_printf(&named, "%s", word ? symbol : "KERNEL");
        from = at + 6;
    }
    text_printf(&named, "%s", from);
    return named.data;
}

static void append_shape(struct emitter *e, struct text *out, const struct value *v)
{
    text_printf(out, "%s[", dtype_info[v->type].text);
    for (int i = 0; i < v->rank; i++) {
        text_printf(out, "%s", i ? ", " : "");
        dim_print(out, e->g->dims, v->shape[i]);
    }
    text_printf(out, "]");
}

/* Views of constants are shared by all who need the like, and bear the name of the first. */
static bool is_shared(const struct node *node)
{
    while (op_info[node->op].class == OC_VIEW && node->in[0]->def)
        node = node->in[0]->def;
    return op_info[node->op].class == OC_CONST || node->kernel == KERNEL_CONSTANT;
}

static bool is_named_before(const struct group *group, int i)
{
    for (int k = 0; k < i; k++) {
        const struct node *node = group->nodes[k];
        if (node->origin && !is_shared(node) && !strcmp(node->origin, group->nodes[i]->origin))
            return true;
    }
    return false;
}

/* The ONNX nodes that the kernel computes, in order, each once. */
static const char *joined_origins(struct emitter *e)
{
    struct text out = {.arena = e->g->arena};
    for (int i = 0; i < e->group->n_nodes; i++) {
        const struct node *node = e->group->nodes[i];
        if (node->origin && !is_shared(node) && !is_named_before(e->group, i))
            text_printf(&out, "%s%s", out.length ? ", " : "", node->origin);
    }
    return data_of(&out);
}

/* What the kernel does in the model's words: ONNX nodes, then each buffer's shape. */
static const char *comment(struct emitter *e, const char *nodes, const struct param *params)
{
    struct text out = {.arena = e->g->arena};
    text_printf(&out, "%s%s", nodes, *nodes ? "\n" : "");
    for (int i = 0; i < e->state->n_params; i++) {
        text_printf(&out, "%s: ", params[i].name);
        if (params[i].arg.kind != ARG_BUFFER) {
            dim_print(&out, e->g->dims, params[i].arg.dim);
        } else {
            const struct value *v = params[i].arg.value;
            append_shape(e, &out, v);
            if (v->name)
                text_printf(&out, " %s", v->name);
        }
        text_printf(&out, "\n");
    }
    return data_of(&out);
}

static void fill_args(struct emitter *e, struct kernel *k, const struct param *params)
{
    int n = e->state->n_params;
    k->n_args = n;
    k->args = ARENA_ARRAY(e->g->arena, (size_t)n + 1, struct kernel_arg);
    k->reads = ARENA_ARRAY(e->g->arena, (size_t)n + 1, struct value *);
    k->writes = ARENA_ARRAY(e->g->arena, (size_t)n + 1, struct value *);
    for (int i = 0; i < n; i++) {
        k->args[i] = params[i].arg;
        if (params[i].read)
            k->reads[k->n_reads++] = params[i].arg.value;
        if (params[i].written)
            k->writes[k->n_writes++] = params[i].arg.value;
    }
}

bool emit_finish(struct emitter *e)
{
    struct emit_state *s = e->state;
    struct text source = {.arena = e->g->arena};
    struct param *params = ARENA_ARRAY(e->g->arena, (size_t)s->n_params + 1, struct param);
    struct kernel *k = ARENA_NEW(e->g->arena, struct kernel);
    sort_params(s, params);
    if (s->failed) {
        s->c->failed = true;
        return false;
    }
    assemble(e, &source, params);
    k->family = s->family;
    snprintf(k->symbol, sizeof k->symbol, "%.40s_%016llx", s->family,
             (unsigned long long)XXH3_64bits(source.data, source.length));
    k->source = name_kernel(e, &source, k->symbol);
    k->group = e->group;
    k->nodes = joined_origins(e);
    k->comment = comment(e, k->nodes, params);
    memcpy(k->grid, s->grid, sizeof k->grid);
    memcpy(k->block, s->block, sizeof k->block);
    k->shared_bytes = s->shared_bytes;
    fill_args(e, k, params);
    k->in_place = s->in_place;
    codegen_append(s->c, (struct step){.kind = STEP_LAUNCH, .kernel = k});
    return true;
}

void emit_unsupported(struct emitter *e, const struct node *node, const char *format, ...)
{
    struct emit_state *s = e->state;
    s->failed = s->c->failed = true;
    for (int i = 0; i < s->n_reported; i++)
        if (s->reported[i] == node)
            return;
    if (!s->reported)
        s->reported = ARENA_ARRAY(e->g->arena, (size_t)e->group->n_nodes + 1, const struct node *);
    if (s->n_reported < e->group->n_nodes)
        s->reported[s->n_reported++] = node;
    char message[512];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    diag_error(e->g->diag, STATUS_UNSUPPORTED, node->origin, "%s: %s", op_info[node->op].name,
               message);
}
