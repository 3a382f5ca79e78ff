/* Planted bugs: each must fail the launch, and the text must say what and where. */
#include "device.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define REGISTERS                                                                                  \
    ".reg .pred %p<8>; .reg .b32 %r<20>; .reg .b64 %d<8>; .reg .f32 %f<8>;\n"                      \
    "mov.u32 %r1, %tid.x; ld.param.u64 %d1, [in]; ld.param.u64 %d2, [out];\n"                      \
    "mul.wide.u32 %d3, %r1, 4; add.s64 %d4, %d1, %d3; add.s64 %d5, %d2, %d3;\n"

struct planted {
    const char *name, *body;
    struct shape shape;
    int race;
    const char *says[4];
};

/* Every kernel gets two buffers of 256 bytes. */
static const struct planted planted[] = {
    {"a load past a buffer",
     "ld.global.u32 %r2, [%d4+132];",
     {1, 64, 0},
     0,
     {"out-of-bounds load", "bytes 256 to 259", "thread (31, 0, 0)", "ld.global.u32"}},
    {"a store before a buffer",
     "st.global.u32 [%d5-4], %r1;",
     {2, 32, 0},
     0,
     {"out-of-bounds store", "thread (0, 0, 0)", "block (0, 0, 0)", NULL}},
    {"straying into the neighbour",
     "sub.s64 %d6, %d2, %d1; add.s64 %d6, %d6, 4096; add.s64 %d6, %d6, %d1; st.global.u32 [%d6], "
     "%r1;",
     {1, 1, 0},
     0,
     {"out-of-bounds store", "has 256 bytes", NULL, NULL}},
    {"a null pointer",
     "mov.u64 %d6, 0; ld.global.u32 %r2, [%d6+16];",
     {1, 1, 0},
     0,
     {"belongs to no allocation", "0x10", NULL, NULL}},
    {"a misaligned vector load",
     "ld.global.v4.u32 {%r2, %r3, %r4, %r5}, [%d4];",
     {1, 32, 0},
     0,
     {"misaligned load of 16 bytes", "thread (1, 0, 0)", "ld.global.v4.u32", NULL}},
    {"one lane of many",
     "setp.ne.u32 %p1, %r1, 17; @%p1 mov.u64 %d3, 0; add.s64 %d4, %d1, %d3; ld.global.u32 %r2, "
     "[%d4+252];",
     {1, 32, 0},
     0,
     {"out-of-bounds", "thread (17, 0, 0)", NULL, NULL}},
    {"shared memory past its end",
     ".shared .align 4 .b8 s[128]; mov.u64 %d6, s; add.s64 %d6, %d6, %d3; st.shared.u32 [%d6+4], "
     "%r1;",
     {1, 32, 0},
     0,
     {"out-of-bounds store of 4 bytes at 0x80 of shared memory", "128 bytes", "thread (31, 0, 0)",
      NULL}},
    {"shared memory before its start",
     ".shared .align 4 .b8 s[128]; mov.u32 %r2, s; sub.s32 %r2, %r2, 4; st.shared.u32 [%r2], %r1;",
     {1, 1, 0},
     0,
     {"out-of-bounds store", "shared memory", NULL, NULL}},
    {"misaligned shared load",
     ".shared .align 16 .b8 s[512]; mov.u32 %r2, s; st.shared.u32 [%r2], 0; ld.shared.v2.u32 {%r3, "
     "%r4}, [%r2+4];",
     {1, 1, 0},
     0,
     {"misaligned load of 8 bytes", "shared memory", NULL, NULL}},
    {"shared memory that nobody wrote",
     ".shared .align 4 .b8 s[128]; mov.u64 %d6, s; add.s64 %d6, %d6, %d3; setp.ne.u32 %p1, %r1, "
     "9;\n@%p1 st.shared.u32 [%d6], %r1; ld.shared.u32 %r2, [%d6];",
     {1, 32, 0},
     0,
     {"nobody wrote", "byte 0x24", "thread (9, 0, 0)", NULL}},
    {"a byte that nobody wrote",
     ".shared .align 4 .b8 s[128]; st.shared.u8 [s], %r1; ld.shared.u16 %r2, [s];",
     {1, 1, 0},
     0,
     {"nobody wrote", "byte 0x1", NULL, NULL}},
    {"a missing barrier",
     ".shared .align 4 .b8 s[256]; mov.u64 %d6, s; add.s64 %d7, %d6, %d3; st.shared.u32 [%d7], "
     "%r1;\nxor.b32 %r2, %r1, 32; mul.wide.u32 %d3, %r2, 4; add.s64 %d7, %d6, %d3; st.shared.u32 "
     "[%d7], %r1;",
     {1, 64, 0},
     1,
     {"race on shared memory", "no barrier", NULL, NULL}},
    {"a missing barrier before a reuse",
     ".shared .align 4 .b8 s[256]; mov.u64 %d6, s; add.s64 %d7, %d6, %d3; st.shared.u32 [%d7], "
     "%r1; bar.sync 0;\nxor.b32 %r2, %r1, 32; mul.wide.u32 %d3, %r2, 4; add.s64 %d6, %d6, %d3; "
     "ld.shared.u32 %r3, [%d6]; st.shared.u32 [%d7], %r3;",
     {1, 64, 0},
     1,
     {"race on shared memory", "no barrier", NULL, NULL}},
    {"lanes that store different values",
     ".shared .align 4 .b8 s[4]; st.shared.u32 [s], %r1;",
     {1, 32, 0},
     1,
     {"race on shared memory", "lanes 0 and 1", NULL, NULL}},
    {"a barrier for some lanes only",
     "setp.lt.u32 %p1, %r1, 16; @%p1 bra in_; bar.sync 1; bra out_; in_: bar.sync 0; out_:",
     {1, 32, 0},
     0,
     {"divergent barrier", "bar.sync", NULL, NULL}},
    {"a barrier under a guard",
     "setp.lt.u32 %p1, %r1, 16; @%p1 bar.sync 0;",
     {1, 32, 0},
     0,
     {"divergent barrier", "guard", NULL, NULL}},
    {"a barrier after lanes exited",
     "setp.ge.u32 %p1, %r1, 20; @%p1 ret; bar.sync 0;",
     {1, 32, 0},
     0,
     {"divergent barrier", "0xfff00000", "exited", NULL}},
    {"a shuffle naming exited lanes",
     "setp.ge.u32 %p1, %r1, 20; @%p1 exit; shfl.sync.bfly.b32 %r2, %r1, 1, 31, -1;",
     {1, 32, 0},
     0,
     {"names lanes 0xfff00000", "exited", NULL, NULL}},
    {"a shuffle naming lanes that are elsewhere",
     "setp.ge.u32 %p1, %r1, 16; @%p1 bra b; shfl.sync.idx.b32 %r2, %r1, 0, 31, -1; bra c;\nb: "
     "shfl.sync.idx.b32 %r2, %r1, 1, 31, -1; c:",
     {1, 32, 0},
     0,
     {"divergent .sync", "wait", NULL, NULL}},
    {"a shuffle by a lane outside of its mask",
     "shfl.sync.idx.b32 %r2, %r1, 0, 31, 0xffff;",
     {1, 32, 0},
     0,
     {"not in the mask", "thread (16, 0, 0)", NULL, NULL}},
    {"a shuffle from a lane that does not take part",
     "setp.lt.u32 %p1, %r1, 16; @!%p1 bra c; shfl.sync.idx.b32 %r2, %r1, 20, 31, 0xffff; c:",
     {1, 32, 0},
     0,
     {"reads lane 20", NULL, NULL, NULL}},
    {"warps at different barriers",
     "setp.lt.u32 %p1, %r1, 32; @%p1 bra a; bar.sync 1, 64; bra c; a: bar.sync 2, 64; c:",
     {1, 64, 0},
     0,
     {"deadlock", "barrier", NULL, NULL}},
    {"local memory past its end",
     ".local .align 4 .b8 depot[16]; mov.u64 %d6, depot; add.s64 %d6, %d6, %d3; st.local.u32 "
     "[%d6], %r1;",
     {1, 8, 0},
     0,
     {"out-of-bounds store", "local memory", "thread (4, 0, 0)", NULL}},
    {"a branch index out of the table",
     "list: .branchtargets a, b; brx.idx %r1, list; a: b:",
     {1, 4, 0},
     0,
     {"branch index 2 of 2", NULL, NULL, NULL}},
    {"a trap",
     "setp.eq.u32 %p1, %r1, 3; @%p1 trap;",
     {1, 8, 0},
     0,
     {"trap", "thread (3, 0, 0)", NULL, NULL}},
    {"a line of the source",
     ".loc 1 42 7\nld.global.u32 %r2, [%d1+4096];",
     {1, 1, 0},
     0,
     {"CUDA line 42", "PTX line 10", NULL, NULL}},
};

