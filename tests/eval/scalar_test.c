/*
 * Every scalar row of ops.def against a function written from its description: in double for
 * floats, in 128 bits for integers, on operands that look for trouble. A row without a reference
 * here or a golden test fails.
 */
#include "eval_test.h"

enum { MOST = 4096 };

/* ---- References. */

static double python_mod(double a, double b)
{
    double r = fmod(a, b);
    return r != 0 && signbit(r) != signbit(b) ? r + b : r;
}

static double nan_min(double a, double b)
{
    return isnan(a) || isnan(b) ? (double)NAN : fmin(a, b);
}

static double nan_max(double a, double b)
{
    return isnan(a) || isnan(b) ? (double)NAN : fmax(a, b);
}

static double sign(double a)
{
    return isnan(a) ? a : (a > 0) - (a < 0);
}

static double sigmoid(double a)
{
    return a < -700 ? exp(a) : 1 / (1 + exp(-a));
}

static double softplus(double a)
{
    double e = exp(a);
    if (e < 1e-5) /* where 1 + e loses it: the series of log(1 + e) */
        return e - e * e / 2 + e * e * e / 3;
    return a > 700 ? a : (double)logl(1 + (long double)e);
}

static double gelu(double a)
{
    return a < -40 ? 0 : a * (double)(erfcl(-(long double)a * sqrtl(0.5L)) / 2);
}

static double gelu_tanh(double a)
{
    return a * (0.5 * (1 + tanh(sqrt(2 / M_PI) * (a + 0.044715 * a * a * a))));
}

static double mish(double a)
{
    return a * tanh(softplus(a));
}

static double hard_swish(double a)
{
    double gate = a / 6 + 0.5;
    return a * (gate < 0 ? 0 : gate > 1 ? 1 : gate);
}

/* Halves go away from 0, as round has it; below the least normal number steps are as there. */
static double round_tf32(double a)
{
    int exponent;
    a = (float)a;
    if (!isfinite(a))
        return a;
    frexp(a, &exponent);
    exponent = exponent < -125 ? -125 : exponent;
    return (float)ldexp(round(ldexp(a, 11 - exponent)), exponent - 11);
}

struct real_row {
    enum op op;
    double (*one)(double);
    double (*two)(double, double);
};

static double add(double a, double b)
{
    return a + b;
}
static double sub(double a, double b)
{
    return a - b;
}
static double mul(double a, double b)
{
    return a * b;
}
static double quotient(double a, double b)
{
    return a / b;
}
static double negative(double a)
{
    return -a;
}
static double rsqrt(double a)
{
    return 1 / sqrt(a);
}
static double recip(double a)
{
    return 1 / a;
}
static double is_nan(double a)
{
    return isnan(a) != 0;
}
static double is_inf(double a)
{
    return isinf(a) != 0;
}
static double equal(double a, double b)
{
    return a == b;
}
static double less(double a, double b)
{
    return a < b;
}
static double less_equal(double a, double b)
{
    return a <= b;
}

static const struct real_row real_rows[] = {
    {OP_add, NULL, add},           {OP_sub, NULL, sub},
    {OP_mul, NULL, mul},           {OP_div, NULL, quotient},
    {OP_mod, NULL, python_mod},    {OP_rem, NULL, fmod},
    {OP_pow, NULL, pow},           {OP_min, NULL, nan_min},
    {OP_max, NULL, nan_max},       {OP_neg, negative, NULL},
    {OP_abs, fabs, NULL},          {OP_sign, sign, NULL},
    {OP_floor, floor, NULL},       {OP_ceil, ceil, NULL},
    {OP_round, nearbyint, NULL},   {OP_sqrt, sqrt, NULL},
    {OP_rsqrt, rsqrt, NULL},       {OP_recip, recip, NULL},
    {OP_exp, exp, NULL},           {OP_log, log, NULL},
    {OP_log1p, log1p, NULL},       {OP_expm1, expm1, NULL},
    {OP_sin, sin, NULL},           {OP_cos, cos, NULL},
    {OP_tan, tan, NULL},           {OP_asin, asin, NULL},
    {OP_acos, acos, NULL},         {OP_atan, atan, NULL},
    {OP_sinh, sinh, NULL},         {OP_cosh, cosh, NULL},
    {OP_tanh, tanh, NULL},         {OP_asinh, asinh, NULL},
    {OP_acosh, acosh, NULL},       {OP_atanh, atanh, NULL},
    {OP_erf, erf, NULL},           {OP_sigmoid, sigmoid, NULL},
    {OP_gelu, gelu, NULL},         {OP_gelu_tanh, gelu_tanh, NULL},
    {OP_mish, mish, NULL},         {OP_hard_swish, hard_swish, NULL},
    {OP_softplus, softplus, NULL}, {OP_round_tf32, round_tf32, NULL},
    {OP_eq, NULL, equal},          {OP_lt, NULL, less},
    {OP_le, NULL, less_equal},     {OP_is_nan, is_nan, NULL},
    {OP_is_inf, is_inf, NULL}};

