#include "check.h"
#include "scalar.h"

/* One instruction on a and b; false when it fails. */
static bool evaluate(uint32_t op, int64_t a, int64_t b, int64_t *result)
{
    static const char strings[] = "\0must";
    struct plan_scalar scalars[] = {
        {PLAN_SC_CONST, 0, 0, 0, a}, {PLAN_SC_CONST, 0, 0, 0, b}, {op, 0, 1, 1, 0}};
    int64_t slots[3];
    struct gpucc_plan plan = {.strings = strings};
    struct program program = {.scalars = scalars, .n_scalars = 3};
    struct scalar_state state = {.slots = slots};
    enum gpucc_status status =
        rt_scalars_run(&plan, &program, (struct segment){0, 3}, &state, SCALARS_EXACT);
    *result = slots[2];
    return status == GPUCC_OK;
}

static void arithmetic_rounds_towards_minus_infinity(void **state)
{
    (void)state;
    static const struct {
        uint32_t op;
        int64_t a, b, result;
    } cases[] = {
        {PLAN_SC_ADD, 2, 3, 5},
        {PLAN_SC_SUB, 2, 3, -1},
        {PLAN_SC_MUL, -2, 3, -6},
        {PLAN_SC_FLOORDIV, 7, 2, 3},
        {PLAN_SC_FLOORDIV, -7, 2, -4},
        {PLAN_SC_FLOORDIV, 7, -2, -4},
        {PLAN_SC_FLOORDIV, -7, -2, 3},
        {PLAN_SC_FLOORDIV, -6, 2, -3},
        {PLAN_SC_MOD, 7, 3, 1},
        {PLAN_SC_MOD, -7, 3, 2},
        {PLAN_SC_MOD, 7, -3, -2},
        {PLAN_SC_MOD, -7, -3, -1},
        {PLAN_SC_MOD, -6, 3, 0},
        {PLAN_SC_MIN, -1, 1, -1},
        {PLAN_SC_MAX, -1, 1, 1},
        {PLAN_SC_EQ, 4, 4, 1},
        {PLAN_SC_EQ, 4, 5, 0},
        {PLAN_SC_LT, 4, 5, 1},
        {PLAN_SC_LT, 5, 5, 0},
        {PLAN_SC_MUST_EQUAL, 3, 3, 0},
        {PLAN_SC_MUST_BROADCAST, 1, 3, 0},
        {PLAN_SC_MUST_LESS_EQUAL, 2, 3, 0},
        {PLAN_SC_ADD, INT64_MAX, -1, INT64_MAX - 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t result;
        assert_true(evaluate(cases[i].op, cases[i].a, cases[i].b, &result));
        assert_int_equal(result, cases[i].result);
    }
}

static void overflow_and_division_by_zero_fail(void **state)
{
    (void)state;
    static const struct {
        uint32_t op;
        int64_t a, b;
    } cases[] = {
        {PLAN_SC_ADD, INT64_MAX, 1},  {PLAN_SC_SUB, INT64_MIN, 1},
        {PLAN_SC_MUL, INT64_MAX, 2},  {PLAN_SC_FLOORDIV, 1, 0},
        {PLAN_SC_MOD, 1, 0},          {PLAN_SC_FLOORDIV, INT64_MIN, -1},
        {PLAN_SC_MOD, INT64_MIN, -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t result;
        assert_false(evaluate(cases[i].op, cases[i].a, cases[i].b, &result));
        assert_non_null(strstr(gpucc_last_error(), "size arithmetic"));
    }
}

static void broken_constraint_fails_with_its_text_and_values(void **state)
{
    (void)state;
    static const struct {
        uint32_t op;
        int64_t a, b;
        const char *message;
    } cases[] = {{PLAN_SC_MUST_EQUAL, 2, 3, "must: 2 must equal 3"},
                 {PLAN_SC_MUST_BROADCAST, 2, 3, "must: 2 must be 1 or equal 3"},
                 {PLAN_SC_MUST_LESS_EQUAL, 4, 3, "must: 4 must be at most 3"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t result;
        assert_false(evaluate(cases[i].op, cases[i].a, cases[i].b, &result));
        assert_string_equal(gpucc_last_error(), cases[i].message);
    }
}

static void every_integer_type_widens(void **state)
{
    (void)state;
    int64_t to[2];
    assert_true(rt_widen(3, (int8_t[]){-1, 2}, 2, to) && to[0] == -1 && to[1] == 2);
    assert_true(rt_widen(2, (uint8_t[]){255, 2}, 2, to) && to[0] == 255);
    assert_true(rt_widen(9, (uint8_t[]){1, 0}, 2, to) && to[0] == 1 && to[1] == 0);
    assert_true(rt_widen(5, (int16_t[]){-300, 2}, 2, to) && to[0] == -300);
    assert_true(rt_widen(4, (uint16_t[]){65535, 2}, 2, to) && to[0] == 65535);
    assert_true(rt_widen(6, (int32_t[]){-70000, 2}, 2, to) && to[0] == -70000);
    assert_true(rt_widen(12, (uint32_t[]){UINT32_MAX, 2}, 2, to) && to[0] == UINT32_MAX);
    assert_true(rt_widen(7, (int64_t[]){INT64_MIN, 2}, 2, to) && to[0] == INT64_MIN);
    assert_true(rt_widen(13, (uint64_t[]){INT64_MAX, 2}, 2, to) && to[0] == INT64_MAX);
    assert_false(rt_widen(13, (uint64_t[]){UINT64_MAX, 2}, 2, to));
    assert_false(rt_widen(1, (float[]){1, 2}, 2, to));
}

static void largest_element_respects_the_sizes_it_must_not_exceed(void **state)
{
    (void)state;
    struct plan_scalar scalars[] = {{PLAN_SC_CONST, 0, 0, 0, 7},
                                    {PLAN_SC_ELEMENT, 0, 0, 0, INT64_MAX},
                                    {PLAN_SC_MUST_LESS_EQUAL, 0, 1, 0, 0}};
    int64_t slots[3];
    struct program program = {.scalars = scalars, .n_scalars = 3};
    struct scalar_state scalar_state = {.slots = slots};
    struct segment all = {0, 3};
    assert_int_equal(rt_scalars_run(NULL, &program, all, &scalar_state, SCALARS_LARGEST),
                     GPUCC_LIMIT);
    assert_non_null(strstr(gpucc_last_error(), "without a known bound"));
    scalars[2].a = 1;
    scalars[2].b = 0;
    assert_int_equal(rt_scalars_run(NULL, &program, all, &scalar_state, SCALARS_LARGEST), GPUCC_OK);
    assert_int_equal(slots[1], 7);
}

RUN_TESTS(TEST(arithmetic_rounds_towards_minus_infinity), TEST(overflow_and_division_by_zero_fail),
          TEST(broken_constraint_fails_with_its_text_and_values), TEST(every_integer_type_widens),
          TEST(largest_element_respects_the_sizes_it_must_not_exceed))
