#include "eval_array.h"

#include "scalar.h"

#include <stdlib.h>

int64_t span(const struct array *a, int from, int to)
{
    int64_t n = 1;
    for (int i = from; i < to; i++)
        n *= a->shape[i];
    return n;
}

int64_t array_elements(const struct array *a)
{
    return span(a, 0, a->rank);
}

void array_set_dense(struct array *a)
{
    int64_t stride = 1;
    for (int i = a->rank - 1; i >= 0; i--) {
        a->stride[i] = stride;
        stride *= a->shape[i];
    }
}

bool array_is_dense(const struct array *a)
{
    int64_t stride = 1;
    for (int i = a->rank - 1; i >= 0; i--) {
        if (a->shape[i] != 1 && a->stride[i] != stride)
            return false;
        stride *= a->shape[i];
    }
    return true;
}

static void out_of_memory(struct eval_call *c)
{
    longjmp(*c->scratch.on_oom, 1);
}

void array_wrap(struct eval_call *c, struct array *a, void *data, bool owned)
{
    struct buffer *buffer = malloc(sizeof(*buffer));
    if (!buffer) {
        if (owned)
            free(data);
        out_of_memory(c);
    }
    *buffer = (struct buffer){data, 1, owned};
    a->buffer = buffer;
    a->data = data;
    array_set_dense(a);
}

void array_alloc(struct eval_call *c, struct array *a)
{
    size_t size = (size_t)array_elements(a) * dtype_size(a->type);
    void *data = malloc(size ? size : 1);
    if (!data)
        out_of_memory(c);
    array_wrap(c, a, data, true);
}

void array_share(struct array *view, const struct array *base)
{
    view->buffer = base->buffer;
    view->data = base->data;
    base->buffer->arrays++;
}

void array_release(struct array *a)
{
    if (a->buffer && --a->buffer->arrays == 0) {
        if (a->buffer->owned)
            free(a->buffer->data);
        free(a->buffer);
    }
    a->buffer = NULL;
    a->data = NULL;
}

void loop_start(struct loop *l, int n, const struct array *const *arrays)
{
    const struct array *first = arrays[0];
    *l = (struct loop){.arrays = n, .more = array_elements(first) > 0};
    int last = -1; /* the merged axis that grows, counted from the innermost */
    for (int axis = first->rank - 1; axis >= 0; axis--) {
        int64_t extent = first->shape[axis], step[LOOP_ARRAYS];
        if (extent == 1)
            continue;
        bool merges = last >= 0;
        for (int k = 0; k < n; k++) {
            step[k] = arrays[k]->stride[axis] * (int64_t)dtype_size(arrays[k]->type);
            merges = merges && step[k] == l->step[k][last] * l->extent[last];
        }
        if (merges) {
            l->extent[last] *= extent;
            continue;
        }
        l->extent[++last] = extent;
        for (int k = 0; k < n; k++)
            l->step[k][last] = step[k];
    }
    l->rank = last + 1;
    l->run = l->rank ? l->extent[0] : 1;
    for (int k = 0; k < n; k++) {
        l->at[k] = arrays[k]->data;
        l->run_step[k] = l->rank ? l->step[k][0] : 0;
    }
}

void loop_next(struct loop *l)
{
    for (int axis = 1; axis < l->rank; axis++) {
        if (++l->index[axis] < l->extent[axis]) {
            for (int k = 0; k < l->arrays; k++)
                l->at[k] += l->step[k][axis];
            return;
        }
        l->index[axis] = 0;
        for (int k = 0; k < l->arrays; k++)
            l->at[k] -= l->step[k][axis] * (l->extent[axis] - 1);
    }
    l->more = false;
}

#define COPY_RUN(T)                                                                                \
    for (int64_t i = 0; i < n; i++, to += to_step, from += from_step)                              \
        *(T *)to = *(const T *)from;                                                               \
    break

static void copy_run(char *to, int64_t to_step, const char *from, int64_t from_step, int64_t n,
                     size_t width)
{
    if (to_step == (int64_t)width && from_step == (int64_t)width) {
        memcpy(to, from, (size_t)n * width);
        return;
    }
    switch (width) {
    case 1: COPY_RUN(uint8_t);
    case 2: COPY_RUN(uint16_t);
    case 4: COPY_RUN(uint32_t);
    case 8: COPY_RUN(uint64_t);
    default:
        for (int64_t i = 0; i < n; i++, to += to_step, from += from_step)
            memcpy(to, from, width);
    }
}

