/* Constants and ops that only move elements. Most are another look at the same memory. */
#include "eval_array.h"
#include "scalar.h"

#include <stdio.h>
#include <stdlib.h>

/* A constant's range of a file, into a's own memory. */
static bool read_range(struct eval_call *c, const struct constant *k, struct array *a, size_t size)
{
    array_alloc(c, a);
    FILE *file = fopen(k->file, "rb");
    bool ok =
        file && fseeko(file, k->offset, SEEK_SET) == 0 && fread(a->data, 1, size, file) == size;
    if (file)
        fclose(file);
    return ok || eval_fails(c, STATUS_IO, "the file of this constant cannot be read");
}

bool eval_op_constant(struct eval_call *c)
{
    const struct constant *k = c->node->attr.constant.data;
    struct array *out = &c->out[0];
    size_t size = (size_t)array_elements(out) * dtype_size(out->type);
    if (k->size < size)
        return eval_fails(c, STATUS_BAD_MODEL, "fewer bytes than its shape needs");
    if (k->bytes || size == 0) {
        array_wrap(c, out, (void *)(uintptr_t)k->bytes, false);
        return true;
    }
    if (!k->file)
        return eval_fails(c, STATUS_BAD_MODEL, "a constant whose elements are not given");
    return read_range(c, k, out, size);
}

bool eval_op_iota(struct eval_call *c)
{
    struct array *out = &c->out[0];
    int64_t axis = c->node->attr.iota.axis, n = out->rank ? out->shape[axis] : 1;
    struct array line = {.type = out->type, .rank = 1, .shape = {n}};
    int64_t *numbers = scratch_ints(c, n);
    for (int64_t i = 0; i < n; i++)
        numbers[i] = i;
    array_alloc(c, &line);
    store_ints(line.data, line.type, numbers, n, false);
    out->buffer = line.buffer;
    out->data = line.data;
    for (int i = 0; i < out->rank; i++)
        out->stride[i] = i == axis;
    return true;
}

bool eval_op_size(struct eval_call *c)
{
    int64_t value;
    if (!dim_eval(c->node->attr.size.value, c->symbols, &value))
        return eval_fails(c, STATUS_BAD_MODEL, "its value cannot be computed");
    array_alloc(c, &c->out[0]);
    memcpy(c->out[0].data, &value, sizeof(value));
    return true;
}

bool eval_op_reshape(struct eval_call *c)
{
    if (array_elements(&c->in[0]) != array_elements(&c->out[0]))
        return eval_fails(c, STATUS_BAD_MODEL, "the shapes have different counts of elements");
    array_densify(c, &c->in[0]);
    array_share(&c->out[0], &c->in[0]);
    array_set_dense(&c->out[0]);
    return true;
}

bool eval_op_transpose(struct eval_call *c)
{
    for (int i = 0; i < c->out[0].rank; i++)
        c->out[0].stride[i] = c->in[0].stride[c->node->attr.transpose.perm.axis[i]];
    array_share(&c->out[0], &c->in[0]);
    return true;
}

bool eval_op_expand(struct eval_call *c)
{
    for (int i = 0; i < c->out[0].rank; i++) {
        if (c->in[0].shape[i] != 1 && c->in[0].shape[i] != c->out[0].shape[i])
            return eval_fails(c, STATUS_BAD_MODEL, "an axis that is not 1 is repeated");
        c->out[0].stride[i] = c->in[0].shape[i] == 1 ? 0 : c->in[0].stride[i];
    }
    array_share(&c->out[0], &c->in[0]);
    return true;
}

/* Whether start + step * i is inside [0, extent) for all i < size. */
static bool slice_inside(int64_t start, int64_t step, int64_t size, int64_t extent)
{
    int64_t last;
    if (size == 0)
        return true;
    if (__builtin_mul_overflow(step, size - 1, &last) || __builtin_add_overflow(last, start, &last))
        return false;
    return start >= 0 && start < extent && last >= 0 && last < extent;
}

bool eval_op_slice(struct eval_call *c)
{
    int64_t start[MAX_RANK], step[MAX_RANK], offset = 0;
    const struct array *in = &c->in[0];
    struct array *out = &c->out[0];
    if (!eval_dims(c, c->node->attr.slice.start, start) ||
        !eval_dims(c, c->node->attr.slice.step, step))
        return false;
    bool empty = array_elements(out) == 0;
    for (int i = 0; i < out->rank && !empty; i++) {
        if (!slice_inside(start[i], step[i], out->shape[i], in->shape[i]))
            return eval_fails(c, STATUS_BAD_MODEL, "it reaches beyond its operand");
        offset += start[i] * in->stride[i];
        out->stride[i] = out->shape[i] > 1 ? step[i] * in->stride[i] : 0;
    }
    array_share(out, in);
    out->data += offset * (int64_t)dtype_size(in->type);
    return true;
}

/* Which element of an axis of size n stands at position i beside it; -1: the fill. */
static int64_t pad_source(int64_t i, int64_t n, enum pad_mode mode)
{
    if (i >= 0 && i < n)
        return i;
    if (mode == PAD_CONSTANT || n == 0)
        return -1;
    if (mode == PAD_EDGE)
        return i < 0 ? 0 : n - 1;
    if (mode == PAD_WRAP)
        return g_mod_i64(i, n);
    int64_t period = n > 1 ? 2 * (n - 1) : 1; /* reflect: the edge itself is not repeated */
    int64_t at = g_mod_i64(i, period);
    return at < n ? at : period - at;
}

bool eval_op_pad(struct eval_call *c)
{
    struct array *in = &c->in[0], *out = &c->out[0];
    int64_t low[MAX_RANK], *source[MAX_RANK], index[MAX_RANK] = {0};
    int64_t n = array_elements(out), width = (int64_t)dtype_size(out->type);
    const struct attr_pad *attr = &c->node->attr.pad;
    if (!eval_dims(c, attr->low, low))
        return false;
    array_alloc(c, out);
    for (int axis = 0; axis < out->rank; axis++) {
        source[axis] = scratch_ints(c, out->shape[axis]);
        for (int64_t i = 0; i < out->shape[axis]; i++)
            source[axis][i] = pad_source(i - low[axis], in->shape[axis], attr->mode);
    }
    const char *fill = c->node->n_in > 1 ? c->in[1].data : arena_alloc(&c->scratch, (size_t)width);
    for (int64_t done = 0; done < n; done++) {
        const char *from = in->data;
        for (int axis = 0; axis < out->rank && from; axis++) {
            int64_t at = source[axis][index[axis]];
            from = at < 0 ? NULL : from + at * in->stride[axis] * width;
        }
        memcpy(out->data + done * width, from ? from : fill, (size_t)width);
        for (int axis = out->rank - 1; axis >= 0 && ++index[axis] == out->shape[axis]; axis--)
            index[axis] = 0;
    }
    return true;
}

bool eval_op_concat(struct eval_call *c)
{
    struct array *out = &c->out[0];
    int64_t axis = c->node->attr.concat.axis, at = 0;
    array_alloc(c, out);
    for (int k = 0; k < c->node->n_in; k++) {
        struct array part = *out;
        part.shape[axis] = c->in[k].shape[axis];
        part.data += at * out->stride[axis] * (int64_t)dtype_size(out->type);
        at += part.shape[axis];
        if (at > out->shape[axis])
            return eval_fails(c, STATUS_BAD_MODEL, "its operands do not fit its result");
        array_copy(&part, &c->in[k]);
    }
    return true;
}
