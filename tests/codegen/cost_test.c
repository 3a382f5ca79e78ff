#include "test.h"

#include "../../codegen/cost.h"
#include "../../codegen/target.h"

static struct tile tile_for(int64_t batches, int64_t m, int64_t n, int64_t k, int filter_depth)
{
    struct extents x = {batches, m, n, k};
    return cost_tile(target_find("sm_90a"), &x, filter_depth);
}

static void large_products_get_the_largest_tile(void **state)
{
    (void)state;
    struct tile t = tile_for(1, 4096, 4096, 4096, 0);
    assert_int_equal(t.m, 128);
    assert_int_equal(t.n, 128);
    assert_int_equal(t.slices, 1);
}

static void small_products_get_small_tiles(void **state)
{
    (void)state;
    struct tile t = tile_for(1, 100, 100, 512, 0);
    assert_true(t.m * t.n <= 32 * 32);
}

static void few_tiles_share_the_work_along_k(void **state)
{
    (void)state;
    assert_true(tile_for(1, 256, 196, 2304, 9).slices > 1);
    assert_int_equal(tile_for(1, 2000, 2000, 64, 0).slices, 1);
}

static void batches_count_as_tiles(void **state)
{
    (void)state;
    struct tile one = tile_for(1, 128, 128, 64, 0), many = tile_for(512, 128, 128, 64, 0);
    assert_true(one.m * one.n < many.m * many.n);
}

/* What contract.cuh takes for granted. */
static void every_tile_can_be_launched(void **state)
{
    (void)state;
    static const int depths[] = {0, 5, 7, 8, 9, 12, 16};
    for (int64_t m = 1; m < 5000; m = m * 3 / 2 + 1)
        for (int64_t n = 1; n < 50000; n = n * 3 / 2 + 1)
            for (size_t d = 0; d < sizeof depths / sizeof *depths; d++) {
                struct tile t = tile_for(1, m, n, 10 * m, depths[d]);
                int threads = tile_threads(&t) * t.slices;
                assert_true(threads % 32 == 0 && threads <= 1024);
                assert_true(t.thread_m % 4 == 0 && t.thread_n % 4 == 0);
                assert_true(t.slices * 4 * 2 * t.k * (t.m + t.n + 8) <= 48 << 10);
                if (depths[d]) {
                    assert_int_equal(t.k, depths[d]);
                    assert_true(t.n >= tile_threads(&t));
                }
            }
}

static void sizes_beyond_any_memory_do_not_overflow(void **state)
{
    (void)state;
    struct tile t = tile_for(INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, 0);
    assert_int_equal(t.m * t.n, 128 * 128);
}

static void products_with_little_to_share_are_done_directly(void **state)
{
    (void)state;
    assert_true(cost_prefers_direct(&(struct extents){1, 1, 1000, 2048}));
    assert_true(cost_prefers_direct(&(struct extents){32, 1, 12544, 9}));
    assert_true(cost_prefers_direct(&(struct extents){1, 512, 512, 2}));
    assert_false(cost_prefers_direct(&(struct extents){1, 64, 64, 64}));
}

static void lanes_grow_with_the_row(void **state)
{
    (void)state;
    const struct target *target = target_find("sm_90a");
    assert_int_equal(cost_lanes(target, 10000, 4, true), 1);
    assert_int_equal(cost_lanes(target, 1000, 300, true), 32);
    assert_int_equal(cost_lanes(target, 10, 100000, true), BLOCK_THREADS);
    assert_int_equal(cost_lanes(target, 1000000, 300, false), 1);
}

static void few_rows_are_spread_over_small_blocks(void **state)
{
    (void)state;
    const struct target *target = target_find("sm_90a");
    assert_int_equal(cost_block(target, 100000, 32), BLOCK_THREADS);
    assert_int_equal(cost_block(target, 128, 32), 32);
    assert_int_equal(cost_block(target, 1, BLOCK_THREADS), BLOCK_THREADS);
}

static void free_dims_are_guessed_within_their_bounds(void **state)
{
    (void)state;
    struct diag diag = {0};
    jmp_buf oom;
    struct arena arena = {.on_oom = &oom};
    assert_int_equal(setjmp(oom), 0);
    struct graph *g = graph_create(&arena, &diag);
    const struct dim *few = dim_symbol(g->dims, "few", 0, 3);
    const struct dim *many = dim_symbol(g->dims, "many", 1000, 2000);
    assert_int_equal(cost_guess(g, few), 3);
    assert_int_equal(cost_guess(g, many), 1000);
    assert_int_equal(cost_guess(g, dim_mul(g->dims, few, dim_const(g->dims, 7))), 21);
    assert_int_equal(cost_guess(g, dim_const(g->dims, 0)), 1);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_products_get_the_largest_tile),
        cmocka_unit_test(small_products_get_small_tiles),
        cmocka_unit_test(few_tiles_share_the_work_along_k),
        cmocka_unit_test(batches_count_as_tiles),
        cmocka_unit_test(every_tile_can_be_launched),
        cmocka_unit_test(sizes_beyond_any_memory_do_not_overflow),
        cmocka_unit_test(products_with_little_to_share_are_done_directly),
        cmocka_unit_test(lanes_grow_with_the_row),
        cmocka_unit_test(few_rows_are_spread_over_small_blocks),
        cmocka_unit_test(free_dims_are_guessed_within_their_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