void array_copy(const struct array *to, const struct array *from)
{
    struct loop l;
    const struct array *arrays[] = {to, from};
    size_t width = dtype_size(to->type);
    for (loop_start(&l, 2, arrays); l.more; loop_next(&l))
        copy_run(l.at[0], l.rank ? l.run_step[0] : (int64_t)width, l.at[1],
                 l.rank ? l.run_step[1] : (int64_t)width, l.run, width);
}

void array_densify(struct eval_call *c, struct array *a)
{
    if (array_is_dense(a))
        return;
    struct array dense = *a;
    array_alloc(c, &dense);
    array_copy(&dense, a);
    array_release(a);
    *a = dense;
}

/* ---- Conversion of runs. */

/* The types that C has, as they are stored. */
#define C_FLOATS(X) X(F32, float) X(F64, double)
#define C_INTS(X)                                                                                  \
    X(I8, int8_t)                                                                                  \
    X(I16, int16_t)                                                                                \
    X(I32, int32_t) X(I64, int64_t) X(U8, uint8_t) X(U16, uint16_t) X(U32, uint32_t)               \
        X(U64, uint64_t) X(BOOL, uint8_t) X(I4, int8_t) X(I2, int8_t) X(U4, uint8_t)               \
            X(U2, uint8_t)
/* Narrow floats: storage, to float, from float x. */
#define NARROW_FLOATS(X)                                                                           \
    X(F16, uint16_t, f16_to_float(v), float_to_f16(x))                                             \
    X(BF16, uint16_t, bf16_to_float(v), float_to_bf16(x))                                          \
    X(F8E4M3FN, uint8_t, small_decode(v, small_f8e4m3fn),                                          \
      small_encode(x, small_f8e4m3fn, saturate))                                                   \
    X(F8E4M3FNUZ, uint8_t, small_decode(v, small_f8e4m3fnuz),                                      \
      small_encode(x, small_f8e4m3fnuz, saturate))                                                 \
    X(F8E5M2, uint8_t, small_decode(v, small_f8e5m2), small_encode(x, small_f8e5m2, saturate))     \
    X(F8E5M2FNUZ, uint8_t, small_decode(v, small_f8e5m2fnuz),                                      \
      small_encode(x, small_f8e5m2fnuz, saturate))                                                 \
    X(F8E8M0, uint8_t, f8e8m0_to_float(v), float_to_f8e8m0(x, saturate))                           \
    X(F4E2M1, uint8_t, small_decode(v, small_f4e2m1), small_encode(x, small_f4e2m1, true))

#define LOAD(NAME, T, TO, VALUE)                                                                   \
    case DT_##NAME:                                                                                \
        for (int64_t i = 0; i < n; i++, at += step) {                                              \
            T v = *(const T *)at;                                                                  \
            to[i] = (TO)(VALUE);                                                                   \
        }                                                                                          \
        break;

void load_reals(double *to, const void *from, enum dtype type, int64_t step, int64_t n)
{
    const char *at = from;
    switch (type) {
#define X(NAME, T) LOAD(NAME, T, double, v)
        C_FLOATS(X)
#undef X
#define X(NAME, T, DECODE, ENCODE) LOAD(NAME, T, double, DECODE)
        NARROW_FLOATS(X)
#undef X
    default: break;
    }
}

void load_floats(float *to, const void *from, enum dtype type, int64_t step, int64_t n)
{
    const char *at = from;
    switch (type) {
#define X(NAME, T) LOAD(NAME, T, float, v)
        C_FLOATS(X)
#undef X
#define X(NAME, T, DECODE, ENCODE) LOAD(NAME, T, float, DECODE)
        NARROW_FLOATS(X)
#undef X
    default: break;
    }
}

void load_ints(int64_t *to, const void *from, enum dtype type, int64_t step, int64_t n)
{
    const char *at = from;
    switch (type) {
#define X(NAME, T) LOAD(NAME, T, int64_t, v)
        C_INTS(X)
#undef X
    default: break;
    }
}

#define STORE(NAME, T, VALUE)                                                                      \
    case DT_##NAME:                                                                                \
        for (int64_t i = 0; i < n; i++)                                                            \
            ((T *)to)[i] = (T)(VALUE);                                                             \
        break;
