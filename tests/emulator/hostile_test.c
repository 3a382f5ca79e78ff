/* Text that is not PTX, or is made to break a parser: an error or a module, never a crash. */
#include "device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char sample[] = PTX_HEADER
    ".file 1 \"x.cu\"\n"
    ".global .align 4 .b8 table[8] = {1, 2, 3, 4};\n.const .align 8 .u64 where[2] = {table, "
    "table+4};\n"
    ".extern .shared .align 16 .b8 dynamic[];\n"
    ".func (.param .b32 r) f(.param .b32 x)\n{\n.reg .b32 %r<4>;\nld.param.u32 %r1, [x];\n"
    "st.param.b32 [r], %r1;\nret;\n}\n"
    ".visible .entry k(.param .u64 a, .param .align 8 .b8 b[16])\n.maxntid 128, 1, 1\n{\n"
    ".reg .pred %p<4>;\n.reg .b16 %h<4>;\n.reg .b32 %r<10>;\n.reg .f32 %f<4>;\n.reg .b64 %d<6>;\n"
    ".local .align 8 .b8 depot[32];\n.shared .align 4 .b8 s[64];\n.loc 1 3 4\n"
    "ld.param.u64 %d1, [a+0];\nld.param.v2.u32 {%r1, %r2}, [b+8];\n/* comment */ mov.u32 %r3, "
    "%tid.x;\n"
    "$L: setp.lt.and.s32 %p1|%p2, %r3, -5, !%p3;\n@!%p1 bra $L2;\nmov.b64 {%r4, _}, %d1;\n"
    "fma.rn.f32 %f1, %f1, 0f3F800000, 1.5;\n"
    "{ .param .b32 p; .param .b32 q; st.param.b32 [p+0], %r3; call.uni (q), f, (p); ld.param.b32 "
    "%r5, [q]; }\n"
    "list: .branchtargets $L, $L2;\nbrx.idx %r3, list;\n$L2: atom.global.add.u32 %r6, [%d1], 1;\n"
    "shfl.sync.idx.b32 %r7|%p1, %r3, 0, 31, -1;\nbar.sync 0;\n"
    "createpolicy.fractional.L2::evict_last.b64 %d2, 1.0;\n"
    "cp.async.cg.shared.global.L2::cache_hint [%r1+16], [%d1+32], 16, %r2, %d2;\n"
    "cp.async.ca.shared.global [%r1], [%d1], 4, %p1;\ncp.async.commit_group;\n"
    "cp.async.wait_group 0;\n"
    "ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%r1, %r2}, [dynamic+16];\n"
    "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%f0, %f1, %f2, %f3}, {%r1, %r2, %r3, "
    "%r4}, {%r5, %r6}, {%f0, %f1, %f2, %f3};\nret;\n}\n";

/* Loads text; unloads it if it was good. */
static int load(const char *text)
{
    CUmodule m;
    int rc = cuModuleLoadData(&m, text);
    if (rc) {
        assert_true(strlen(gpucc_emu_last_error()) > 0);
    } else {
        cuModuleUnload(m);
    }
    return rc;
}

static void the_sample_itself_is_good(void **state)
{
    (void)state;
    device_start(0, 1);
    assert_int_equal(load(sample), 0);
}

static void cut_anywhere(void **state)
{
    (void)state;
    char text[sizeof sample];
    device_start(0, 1);
    for (size_t n = 0; n < sizeof sample; n++) {
        memcpy(text, sample, n);
        text[n] = 0;
        load(text);
    }
}

static void changed_anywhere(void **state)
{
    (void)state;
    char text[sizeof sample];
    uint32_t random = 12345;
    static const char letters[] = "0129afxbr.,;:%{}[]()<>+-|!@_$ \n\"/*\xff";
    device_start(0, 1);
    for (int i = 0; i < 20000; i++) {
        memcpy(text, sample, sizeof sample);
        for (int k = 0; k < 1 + i % 4; k++) {
            random = random * 1664525u + 1013904223u;
            size_t at = (random >> 8) % (sizeof sample - 1);
            random = random * 1664525u + 1013904223u;
            text[at] = letters[(random >> 8) % (sizeof letters - 1)];
        }
        load(text);
    }
}

