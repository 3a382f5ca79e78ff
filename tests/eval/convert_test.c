/*
 * Conversions. Narrow floats are checked code by code against a slow reading of their definition: a
 * code's value is computed with ldexp, and rounding is a search for the nearest value.
 */
#include "eval_test.h"

#include "../../ir/scalar.h"

/* ---- Narrow floats. */

struct format {
    const char *name;
    int exponent, mantissa, bias;
    enum {
        IEEE,
        FINITE_NAN,
        FINITE,
        FNUZ
    } kind; /* has inf and NaNs | one NaN at ±all ones | neither
               | the one NaN is -0 */
    float (*decode)(uint32_t code);
    uint32_t (*encode)(float x, bool saturate);
};

#define SMALL(name, format)                                                                        \
    static float decode_##name(uint32_t code)                                                      \
    {                                                                                              \
        return small_decode(code, format);                                                         \
    }                                                                                              \
    static uint32_t encode_##name(float x, bool saturate)                                          \
    {                                                                                              \
        return small_encode(x, format, saturate);                                                  \
    }
SMALL(e4m3fn, small_f8e4m3fn)
SMALL(e4m3fnuz, small_f8e4m3fnuz)
SMALL(e5m2, small_f8e5m2)
SMALL(e5m2fnuz, small_f8e5m2fnuz)
SMALL(e2m1, small_f4e2m1)
SMALL(f16_slow, small_f16)
SMALL(bf16_slow, small_bf16)

static float decode_f16(uint32_t code)
{
    return f16_to_float((uint16_t)code);
}

static uint32_t encode_f16(float x, bool saturate)
{
    (void)saturate;
    return float_to_f16(x);
}

static float decode_bf16(uint32_t code)
{
    return bf16_to_float((uint16_t)code);
}

static uint32_t encode_bf16(float x, bool saturate)
{
    (void)saturate;
    return float_to_bf16(x);
}

static const struct format formats[] = {
    {"f16", 5, 10, 15, IEEE, decode_f16, encode_f16},
    {"f16, in general", 5, 10, 15, IEEE, decode_f16_slow, encode_f16_slow},
    {"bf16", 8, 7, 127, IEEE, decode_bf16, encode_bf16},
    {"bf16, in general", 8, 7, 127, IEEE, decode_bf16_slow, encode_bf16_slow},
    {"f8e4m3fn", 4, 3, 7, FINITE_NAN, decode_e4m3fn, encode_e4m3fn},
    {"f8e4m3fnuz", 4, 3, 8, FNUZ, decode_e4m3fnuz, encode_e4m3fnuz},
    {"f8e5m2", 5, 2, 15, IEEE, decode_e5m2, encode_e5m2},
    {"f8e5m2fnuz", 5, 2, 16, FNUZ, decode_e5m2fnuz, encode_e5m2fnuz},
    {"f4e2m1", 2, 1, 1, FINITE, decode_e2m1, encode_e2m1}};
enum { FORMATS = sizeof(formats) / sizeof(formats[0]) };

static uint32_t sign_bit(const struct format *f)
{
    return UINT32_C(1) << (f->exponent + f->mantissa);
}

/* The value of a code by definition. */
static double value_of(const struct format *f, uint32_t code)
{
    uint32_t rest = code & (sign_bit(f) - 1), ones = sign_bit(f) - 1;
    int e = (int)(rest >> f->mantissa), top = (1 << f->exponent) - 1;
    double m = (double)(rest & ((1u << f->mantissa) - 1)), sign = code & sign_bit(f) ? -1 : 1;
    if (f->kind == FNUZ && code == sign_bit(f))
        return (double)NAN;
    if (f->kind == FINITE_NAN && rest == ones)
        return (double)NAN;
    if (f->kind == IEEE && e == top)
        return m != 0 ? (double)NAN : sign * (double)INFINITY;
    if (e == 0)
        return sign * ldexp(m, 1 - f->bias - f->mantissa);
    return sign * ldexp(1 + ldexp(m, -f->mantissa), e - f->bias);
}

static bool same_value(double a, double b)
{
    return isnan(a) ? isnan(b) : a == b && signbit(a) == signbit(b);
}