#define STORE_NARROW(NAME, T, DECODE, ENCODE)                                                      \
    case DT_##NAME:                                                                                \
        for (int64_t i = 0; i < n; i++) {                                                          \
            float x = (float)from[i];                                                              \
            ((T *)to)[i] = (T)(ENCODE);                                                            \
        }                                                                                          \
        break;
/* What casts make of a real v, for each integer type. */
#define STORE_REAL_AS_INTS(v)                                                                      \
    STORE(I32, int32_t, float_to_i32(v))                                                           \
    STORE(I64, int64_t, float_to_i64(v))                                                           \
    STORE(U64, uint64_t, float_to_u64(v))                                                          \
    STORE(I8, int8_t, float_to_i64(v))                                                             \
    STORE(I16, int16_t, float_to_i64(v))                                                           \
    STORE(U8, uint8_t, float_to_i64(v))                                                            \
    STORE(U16, uint16_t, float_to_i64(v))                                                          \
    STORE(U32, uint32_t, float_to_i64(v))                                                          \
    STORE(I4, int8_t, wrap_i4(float_to_i64(v)))                                                    \
    STORE(I2, int8_t, wrap_i2(float_to_i64(v)))                                                    \
    STORE(U4, uint8_t, float_to_i64(v) & 15)                                                       \
    STORE(U2, uint8_t, float_to_i64(v) & 3)                                                        \
    STORE(BOOL, uint8_t, (v) != 0)

void store_reals(void *to, enum dtype type, const double *from, int64_t n, bool saturate)
{
    switch (type) {
        STORE(F32, float, from[i])
        STORE(F64, double, from[i])
        NARROW_FLOATS(STORE_NARROW)
        STORE_REAL_AS_INTS(from[i])
    default: break;
    }
}

void store_floats(void *to, enum dtype type, const float *from, int64_t n, bool saturate)
{
    switch (type) {
        STORE(F32, float, from[i])
        STORE(F64, double, from[i])
        NARROW_FLOATS(STORE_NARROW)
    default: break;
    }
}

static void store_unsigned_as_floats(void *to, enum dtype type, const uint64_t *from, int64_t n)
{
    const bool saturate = true;
    switch (type) {
        STORE(F32, float, from[i])
        STORE(F64, double, from[i])
        NARROW_FLOATS(STORE_NARROW)
    default: break;
    }
}

void store_ints(void *to, enum dtype type, const int64_t *from, int64_t n, bool from_u64)
{
    const bool saturate = true;
    if (from_u64 && dtype_is_float(type)) {
        store_unsigned_as_floats(to, type, (const uint64_t *)from, n);
        return;
    }
    switch (type) {
        STORE(F32, float, from[i])
        STORE(F64, double, from[i])
        NARROW_FLOATS(STORE_NARROW)
#define STORE_LOW_BITS(NAME, T) STORE(NAME, T, from[i])
        STORE_LOW_BITS(I8, int8_t)
        STORE_LOW_BITS(I16, int16_t)
        STORE_LOW_BITS(I32, int32_t)
        STORE_LOW_BITS(I64, int64_t)
        STORE_LOW_BITS(U8, uint8_t)
        STORE_LOW_BITS(U16, uint16_t)
        STORE_LOW_BITS(U32, uint32_t)
        STORE_LOW_BITS(U64, uint64_t)
#undef STORE_LOW_BITS
        STORE(I4, int8_t, wrap_i4(from[i]))
        STORE(I2, int8_t, wrap_i2(from[i]))
        STORE(U4, uint8_t, from[i] & 15)
        STORE(U2, uint8_t, from[i] & 3)
        STORE(BOOL, uint8_t, from[i] != 0)
    default: break;
    }
}

double *scratch_reals(struct eval_call *c, int64_t n)
{
    return arena_array(&c->scratch, (size_t)n, sizeof(double));
}

int64_t *scratch_ints(struct eval_call *c, int64_t n)
{
    return arena_array(&c->scratch, (size_t)n, sizeof(int64_t));
}

double *array_reals(struct eval_call *c, const struct array *a)
{
    int64_t n = array_elements(a);
    double *x = scratch_reals(c, n);
    load_reals(x, a->data, a->type, (int64_t)dtype_size(a->type), n);
    return x;
}

int64_t *array_ints(struct eval_call *c, const struct array *a)
{
    int64_t n = array_elements(a);
    int64_t *x = scratch_ints(c, n);
    load_ints(x, a->data, a->type, (int64_t)dtype_size(a->type), n);
    return x;
}
