/* Types, literals and scalar operations as CUDA text. */
#include "emit_state.h"
#include "../ir/eval.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How an element looks in memory, and what holds it in a register; structs are in prelude.cuh and
 * convert by themselves. `bits`: what arithmetic must be wrapped to, 0 where C does it. */
static const struct {
    const char *storage, *in_register;
    int bits;
} cuda_type[DT_END] = {
    [DT_F32] = {"float", "float", 0},
    [DT_F64] = {"double", "double", 0},
    [DT_F16] = {"f16", "float", 0},
    [DT_BF16] = {"bf16", "float", 0},
    [DT_F8E4M3FN] = {"f8e4m3fn", "float", 0},
    [DT_F8E4M3FNUZ] = {"f8e4m3fnuz", "float", 0},
    [DT_F8E5M2] = {"f8e5m2", "float", 0},
    [DT_F8E5M2FNUZ] = {"f8e5m2fnuz", "float", 0},
    [DT_F4E2M1] = {"f4e2m1", "float", 0},
    [DT_F8E8M0] = {"f8e8m0", "float", 0},
    [DT_BOOL] = {"bool", "bool", 0},
    [DT_I8] = {"signed char", "signed char", 0},
    [DT_U8] = {"unsigned char", "unsigned char", 0},
    [DT_I16] = {"short", "short", 0},
    [DT_U16] = {"unsigned short", "unsigned short", 0},
    [DT_I32] = {"int", "int", 0},
    [DT_U32] = {"unsigned int", "unsigned int", 0},
    [DT_I64] = {"long long", "long long", 0},
    [DT_U64] = {"unsigned long long", "unsigned long long", 0},
    [DT_I4] = {"signed char", "signed char", 4},
    [DT_U4] = {"unsigned char", "unsigned char", 4},
    [DT_I2] = {"signed char", "signed char", 2},
    [DT_U2] = {"unsigned char", "unsigned char", 2},
    [DT_C64] = {"c64", "c64", 0},
    [DT_C128] = {"c128", "c128", 0},
};

const char *emit_register_type(enum dtype type)
{
    return cuda_type[type].in_register;
}

const char *emit_storage_type(enum dtype type)
{
    return cuda_type[type].storage;
}

const char *emit_accumulator_type(enum dtype type)
{
    return cuda_type[type].in_register;
}

const char *emit_stored(struct emitter *e, enum dtype type, const char *name)
{
    if (strcmp(emit_storage_type(type), emit_register_type(type)) == 0)
        return name;
    return arena_printf(e->g->arena, "%s(%s)", emit_storage_type(type), name);
}

/* --- Literals ------------------------------------------------------------------------------- */

/* The shortest decimal that reads back as the same number. */
static const char *float_text(struct emitter *e, double value, bool narrow)
{
    char text[40];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (narrow ? strtof(text, NULL) == (float)value : strtod(text, NULL) == value)
            break;
    }
    const char *point = strpbrk(text, ".e") ? "" : ".0";
    const char *suffix = narrow ? "f" : "";
    return arena_printf(e->g->arena, signbit(value) ? "(%s%s%s)" : "%s%s%s", text, point, suffix);
}

/* Narrow types are spelled out, so that overloads see them. */
static const char *int_literal(struct emitter *e, enum dtype type, int64_t value)
{
    struct arena *arena = e->g->arena;
    switch (type) {
    case DT_U64: return arena_printf(arena, "%lluull", (unsigned long long)value);
    case DT_U32: return arena_printf(arena, "%lldu", (long long)value);
    case DT_I64:
        if (value == INT64_MIN)
            return "(-9223372036854775807ll - 1)";
        return arena_printf(arena, value < 0 ? "(%lldll)" : "%lldll", (long long)value);
    case DT_I32:
        if (value == INT32_MIN)
            return "(-2147483647 - 1)";
        return arena_printf(arena, value < 0 ? "(%lld)" : "%lld", (long long)value);
    default: return arena_printf(arena, "(%s)%lld", emit_register_type(type), (long long)value);
    }
}

const char *emit_literal(struct emitter *e, enum dtype type, double value)
{
    if (type == DT_BOOL)
        return value != 0 ? "true" : "false";
    if (!dtype_is_float(type))
        return int_literal(e, type,
                           type == DT_U64 && value >= 9223372036854775808.0
                               ? (int64_t)(uint64_t)value
                               : (int64_t)value);
    bool narrow = type != DT_F64;
    if (isnan(value))
        return narrow ? "__int_as_float(0x7fc00000)" : "__longlong_as_double(0x7ff8000000000000)";
    if (narrow && isinf((float)value))
        return value > 0 ? "__int_as_float(0x7f800000)" : "__int_as_float(0xff800000)";
    if (isinf(value))
        return value > 0 ? "__longlong_as_double(0x7ff0000000000000)"
                         : "__longlong_as_double(0xfff0000000000000)";
    return float_text(e, value, narrow);
}

