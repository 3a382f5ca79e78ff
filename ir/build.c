/* The builder: nodes by short calls. */
#include "build.h"

#include <string.h>

#include "scalar.h"

static struct value *insert(struct builder *b, enum op op, int n_in, struct value *const *in,
                            const union attr *attr)
{
    for (int i = 0; i < n_in; i++)
        if (!in[i])
            return NULL;
    struct node *node = graph_insert(b->g, b->before, op, n_in, in, attr);
    return node ? node->out[0] : NULL;
}

static struct value *refuse(struct builder *b, const char *what)
{
    diag_error(b->g->diag, STATUS_BAD_MODEL, b->g->origin, "%s", what);
    return NULL;
}

const struct dim *build_d(struct builder *b, int64_t value)
{
    return dim_const(b->g->dims, value);
}

struct value *build_tensor(struct builder *b, enum op op, int n_in, struct value *const *in,
                           const union attr *attr)
{
    return insert(b, op, n_in, in, attr);
}

/* -- Broadcasting -- */

/* The size that a and b broadcast to. What is not known now is checked when the plan runs, by the
 * constraints of the expand nodes: max(a, b) is right but for a 0 beside a 1, which they refuse. */
static const struct dim *broadcast_dim(struct builder *b, const struct dim *x, const struct dim *y)
{
    if (x == y || dim_is(y, 1))
        return x;
    if (dim_is(x, 1))
        return y;
    if (x->kind == DIM_CONST)
        return x;
    return y->kind == DIM_CONST ? y : dim_max(b->g->dims, x, y);
}

int build_broadcast_shape(struct builder *b, int n, struct value *const *x,
                          const struct dim **shape)
{
    int rank = 0;
    for (int i = 0; i < n; i++) {
        if (!x[i])
            return -1;
        rank = x[i]->rank > rank ? x[i]->rank : rank;
    }
    for (int k = 0; k < rank; k++)
        shape[k] = build_d(b, 1);
    for (int i = 0; i < n; i++)
        for (int k = 0; k < x[i]->rank; k++) {
            int axis = rank - x[i]->rank + k;
            shape[axis] = broadcast_dim(b, shape[axis], x[i]->shape[k]);
        }
    for (int i = 0; i < n; i++)
        for (int k = 0; k < x[i]->rank; k++) {
            int axis = rank - x[i]->rank + k;
            if (!graph_constrain(b->g, MUST_BROADCAST, x[i]->shape[k], shape[axis],
                                 "%s: axis %d of operand %d broadcasts",
                                 b->g->origin ? b->g->origin : "broadcast", k, i))
                return -1;
        }
    return rank;
}

/* -- Scalars -- */

struct value *build_scalar(struct builder *b, enum op op, struct value *x, struct value *y,
                           struct value *z)
{
    const struct dim *shape[MAX_RANK];
    struct value *in[3] = {x, y, z};
    int n = op_info[op].least, rank = build_broadcast_shape(b, n, in, shape);
    if (rank < 0)
        return NULL;
    for (int i = 0; i < n; i++)
        in[i] = build_expand(b, in[i], rank, shape);
    return insert(b, op, n, in, NULL);
}

struct value *build_select(struct builder *b, struct value *c, struct value *x, struct value *y)
{
    return build_scalar(b, OP_select, c, x, y);
}

static struct value *cast(struct builder *b, struct value *x, enum dtype to, bool saturate)
{
    if (!x || x->type == to)
        return x;
    return insert(b, OP_cast, 1, &x, &(union attr){.cast = {.to = to, .saturate = saturate}});
}

struct value *build_cast(struct builder *b, struct value *x, enum dtype to)
{
    return cast(b, x, to, true);
}

struct value *build_cast_wrap(struct builder *b, struct value *x, enum dtype to)
{
    return cast(b, x, to, false);
}

struct value *build_bitcast(struct builder *b, struct value *x, enum dtype to)
{
    if (!x || x->type == to)
        return x;
    return insert(b, OP_bitcast, 1, &x, &(union attr){.bitcast = {.to = to}});
}

/* -- Constants -- */

struct value *build_constant(struct builder *b, enum dtype type, int rank, const int64_t *shape,
                             const void *bytes, const char *initializer)
{
    const struct dim *dims[MAX_RANK];
    size_t size = dtype_size(type);
    if (rank < 0 || rank > MAX_RANK)
        return refuse(b, "a constant's rank is beyond the limit");
    for (int i = 0; i < rank; i++) {
        dims[i] = build_d(b, shape[i]);
        if (shape[i] < 0 || __builtin_mul_overflow(size, (size_t)shape[i], &size))
            return refuse(b, "a constant of this shape does not fit in memory");
    }
    struct constant *data = ARENA_NEW(b->g->arena, struct constant);
    data->bytes = bytes;
    data->size = size;
    data->initializer = initializer ? arena_strdup(b->g->arena, initializer) : NULL;
    union attr attr = {.constant = {.type = type, .shape = {rank, dims}, .data = data}};
    return insert(b, OP_constant, 0, NULL, &attr);
}

