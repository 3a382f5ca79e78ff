/* Control flow, calls, memory spaces, what lanes tell each other, atomics, launches. */
#include "device.h"

#include <stdio.h>
#include <string.h>

/* A kernel k(out): its body leaves a value for each thread in %r0; %r1 is tid, %r2 … are free. */
static void run_values(const char *body, unsigned grid, unsigned block, uint32_t *got)
{
    char text[8192];
    snprintf(text, sizeof text,
             ".visible .entry k(.param .u64 out)\n{\n.reg .pred %%p<8>; .reg .b32 %%r<20>; .reg "
             ".f32 %%f<8>;\n"
             ".reg .b64 %%d<8>;\nmov.u32 %%r1, %%tid.x; mov.u32 %%r0, 0;\n%s\n"
             "store: mov.u32 %%r19, %%ctaid.x; mov.u32 %%r18, %%ntid.x; mad.lo.s32 %%r19, %%r19, "
             "%%r18, %%r1;\n"
             "ld.param.u64 %%d7, [out]; mul.wide.u32 %%d6, %%r19, 4; add.s64 %%d7, %%d7, %%d6;\n"
             "st.global.u32 [%%d7], %%r0;\nret;\n}\n",
             body);
    CUmodule m = device_module(text);
    size_t n = sizeof(uint32_t) * grid * block;
    CUdeviceptr out = device_new(n);
    void *params[] = {&out};
    device_run(device_function(m, "k"), (struct shape){grid, block, 0}, params);
    device_get(got, out, n);
    cuMemFree_v2(out);
    cuModuleUnload(m);
}

static void loops_of_different_lengths(void **state)
{
    (void)state;
    uint32_t got[40];
    device_start(0, 1);
    run_values("mov.u32 %r2, 0;\n"
               "loop: setp.ge.u32 %p1, %r2, %r1; @%p1 bra store;\n"
               "add.s32 %r2, %r2, 1; and.b32 %r3, %r2, 1; setp.eq.u32 %p2, %r3, 0;\n"
               "@%p2 bra even; add.s32 %r0, %r0, 100; bra.uni loop;\n"
               "even: add.s32 %r0, %r0, 1; bra loop;\n",
               1, 40, got);
    for (uint32_t t = 0; t < 40; t++) {
        assert_int_equal(got[t], t / 2 + 100 * ((t + 1) / 2));
    }
}

static void a_table_of_branches(void **state)
{
    (void)state;
    uint32_t got[32];
    device_start(0, 1);
    run_values("and.b32 %r2, %r1, 3;\n"
               "list: .branchtargets a, b, c, b;\n"
               "brx.idx %r2, list;\n"
               "a: mov.u32 %r0, 10; bra store;\n"
               "b: mov.u32 %r0, 20; bra store;\n"
               "c: mov.u32 %r0, 30;\n",
               1, 32, got);
    static const uint32_t want[] = {10, 20, 30, 20};
    for (uint32_t t = 0; t < 32; t++) {
        assert_int_equal(got[t], want[t % 4]);
    }
}

static void lanes_exchange_values(void **state)
{
    (void)state;
    uint32_t got[32];
    device_start(0, 1);
    run_values("shfl.sync.bfly.b32 %r0|%p1, %r1, 5, 31, -1;", 1, 32, got);
    for (uint32_t t = 0; t < 32; t++) {
        assert_int_equal(got[t], t ^ 5);
    }
    run_values("shfl.sync.down.b32 %r0|%p1, %r1, 3, 0x1807, -1; @!%p1 mov.u32 %r0, 99;", 1, 32,
               got);
    for (uint32_t t = 0; t < 32; t++) {
        assert_int_equal(got[t], t % 8 + 3 < 8 ? t + 3 : 99);
    }
    run_values("shfl.sync.up.b32 %r0|%p1, %r1, 1, 0, -1;", 1, 32, got);
    for (uint32_t t = 0; t < 32; t++) {
        assert_int_equal(got[t], t ? t - 1 : 0);
    }
    run_values("shfl.sync.idx.b32 %r0, %r1, 7, 31, -1;", 1, 32, got);
    assert_int_equal(got[31], 7);
    run_values("and.b32 %r2, %r1, 1; setp.eq.u32 %p1, %r2, 1; vote.sync.ballot.b32 %r0, %p1, -1;",
               1, 32, got);
    assert_int_equal(got[0], 0xaaaaaaaa);
    run_values("vote.sync.any.pred %p2, !%p1, -1; selp.b32 %r0, 1, 0, %p2;", 1, 32, got);
    assert_int_equal(got[0], 1);
    run_values("redux.sync.add.s32 %r0, %r1, -1;", 1, 32, got);
    assert_int_equal(got[5], 31 * 16);
    run_values("redux.sync.max.u32 %r0, %r1, -1;", 1, 32, got);
    assert_int_equal(got[5], 31);
    run_values("shr.u32 %r2, %r1, 3; match.any.sync.b32 %r0, %r2, -1;", 1, 32, got);
    assert_int_equal(got[9], 0xff00);
    run_values("activemask.b32 %r0;", 1, 20, got);
    assert_int_equal(got[0], 0xfffff);
}