/* Element i of a constant whose bytes are at hand, as a literal. */
static const char *element_text(struct emitter *e, const struct value *v, int64_t i)
{
    const struct constant *constant = v->def->attr.constant.data;
    enum dtype_class class = dtype_info[v->type].cls;
    if (!constant->bytes || class == DC_O || class == DC_T)
        return NULL;
    /* Read only, whatever struct tensor says. */
    struct tensor t = {.type = v->type, .size = constant->size, .data = (void *)constant->bytes};
    if (class == DC_F || class == DC_B)
        return emit_literal(e, v->type, tensor_get_float(&t, i));
    return int_literal(e, v->type, tensor_get_int(&t, i));
}

const char *emit_constant(struct emitter *e, const struct value *v)
{
    int64_t n;
    while (v->def && v->def->kernel == KERNEL_CONSTANT && v->def->op == OP_reshape)
        v = v->def->in[0];
    if (!value_is_const(v) || !value_elements_const(v, &n) || n != 1)
        return NULL;
    return element_text(e, v, 0);
}

const char *emit_constant_at(struct emitter *e, const struct value *v,
                             const struct index *const *index)
{
    enum { MOST = 16 };
    int64_t n, linear = 0, extent, at;
    if (!value_is_const(v) || !value_elements_const(v, &n) || n < 1 || n > MOST)
        return NULL;
    for (int i = 0; i < v->rank; i++) {
        if (!dim_is_const(v->shape[i], &extent) || !index_is_const(index[i], &at) || at < 0 ||
            at >= extent)
            return NULL;
        linear = linear * extent + at;
    }
    return element_text(e, v, linear);
}

/* --- Operations ----------------------------------------------------------------------------- */

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* expression with the words a, b and c replaced. */
static const char *substitute(struct emitter *e, const char *expression, const char *const *names)
{
    struct text out = {.arena = e->g->arena};
    for (const char *p = expression; *p;) {
        const char *end = p;
        while (is_word(*end))
            end++;
        if (end == p + 1 && *p >= 'a' && *p <= 'c')
            text_printf(&out, "%s", names[*p - 'a']);
        else
            text_append(&out, p, end == p ? 1 : (size_t)(end - p));
        p = end == p ? p + 1 : end;
    }
    return out.data ? out.data : "";
}

/* Arithmetic in types of fewer than 8 bits is done in 8 and cut. */
static const char *wrap(struct emitter *e, enum dtype type, const char *text)
{
    int bits = cuda_type[type].bits;
    if (!bits)
        return text;
    return arena_printf(e->g->arena, "g_wrap%s%d(%s)", dtype_info[type].cls == DC_U ? "u" : "",
                        bits, text);
}

/* What computes in float enough digits for a result of 16 bits or fewer. */
static const char *const narrow_expression[OP_COUNT] = {[OP_gelu] = "g_narrow_gelu(a)"};

const char *emit_scalar_text(struct emitter *e, enum op op, enum dtype type, const char *a,
                             const char *b, const char *c)
{
    const char *names[3] = {a, b, c};
    bool narrow = dtype_is_float(type) && dtype_size(type) < 4 && narrow_expression[op];
    const char *text =
        substitute(e, narrow ? narrow_expression[op] : op_info[op].expression, names);
    return op_info[op].result == RESULT_BOOL ? text : wrap(e, type, text);
}

/* As a float type: rounded to it and back where registers are wider. */
static const char *float_cast(struct emitter *e, const struct node *node, const char *a)
{
    enum dtype from = node->in[0]->type, to = node->out[0]->type;
    const char *storage = emit_storage_type(to), *in_register = emit_register_type(to);
    const char *saturate = "";
    if (strcmp(storage, in_register) == 0)
        return strcmp(emit_register_type(from), in_register) == 0
                   ? a
                   : arena_printf(e->g->arena, "(%s)%s", in_register, a);
    if (strcmp(emit_register_type(from), "float") != 0)
        a = arena_printf(e->g->arena, "(float)%s", a);
    if (to != DT_F16 && to != DT_BF16 && to != DT_F4E2M1)
        saturate = node->attr.cast.saturate ? ", true" : ", false";
    return arena_printf(e->g->arena, "(float)%s(%s%s)", storage, a, saturate);
}

const char *emit_cast_text(struct emitter *e, const struct node *node, const char *a)
{
    enum dtype from = node->in[0]->type, to = node->out[0]->type;
    if (node->op == OP_bitcast)
        return arena_printf(e->g->arena, "g_bits<%s>(%s)", emit_storage_type(to),
                            emit_stored(e, from, a));
    if (!cuda_type[to].storage || dtype_info[to].cls == DC_O || dtype_info[from].cls == DC_O) {
        emit_unsupported(e, node, "from %s to %s", dtype_info[from].text, dtype_info[to].text);
        return a;
    }
    if (to == DT_BOOL)
        return arena_printf(e->g->arena, "%s != 0", a);
    if (dtype_is_float(to))
        return float_cast(e, node, a);
    const char *type = emit_register_type(to);
    const char *text = dtype_is_float(from) ? arena_printf(e->g->arena, "g_to_int<%s>(%s)", type, a)
                                            : arena_printf(e->g->arena, "(%s)%s", type, a);
    return wrap(e, to, text);
}