static struct value *literal(struct builder *b, enum dtype type, int rank, int64_t n,
                             const void *bytes)
{
    size_t size = dtype_size(type) * (size_t)n;
    void *copy = arena_alloc(b->g->arena, size);
    if (bytes)
        memcpy(copy, bytes, size);
    return build_constant(b, type, rank, &n, copy, NULL);
}

struct value *build_float(struct builder *b, enum dtype type, double value)
{
    float single = (float)value;
    uint16_t half = type == DT_F16 ? float_to_f16(single) : float_to_bf16(single);
    switch (type) {
    case DT_F32: return literal(b, type, 0, 1, &single);
    case DT_F64: return literal(b, type, 0, 1, &value);
    case DT_F16:
    case DT_BF16: return literal(b, type, 0, 1, &half);
    default: return build_cast(b, literal(b, DT_F32, 0, 1, &single), type);
    }
}

struct value *build_int(struct builder *b, enum dtype type, int64_t value)
{
    if (dtype_is_float(type))
        return build_float(b, type, (double)value);
    uint8_t truth = value != 0;
    uint8_t u8 = (uint8_t)value;
    uint16_t u16 = (uint16_t)value;
    uint32_t u32 = (uint32_t)value;
    switch (dtype_info[type].cls == DC_B ? 1 : dtype_info[type].bits) {
    case 1: return literal(b, type, 0, 1, &truth);
    case 8: return literal(b, type, 0, 1, &u8);
    case 16: return literal(b, type, 0, 1, &u16);
    case 32: return literal(b, type, 0, 1, &u32);
    case 64: return literal(b, type, 0, 1, &value);
    default: return build_cast_wrap(b, literal(b, DT_I64, 0, 1, &value), type);
    }
}

struct value *build_ints(struct builder *b, int n, const int64_t *v)
{
    return literal(b, DT_I64, 1, n, v);
}

struct value *build_iota(struct builder *b, enum dtype type, int rank,
                         const struct dim *const *shape, int axis)
{
    union attr attr = {.iota = {.type = type, .shape = {rank, shape}, .axis = axis}};
    return insert(b, OP_iota, 0, NULL, &attr);
}

struct value *build_dim(struct builder *b, const struct dim *d)
{
    int64_t value;
    if (!d)
        return NULL;
    if (dim_is_const(d, &value))
        return build_int(b, DT_I64, value);
    return insert(b, OP_size, 0, NULL, &(union attr){.size = {.value = d}});
}

struct value *build_dims(struct builder *b, int n, const struct dim *const *d)
{
    int64_t *fixed = ARENA_ARRAY(b->g->arena, (size_t)n, int64_t);
    struct value **parts = ARENA_ARRAY(b->g->arena, (size_t)n, struct value *);
    int n_parts = 0;
    for (int i = 0; i < n;) {
        int run = 0; /* constants side by side become one */
        while (i + run < n && dim_is_const(d[i + run], &fixed[run]))
            run++;
        if (run)
            parts[n_parts++] = build_ints(b, run, fixed);
        else
            parts[n_parts++] = build_unsqueeze(b, build_dim(b, d[i]), 1);
        i += run ? run : 1;
    }
    return n_parts ? build_concat(b, n_parts, parts, 0) : build_ints(b, 0, NULL);
}

/* -- Views -- */

static bool has_shape(const struct value *x, int rank, const struct dim *const *shape)
{
    if (x->rank != rank)
        return false;
    for (int i = 0; i < rank; i++)
        if (x->shape[i] != shape[i])
            return false;
    return true;
}

struct value *build_reshape(struct builder *b, struct value *x, int rank,
                            const struct dim *const *shape)
{
    if (!x || has_shape(x, rank, shape))
        return x;
    return insert(b, OP_reshape, 1, &x, &(union attr){.reshape = {.shape = {rank, shape}}});
}

struct value *build_transpose(struct builder *b, struct value *x, const int *perm)
{
    union attr attr = {.transpose = {.perm = {.n = x ? x->rank : 0}}};
    bool moves = false;
    for (int i = 0; x && i < x->rank; i++) {
        attr.transpose.perm.axis[i] = (int8_t)perm[i];
        moves |= perm[i] != i;
    }
    return moves ? insert(b, OP_transpose, 1, &x, &attr) : x;
}