static void every_planted_bug_is_caught(void **state)
{
    (void)state;
    int missed = 0;
    for (size_t i = 0; i < sizeof planted / sizeof *planted; i++) {
        const struct planted *b = &planted[i];
        char text[4096];
        device_start(b->race, 2);
        gpucc_emu_forgive();
        snprintf(text, sizeof text,
                 ".visible .entry planted(.param .u64 in, .param .u64 out)\n{\n%s%s\nret;\n}\n",
                 REGISTERS, b->body);
        CUmodule m = device_module(text);
        CUfunction f = device_function(m, "planted");
        unsigned char zeros[256] = {0};
        CUdeviceptr in = device_put(zeros, sizeof zeros), out = device_put(zeros, sizeof zeros);
        void *params[] = {&in, &out};
        CUresult rc = device_launch(f, b->shape, params);
        const char *error = gpucc_emu_last_error();
        bool good = rc == CUDA_ERROR_ILLEGAL_ADDRESS || rc == CUDA_ERROR_LAUNCH_FAILED;
        good = good && strstr(error, "kernel planted");
        for (int k = 0; k < 4 && good && b->says[k]; k++) {
            good = strstr(error, b->says[k]) != NULL;
        }
        if (!good) {
            print_error("%s: %d, %s\n", b->name, rc, error);
            missed++;
        }
        gpucc_emu_forgive();
        cuMemFree_v2(in);
        cuMemFree_v2(out);
        cuModuleUnload(m);
    }
    assert_int_equal(missed, 0);
}

