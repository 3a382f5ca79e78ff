#include "test.h"

#include "../../codegen/target.h"

#include <string.h>

static void the_default_is_ampere_hopper_and_portable(void **state)
{
    (void)state;
    struct diag diag = {0};
    struct target_list list;
    assert_true(target_list_parse(&diag, TARGETS_DEFAULT, &list));
    assert_int_equal(list.n, 3);
    assert_string_equal(list.at[0]->nvrtc_arch, "sm_80");
    assert_true(target_is_exact(list.at[1]));
    assert_true(list.at[2]->portable);
    assert_string_equal(list.at[2]->nvrtc_arch, "compute_80");
}

static void a_repeated_target_counts_once(void **state)
{
    (void)state;
    struct diag diag = {0};
    struct target_list list;
    assert_true(target_list_parse(&diag, "sm_90,sm_80,sm_90", &list));
    assert_int_equal(list.n, 2);
    assert_ptr_equal(list.at[0], target_find("sm_90"));
}

static void unknown_and_empty_names_are_usage_errors_that_list_the_known(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",       "sm_80,", ",sm_80", "sm_8",
                                        "sm_800", "SM_80",  "sm_80 "};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct diag diag = {0};
        struct target_list list;
        assert_false(target_list_parse(&diag, wrong[i], &list));
        assert_int_equal(diag.status, STATUS_USAGE);
        assert_non_null(strstr(diag.first->text, "sm_90a"));
        diag_free(&diag);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_default_is_ampere_hopper_and_portable),
        cmocka_unit_test(a_repeated_target_counts_once),
        cmocka_unit_test(unknown_and_empty_names_are_usage_errors_that_list_the_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