/* Parts moved about: lines dropped, doubled, swapped. */
static void lines_in_any_order(void **state)
{
    (void)state;
    static char lines[128][256];
    size_t n = 0;
    for (const char *p = sample; *p && n < 128; n++) {
        size_t length = strcspn(p, "\n") + 1;
        snprintf(lines[n], sizeof lines[n], "%.*s", (int)length, p);
        p += length;
    }
    uint32_t random = 99;
    char text[2 * sizeof sample];
    device_start(0, 1);
    for (int i = 0; i < 5000; i++) {
        size_t used = 0;
        for (size_t k = 0; k < n; k++) {
            random = random * 1664525u + 1013904223u;
            uint32_t dice = random >> 24;
            size_t pick = dice < 12 && k > 3 ? (random >> 8) % n : k;
            size_t length = strlen(lines[pick]);
            if (used + length < sizeof text) {
                memcpy(text + used, lines[pick], length + 1);
                used += length;
            }
        }
        load(text);
    }
}

static void repeated(const char *before, const char *what, int times, const char *after)
{
    size_t n = strlen(what),
           room = strlen(PTX_HEADER) + strlen(before) + n * (size_t)times + strlen(after) + 1;
    char *text = malloc(room), *p = text;
    assert_non_null(text);
    p += snprintf(p, room, "%s%s", PTX_HEADER, before);
    for (int i = 0; i < times; i++, p += n) {
        memcpy(p, what, n);
    }
    strcpy(p, after);
    assert_int_not_equal(load(text), 0);
    free(text);
}

static void deep_and_large(void **state)
{
    (void)state;
    device_start(0, 1);
    repeated(".entry k()\n{\n", "{", 100000, "");
    repeated(".entry k()\n{\n.reg .b32 %r<2>; mov.b32 %r1, ", "{", 100000, ";}");
    repeated(".entry k()\n{\n.reg .b32 %r<2>; ld.global.b32 %r1, ", "[", 100000, ";}");
    repeated(".entry k()\n{\n.reg .pred %p<2>; not.pred %p1, ", "!", 100000, "%p0;}");
    repeated(".entry k()\n{\n.reg .b32 %r<2>; mov.b32 %r1, {", "%r0, ", 100000, "%r0}; }");
    repeated(".global .b32 a[4] = ", "{", 100000, "");
    static const char *const bad[] = {
        ".entry k()\n{\n.reg .b32 %r<4294967295>; ret; }",
        ".entry k()\n{\n.reg .b32 %r<99999999999999999999999>; ret; }",
        ".entry k()\n{\n.shared .b8 s[4294967296]; ret; }",
        ".entry k()\n{\n.local .b8 s[200000000]; ret; }",
        ".global .b64 a[1152921504606846976][1152921504606846976];",
        ".global .b8 a[2] = {1, 2, 3};",
        ".global .align 3 .b8 a[2];",
        ".func f()\n{\ncall g; ret; }\n.func g()\n{\ncall f; ret; }\n.entry k()\n{\ncall f; ret; }",
        ".func f(.param .b32 a)\n{\nret; }\n.entry k()\n{\ncall f; ret; }",
        ".entry k()\n{\nbra nowhere; }",
        ".entry k()\n{\n.reg .b32 %r<2>; add.s32 %r1, %r0; }",
        ".entry k()\n{\n.reg .b32 %r<2>; .reg .b64 %d<2>; add.s32 %r1, %r0, %d0; }",
        ".entry k()\n{\n.reg .b32 %r<2>; @%r1 ret; }",
        ".entry k()\n{\n.reg .b32 %r<2>; add.s32 5, %r0, %r1; }",
        ".entry k()\n{\n.reg .b32 %r<2>; mov.u32 %r5, 1; }",
        ".entry k()\n{\n.reg .f32 %f<2>; mov.f32 %f1, 0f3F80; }",
        ".entry k(.param .u64 a)\n{\n.reg .b32 %r<2>; st.param.b32 [a], %r1; }",
        ".entry k()\n{\n/* no end",
        ".entry k()\n{ ret; }\n.entry k()\n{ ret; }",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[1024];
        snprintf(text, sizeof text, "%s%s", PTX_HEADER, bad[i]);
        if (load(text) == 0) {
            fail_msg("accepted: %s", bad[i]);
        }
    }
    assert_int_not_equal(load(""), 0);
    assert_int_not_equal(load(".version 8.0"), 0);
    assert_int_not_equal(load(".version 8.0\n.target sm_90\n.address_size 32\n"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_sample_itself_is_good),
        cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(changed_anywhere),
        cmocka_unit_test(lines_in_any_order),
        cmocka_unit_test(deep_and_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