/* Halves of a warp, on different ways, meet in a shuffle of their own. */
static void halves_shuffle_apart(void **state)
{
    (void)state;
    uint32_t got[32];
    device_start(0, 1);
    run_values("setp.lt.u32 %p1, %r1, 16; @%p1 bra low;\n"
               "shfl.sync.idx.b32 %r0, %r1, 31, 31, 0xffff0000; bra store;\n"
               "low: shfl.sync.idx.b32 %r0, %r1, 3, 31, 0x0000ffff;\n",
               1, 32, got);
    assert_int_equal(got[0], 3);
    assert_int_equal(got[20], 31);
}

/* A lane spins until another lane of its warp lets it go. */
static void a_spinning_lane_yields(void **state)
{
    (void)state;
    uint32_t got[32];
    device_start(0, 1);
    run_values(".shared .align 4 .b32 flag; setp.ne.u32 %p1, %r1, 0;\n"
               "@!%p1 st.shared.u32 [flag], 0; bar.warp.sync -1;\n"
               "setp.eq.u32 %p2, %r1, 31; @%p2 bra set;\n"
               "spin: ld.volatile.shared.u32 %r0, [flag]; setp.eq.u32 %p3, %r0, 0; @%p3 bra spin;\n"
               "bra store;\n"
               "set: st.volatile.shared.u32 [flag], 42; mov.u32 %r0, 42;\n",
               1, 32, got);
    assert_int_equal(got[0], 42);
    assert_int_equal(got[31], 42);
}

static void blocks_share_and_wait(void **state)
{
    (void)state;
    uint32_t got[256];
    device_start(1, 2);
    run_values(
        ".shared .align 4 .b8 s[512]; mov.u32 %r2, s; shl.b32 %r3, %r1, 2; add.s32 %r4, %r2, %r3;\n"
        "st.shared.u32 [%r4], %r1; bar.sync 0;\n"
        "sub.s32 %r5, 508, %r3; add.s32 %r5, %r2, %r5; ld.shared.u32 %r0, [%r5];\n",
        2, 128, got);
    for (uint32_t t = 0; t < 256; t++) {
        assert_int_equal(got[t], 127 - t % 128);
    }
    /* two pairs of warps, each with a barrier of its own */
    run_values(
        ".shared .align 4 .b8 s[512]; mov.u32 %r2, s; shl.b32 %r3, %r1, 2; add.s32 %r4, %r2, %r3;\n"
        "st.shared.u32 [%r4], %r1; shr.u32 %r6, %r1, 6; add.s32 %r6, %r6, 1; bar.sync %r6, 64;\n"
        "xor.b32 %r5, %r1, 63; shl.b32 %r5, %r5, 2; add.s32 %r5, %r2, %r5; ld.shared.u32 %r0, "
        "[%r5];\n",
        1, 128, got);
    for (uint32_t t = 0; t < 128; t++) {
        assert_int_equal(got[t], t ^ 63);
    }
}

static void local_memory_is_a_lanes_own(void **state)
{
    (void)state;
    uint32_t got[64];
    device_start(0, 1);
    run_values(".local .align 8 .b8 depot[64]; mov.u64 %d1, depot; cvta.local.u64 %d2, %d1;\n"
               "and.b32 %r2, %r1, 15; mul.wide.u32 %d3, %r2, 4; add.s64 %d4, %d2, %d3; st.u32 "
               "[%d4], %r1;\n"
               "add.s64 %d5, %d1, %d3; ld.local.u32 %r0, [%d5];\n",
               1, 64, got);
    for (uint32_t t = 0; t < 64; t++) {
        assert_int_equal(got[t], t);
    }
}