static void every_code_decodes_to_its_value(void **state)
{
    (void)state;
    for (int i = 0; i < FORMATS; i++)
        for (uint32_t code = 0; code < 2 * sign_bit(&formats[i]); code++)
            if (!same_value((double)formats[i].decode(code), value_of(&formats[i], code)))
                fail_msg("%s 0x%x is %g, not %g", formats[i].name, code,
                         (double)formats[i].decode(code), value_of(&formats[i], code));
}

static void every_code_survives_float(void **state)
{
    (void)state;
    for (int i = 0; i < FORMATS; i++)
        for (uint32_t code = 0; code < 2 * sign_bit(&formats[i]); code++) {
            float x = formats[i].decode(code);
            uint32_t back = formats[i].encode(x, false);
            if (isnan(x) ? !isnan(formats[i].decode(back)) : back != code)
                fail_msg("%s 0x%x comes back as 0x%x", formats[i].name, code, back);
        }
}

static void expect_code(const struct format *f, float x, uint32_t code)
{
    uint32_t got = f->encode(x, false);
    if (got != code)
        fail_msg("%s of %.9g is 0x%x, not 0x%x", f->name, (double)x, got, code);
}

/* Between two neighbours: below the middle, the middle itself (to even), above it; both signs. */
static void every_gap_rounds_to_nearest_even(void **state)
{
    (void)state;
    for (int i = 0; i < FORMATS; i++)
        for (uint32_t code = 0; code + 1 < sign_bit(&formats[i]); code++) {
            const struct format *f = &formats[i];
            double low = value_of(f, code), high = value_of(f, code + 1);
            float middle = (float)((low + high) / 2);
            if (!isfinite(low) || !isfinite(high))
                continue;
            bool odd = code & 1;
            uint32_t minus = f->kind == FNUZ && code == 0 ? 0 : sign_bit(f) | code;
            expect_code(f, middle, code + odd);
            expect_code(f, nextafterf(middle, -INFINITY), code);
            expect_code(f, nextafterf(middle, INFINITY), code + 1);
            expect_code(f, -middle, odd ? sign_bit(f) | (code + 1) : minus);
            expect_code(f, -nextafterf(middle, 0), minus);
        }
}

/* Largest finite number; half a step beyond it is the first that is out of range. */
static void out_of_range_follows_the_type(void **state)
{
    (void)state;
    for (int i = 0; i < FORMATS; i++) {
        const struct format *f = &formats[i];
        uint32_t max = sign_bit(f) - 1;
        while (!isfinite(value_of(f, max)))
            max--;
        double top = value_of(f, max), step = top - value_of(f, max - 1);
        float inside = nextafterf((float)(top + step / 2), 0), outside = (float)(top + step / 2);
        if (f->kind == FINITE_NAN || f->kind == FNUZ)
            outside = nextafterf(outside, INFINITY); /* the tie itself may go to the even code */
        expect_code(f, inside, max);
        float beyond[] = {outside, INFINITY};
        for (int k = 0; k < 2; k++) {
            double plain = value_of(f, f->encode(beyond[k], false));
            if (f->kind == IEEE)
                assert_true(isinf(plain));
            else if (f->kind == FINITE)
                assert_true(plain == top);
            else
                assert_true(isnan(plain));
        }
        if (sign_bit(f) == 0x80) {
            assert_int_equal(f->encode(INFINITY, true), max);
            assert_int_equal(f->encode(-INFINITY, true), sign_bit(f) | max);
            assert_int_equal(f->encode(outside, true), max);
            assert_true(isnan(value_of(f, f->encode(NAN, true))));
        }
    }
}

static void f8e8m0_holds_powers_of_two(void **state)
{
    (void)state;
    for (uint32_t code = 0; code < 255; code++) {
        assert_true((double)f8e8m0_to_float((uint8_t)code) == ldexp(1, (int)code - 127));
        assert_int_equal(float_to_f8e8m0(f8e8m0_to_float((uint8_t)code), false), code);
    }
    assert_true(isnan(f8e8m0_to_float(255)));
    assert_int_equal(float_to_f8e8m0(NAN, true), 255);
    assert_int_equal(float_to_f8e8m0(0, true), 0);
    assert_int_equal(float_to_f8e8m0(0, false), 255);
    assert_int_equal(float_to_f8e8m0(1.001f, true), 128); /* rounds up */
    assert_int_equal(float_to_f8e8m0(INFINITY, true), 254);
    assert_int_equal(float_to_f8e8m0(INFINITY, false), 255);
}

