/*
 * Races on global memory. The kernels are put together of pieces; a piece that order needs is left
 * out in turn. Whether one is found must not hang on which block comes first.
 */
#include "device.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* %r1 thread, %r2 block; the buffer: %d1, at 4 * thread %d3, at 512 * block + 4 * thread %d4. */
#define START                                                                                      \
    ".reg .pred %p<4>; .reg .b16 %h<2>; .reg .b32 %r<12>; .reg .b64 %d<8>; .reg .f32 %f<2>;\n"     \
    ".shared .align 16 .b8 s[512];\n"                                                              \
    "mov.u32 %r1, %tid.x; mov.u32 %r2, %ctaid.x; ld.param.u64 %d1, [buffer];\n"                    \
    "mul.wide.u32 %d2, %r1, 4; add.s64 %d3, %d1, %d2; mul.wide.u32 %d2, %r2, 512;\n"               \
    "add.s64 %d4, %d3, %d2; setp.ne.u32 %p1, %r1, 0;\n"
#define FENCE   "membar.gl;\n"
#define NARROW  "membar.cta;\n"
#define BARRIER "bar.sync 0;\n"
#define PART    "st.global.u32 [%d4], %r1;\n"
/* %p2: is this block not the last of 4? Thread 0 counts, and tells the others. */
#define COUNT(operation) "@!%p1 " operation "\n@!%p1 st.shared.u32 [s], %r3;\n"
#define ATOMIC           COUNT("atom.global.add.u32 %r3, [%d1+4096], 1;")
#define HEAR             "ld.shared.u32 %r3, [s]; setp.ne.u32 %p2, %r3, 3;\n@%p2 ret;\n"
#define READ             "ld.global.u32 %r4, [%d3]; ld.global.u32 %r5, [%d3+512];\n"
#define READ_CONSTANT    "ld.global.nc.u32 %r4, [%d3]; ld.global.nc.u32 %r5, [%d3+512];\n"
#define RESULT           "add.u32 %r6, %r4, %r5; st.global.u32 [%d3+2048], %r6;\n"
#define FINISH           BARRIER HEAR FENCE READ RESULT
#define COPY                                                                                       \
    "mul.wide.u32 %d2, %r1, 4; mov.u64 %d5, s; add.s64 %d5, %d5, %d2;\n"                           \
    "cp.async.ca.shared.global [%d5], [%d3], 4; cp.async.wait_all;\n"

struct kernel_case {
    const char *name, *body;
    const char *says; /* NULL: nothing is wrong */
};

#define RACE "race on global memory"

/* Each is run by 4 blocks of 64. */
static const struct kernel_case cases[] = {
    {"parts and their sum in the last block", PART FENCE BARRIER ATOMIC FINISH, NULL},
    {"one thread fences for its block", PART BARRIER FENCE ATOMIC FINISH, NULL},
    {"one thread hears for its block", PART FENCE BARRIER ATOMIC FENCE BARRIER HEAR READ RESULT,
     NULL},
    {"an atomic that fences",
     PART BARRIER COUNT("atom.acq_rel.gpu.global.add.u32 %r3, [%d1+4096], 1;")
         BARRIER HEAR READ RESULT,
     NULL},
    {"a counter that is set back",
     PART FENCE BARRIER ATOMIC FINISH "@!%p1 st.global.u32 [%d1+4096], 0;", NULL},
    {"no fence of the parts", PART BARRIER ATOMIC FINISH, RACE},
    {"a fence of the block only", PART NARROW BARRIER ATOMIC FINISH, RACE},
    {"fences behind the atomic", PART BARRIER ATOMIC FENCE FINISH, RACE},
    {"a fence before the part", FENCE PART BARRIER ATOMIC FINISH, RACE},
    {"no barrier before the atomic", PART FENCE ATOMIC FINISH, RACE},
    {"no barrier behind the atomic", PART FENCE BARRIER ATOMIC HEAR FENCE READ RESULT,
     "race on shared memory"},
    {"no fence before the reads", PART FENCE BARRIER ATOMIC BARRIER HEAR READ RESULT, RACE},
    {"an atomic that releases only",
     PART BARRIER COUNT("atom.release.gpu.global.add.u32 %r3, [%d1+4096], 1;")
         BARRIER HEAR READ RESULT,
     RACE},
    {"an atomic that acquires only",
     PART BARRIER COUNT("atom.acquire.gpu.global.add.u32 %r3, [%d1+4096], 1;")
         BARRIER HEAR READ RESULT,
     RACE},
    {"counters of their own",
     PART FENCE BARRIER "mul.wide.u32 %d5, %r2, 4; add.s64 %d5, %d5, %d1;\n" COUNT(
         "atom.global.add.u32 %r3, [%d5+4096], 1;") BARRIER FENCE READ RESULT,
     RACE},
    {"a count by loads and stores",
     PART FENCE BARRIER COUNT(
         "ld.global.u32 %r3, [%d1+4096]; add.u32 %r4, %r3, 1; st.global.u32 [%d1+4096], %r4;")
         FINISH,
     RACE},
    {"an atomic whose result nobody takes",
     PART FENCE BARRIER "@!%p1 red.global.add.u32 [%d1+4096], 1;\n" BARRIER FENCE READ, RACE},
    {"parts read as constant", PART FENCE BARRIER ATOMIC BARRIER HEAR FENCE READ_CONSTANT RESULT,
     "as constant"},
    {"parts of others copied", PART COPY, RACE},
    {"what nobody writes is read by all", READ READ_CONSTANT, NULL},
    {"one place, different values", "st.global.u32 [%d1], %r2;", RACE},
    {"one place in vectors",
     "mul.wide.u32 %d5, %r2, 8; add.s64 %d5, %d5, %d1;\n@%p1 ret;\n"
     "st.global.v2.u32 [%d5], {%r1, %r2}; st.global.u32 [%d5+8], %r1;",
     RACE},
    {"halves of a word",
     "mul.wide.u32 %d5, %r2, 2; add.s64 %d5, %d5, %d1;\n@%p1 ret;\n"
     "cvt.u16.u32 %h1, %r2; st.global.u16 [%d5], %h1;",
     NULL},
    {"overlapping halves",
     "mul.wide.u32 %d5, %r2, 2; add.s64 %d5, %d5, %d1;\n@%p1 ret;\n"
     "cvt.u16.u32 %h1, %r2; st.global.u16 [%d5], %h1; st.global.u16 [%d5+2], %h1;",
     RACE},
    {"sums by atomics", "atom.global.add.u32 %r3, [%d3], 1; red.global.add.u32 [%d3], 1;", NULL},
    {"a store among atomics", "atom.global.add.u32 %r3, [%d3], 1; st.global.u32 [%d3], 0;", RACE},
    {"a load among atomics", "red.global.add.u32 [%d3], 1; ld.global.u32 %r3, [%d3];", RACE},
    {"a neighbouring warp's, behind a barrier",
     PART BARRIER "xor.b32 %r3, %r1, 32; sub.u32 %r3, %r3, %r1; mul.wide.s32 %d5, %r3, 4;\n"
                  "add.s64 %d5, %d5, %d4; ld.global.u32 %r4, [%d5];",
     NULL},
    {"a neighbouring warp's",
     PART "xor.b32 %r3, %r1, 32; sub.u32 %r3, %r3, %r1; mul.wide.s32 %d5, %r3, 4;\n"
          "add.s64 %d5, %d5, %d4; ld.global.u32 %r4, [%d5];",
     "with no barrier in between"},
};

