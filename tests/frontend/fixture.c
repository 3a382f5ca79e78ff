#include "fixture.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char folder[64];
static struct arena pool;
static jmp_buf pool_oom;

static void *pool_alloc(size_t size)
{
    pool.on_oom = &pool_oom;
    return arena_alloc(&pool, size);
}

static char *pool_text(const char *text)
{
    pool.on_oom = &pool_oom;
    return arena_strdup(&pool, text);
}

int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/gpucc-frontend-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

int remove_folder(void **state)
{
    (void)state;
    arena_free(&pool);
    pool = (struct arena){0};
    DIR *dir = opendir(folder);
    for (struct dirent *e; dir && (e = readdir(dir));)
        unlink(path_of(e->d_name)); /* "." and ".." stay, as unlink refuses them */
    if (dir)
        closedir(dir);
    return rmdir(folder);
}

const char *path_of(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

void write_file(const char *name, const void *bytes, size_t size)
{
    FILE *file = fopen(path_of(name), "wb");
    if (!file || (size && fwrite(bytes, 1, size, file) != size) || fclose(file) != 0)
        abort();
}

static void load_counted(struct loaded *l, const struct frontend_options *options, size_t n)
{
    memset(l, 0, sizeof *l);
    l->arena.on_oom = &l->oom;
    l->arena.countdown = n;
    l->model = model_open(&l->diag, path_of("model.onnx"));
    if (!l->model || setjmp(l->oom))
        return;
    l->graph = frontend_load(&l->arena, &l->diag, l->model, options);
    if (l->graph && !graph_verify(l->graph, "model"))
        l->graph = NULL;
}

void load(struct loaded *l, const struct frontend_options *options)
{
    load_counted(l, options, 0);
}

void load_with_failure(struct loaded *l, size_t n)
{
    load_counted(l, NULL, n);
}

void unload(struct loaded *l)
{
    arena_free(&l->arena);
    model_close(l->model);
    diag_free(&l->diag);
}

bool says(const struct loaded *l, const char *text)
{
    for (const struct diag_message *m = l->diag.first; m; m = m->next)
        if (strstr(m->text, text) || (m->where && strstr(m->where, text)))
            return true;
    return false;
}

/* Appends to a repeated field. */
static void append(void ***list, size_t *n, void *item)
{
    void **grown = pool_alloc((*n + 1) * sizeof *grown);
    if (*n)
        memcpy(grown, *list, *n * sizeof *grown);
    grown[(*n)++] = item;
    *list = grown;
}
#define APPEND(owner, field, item) append((void ***)&(owner)->field, &(owner)->n_##field, (item))

Onnx__ModelProto *new_model(int64_t opset)
{
    Onnx__ModelProto *m = pool_alloc(sizeof *m);
    onnx__model_proto__init(m);
    m->has_ir_version = true;
    m->ir_version = 8;
    m->graph = pool_alloc(sizeof *m->graph);
    onnx__graph_proto__init(m->graph);
    m->graph->name = pool_text("g");
    Onnx__OperatorSetIdProto *o = pool_alloc(sizeof *o);
    onnx__operator_set_id_proto__init(o);
    o->has_version = true;
    o->version = opset;
    APPEND(m, opset_import, o);
    return m;
}

void add_initializer(Onnx__GraphProto *g, Onnx__TensorProto *t)
{
    APPEND(g, initializer, t);
}

static Onnx__ValueInfoProto *new_info(const char *name, int type)
{
    Onnx__ValueInfoProto *info = pool_alloc(sizeof *info);
    onnx__value_info_proto__init(info);
    info->name = pool_text(name);
    info->type = pool_alloc(sizeof *info->type);
    onnx__type_proto__init(info->type);
    info->type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    info->type->tensor_type = pool_alloc(sizeof *info->type->tensor_type);
    onnx__type_proto__tensor__init(info->type->tensor_type);
    info->type->tensor_type->has_elem_type = true;
    info->type->tensor_type->elem_type = type;
    return info;
}

void add_input(Onnx__GraphProto *g, const char *name, int type, const char *dims)
{
    Onnx__ValueInfoProto *info = new_info(name, type);
    Onnx__TensorShapeProto *shape = pool_alloc(sizeof *shape);
    onnx__tensor_shape_proto__init(shape);
    info->type->tensor_type->shape = shape;
    char *text = pool_text(dims);
    for (char *d = strtok(text, ","); d; d = strtok(NULL, ",")) {
        Onnx__TensorShapeProto__Dimension *dim = pool_alloc(sizeof *dim);
        onnx__tensor_shape_proto__dimension__init(dim);
        if (*d >= '0' && *d <= '9') {
            dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
            dim->dim_value = atoll(d);
        } else {
            dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
            dim->dim_param = d;
        }
        APPEND(shape, dim, dim);
    }
    APPEND(g, input, info);
}

void add_output(Onnx__GraphProto *g, const char *name, int type)
{
    APPEND(g, output, new_info(name, type));
}

Onnx__NodeProto *add_node(Onnx__NodeProto ***nodes, size_t *n, const char *op, const char *inputs,
                          const char *outputs)
{
    Onnx__NodeProto *node = pool_alloc(sizeof *node);
    onnx__node_proto__init(node);
    node->op_type = pool_text(op);
    char *text = pool_text(inputs);
    for (char *name = strtok(text, ","); name; name = strtok(NULL, ","))
        APPEND(node, input, strcmp(name, "-") == 0 ? pool_text("") : name);
    text = pool_text(outputs);
    for (char *name = strtok(text, ","); name; name = strtok(NULL, ","))
        APPEND(node, output, name);
    append((void ***)nodes, n, node);
    return node;
}

Onnx__NodeProto *graph_node(Onnx__ModelProto *m, const char *op, const char *inputs,
                            const char *outputs)
{
    return add_node(&m->graph->node, &m->graph->n_node, op, inputs, outputs);
}

Onnx__AttributeProto *add_attribute(Onnx__NodeProto *node, const char *name, int type)
{
    Onnx__AttributeProto *a = pool_alloc(sizeof *a);
    onnx__attribute_proto__init(a);
    a->name = pool_text(name);
    a->has_type = true;
    a->type = type;
    APPEND(node, attribute, a);
    return a;
}

Onnx__TensorProto *new_tensor(const char *name, int type, int n_dims, const int64_t *dims)
{
    Onnx__TensorProto *t = pool_alloc(sizeof *t);
    onnx__tensor_proto__init(t);
    t->name = pool_text(name);
    t->has_data_type = true;
    t->data_type = type;
    t->n_dims = (size_t)n_dims;
    t->dims = pool_alloc((size_t)n_dims * sizeof *t->dims);
    if (n_dims)
        memcpy(t->dims, dims, (size_t)n_dims * sizeof *t->dims);
    return t;
}

void set_raw(Onnx__TensorProto *t, const void *bytes, size_t size)
{
    t->has_raw_data = true;
    t->raw_data.len = size;
    t->raw_data.data = pool_alloc(size);
    memcpy(t->raw_data.data, bytes, size);
}

static void add_entry(Onnx__TensorProto *t, const char *key, const char *value)
{
    Onnx__StringStringEntryProto *e = pool_alloc(sizeof *e);
    onnx__string_string_entry_proto__init(e);
    e->key = pool_text(key);
    e->value = pool_text(value);
    APPEND(t, external_data, e);
}

void set_external(Onnx__TensorProto *t, const char *location, const char *offset,
                  const char *length)
{
    t->has_data_location = true;
    t->data_location = 1;
    add_entry(t, "location", location);
    if (offset)
        add_entry(t, "offset", offset);
    if (length)
        add_entry(t, "length", length);
}

void save_model(const Onnx__ModelProto *m)
{
    size_t size = onnx__model_proto__get_packed_size(m);
    uint8_t *bytes = malloc(size + 1);
    if (!bytes)
        abort();
    onnx__model_proto__pack(m, bytes);
    write_file("model.onnx", bytes, size);
    free(bytes);
}