static void carries_run_through(void **state)
{
    (void)state;
    uint32_t got[32];
    device_start(0, 1);
    run_values(
        "add.cc.u32 %r2, 0xffffffff, %r1; addc.cc.u32 %r3, 0xffffffff, 0; addc.u32 %r0, 5, 0;\n"
        "sub.cc.u32 %r4, 0, %r1; subc.u32 %r5, 10, 0; mad.lo.cc.u32 %r6, 65536, 65536, 1;\n"
        "madc.hi.u32 %r7, 65536, 65536, 7; mad.lo.s32 %r0, %r5, 100, %r0; mad.lo.s32 %r0, %r7, "
        "10000, %r0;\n",
        1, 32, got);
    for (uint32_t t = 0; t < 32; t++) {
        assert_int_equal(got[t], (t ? 6 : 5) + 100 * (t ? 9 : 10) + 10000 * 8);
    }
}

static const char calls[] =
    ".global .align 4 .b8 table[16] = {1, 0, 0, 0, 2, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 4};\n"
    ".const .align 8 .u64 where = table;\n"
    ".func (.param .b32 result) twice(.param .b32 x)\n{\n.reg .b32 %r<4>; .reg .pred %p<2>;\n"
    "ld.param.u32 %r1, [x]; setp.lt.u32 %p1, %r1, 10; @%p1 bra small; mov.u32 %r2, 1000;\n"
    "st.param.b32 [result], %r2; ret;\n"
    "small: add.s32 %r2, %r1, %r1; st.param.b32 [result+0], %r2; ret;\n}\n"
    ".visible .entry k(.param .u64 out)\n{\n.reg .b32 %r<8>; .reg .b64 %d<8>; .reg .pred %p<2>;\n"
    "mov.u32 %r1, %tid.x; ld.param.u64 %d1, [out]; mov.u32 %r2, 7;\n"
    "and.b32 %r6, %r1, 1; setp.eq.u32 %p1, %r6, 0; ld.const.u64 %d3, [where]; ld.u32 %r5, "
    "[%d3+8];\n"
    "{ .param .b32 a; .param .b32 r; st.param.b32 [a+0], %r1;\n"
    "@%p1 call.uni (r), twice, (a); @%p1 ld.param.b32 %r2, [r+0]; }\n"
    "add.s32 %r2, %r2, %r5; mul.wide.u32 %d2, %r1, 4; add.s64 %d1, %d1, %d2; st.global.u32 [%d1], "
    "%r2; ret;\n}\n";

static void functions_are_called_and_tables_read(void **state)
{
    (void)state;
    uint32_t got[32];
    device_start(0, 1);
    CUmodule m = device_module(calls);
    CUdeviceptr out = device_new(sizeof got);
    void *params[] = {&out};
    device_run(device_function(m, "k"), (struct shape){1, 32, 0}, params);
    device_get(got, out, sizeof got);
    for (uint32_t t = 0; t < 32; t++) {
        assert_int_equal(got[t], (t & 1 ? 7 : t < 10 ? 2 * t : 1000) - 1);
    }
}

static void atomics_add_up_over_threads(void **state)
{
    (void)state;
    static const char text[] =
        ".visible .entry k(.param .u64 out)\n{\n.reg .b32 %r<8>; .reg .b64 %d<4>; .reg .f32 "
        "%f<4>;\n"
        "ld.param.u64 %d1, [out]; mov.u32 %r1, %tid.x; mov.f32 %f1, 1.0;\n"
        "atom.global.add.u32 %r2, [%d1], 1; red.global.max.u32 [%d1+4], %r1; atom.global.add.f32 "
        "%f2, [%d1+8], %f1;\n"
        "atom.global.cas.b32 %r3, [%d1+12], 0, 9; red.global.add.u64 [%d1+16], 3; ret;\n}\n";
    uint32_t got[6] = {0};
    device_start(0, 2);
    CUmodule m = device_module(text);
    CUdeviceptr out = device_put(got, sizeof got);
    void *params[] = {&out};
    device_run(device_function(m, "k"), (struct shape){100, 96, 0}, params);
    device_get(got, out, sizeof got);
    float sum;
    memcpy(&sum, &got[2], sizeof sum);
    assert_int_equal(got[0], 9600);
    assert_int_equal(got[1], 95);
    assert_true(sum == 9600.0f);
    assert_int_equal(got[3], 9);
    assert_int_equal(got[4], 28800);
}

