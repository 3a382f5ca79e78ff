/*
 * Elementwise ops. From each row of ops.def and each type of its domain comes one loop over a run
 * of elements; floats of 16 bits and less go through float in blocks.
 */
#include "eval_array.h"
#include "scalar.h"

/* out is dense; step: bytes from one element of an operand to the next. */
typedef void run_function(void *out, const char *const in[3], const int64_t step[3], int64_t n);

/* Types that C computes in. */
enum c_type { C_f32, C_f64, C_i8, C_i16, C_i32, C_i64, C_u8, C_u16, C_u32, C_u64, C_bool, C_TYPES };

/* clang-format off */
#define FLOATS(X, ...)   X(f32, float, __VA_ARGS__) X(f64, double, __VA_ARGS__)
#define INTEGERS(X, ...) X(i8, int8_t, __VA_ARGS__) X(i16, int16_t, __VA_ARGS__)                   \
                         X(i32, int32_t, __VA_ARGS__) X(i64, int64_t, __VA_ARGS__)                 \
                         X(u8, uint8_t, __VA_ARGS__) X(u16, uint16_t, __VA_ARGS__)                 \
                         X(u32, uint32_t, __VA_ARGS__) X(u64, uint64_t, __VA_ARGS__)
#define BOOLEAN(X, ...)  X(bool, bool, __VA_ARGS__)

#define DOMAIN_F(X, ...) FLOATS(X, __VA_ARGS__)
#define DOMAIN_N(X, ...) FLOATS(X, __VA_ARGS__) INTEGERS(X, __VA_ARGS__)
#define DOMAIN_I(X, ...) INTEGERS(X, __VA_ARGS__)
#define DOMAIN_L(X, ...) INTEGERS(X, __VA_ARGS__) BOOLEAN(X, __VA_ARGS__)
#define DOMAIN_B(X, ...) BOOLEAN(X, __VA_ARGS__)
#define DOMAIN_A(X, ...) FLOATS(X, __VA_ARGS__) INTEGERS(X, __VA_ARGS__) BOOLEAN(X, __VA_ARGS__)
/* clang-format on */

#define RESULT_SAME(T) T
#define RESULT_BOOL(T) bool
#define RESULT_ATTR(T) T

/* A loop over dense operands that the compiler can vectorize, and one over strided ones. */
#define LOOPS(STEPS_ARE_DENSE, R, LOAD_DENSE, LOAD, expression)                                    \
    R *to = out;                                                                                   \
    if (STEPS_ARE_DENSE) {                                                                         \
        for (int64_t i = 0; i < n; i++) {                                                          \
            LOAD_DENSE                                                                             \
            to[i] = (R)(expression);                                                               \
        }                                                                                          \
        return;                                                                                    \
    }                                                                                              \
    for (int64_t i = 0; i < n; i++) {                                                              \
        LOAD to[i] = (R)(expression);                                                              \
    }

#define DENSE(T, x, k)   const T x = ((const T *)in[k])[i];
#define STRIDED(T, x, k) const T x = *(const T *)(in[k] + i * step[k]);

#define RUN_1(S, T, name, result, expression)                                                      \
    static void name##_##S(void *out, const char *const in[3], const int64_t step[3], int64_t n)   \
    {                                                                                              \
        LOOPS(step[0] == sizeof(T), RESULT_##result(T), DENSE(T, a, 0), STRIDED(T, a, 0),          \
              expression)                                                                          \
    }
#define RUN_2(S, T, name, result, expression)                                                      \
    static void name##_##S(void *out, const char *const in[3], const int64_t step[3], int64_t n)   \
    {                                                                                              \
        LOOPS(step[0] == sizeof(T) && step[1] == sizeof(T), RESULT_##result(T),                    \
              DENSE(T, a, 0) DENSE(T, b, 1), STRIDED(T, a, 0) STRIDED(T, b, 1), expression)        \
    }
/* select: the first of three operands is a bool. */
#define RUN_3(S, T, name, result, expression)                                                      \
    static void name##_##S(void *out, const char *const in[3], const int64_t step[3], int64_t n)   \
    {                                                                                              \
        LOOPS(step[0] == 1 && step[1] == sizeof(T) && step[2] == sizeof(T), RESULT_##result(T),    \
              DENSE(bool, a, 0) DENSE(T, b, 1) DENSE(T, c, 2),                                     \
              STRIDED(bool, a, 0) STRIDED(T, b, 1) STRIDED(T, c, 2), expression)                   \
    }
#define SCALAR(name, operands, domain, result, expression)                                         \
    DOMAIN_##domain(RUN_##operands, name, result, expression)
#include "ops.def"