static const char copy_text[] =
    ".const .align 4 .u32 fixed = 5;\n"
    ".visible .entry copy(.param .u64 in, .param .u64 out)\n{\n" REGISTERS
    "ld.global.u32 %r2, [%d4]; st.global.u32 [%d5], %r2; ret;\n}\n"
    ".visible .entry spoil()\n{\n.reg .b64 %d<2>;\nmov.u64 %d1, fixed; st.global.u32 [%d1], 1; "
    "ret;\n}\n";

static void freed_memory_is_noticed(void **state)
{
    (void)state;
    device_start(0, 1);
    gpucc_emu_forgive();
    CUdeviceptr in = device_new(256), out = device_new(256);
    CUfunction f = device_function(device_module(copy_text), "copy");
    void *params[] = {&in, &out};
    device_run(f, (struct shape){1, 32, 0}, params);
    assert_int_equal(cuMemFree_v2(in), 0);
    assert_int_equal(device_launch(f, (struct shape){1, 32, 0}, params),
                     CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_non_null(strstr(gpucc_emu_last_error(), "freed"));
    /* an error stays until forgiven */
    assert_int_equal(device_launch(f, (struct shape){1, 32, 0}, params),
                     CUDA_ERROR_ILLEGAL_ADDRESS);
    gpucc_emu_forgive();
    assert_int_equal(cuMemFree_v2(in), CUDA_ERROR_INVALID_VALUE);
    char bytes[300];
    assert_int_equal(cuMemcpyDtoH_v2(bytes, out, 257), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuMemcpyDtoH_v2(bytes, out, 256), 0);
}

static void constant_memory_is_not_written(void **state)
{
    (void)state;
    device_start(0, 1);
    CUfunction f = device_function(device_module(copy_text), "spoil");
    assert_int_equal(device_launch(f, (struct shape){1, 1, 0}, NULL), CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_non_null(strstr(gpucc_emu_last_error(), "constant memory"));
    gpucc_emu_forgive();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_planted_bug_is_caught),
        cmocka_unit_test(freed_memory_is_noticed),
        cmocka_unit_test(constant_memory_is_not_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