__extension__ typedef __int128 wide;
__extension__ typedef unsigned __int128 unsigned_wide;

static wide whole_div(wide a, wide b)
{
    return b ? a / b : 0;
}
static wide whole_rem(wide a, wide b)
{
    return b ? a % b : 0;
}
static wide whole_mod(wide a, wide b)
{
    return b ? (a % b + b) % b : 0;
}
static wide whole_min(wide a, wide b)
{
    return a < b ? a : b;
}
static wide whole_max(wide a, wide b)
{
    return a > b ? a : b;
}
static wide whole_add(wide a, wide b)
{
    return a + b;
}
static wide whole_sub(wide a, wide b)
{
    return a - b;
}
static wide whole_mul(wide a, wide b)
{
    return (wide)((unsigned_wide)a * (unsigned_wide)b);
}
static wide whole_eq(wide a, wide b)
{
    return a == b;
}
static wide whole_lt(wide a, wide b)
{
    return a < b;
}
static wide whole_le(wide a, wide b)
{
    return a <= b;
}
static wide whole_and(wide a, wide b)
{
    return a & b;
}
static wide whole_or(wide a, wide b)
{
    return a | b;
}
static wide whole_xor(wide a, wide b)
{
    return a ^ b;
}
static wide whole_neg(wide a, wide b)
{
    return (void)b, -a;
}
static wide whole_abs(wide a, wide b)
{
    return (void)b, a < 0 ? -a : a;
}
static wide whole_sign(wide a, wide b)
{
    return (void)b, (a > 0) - (a < 0);
}
static wide whole_bit_not(wide a, wide b)
{
    return (void)b, ~a;
}

static wide whole_pow(wide a, wide b)
{
    wide x = 1;
    if (b < 0)
        return a == 1 ? 1 : a == -1 ? (b % 2 ? -1 : 1) : 0;
    for (wide i = 0; i < b && i < 64; i++)
        x = (int64_t)((uint64_t)x * (uint64_t)a);
    return b < 64 ? x : a == 0 || a == 1 ? a : a == -1 ? (b % 2 ? -1 : 1) : -99;
}

struct whole_row {
    enum op op;
    wide (*f)(wide, wide);
};

static const struct whole_row whole_rows[] = {
    {OP_add, whole_add}, {OP_sub, whole_sub},         {OP_mul, whole_mul},   {OP_div, whole_div},
    {OP_mod, whole_mod}, {OP_rem, whole_rem},         {OP_min, whole_min},   {OP_max, whole_max},
    {OP_neg, whole_neg}, {OP_abs, whole_abs},         {OP_sign, whole_sign}, {OP_eq, whole_eq},
    {OP_lt, whole_lt},   {OP_le, whole_le},           {OP_and, whole_and},   {OP_or, whole_or},
    {OP_xor, whole_xor}, {OP_bit_not, whole_bit_not}, {OP_pow, whole_pow}};

/* ---- Running one op on two operands of n elements. */

static void run(enum op op, enum dtype type, void *a, void *b, int64_t n, struct tensor *out)
{
    struct world w;
    struct text text = {0};
    const char *name = dtype_info[type].text;
    bool two = op_info[op].least == 2;
    text_printf(&text, "graph \"test\"\n%%0 = input \"a\" : %s[%d]\n", name, (int)n);
    text_printf(&text, "%%1 = input \"b\" : %s[%d]\n", name, (int)n);
    text_printf(&text, "%%2 = %s %%0%s\noutput \"y\" = %%2\n", op_info[op].name, two ? ", %1" : "");
    world_open(&w, text.data);
    struct tensor in[2] = {tensor_of(type, 1, &n, a), tensor_of(type, 1, &n, b)};
    if (!eval_graph(w.g, in, out))
        fail_msg("%s", w.diag.first->text);
    text_free(&text);
    world_close(&w);
}

static const double reals[] = {0,     -0.0,   1,    -1,    0.5,  -0.5,  1.5,      -1.5,      2.5,
                               3,     -3,     7,    -7,    0.1,  -0.1,  10,       -10,       87,
                               -87,   88.7,   -104, 1e-3,  1e-8, 1e-30, 1e-40,    1e30,      -1e30,
                               0.999, -0.999, 1e6,  123.4, 2,    -2,    INFINITY, -INFINITY, NAN};
