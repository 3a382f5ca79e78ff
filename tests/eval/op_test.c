/* Tensor ops on small cases made by hand. */
#include "eval_test.h"

static void views_move_elements(void **state)
{
    (void)state;
    const char *x = "%0 = constant {type=i32, shape=[2, 3], data=[1, 2, 3, 4, 5, 6]}\n";
    static const char *const rows[][2] = {
        {"reshape %0 {shape=[3, 2]}", "1 2 3 4 5 6"},
        {"transpose %0 {perm=[1, 0]}", "1 4 2 5 3 6"},
        {"slice %0 {start=[1, 2], step=[-1, -2], size=[2, 2]}", "6 4 3 1"},
        {"slice %0 {start=[0, 0], step=[1, 1], size=[0, 3]}", ""},
        {"concat %0, %0 {axis=1}", "1 2 3 1 2 3 4 5 6 4 5 6"},
        {"pad %0 {low=[0, 2], high=[0, 1], mode=reflect}", "3 2 1 2 3 2 6 5 4 5 6 5"},
        {"pad %0 {low=[1, 0], high=[0, 1], mode=edge}", "1 2 3 3 1 2 3 3 4 5 6 6"},
        {"pad %0 {low=[0, 1], high=[1, 0], mode=wrap}", "3 1 2 3 6 4 5 6 3 1 2 3"},
        {"pad %0 {low=[0, -1], high=[0, 1], mode=constant}", "2 3 0 5 6 0"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char lines[512];
        snprintf(lines, sizeof(lines), "%s%%9 = %s", x, rows[i][0]);
        assert_values(lines, rows[i][1]);
    }
    assert_values(
        "%0 = constant {type=i32, shape=[2, 1], data=[1, 2]}\n%9 = expand %0 {shape=[2, 3]}",
        "1 1 1 2 2 2");
    assert_values("%0 = constant {type=f32, shape=[1], data=[1]}\n"
                  "%1 = constant {type=f32, shape=[], data=[nan]}\n"
                  "%9 = pad %0, %1 {low=[1], high=[0], mode=constant}",
                  "nan 1");
    assert_values("%9 = iota {type=f16, shape=[2, 3], axis=1}", "0 1 2 0 1 2");
}

static void reductions_remove_axes(void **state)
{
    (void)state;
    const char *x = "%0 = constant {type=f32, shape=[2, 3], data=[1, 5, 3, 4, nan, 4]}\n";
    static const char *const rows[][2] = {
        {"reduce_sum %0 {axes=[0]}", "5 nan 7"},     {"reduce_prod %0 {axes=[1]}", "15 nan"},
        {"reduce_max %0 {axes=[1]}", "5 nan"},       {"reduce_min %0 {axes=[0]}", "1 nan 3"},
        {"reduce_sum %0 {axes=[0, 1]}", "nan"},      {"arg_max %0 {axis=1, last=false}", "1 1"},
        {"arg_min %0 {axis=0, last=false}", "0 1 0"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char lines[256];
        snprintf(lines, sizeof(lines), "%s%%9 = %s", x, rows[i][0]);
        assert_values(lines, rows[i][1]);
    }
}

static void ties_go_to_the_first_or_last(void **state)
{
    (void)state;
    const char *x = "%0 = constant {type=u64, shape=[4], data=[1, 18446744073709551615, 1, "
                    "18446744073709551615]}\n";
    static const char *const rows[][2] = {{"arg_max %0 {axis=0, last=false}", "1"},
                                          {"arg_max %0 {axis=0, last=true}", "3"},
                                          {"arg_min %0 {axis=0, last=true}", "2"},
                                          {"reduce_max %0 {axes=[0]}", "1.84467e+19"},
                                          {"reduce_min %0 {axes=[0]}", "1"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char lines[256];
        snprintf(lines, sizeof(lines), "%s%%9 = %s", x, rows[i][0]);
        assert_values(lines, rows[i][1]);
    }
}

static void nothing_reduces_to_the_neutral_element(void **state)
{
    (void)state;
    static const char *const rows[][3] = {
        {"f32", "reduce_sum", "0"},    {"f32", "reduce_prod", "1"},
        {"f32", "reduce_max", "-inf"}, {"f32", "reduce_min", "inf"},
        {"i8", "reduce_max", "-128"},  {"u8", "reduce_min", "255"},
        {"bool", "reduce_max", "0"},   {"bool", "reduce_min", "1"},
        {"u64", "reduce_max", "0"},    {"i64", "reduce_min", "9.22337e+18"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char lines[256];
        snprintf(lines, sizeof(lines),
                 "%%0 = constant {type=%s, shape=[0], data=[]}\n%%9 = %s %%0 {axes=[0]}",
                 rows[i][0], rows[i][1]);
        assert_values(lines, rows[i][2]);
    }
}

static void sums_are_wide(void **state)
{
    (void)state;
    assert_values("%0 = constant {type=f16, shape=[3], data=[0x7bff, 0x7bff, 0xfbff]}\n"
                  "%9 = reduce_sum %0 {axes=[0]}",
                  "65504");
    assert_values("%0 = constant {type=f32, shape=[3], data=[1e8, 1, -1e8]}\n"
                  "%9 = reduce_sum %0 {axes=[0]}",
                  "1");
    assert_values("%0 = constant {type=u8, shape=[3], data=[200, 100, 7]}\n"
                  "%9 = reduce_sum %0 {axes=[0]}",
                  "51");
}

static void rows_normalize(void **state)
{
    (void)state;
    const char *x = "%0 = constant {type=f32, shape=[2, 2], data=[1000, 1000, 0, -inf]}\n";
    static const char *const rows[][2] = {
        {"softmax %0 {axes=[1]}", "0.5 0.5 1 0"},
        {"log_softmax %0 {axes=[1]}", "-0.693147 -0.693147 0 -inf"},
        {"softmax %0 {axes=[0]}", "1 1 0 0"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char lines[256];
        snprintf(lines, sizeof(lines), "%s%%9 = %s", x, rows[i][0]);
        assert_values(lines, rows[i][1]);
    }
    const char *y = "%0 = constant {type=f32, shape=[2, 2], data=[1, 3, 3, 4]}\n";
    char lines[256];
    snprintf(lines, sizeof(lines), "%s%%9 = normalize %%0 {axes=[1], epsilon=0, center=true}", y);
    assert_values(lines, "-1 1 -1 1");
    snprintf(lines, sizeof(lines), "%s%%9 = normalize %%0 {axes=[0], epsilon=3, center=false}", y);
    assert_values(lines, "0.353553 0.762001 1.06066 1.016");
}

static void matmul_batches(void **state)
{
    (void)state;
    assert_values(
        "%0 = constant {type=f32, shape=[2, 1, 2], data=[1, 2, 3, 4]}\n"
        "%1 = constant {type=f32, shape=[2, 2, 3], data=[1, 0, 2, 0, 1, 2, 1, 1, 1, 2, 2, 2]}\n"
        "%9 = matmul %0, %1 {to=f32}",
        "1 2 6 11 11 11");
    assert_values("%0 = constant {type=i8, shape=[1, 2], data=[100, -100]}\n"
                  "%1 = constant {type=i8, shape=[2, 1], data=[100, 100]}\n"
                  "%9 = matmul %0, %1 {to=i32}",
                  "0");
    assert_values("%0 = constant {type=f32, shape=[2, 0], data=[]}\n"
                  "%1 = constant {type=f32, shape=[0, 1], data=[]}\n"
                  "%9 = matmul %0, %1 {to=f32}",
                  "0 0");
}

static void convolution_has_all_its_options(void **state)
{
    (void)state;
    const char *x = "%0 = constant {type=f32, shape=[1, 1, 5], data=[1, 2, 3, 4, 5]}\n"
                    "%1 = constant {type=f32, shape=[1, 1, 2], data=[1, 10]}\n";
    static const char *const rows[][2] = {
        {"group=1, stride=[1], dilation=[1], low=[0], high=[0]", "21 32 43 54"},
        {"group=1, stride=[2], dilation=[1], low=[1], high=[0]", "10 32 54"},
        {"group=1, stride=[1], dilation=[3], low=[0], high=[0]", "41 52"},
        {"group=1, stride=[1], dilation=[1], low=[0], high=[2]", "21 32 43 54 5 0"},
        {"group=1, stride=[1], dilation=[1], low=[-1], high=[-1]", "32 43"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char lines[512];
        snprintf(lines, sizeof(lines), "%s%%9 = conv %%0, %%1 {to=f32, %s}", x, rows[i][0]);
        assert_values(lines, rows[i][1]);
    }
    assert_values("%0 = constant {type=f32, shape=[1, 2, 2, 2], data=[1, 2, 3, 4, 5, 6, 7, 8]}\n"
                  "%1 = constant {type=f32, shape=[2, 1, 2, 1], data=[1, 10, 1, 100]}\n"
                  "%9 = conv %0, %1 {to=f32, group=2, stride=[1, 1], dilation=[1, 1], low=[0, 0], "
                  "high=[0, 0]}",
                  "31 42 705 806");
    assert_values("%0 = constant {type=f32, shape=[1, 1, 2], data=[1, 2]}\n"
                  "%1 = constant {type=f32, shape=[4, 1, 2], data=[1, 2, inf, 1, 1, 1, 0, 1]}\n"
                  "%9 = conv %0, %1 {to=f32, group=1, stride=[1], dilation=[1], low=[1], high=[0]}",
                  "2 5 1 inf 1 3 1 2");
}

/* Floats are multiplied in blocks, integers one after the other. */
static void blocks_of_a_product_change_nothing(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "%5 = reshape %3 {shape=[5, 351]}\n%6 = reshape %4 {shape=[351, 13]}\n"
        "%7 = matmul %5, %6 {to=f32}\n",
        "%5 = reshape %3 {shape=[2, 30, 5, 6]}\n%6 = reshape %4 {shape=[13, 30, 3, 3]}\n"
        "%7 = conv %5, %6 {to=f32, group=1, stride=[1, 1], dilation=[1, 1], low=[1, 1], "
        "high=[1, 1]}\n",
        "%5 = reshape %3 {shape=[1, 4, 18, 25]}\n%6 = reshape %4 {shape=[10, 2, 1, 3]}\n"
        "%7 = conv %5, %6 {to=f32, group=2, stride=[2, 3], dilation=[1, 2], low=[-1, 2], "
        "high=[3, 4]}\n"};
    static const int elements[][2] = {{1755, 4563}, {1800, 3510}, {1800, 60}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *product = rows[i];
        char lines[4096], exact[1024];
        size_t length = 0; /* the same of integers: %10 and on, to i32 */
        for (const char *at = product; *at && length + 2 < sizeof(exact); at++) {
            exact[length++] = *at;
            if (*at == '%')
                exact[length++] = '1';
        }
        exact[length] = 0;
        char *to = strstr(exact, "to=f32");
        assert_non_null(to);
        memcpy(to, "to=i32", 6);
        snprintf(lines, sizeof(lines),
                 "%%0 = constant {type=f32, shape=[1], data=[17]}\n"
                 "%%1 = iota {type=f32, shape=[%d], axis=0}\n"
                 "%%2 = iota {type=f32, shape=[%d], axis=0}\n"
                 "%%20 = expand %%0 {shape=[%d]}\n%%21 = expand %%0 {shape=[%d]}\n"
                 "%%3 = mod %%1, %%20\n%%4 = mod %%2, %%21\n"
                 "%%13 = cast %%3 {to=i8, saturate=false}\n"
                 "%%14 = cast %%4 {to=i8, saturate=false}\n%s%s"
                 "%%18 = cast %%17 {to=f32, saturate=false}\n%%19 = sub %%7, %%18\n"
                 "%%22 = abs %%19\n%%9 = reduce_max %%22 {axes=%s}",
                 elements[i][0], elements[i][1], elements[i][0], elements[i][1], product, exact,
                 i ? "[0, 1, 2, 3]" : "[0, 1]");
        assert_values(lines, "0");
    }
}

static void transposed_convolution_spreads(void **state)
{
    (void)state;
    const char *x = "%0 = constant {type=f32, shape=[1, 1, 3], data=[1, 2, 3]}\n"
                    "%1 = constant {type=f32, shape=[1, 1, 2], data=[1, 10]}\n";
    static const char *const rows[][2] = {
        {"stride=[1], dilation=[1], low=[0], size=[4]", "1 12 23 30"},
        {"stride=[2], dilation=[1], low=[0], size=[7]", "1 10 2 20 3 30 0"},
        {"stride=[1], dilation=[2], low=[1], size=[3]", "2 13 20"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char lines[512];
        snprintf(lines, sizeof(lines), "%s%%9 = conv_transpose %%0, %%1 {to=f32, group=1, %s}", x,
                 rows[i][0]);
        assert_values(lines, rows[i][1]);
    }
}

static void windows_slide(void **state)
{
    (void)state;
    const char *x = "%0 = constant {type=f32, shape=[1, 1, 2, 3], data=[1, 5, 2, 4, 3, 6]}\n";
    static const char *const rows[][2] = {
        {"pool_max %0 {kernel=[2, 2], stride=[1, 1], dilation=[1, 1], low=[0, 0], high=[0, 0], "
         "size=[1, 2]}",
         "5 6"},
        {"pool_arg_max %0 {kernel=[2, 2], stride=[1, 1], dilation=[1, 1], low=[0, 0], high=[0, 0], "
         "size=[1, 2], row_major=true}",
         "1 5"},
        {"pool_arg_max %0 {kernel=[2, 2], stride=[1, 1], dilation=[1, 1], low=[0, 0], high=[0, 0], "
         "size=[1, 2], row_major=false}",
         "2 5"},
        {"pool_mean %0 {kernel=[2, 2], stride=[2, 2], dilation=[1, 1], low=[1, 1], high=[0, 0], "
         "size=[1, 2], count_pad=false}",
         "1 3.5"},
        {"pool_mean %0 {kernel=[2, 2], stride=[2, 2], dilation=[1, 1], low=[1, 1], high=[0, 0], "
         "size=[1, 2], count_pad=true}",
         "0.25 1.75"},
        {"pool_lp %0 {kernel=[1, 2], stride=[1, 1], dilation=[1, 2], low=[0, 0], high=[0, 0], "
         "size=[2, 1], p=2}",
         "2.23607 7.2111"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char lines[512];
        snprintf(lines, sizeof(lines), "%s%%9 = %s", x, rows[i][0]);
        assert_values(lines, rows[i][1]);
    }
}

static void scans_accumulate(void **state)
{
    (void)state;
    const char *x = "%0 = constant {type=i32, shape=[2, 3], data=[1, 2, 3, 4, 5, 6]}\n";
    static const char *const rows[][2] = {
        {"scan_sum %0 {axis=1, exclusive=false, reverse=false}", "1 3 6 4 9 15"},
        {"scan_sum %0 {axis=1, exclusive=true, reverse=false}", "0 1 3 0 4 9"},
        {"scan_sum %0 {axis=1, exclusive=true, reverse=true}", "5 3 0 11 6 0"},
        {"scan_sum %0 {axis=0, exclusive=false, reverse=true}", "5 7 9 4 5 6"},
        {"scan_prod %0 {axis=1, exclusive=true, reverse=false}", "1 1 2 1 4 20"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char lines[256];
        snprintf(lines, sizeof(lines), "%s%%9 = %s", x, rows[i][0]);
        assert_values(lines, rows[i][1]);
    }
}

static void gathers_clamp_indices(void **state)
{
    (void)state;
    const char *x = "%0 = constant {type=f32, shape=[2, 3], data=[1, 2, 3, 4, 5, 6]}\n"
                    "%1 = constant {type=i64, shape=[3], data=[-1, 0, 99]}\n"
                    "%2 = constant {type=i64, shape=[2, 2], data=[0, -1, 2, 1]}\n"
                    "%3 = constant {type=i64, shape=[2, 2], data=[1, 2, 0, -9]}\n"
                    "%4 = constant {type=i32, shape=[2, 1], data=[1, -1]}\n";
    static const char *const rows[][2] = {{"gather %0, %1 {axis=1}", "3 1 3 6 4 6"},
                                          {"gather %0, %1 {axis=0}", "4 5 6 1 2 3 4 5 6"},
                                          {"gather_elements %0, %2 {axis=1}", "1 3 6 5"},
                                          {"gather_nd %0, %3 {batch=0}", "6 1"},
                                          {"gather_nd %0, %4 {batch=1}", "2 6"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char lines[512];
        snprintf(lines, sizeof(lines), "%s%%9 = %s", x, rows[i][0]);
        assert_values(lines, rows[i][1]);
    }
}

static void scatters_combine(void **state)
{
    (void)state;
    const char *x = "%0 = constant {type=f32, shape=[2, 2], data=[1, 2, 3, 4]}\n"
                    "%1 = constant {type=i64, shape=[3, 1], data=[0, 0, 0]}\n"
                    "%2 = constant {type=f32, shape=[3, 2], data=[5, 6, 7, 8, 1, 1]}\n"
                    "%3 = constant {type=i64, shape=[1, 2], data=[1, -1]}\n"
                    "%4 = constant {type=f32, shape=[1, 2], data=[9, 8]}\n";
    static const char *const rows[][2] = {
        {"scatter_nd %0, %1, %2 {combine=none}", "1 1 3 4"},
        {"scatter_nd %0, %1, %2 {combine=add}", "14 17 3 4"},
        {"scatter_nd %0, %1, %2 {combine=mul}", "35 96 3 4"},
        {"scatter_nd %0, %1, %2 {combine=max}", "7 8 3 4"},
        {"scatter_elements %0, %3, %4 {axis=0, combine=none}", "1 2 9 8"},
        {"scatter_elements %0, %3, %4 {axis=1, combine=min}", "1 2 3 4"},
        {"scatter_elements %0, %3, %4 {axis=1, combine=add}", "1 19 3 4"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char lines[512];
        snprintf(lines, sizeof(lines), "%s%%9 = %s", x, rows[i][0]);
        assert_values(lines, rows[i][1]);
    }
}

static void top_k_prefers_lower_indices(void **state)
{
    (void)state;
    const char *x = "%0 = constant {type=f32, shape=[1, 5], data=[2, nan, 7, 2, 7]}\n";
    static const char *const rows[][2] = {
        {"%9, %8 = top_k %0 {axis=1, k=3, largest=true}", "nan 7 7"},
        {"%8, %9 = top_k %0 {axis=1, k=3, largest=true}", "1 2 4"},
        {"%8, %9 = top_k %0 {axis=1, k=4, largest=false}", "0 3 2 4"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char lines[256];
        snprintf(lines, sizeof(lines), "%s%s", x, rows[i][0]);
        assert_values(lines, rows[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views_move_elements),
        cmocka_unit_test(reductions_remove_axes),
        cmocka_unit_test(ties_go_to_the_first_or_last),
        cmocka_unit_test(nothing_reduces_to_the_neutral_element),
        cmocka_unit_test(sums_are_wide),
        cmocka_unit_test(rows_normalize),
        cmocka_unit_test(matmul_batches),
        cmocka_unit_test(convolution_has_all_its_options),
        cmocka_unit_test(blocks_of_a_product_change_nothing),
        cmocka_unit_test(transposed_convolution_spreads),
        cmocka_unit_test(windows_slide),
        cmocka_unit_test(scans_accumulate),
        cmocka_unit_test(gathers_clamp_indices),
        cmocka_unit_test(scatters_combine),
        cmocka_unit_test(top_k_prefers_lower_indices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