#define ENTRY(S, T, name) [C_##S] = name##_##S,
#define SCALAR(name, operands, domain, result, expression)                                         \
    [OP_##name] = {DOMAIN_##domain(ENTRY, name)},
static run_function *const runs[OP_COUNT][C_TYPES] = {
#include "ops.def"
};

/* What a type is computed in; narrow floats in float. C_TYPES: cannot be computed with. */
static enum c_type c_type_of(enum dtype type)
{
    switch (type) {
    case DT_F64: return C_f64;
    case DT_I4:
    case DT_I2:
    case DT_I8: return C_i8;
    case DT_I16: return C_i16;
    case DT_I32: return C_i32;
    case DT_I64: return C_i64;
    case DT_U4:
    case DT_U2:
    case DT_U8: return C_u8;
    case DT_U16: return C_u16;
    case DT_U32: return C_u32;
    case DT_U64: return C_u64;
    case DT_BOOL: return C_bool;
    default: return dtype_is_float(type) ? C_f32 : C_TYPES;
    }
}

/* What elements of a type are moved in. */
static enum c_type c_type_of_width(enum dtype type)
{
    switch (dtype_size(type)) {
    case 1: return C_u8;
    case 2: return C_u16;
    case 4: return C_u32;
    case 8: return C_u64;
    default: return C_TYPES;
    }
}

static bool is_narrow(enum dtype type)
{
    return dtype_is_float(type) && type != DT_F32 && type != DT_F64;
}

enum { BLOCK = 256 };

/* Operands of a narrow float type: through float, a block at a time. */
static void run_narrow(struct eval_call *c, run_function *run, const struct loop *l)
{
    static const int64_t dense[3] = {sizeof(float), sizeof(float), sizeof(float)};
    int n_in = l->arrays - 1;
    enum dtype result = c->out[0].type;
    float operand[3][BLOCK], value[BLOCK];
    for (int64_t done = 0; done < l->run; done += BLOCK) {
        int64_t n = l->run - done < BLOCK ? l->run - done : BLOCK;
        const char *in[3] = {NULL};
        char *to = l->at[0] + done * (int64_t)dtype_size(result);
        for (int k = 0; k < n_in; k++) {
            const char *from = l->at[k + 1] + done * l->run_step[k + 1];
            load_floats(operand[k], from, c->in[k].type, l->run_step[k + 1], n);
            in[k] = (const char *)operand[k];
        }
        run(is_narrow(result) ? (void *)value : to, in, dense, n);
        if (is_narrow(result))
            store_floats(to, result, value, n, true);
    }
}

/* Sub-byte integers wrap in their own width, not in the byte they are computed in. */
static void wrap_run(void *out, enum dtype type, int64_t n)
{
    int64_t wide[BLOCK];
    enum dtype byte = dtype_info[type].cls == DC_S ? DT_I8 : DT_U8;
    for (int64_t done = 0; done < n; done += BLOCK) {
        int64_t count = n - done < BLOCK ? n - done : BLOCK;
        char *at = (char *)out + done;
        load_ints(wide, at, byte, 1, count);
        store_ints(at, type, wide, count, false);
    }
}

static void convert_run(const struct loop *l, enum dtype to_type, enum dtype from_type,
                        bool saturate)
{
    double reals[BLOCK];
    int64_t ints[BLOCK];
    for (int64_t done = 0; done < l->run; done += BLOCK) {
        int64_t n = l->run - done < BLOCK ? l->run - done : BLOCK;
        char *to = l->at[0] + done * (int64_t)dtype_size(to_type);
        const char *from = l->at[1] + done * l->run_step[1];
        if (dtype_is_float(from_type)) {
            load_reals(reals, from, from_type, l->run_step[1], n);
            store_reals(to, to_type, reals, n, saturate);
        } else {
            load_ints(ints, from, from_type, l->run_step[1], n);
            store_ints(to, to_type, ints, n, from_type == DT_U64);
        }
    }
}

static void eval_cast(struct eval_call *c)
{
    struct loop l;
    const struct array *arrays[] = {&c->out[0], &c->in[0]};
    if (c->out[0].type == c->in[0].type) {
        array_copy(&c->out[0], &c->in[0]);
        return;
    }
    for (loop_start(&l, 2, arrays); l.more; loop_next(&l))
        convert_run(&l, c->out[0].type, c->in[0].type, c->node->attr.cast.saturate);
}

bool eval_scalar(struct eval_call *c)
{
    const struct node *node = c->node;
    struct array *out = &c->out[0];
    if (node->op == OP_bitcast) {
        enum dtype type = out->type;
        *out = c->in[0];
        out->type = type;
        array_share(out, &c->in[0]);
        return true;
    }
    if (node->op == OP_cast) {
        eval_cast(c);
        return true;
    }
    /* The operands' type; select only moves elements. */
    enum dtype type = node->in[node->n_in - 1]->type;
    bool moves = node->op == OP_select;
    enum c_type in_c = moves ? c_type_of_width(type) : c_type_of(type);
    run_function *run = in_c < C_TYPES ? runs[node->op][in_c] : NULL;
    if (!run)
        return eval_fails(c, STATUS_BAD_MODEL, "not defined for elements of this type");
    const struct array *arrays[LOOP_ARRAYS] = {out};
    for (int k = 0; k < node->n_in; k++)
        arrays[k + 1] = &c->in[k];
    struct loop l;
    for (loop_start(&l, node->n_in + 1, arrays); l.more; loop_next(&l)) {
        if (!moves && is_narrow(type))
            run_narrow(c, run, &l);
        else
            run(l.at[0], (const char *const *)&l.at[1], &l.run_step[1], l.run);
        if (dtype_info[out->type].bits < 8 && dtype_is_int(out->type) && !moves)
            wrap_run(l.at[0], out->type, l.run);
    }
    return true;
}