enum { REALS = sizeof(reals) / sizeof(reals[0]) };

static bool close_enough(double got, double want, double unit)
{
    if (isnan(want))
        return isnan(got);
    return got == want || fabs(got - want) <= unit * fabs(want) + 1e-45;
}

static void check_real_row(const struct real_row *row, bool is_double)
{
    static float a32[MOST], b32[MOST];
    static double a[MOST], b[MOST];
    int64_t n = 0;
    struct tensor out;
    for (int i = 0; i < REALS; i++)
        for (int k = 0; k < REALS; k++, n++) {
            a32[n] = (float)reals[i];
            b32[n] = (float)reals[k];
            a[n] = is_double ? reals[i] : (double)a32[n];
            b[n] = is_double ? reals[k] : (double)b32[n];
        }
    if (is_double)
        run(row->op, DT_F64, a, b, n, &out);
    else
        run(row->op, DT_F32, a32, b32, n, &out);
    for (int64_t i = 0; i < n; i++) {
        double want = row->one ? row->one(a[i]) : row->two(a[i], b[i]);
        want = is_double || out.type == DT_BOOL ? want : (double)(float)want;
        if (!close_enough(tensor_get_float(&out, i), want, is_double ? 1e-14 : 6e-8))
            fail_msg("%s(%g, %g) = %.9g, not %.9g", op_info[row->op].name, a[i], b[i],
                     tensor_get_float(&out, i), want);
    }
    tensor_free(&out);
}

static void floats_match_libm(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(real_rows) / sizeof(real_rows[0]); i++) {
        check_real_row(&real_rows[i], false);
        check_real_row(&real_rows[i], true);
    }
}

/* f16 and bf16 compute in float and round once. */
static void halves_round_once(void **state)
{
    (void)state;
    assert_values("%0 = constant {type=f16, shape=[2], data=[0x3c00, 0x7bff]}\n"
                  "%1 = constant {type=f16, shape=[2], data=[0x1400, 0x7bff]}\n"
                  "%9 = add %0, %1",
                  "1.00098 inf");
    assert_values("%0 = constant {type=bf16, shape=[2], data=[0x3f80, 0x4040]}\n"
                  "%9 = mul %0, %0",
                  "1 9");
}

static const int64_t wholes[] = {0,
                                 1,
                                 -1,
                                 2,
                                 -2,
                                 3,
                                 -3,
                                 5,
                                 7,
                                 -7,
                                 8,
                                 63,
                                 64,
                                 100,
                                 127,
                                 128,
                                 -128,
                                 255,
                                 32767,
                                 -32768,
                                 65535,
                                 INT32_MAX,
                                 INT32_MIN,
                                 UINT32_MAX,
                                 INT64_MAX,
                                 INT64_MIN,
                                 INT64_MIN + 1,
                                 0x123456789abcdef};
enum { WHOLES = sizeof(wholes) / sizeof(wholes[0]) };

/* x kept in the type's bits. */
static wide wrapped(wide x, enum dtype type)
{
    int bits = dtype_info[type].bits;
    wide modulus = (wide)1 << bits, low = x & (modulus - 1);
    return dtype_info[type].cls == DC_S && low >> (bits - 1) ? low - modulus : low;
}

static void check_whole_row(const struct whole_row *row, enum dtype type)
{
    static uint64_t a[MOST], b[MOST];
    size_t width = dtype_size(type);
    int64_t n = 0;
    struct tensor out;
    memset(a, 0, sizeof(a));
    for (int i = 0; i < WHOLES; i++)
        for (int k = 0; k < WHOLES; k++, n++) {
            memcpy((char *)a + (size_t)n * width, &wholes[i], width);
            memcpy((char *)b + (size_t)n * width, &wholes[k], width);
        }
    run(row->op, type, a, b, n, &out);
    for (int64_t i = 0; i < n; i++) {
        wide x = wrapped(wholes[i / WHOLES], type), y = wrapped(wholes[i % WHOLES], type);
        wide want = wrapped(row->f(x, y), type);
        int64_t got = tensor_get_int(&out, i);
        if (row->op == OP_pow && y >= 64 && x != 0 && x != 1 && x != -1)
            continue; /* the reference stops there */
        if (out.type != DT_BOOL ? got != (int64_t)want : (got != 0) != (row->f(x, y) != 0))
            fail_msg("%s(%lld, %lld) in %s = %lld, not %lld", op_info[row->op].name, (long long)x,
                     (long long)y, dtype_info[type].text, (long long)got, (long long)want);
    }
    tensor_free(&out);
}