static void counters_count(void **state)
{
    (void)state;
    static const char text[] =
        ".visible .entry counted(.param .u64 out)\n{\n.reg .b32 %r<8>; .reg .b64 %d<4>;\n"
        "ld.param.u64 %d1, [out]; mov.u32 %r1, %tid.x; mul.wide.u32 %d2, %r1, 8;\n"
        "add.s64 %d1, %d1, %d2; st.global.u32 [%d1], %r1; ret;\n}\n";
    struct gpucc_emu_options o = {.threads = 1, .statistics = 1};
    assert_int_equal(gpucc_emu_configure(&o), 0);
    gpucc_emu_counters_reset();
    CUmodule m = device_module(text);
    CUdeviceptr out = device_new(64 * 8);
    void *params[] = {&out};
    device_run(device_function(m, "counted"), (struct shape){3, 64, 0}, params);
    assert_int_equal(cuMemsetD32Async(out, 7, 4, NULL), 0);
    struct gpucc_emu_counters c;
    assert_int_equal(gpucc_emu_counters("counted", &c), 0);
    assert_int_equal(c.launches, 1);
    assert_int_equal(c.warp_instructions, 3 * 2 * 6);
    assert_int_equal(c.global_requests, 6);
    assert_int_equal(c.global_sectors, 6 * 8);
    assert_int_equal(c.written_bytes, 64 * 8); /* by all three blocks, counted once */
    assert_int_equal(c.read_bytes, 0);
    assert_int_equal(gpucc_emu_counters(NULL, &c), 0);
    assert_int_equal(c.fills, 1);
    char mix[256];
    assert_true(gpucc_emu_instruction_mix("counted", mix, sizeof mix) < sizeof mix);
    assert_non_null(strstr(mix, "6 st.global.u32\n"));
    assert_int_equal(gpucc_emu_counters("nothing", &c), CUDA_ERROR_NOT_FOUND);
}

static void what_is_not_there_says_so(void **state)
{
    (void)state;
    device_start(0, 1);
    CUmodule m;
    assert_int_equal(cuModuleLoadData(&m, "\177ELF\2\1\1"), CUDA_ERROR_INVALID_IMAGE);
    assert_non_null(strstr(gpucc_emu_last_error(), "cubin"));
    assert_int_equal(cuStreamBeginCapture_v2(NULL, 0), CUDA_ERROR_NOT_SUPPORTED);
    assert_int_equal(cuModuleLoadData(&m, ".version 8.0\n.target sm_100a\n.address_size 64\n"),
                     CUDA_ERROR_NO_BINARY_FOR_GPU);
    assert_non_null(strstr(gpucc_emu_last_error(), "sm_100a"));
    m = device_module(".visible .entry k()\n.maxntid 64\n{\nret;\n}\n");
    CUfunction f = device_function(m, "k");
    assert_int_equal(device_launch(f, (struct shape){1, 65, 0}, NULL), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(device_launch(f, (struct shape){0, 32, 0}, NULL), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(device_launch(f, (struct shape){1, 32, 60000}, NULL),
                     CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuFuncSetAttribute(f, CU_FUNC_MAX_DYNAMIC_SHARED_SIZE_BYTES, 60000), 0);
    device_run(f, (struct shape){1, 32, 60000}, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loops_of_different_lengths),
        cmocka_unit_test(a_table_of_branches),
        cmocka_unit_test(lanes_exchange_values),
        cmocka_unit_test(halves_shuffle_apart),
        cmocka_unit_test(a_spinning_lane_yields),
        cmocka_unit_test(blocks_share_and_wait),
        cmocka_unit_test(local_memory_is_a_lanes_own),
        cmocka_unit_test(carries_run_through),
        cmocka_unit_test(functions_are_called_and_tables_read),
        cmocka_unit_test(atomics_add_up_over_threads),
        cmocka_unit_test(counters_count),
        cmocka_unit_test(what_is_not_there_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