struct value *build_expand(struct builder *b, struct value *x, int rank,
                           const struct dim *const *shape)
{
    const struct dim *padded[MAX_RANK];
    if (!x || has_shape(x, rank, shape))
        return x;
    if (rank < x->rank || rank > MAX_RANK)
        return refuse(b, "a tensor cannot broadcast to this rank");
    for (int i = 0; i < rank; i++)
        padded[i] = i < rank - x->rank ? build_d(b, 1) : x->shape[i - (rank - x->rank)];
    x = build_reshape(b, x, rank, padded);
    if (!x || has_shape(x, rank, shape))
        return x;
    return insert(b, OP_expand, 1, &x, &(union attr){.expand = {.shape = {rank, shape}}});
}

struct value *build_slice(struct builder *b, struct value *x, const struct dim *const *start,
                          const struct dim *const *step, const struct dim *const *size)
{
    bool all = true;
    for (int i = 0; x && i < x->rank; i++)
        all &= dim_is(start[i], 0) && dim_is(step[i], 1) && size[i] == x->shape[i];
    if (!x || all)
        return x;
    union attr attr = {
        .slice = {.start = {x->rank, start}, .step = {x->rank, step}, .size = {x->rank, size}}};
    return insert(b, OP_slice, 1, &x, &attr);
}

struct value *build_slice_axis(struct builder *b, struct value *x, int axis,
                               const struct dim *start, const struct dim *size)
{
    const struct dim *starts[MAX_RANK], *steps[MAX_RANK], *sizes[MAX_RANK];
    for (int i = 0; x && i < x->rank; i++) {
        starts[i] = i == axis ? start : build_d(b, 0);
        steps[i] = build_d(b, 1);
        sizes[i] = i == axis ? size : x->shape[i];
    }
    return build_slice(b, x, starts, steps, sizes);
}

struct value *build_pad(struct builder *b, struct value *x, const struct dim *const *low,
                        const struct dim *const *high, enum pad_mode mode, struct value *fill)
{
    bool nothing = true;
    for (int i = 0; x && i < x->rank; i++)
        nothing &= dim_is(low[i], 0) && dim_is(high[i], 0);
    if (!x || nothing)
        return x;
    struct value *in[2] = {x, fill};
    union attr attr = {.pad = {.low = {x->rank, low}, .high = {x->rank, high}, .mode = mode}};
    return insert(b, OP_pad, fill ? 2 : 1, in, &attr);
}

struct value *build_concat(struct builder *b, int n, struct value *const *x, int axis)
{
    if (n == 1)
        return x[0];
    return insert(b, OP_concat, n, x, &(union attr){.concat = {.axis = axis}});
}

struct value *build_unsqueeze(struct builder *b, struct value *x, uint32_t axes)
{
    const struct dim *shape[MAX_RANK];
    int rank = 0, from = 0;
    for (int i = 0; x && i < MAX_RANK && (from < x->rank || axes >> i); i++)
        if (axes >> i & 1)
            shape[rank++] = build_d(b, 1);
        else if (from < x->rank)
            shape[rank++] = x->shape[from++];
        else
            return refuse(b, "an axis to insert is outside the result's rank");
    if (x && (from < x->rank || axes >> MAX_RANK))
        return refuse(b, "the rank is beyond the limit");
    return build_reshape(b, x, rank, shape);
}

struct value *build_squeeze(struct builder *b, struct value *x, uint32_t axes)
{
    const struct dim *shape[MAX_RANK];
    int rank = 0;
    for (int i = 0; x && i < x->rank; i++)
        if (!(axes >> i & 1))
            shape[rank++] = x->shape[i];
    return build_reshape(b, x, rank, shape);
}

/* -- Reductions and rows -- */

/* x, the result of removing `axes` from a value of shape `of`, with these axes back as 1. */
static struct value *keep_axes(struct builder *b, struct value *x, const struct value *of,
                               uint32_t axes)
{
    const struct dim *shape[MAX_RANK];
    for (int i = 0; i < of->rank; i++)
        shape[i] = axes >> i & 1 ? build_d(b, 1) : of->shape[i];
    return build_reshape(b, x, of->rank, shape);
}

struct value *build_reduce(struct builder *b, enum op op, struct value *x, uint32_t axes, bool keep)
{
    if (!x || axes == 0)
        return x;
    /* The four reductions have the same one attribute: any member of the union names it. */
    struct value *r = insert(b, op, 1, &x, &(union attr){.reduce_sum = {.axes = axes}});
    return keep ? keep_axes(b, r, x, axes) : r;
}