static bool run(const struct kernel_case *c, int race, int threads)
{
    static const unsigned char zeros[8192];
    char text[4096];
    device_start(race, threads);
    gpucc_emu_forgive();
    snprintf(text, sizeof text, ".visible .entry racing(.param .u64 buffer)\n{\n%s%s\nret;\n}\n",
             START, c->body);
    CUmodule m = device_module(text);
    CUfunction f = device_function(m, "racing");
    CUdeviceptr buffer = device_put(zeros, sizeof zeros);
    void *params[] = {&buffer};
    CUresult rc = device_launch(f, (struct shape){4, 64, 0}, params);
    const char *error = gpucc_emu_last_error();
    bool good = !race || !c->says ? rc == 0 : rc != 0 && strstr(error, c->says);
    if (!good) {
        print_error("%s, race %d, %d threads: %d, %s\n", c->name, race, threads, rc, error);
    }
    gpucc_emu_forgive();
    cuMemFree_v2(buffer);
    cuModuleUnload(m);
    return good;
}

static void races_are_found_and_order_is_known(void **state)
{
    (void)state;
    int wrong = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int threads = 1; threads <= 4; threads++) {
            wrong += !run(&cases[i], 1, threads);
        }
    }
    assert_int_equal(wrong, 0);
}

static void nobody_looks_for_them_otherwise(void **state)
{
    (void)state;
    int wrong = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        wrong += !run(&cases[i], 0, 1);
    }
    assert_int_equal(wrong, 0);
}

/* The end of a launch orders all that it did before all of the next. */
static void launches_do_not_race(void **state)
{
    (void)state;
    device_start(1, 2);
    CUmodule m =
        device_module(".visible .entry part(.param .u64 buffer)\n{\n" START PART "ret;\n}\n"
                      ".visible .entry all(.param .u64 buffer)\n{\n" START READ_CONSTANT
                      "st.global.u32 [%d4+4096], %r4; ret;\n}\n");
    CUdeviceptr buffer = device_new(8192);
    void *params[] = {&buffer};
    for (int i = 0; i < 3; i++) {
        device_run(device_function(m, "part"), (struct shape){4, 64, 0}, params);
        device_run(device_function(m, "all"), (struct shape){4, 64, 0}, params);
    }
    cuMemFree_v2(buffer);
    cuModuleUnload(m);
}

/* Blocks run on several threads, and the counter's order may be another than that in which the
 * emulator comes to note it. */
static void the_last_to_count_has_heard_all_others(void **state)
{
    enum { LAUNCHES = 10000 };
    (void)state;
    device_start(1, 3);
    CUmodule m = device_module(
        ".visible .entry sum(.param .u64 buffer)\n{\n" START PART FENCE BARRIER ATOMIC FINISH
        "@!%p1 st.global.u32 [%d1+4096], 0;\nret;\n}\n");
    CUfunction f = device_function(m, "sum");
    CUdeviceptr buffer = device_put((unsigned char[8192]){0}, 8192);
    void *params[] = {&buffer};
    for (int i = 0; i < LAUNCHES; i++) {
        device_run(f, (struct shape){4, 64, 0}, params);
    }
    cuMemFree_v2(buffer);
    cuModuleUnload(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(races_are_found_and_order_is_known),
        cmocka_unit_test(nobody_looks_for_them_otherwise),
        cmocka_unit_test(launches_do_not_race),
        cmocka_unit_test(the_last_to_count_has_heard_all_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