/* ---- The op cast. */

static void floats_become_integers_towards_zero(void **state)
{
    (void)state;
    const char *from =
        "%0 = constant {type=f32, shape=[6], data=[1.9, -1.9, 300, nan, 1e10, -1e30]}\n";
    static const char *const rows[][2] = {{"i32", "1 -1 300 0 2.14748e+09 -2.14748e+09"},
                                          {"i64", "1 -1 300 0 1e+10 -9.22337e+18"},
                                          {"u8", "1 255 44 0 0 0"},
                                          {"i8", "1 -1 44 0 0 0"},
                                          {"u64", "1 1.84467e+19 300 0 1e+10 9.22337e+18"},
                                          {"bool", "1 1 1 1 1 1"},
                                          {"i4", "1 -1 -4 0 0 0"},
                                          {"u4", "1 15 12 0 0 0"},
                                          {"i2", "1 -1 0 0 0 0"},
                                          {"u2", "1 3 0 0 0 0"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char lines[256];
        snprintf(lines, sizeof(lines), "%s%%9 = cast %%0 {to=%s, saturate=true}", from, rows[i][0]);
        assert_values(lines, rows[i][1]);
    }
}

static void integers_keep_their_low_bits(void **state)
{
    (void)state;
    const char *from = "%0 = constant {type=i64, shape=[4], data=[200, -1, 4294967299, 0]}\n";
    static const char *const rows[][2] = {{"i8", "-56 -1 3 0"},     {"u8", "200 255 3 0"},
                                          {"u16", "200 65535 3 0"}, {"i32", "200 -1 3 0"},
                                          {"i4", "-8 -1 3 0"},      {"u4", "8 15 3 0"},
                                          {"u2", "0 3 3 0"},        {"bool", "1 1 1 0"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char lines[256];
        snprintf(lines, sizeof(lines), "%s%%9 = cast %%0 {to=%s, saturate=true}", from, rows[i][0]);
        assert_values(lines, rows[i][1]);
    }
}

static void integers_round_to_floats(void **state)
{
    (void)state;
    assert_values("%0 = constant {type=u64, shape=[2], data=[18446744073709551615, 1]}\n"
                  "%9 = cast %0 {to=f32, saturate=true}",
                  "1.84467e+19 1");
    assert_values("%0 = constant {type=i32, shape=[3], data=[65519, 65520, 2049]}\n"
                  "%9 = cast %0 {to=f16, saturate=true}",
                  "65504 inf 2048");
}

static void bitcast_keeps_bits(void **state)
{
    (void)state;
    assert_values("%0 = constant {type=f32, shape=[2], data=[1, -0.0]}\n%9 = bitcast %0 {to=i32}",
                  "1.06535e+09 -2.14748e+09");
}

/* Longer than a block, and strided. */
static void casts_walk_strides(void **state)
{
    (void)state;
    assert_values("%0 = iota {type=i32, shape=[3, 400], axis=1}\n"
                  "%1 = slice %0 {start=[0, 399], step=[1, -133], size=[2, 4]}\n"
                  "%9 = cast %1 {to=f16, saturate=true}",
                  "399 266 133 0 399 266 133 0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_decodes_to_its_value),
        cmocka_unit_test(every_code_survives_float),
        cmocka_unit_test(every_gap_rounds_to_nearest_even),
        cmocka_unit_test(out_of_range_follows_the_type),
        cmocka_unit_test(f8e8m0_holds_powers_of_two),
        cmocka_unit_test(floats_become_integers_towards_zero),
        cmocka_unit_test(integers_keep_their_low_bits),
        cmocka_unit_test(integers_round_to_floats),
        cmocka_unit_test(bitcast_keeps_bits),
        cmocka_unit_test(casts_walk_strides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