struct value *build_mean(struct builder *b, struct value *x, uint32_t axes, bool keep)
{
    if (!x || axes == 0)
        return x;
    enum dtype type = x->type;
    if (dtype_is_float(type) && dtype_size(type) < 4)
        x = build_cast(b, x, DT_F32); /* the sum must not overflow or lose its low bits */
    const struct dim *count = build_d(b, 1);
    for (int i = 0; x && i < x->rank; i++)
        if (axes >> i & 1)
            count = dim_mul(b->g->dims, count, x->shape[i]);
    struct value *sum = build_reduce(b, OP_reduce_sum, x, axes, keep);
    int64_t fixed;
    struct value *n = !sum                          ? NULL
                      : dim_is_const(count, &fixed) ? build_int(b, sum->type, fixed)
                                                    : build_cast(b, build_dim(b, count), sum->type);
    return build_cast(b, build_binary(b, OP_div, sum, n), type);
}

struct value *build_arg(struct builder *b, enum op op, struct value *x, int axis, bool last,
                        bool keep)
{
    if (!x)
        return NULL;
    union attr attr = {.arg_max = {.axis = axis, .last = last}}; /* arg_min's are the same */
    struct value *r = insert(b, op, 1, &x, &attr);
    return keep ? keep_axes(b, r, x, (uint32_t)1 << axis) : r;
}

struct value *build_softmax(struct builder *b, struct value *x, uint32_t axes, bool log)
{
    union attr attr = {.softmax = {.axes = axes}}; /* log_softmax's are the same */
    return insert(b, log ? OP_log_softmax : OP_softmax, 1, &x, &attr);
}

struct value *build_normalize(struct builder *b, struct value *x, uint32_t axes, double epsilon,
                              bool center)
{
    union attr attr = {.normalize = {.axes = axes, .epsilon = epsilon, .center = center}};
    return insert(b, OP_normalize, 1, &x, &attr);
}

/* -- Contractions and gathers -- */

/* [..., M, K] x [K, N]: the batch axes are more rows of one product. */
static struct value *matmul_rows(struct builder *b, struct value *x, struct value *y, enum dtype to)
{
    const struct dim *shape[MAX_RANK], *rows = build_d(b, 1);
    int rank = x->rank;
    for (int i = 0; i < rank - 1; i++) {
        shape[i] = x->shape[i];
        rows = dim_mul(b->g->dims, rows, x->shape[i]);
    }
    shape[rank - 1] = y->shape[1];
    struct value *in[2] = {build_reshape(b, x, 2, (const struct dim *[]){rows, x->shape[rank - 1]}),
                           y};
    struct value *r = insert(b, OP_matmul, 2, in, &(union attr){.matmul = {.to = to}});
    return build_reshape(b, r, rank, shape);
}

/* Both of rank 2 or more. */
static struct value *matmul_batched(struct builder *b, struct value *x, struct value *y,
                                    enum dtype to)
{
    const struct dim *shape[MAX_RANK];
    struct value *in[2] = {x, y};
    if (y->rank == 2)
        return matmul_rows(b, x, y, to);
    int rank = x->rank > y->rank ? x->rank : y->rank;
    const struct value batch[2] = {{.rank = x->rank - 2, .shape = x->shape},
                                   {.rank = y->rank - 2, .shape = y->shape}};
    struct value *batches[2] = {(struct value *)&batch[0], (struct value *)&batch[1]};
    if (build_broadcast_shape(b, 2, batches, shape) < 0)
        return NULL;
    for (int i = 0; i < 2; i++) {
        shape[rank - 2] = in[i]->shape[in[i]->rank - 2];
        shape[rank - 1] = in[i]->shape[in[i]->rank - 1];
        in[i] = build_expand(b, in[i], rank, shape);
        if (!in[i])
            return NULL;
    }
    return insert(b, OP_matmul, 2, in, &(union attr){.matmul = {.to = to}});
}

struct value *build_matmul(struct builder *b, struct value *x, struct value *y, enum dtype to)
{
    if (!x || !y)
        return NULL;
    if (x->rank == 0 || y->rank == 0)
        return refuse(b, "matmul of a scalar");
    bool row = x->rank == 1, column = y->rank == 1;
    x = row ? build_unsqueeze(b, x, 1) : x;
    y = column ? build_unsqueeze(b, y, 2) : y;
    struct value *r = x && y ? matmul_batched(b, x, y, to) : NULL;
    if (r && column)
        r = build_squeeze(b, r, (uint32_t)1 << (r->rank - 1));
    if (r && row)
        r = build_squeeze(b, r, (uint32_t)1 << (r->rank - (column ? 1 : 2)));
    return r;
}

struct value *build_gather(struct builder *b, struct value *x, struct value *index, int axis)
{
    struct value *in[2] = {x, index};
    return insert(b, OP_gather, 2, in, &(union attr){.gather = {.axis = axis}});
}