static void integers_wrap_in_their_type(void **state)
{
    static const enum dtype types[] = {DT_I8, DT_I16, DT_I32, DT_I64,
                                       DT_U8, DT_U16, DT_U32, DT_U64};
    (void)state;
    for (size_t i = 0; i < sizeof(whole_rows) / sizeof(whole_rows[0]); i++)
        for (size_t k = 0; k < 8; k++)
            check_whole_row(&whole_rows[i], types[k]);
}

static void wide_shifts_give_zero(void **state)
{
    (void)state;
    const char *operands = "%0 = constant {type=u8, shape=[5], data=[255, 255, 255, 1, 128]}\n"
                           "%1 = constant {type=u8, shape=[5], data=[0, 7, 8, 7, 255]}\n";
    char lines[256];
    snprintf(lines, sizeof(lines), "%s%%9 = shl %%0, %%1", operands);
    assert_values(lines, "255 128 0 128 0");
    snprintf(lines, sizeof(lines), "%s%%9 = shr %%0, %%1", operands);
    assert_values(lines, "255 1 0 0 0");
}

static void bools_have_logic(void **state)
{
    (void)state;
    const char *operands =
        "%0 = constant {type=bool, shape=[4], data=[false, false, true, true]}\n"
        "%1 = constant {type=bool, shape=[4], data=[false, true, false, true]}\n";
    static const char *const rows[][2] = {{"and %0, %1", "0 0 0 1"},
                                          {"or %0, %1", "0 1 1 1"},
                                          {"xor %0, %1", "0 1 1 0"},
                                          {"eq %0, %1", "1 0 0 1"},
                                          {"not %0", "1 1 0 0"}};
    for (int i = 0; i < 5; i++) {
        char lines[256];
        snprintf(lines, sizeof(lines), "%s%%9 = %s", operands, rows[i][0]);
        assert_values(lines, rows[i][1]);
    }
}

static void select_moves_any_type(void **state)
{
    (void)state;
    assert_values("%0 = constant {type=bool, shape=[3], data=[true, false, true]}\n"
                  "%1 = constant {type=f16, shape=[3], data=[0x3c00, 0x3c00, 0x7e00]}\n"
                  "%2 = constant {type=f16, shape=[3], data=[0x4000, 0x4000, 0x4000]}\n"
                  "%9 = select %0, %1, %2",
                  "1 2 nan");
}

static void sub_byte_integers_wrap_in_their_bits(void **state)
{
    (void)state;
    assert_values("%0 = constant {type=i4, shape=[3], data=[7, -8, 3]}\n"
                  "%1 = constant {type=i4, shape=[3], data=[1, -1, 3]}\n"
                  "%9 = add %0, %1",
                  "-8 7 6");
    assert_values("%0 = constant {type=u4, shape=[2], data=[15, 8]}\n%9 = mul %0, %0", "1 0");
}

/* Rows that have their own test above, or in convert_test.c, or a golden one. */
static bool tested_elsewhere(enum op op)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s.ir", GOLDEN_FOLDER, op_info[op].name);
    FILE *golden = fopen(path, "r");
    if (golden)
        fclose(golden);
    return golden || op == OP_shl || op == OP_shr || op == OP_not || op == OP_select ||
           op == OP_cast || op == OP_bitcast;
}

static void every_row_has_a_reference(void **state)
{
    (void)state;
    for (int op = 0; op < OP_COUNT; op++) {
        bool found = op_info[op].class != OC_SCALAR || tested_elsewhere((enum op)op);
        for (size_t i = 0; i < sizeof(real_rows) / sizeof(real_rows[0]); i++)
            found = found || (int)real_rows[i].op == op;
        for (size_t i = 0; i < sizeof(whole_rows) / sizeof(whole_rows[0]); i++)
            found = found || (int)whole_rows[i].op == op;
        if (!found)
            fail_msg("%s has no reference in this test", op_info[op].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floats_match_libm),
        cmocka_unit_test(halves_round_once),
        cmocka_unit_test(integers_wrap_in_their_type),
        cmocka_unit_test(wide_shifts_give_zero),
        cmocka_unit_test(bools_have_logic),
        cmocka_unit_test(select_moves_any_type),
        cmocka_unit_test(sub_byte_integers_wrap_in_their_bits),
        cmocka_unit_test(every_row_has_a_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
