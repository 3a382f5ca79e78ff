/*
 * cp.async and ldmatrix: what they do, eager and lazy, and the mistakes that one makes with them:
 * each planted bug must be found, and the same kernel without it must pass.
 */
#include "device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 64, BYTES = THREADS * 16, SLOTS = 3 };

/*
 * 64 threads, 16 bytes of each: $g is where the thread reads, $o where it writes 16 bytes, $d its
 * 16 bytes of shared memory (3 slots of 1024), $x those of its neighbour in the other warp, $y
 * those of the thread beside it in its own.
 */
static const char prologue[] =
    ".visible .entry k(.param .u64 in, .param .u64 out)\n{\n"
    ".reg .b32 $t, $d, $x, $y, $h, $n, $r<8>;\n.reg .b16 $f<4>;\n.reg .b64 $a, $b, $g, $o;\n"
    ".reg .pred $p, $q;\n.reg .f32 $s<4>;\n"
    ".shared .align 128 .b8 tile[3072];\n"
    "ld.param.u64 $a, [in];\nld.param.u64 $b, [out];\nmov.u32 $t, %tid.x;\n"
    "mul.wide.u32 $g, $t, 16;\nadd.s64 $o, $b, $g;\nadd.s64 $g, $a, $g;\n"
    "mov.u32 $h, tile;\nshl.b32 $d, $t, 4;\nxor.b32 $x, $d, 512;\nxor.b32 $y, $d, 16;\n"
    "add.s32 $d, $d, $h;\nadd.s32 $x, $x, $h;\nadd.s32 $y, $y, $h;\n"
    "mov.u32 $n, 16;\nsetp.lt.u32 $q, $t, 32;\n";
static const char epilogue[] = "\nst.global.v4.b32 [$o], {$r0, $r1, $r2, $r3};\nret;\n}\n";

#define COPY         "cp.async.cg.shared.global [$d], [$g], 16;\n"
#define COMMIT       "cp.async.commit_group;\n"
#define WAIT0        "cp.async.wait_group 0;\n"
#define WAIT1        "cp.async.wait_group 1;\n"
#define BAR          "bar.sync 0;\n"
#define READ         "ld.shared.v4.b32 {$r0, $r1, $r2, $r3}, [$x];\n"
#define MATRIX(from) "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {$r0, $r1, $r2, $r3}, [" from "];\n"

#define ODD "and.b32 $r4, $t, 1;\nsetp.eq.u32 $p, $r4, 1;\n"

static void start(int race, int lazy)
{
    const char *isa = getenv("TEST_ISA");
    struct gpucc_emu_options o = {.race = race,
                                  .lazy = lazy,
                                  .threads = 1,
                                  .statistics = 1,
                                  .isa = isa ? *isa - '0' : EMU_ISA_BEST};
    assert_int_equal(gpucc_emu_configure(&o), 0);
    assert_int_equal(cuInit(0), 0);
}

/* Runs body; out gets what the threads wrote. */
static CUresult run(const char *body, unsigned char out[BYTES], unsigned char in[BYTES])
{
    char *text = malloc(sizeof prologue + strlen(body) + sizeof epilogue);
    assert_non_null(text);
    sprintf(text, "%s%s%s", prologue, body, epilogue);
    for (int i = 0; i < BYTES; i++) {
        in[i] = (unsigned char)(i * 37 + i / 256);
    }
    CUdeviceptr p = device_put(in, BYTES), q = device_new(BYTES);
    void *params[] = {&p, &q};
    CUmodule m = device_module(text);
    CUresult rc = device_launch(device_function(m, "k"), (struct shape){1, THREADS, 0}, params);
    if (!rc) {
        device_get(out, q, BYTES);
    }
    free(text);
    return rc;
}

static void expect_fault(const char *body, const char *what, int race, int lazy)
{
    unsigned char in[BYTES], out[BYTES];
    start(race, lazy);
    CUresult rc = run(body, out, in);
    if (!rc || !strstr(gpucc_emu_last_error(), what)) {
        print_error("expected '%s' (race %d, lazy %d), got %d: %s\n%s", what, race, lazy, (int)rc,
                    gpucc_emu_last_error(), body);
    }
    assert_true(rc && strstr(gpucc_emu_last_error(), what));
    gpucc_emu_forgive();
}

/* Whenever the data arrives, and with a look at races. */
static void fails(const char *body, const char *what)
{
    expect_fault(body, what, 0, 0);
    expect_fault(body, what, 0, 1);
    expect_fault(body, what, 1, 0);
}

/* from: thread whose bytes each thread must have got */
static void passes(const char *body, int distance, unsigned char out[BYTES])
{
    unsigned char in[BYTES];
    for (int mode = 0; mode < 3; mode++) {
        start(mode == 2, mode == 1);
        CUresult rc = run(body, out, in);
        if (rc) {
            print_error("%s\n%s", gpucc_emu_last_error(), body);
        }
        assert_int_equal(rc, 0);
        for (int t = 0; t < THREADS && distance >= 0; t++) {
            assert_memory_equal(out + t * 16, in + (t ^ distance) * 16, 16);
        }
    }
}

/* ---- What they do ---- */

static void a_copy_arrives(void **state)
{
    (void)state;
    unsigned char out[BYTES];
    passes(COPY COMMIT WAIT0 BAR READ, 32, out);
    passes(COPY "cp.async.wait_all;\n" BAR READ, 32, out);
    passes("@$q " COPY "@!$q " COPY COMMIT WAIT0 BAR READ, 32, out);
    passes("cp.async.ca.shared.global [$d], [$g], 4;\n"
           "cp.async.ca.shared.global [$d+4], [$g+4], 4;\n"
           "cp.async.ca.shared.global [$d+8], [$g+8], 8;\n" COMMIT WAIT0 BAR READ,
           32, out);
    passes(
        ".reg .b64 $l;\ncreatepolicy.fractional.L2::evict_last.b64 $l, 1.0;\n"
        "cp.async.cg.shared.global.L2::cache_hint.L2::128B [$d], [$g], 16, $n, $l;\n" COMMIT WAIT0
            BAR READ,
        32, out);
}

static void what_the_source_lacks_is_zero(void **state)
{
    (void)state;
    unsigned char out[BYTES];
    for (int take = 0; take <= 16; take++) {
        char body[400];
        snprintf(body, sizeof body,
                 "mov.u32 $n, %d;\ncp.async.cg.shared.global [$d], [$g], 16, $n;\n" COMMIT WAIT0 BAR
                     READ,
                 take);
        passes(body, -1, out);
        for (int t = 0; t < THREADS; t++) {
            for (int i = 0; i < 16; i++) {
                int from = (t ^ 32) * 16 + i;
                assert_int_equal(out[t * 16 + i],
                                 i < take ? (unsigned char)(from * 37 + from / 256) : 0);
            }
        }
    }
    passes("cp.async.cg.shared.global [$d], [$g], 16, $q;\n" COMMIT WAIT0 BAR READ, -1, out);
    for (int t = 0; t < THREADS; t++) { /* the lower warp ignored its source */
        assert_int_equal(out[t * 16 + 3] != 0, t < 32);
    }
    /* A source of no bytes is not looked at. */
    passes("mov.u32 $n, 0;\nmov.u64 $g, 48;\n"
           "cp.async.cg.shared.global [$d], [$g], 16, $n;\n" COMMIT WAIT0 BAR READ,
           -1, out);
}

static void groups_arrive_in_order(void **state)
{
    (void)state;
    unsigned char out[BYTES];
    passes(COPY COMMIT "cp.async.cg.shared.global [$d+1024], [$g], 16;\n" COMMIT WAIT1 BAR READ, 32,
           out);
    passes(COPY COMMIT COMMIT COMMIT "cp.async.wait_group 2;\n" BAR READ, 32, out);
    expect_fault(COPY COMMIT COMMIT COMMIT "cp.async.wait_group 3;\n" BAR READ, "under way", 0, 0);
}

/* Registers of lanes as rows of a matrix, and turned. */
static void matrices_are_loaded(void **state)
{
    (void)state;
    unsigned char out[BYTES];
    static const int turned[] = {0, 1};
    for (int x = 0; x < 2; x++) {
        char body[600];
        snprintf(body, sizeof body,
                 COPY COMMIT WAIT0 BAR
                 "ldmatrix.sync.aligned.m8n8.x4%s.shared.b16 {$r0, $r1, $r2, $r3}, [$d];\n",
                 turned[x] ? ".trans" : "");
        passes(body, -1, out);
        for (int t = 0; t < THREADS; t++) {
            for (int r = 0; r < 4; r++) {
                for (int half = 0; half < 2; half++) {
                    int row = t % 32 / 4, column = t % 4 * 2 + half;
                    int i = turned[x] ? column : row, j = turned[x] ? row : column;
                    int from = (t / 32 * 32 + r * 8 + i) * 16 + j * 2;
                    int at = t * 16 + r * 4 + half * 2;
                    assert_int_equal(out[at], (unsigned char)(from * 37 + from / 256));
                    assert_int_equal(out[at + 1], (unsigned char)((from + 1) * 37 + from / 256));
                }
            }
        }
    }
}

/* Stored and loaded again, plain and turned, in all widths; movmatrix turns as well. */
static void matrices_are_stored(void **state)
{
    (void)state;
    unsigned char out[BYTES];
    static const char first[] = "ld.global.v4.b32 {$r0, $r1, $r2, $r3}, [$g];\n";
#define ROUND(n, registers, how, back)                                                             \
    "stmatrix.sync.aligned.m8n8." n how ".shared.b16 [$d], {" registers "};\n"                     \
    "bar.warp.sync -1;\n"                                                                          \
    "ldmatrix.sync.aligned.m8n8." n back ".shared.b16 {" registers "}, [$d];\n"
#define EACH(how, back)                                                                            \
    ROUND("x4", "$r0, $r1, $r2, $r3", how, back)                                                   \
    "bar.warp.sync -1;\n" ROUND("x2", "$r2, $r0", how,                                             \
                                back) "bar.warp.sync -1;\n" ROUND("x1", "$r1", how, back)
    static const char *const rounds[] = {EACH("", ""), EACH(".trans", ".trans"),
                                         ROUND("x4", "$r0, $r1, $r2, $r3", "", ".trans"),
                                         ROUND("x4", "$r0, $r1, $r2, $r3", ".trans", "")};
    for (int x = 0; x < 4; x++) {
        char body[4096];
        size_t n = (size_t)snprintf(body, sizeof body, "%s%s", first, rounds[x]);
        for (int r = 0; r < 4 && x >= 2; r++) {
            n += (size_t)snprintf(body + n, sizeof body - n,
                                  "movmatrix.sync.aligned.m8n8.trans.b16 $r%d, $r%d;\n", r, r);
        }
        passes(body, 0, out);
    }
}

/* ---- Planted bugs ---- */

static void a_wait_is_missing(void **state)
{
    (void)state;
    fails(COPY COMMIT BAR READ, "no wait covers");
    fails(COPY COMMIT BAR MATRIX("$x"), "no wait covers");
    fails(COPY COMMIT "ld.shared.b8 $f0, [$d+3];\n", "no wait covers");
    fails(COPY "cp.async.wait_group 0;\n" BAR READ, "no wait covers"); /* nothing is committed */
    fails("@$q " COPY COMMIT BAR "ld.shared.v4.b32 {$r0, $r1, $r2, $r3}, [$y];\n",
          "no wait covers");
    fails(COPY COMMIT "cvt.u64.u32 $b, $d;\ncvta.shared.u64 $b, $b;\nld.b32 $r0, [$b];\n",
          "no wait covers");
}

static void a_wait_is_one_group_short(void **state)
{
    (void)state;
    fails("cp.async.cg.shared.global [$d+1024], [$g], 16;\n" COMMIT COPY COMMIT WAIT1 BAR READ,
          "no wait covers");
}

static void lanes_wait_for_themselves(void **state)
{
    (void)state;
    fails(COPY COMMIT "@$q " WAIT0 BAR READ, "no wait covers");
    unsigned char out[BYTES];
    passes(COPY COMMIT "@$q " WAIT0 "@!$q " WAIT0 BAR READ, 32, out);
    /* Odd lanes commit what the others do not: each counts its own groups. */
#define SECOND "cp.async.cg.shared.global [$d+1024], [$g], 16;\n"
    passes(COPY COMMIT ODD SECOND "@$p " COMMIT "@!$p " WAIT0 "@$p " WAIT1 BAR READ, 32, out);
    fails(COPY ODD SECOND "@$p " COMMIT WAIT0 BAR READ, "no wait covers");
    fails(COPY COMMIT ODD SECOND "@$p " COMMIT WAIT1 BAR READ, "no wait covers");
}

static void a_barrier_is_missing(void **state)
{
    (void)state;
    expect_fault(COPY COMMIT WAIT0 "@!$q " READ, "race on shared memory", 1, 0);
    expect_fault(COPY COMMIT WAIT0 "@!$q " MATRIX("$x"), "race on shared memory", 1, 0);
    expect_fault(COPY COMMIT BAR WAIT0 "@!$q " READ, "race on shared memory", 1, 0);
    fails(COPY COMMIT BAR WAIT0 READ, "no wait covers"); /* the other warp's */
}

static void a_slot_is_overwritten_while_it_is_read(void **state)
{
    (void)state;
    unsigned char out[BYTES];
    passes(COPY COMMIT WAIT0 BAR READ BAR COPY COMMIT WAIT0, 32, out);
    expect_fault(COPY COMMIT WAIT0 BAR MATRIX("$x") COPY COMMIT WAIT0 BAR, "race on shared memory",
                 1, 0);
    fails(COPY COMMIT COPY COMMIT WAIT0, "write of shared memory");
    fails(COPY COMMIT "st.shared.b32 [$d], $t;\n" WAIT0, "write of shared memory");
}

static void a_source_size_is_wrong(void **state)
{
    (void)state;
    fails("mov.u32 $n, 20;\ncp.async.cg.shared.global [$d], [$g], 16, $n;\n" COMMIT WAIT0,
          "a source of 20 bytes");
    fails("cp.async.cg.shared.global [$d], [$g+16], 16;\n" COMMIT WAIT0, "out-of-bounds load");
    fails("mov.u32 $n, 12;\ncp.async.cg.shared.global [$d], [$g+16], 16, $n;\n" COMMIT WAIT0,
          "out-of-bounds load");
    fails("cp.async.cg.shared.global [$d], [$g+8], 16;\n" COMMIT WAIT0, "misaligned load");
    fails("cp.async.cg.shared.global [$d+4], [$g], 16;\n" COMMIT WAIT0, "misaligned store");
    fails("cp.async.cg.shared.global [$d+2560], [$g], 16;\n" COMMIT WAIT0, "out-of-bounds store");
}

static void a_matrix_row_is_wrong(void **state)
{
    (void)state;
    fails(COPY COMMIT WAIT0 BAR "add.s32 $x, $x, 8;\n" MATRIX("$x"), "misaligned load of 16");
    fails(COPY COMMIT WAIT0 BAR MATRIX("$x+2560"), "out-of-bounds load of 16");
    fails(COPY COMMIT WAIT0 BAR MATRIX("$x+1024"), "nobody wrote");
    fails("@$q bra SKIP;\n" COPY COMMIT WAIT0 MATRIX("$d+512") "SKIP:\n", "nobody wrote");
}

#define MMA                                                                                        \
    "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {$s0, $s1, $s2, $s3}, {$r0, $r1}, {$r2}, "   \
    "{$s0, $s1, $s2, $s3};\n"
#define ZERO                                                                                       \
    "mov.b32 $r0, 0;\nmov.b32 $r1, 0;\nmov.b32 $r2, 0;\nmov.b32 $r3, 0;\n"                         \
    "mov.f32 $s0, 0f00000000;\nmov.f32 $s1, $s0;\nmov.f32 $s2, $s0;\nmov.f32 $s3, $s0;\n"

static void a_warp_is_apart(void **state)
{
    (void)state;
    fails(ZERO ODD "@$p " MMA, "divergent .sync");
    fails(ZERO ODD "@$p exit;\n" MMA, "have exited");
    fails(ZERO ODD "@$p bra THERE;\n" MMA "bra.uni DONE;\nTHERE:\n" MMA "DONE:\n",
          "divergent .sync");
    fails(COPY COMMIT WAIT0 ODD "@$p " MATRIX("$d"), "divergent .sync");
    /* A guard that holds for a whole warp and for none of the other. */
    unsigned char out[BYTES];
    passes(ZERO "@$q " MMA, -1, out);
}

/* ---- What is counted ---- */

/* 16 bytes in the same banks for each row: 7 passes too many for each matrix. */
static void conflicts_are_counted(void **state)
{
    (void)state;
    unsigned char in[BYTES], out[BYTES];
    struct gpucc_emu_counters c;
    start(0, 0);
    gpucc_emu_counters_reset();
    assert_int_equal(run(COPY COMMIT WAIT0 BAR MATRIX("$d") READ, out, in), 0);
    assert_int_equal(gpucc_emu_counters(NULL, &c), 0);
    assert_int_equal(c.matrix_conflicts + c.load_conflicts + c.async_conflicts, 0);
    assert_int_equal(c.shared_requests, 2 * 3);
    assert_int_equal(c.shared_wavefronts, 2 * 3 * 4);
    assert_int_equal(c.global_bytes, 2 * BYTES);
    assert_int_equal(c.global_sectors, 2 * BYTES / 32);
    gpucc_emu_counters_reset();
    assert_int_equal(
        run(COPY "cp.async.cg.shared.global [$d+1024], [$g], 16;\n" COMMIT WAIT0 BAR
                 "and.b32 $r0, $t, 7;\nshl.b32 $r0, $r0, 7;\nadd.s32 $x, $h, $r0;\n" MATRIX("$x"),
            out, in),
        0);
    assert_int_equal(gpucc_emu_counters(NULL, &c), 0);
    assert_int_equal(c.matrix_conflicts, 2 * 4 * 7);
    assert_int_equal(c.load_conflicts + c.async_conflicts + c.store_conflicts, 0);
    assert_int_equal(c.main_loop_conflicts, 0);
}

/* A byte that several lanes of a request ask for is useful once. */
static void useful_bytes_are_counted(void **state)
{
    (void)state;
    unsigned char in[BYTES], out[BYTES];
    static const struct {
        const char *body;
        int sectors, bytes; /* of the loads of both warps, beside what all threads store */
    } cases[] = {
        {"ld.global.b32 $r0, [$g];\n", 2 * 16, 64 * 4},
        {"ld.global.v4.b32 {$r0, $r1, $r2, $r3}, [$g];\n", 2 * 16, 64 * 16},
        {"ld.global.b32 $r0, [$a+8];\n", 2, 2 * 4},
        {"and.b32 $r0, $t, 3;\nmul.wide.u32 $g, $r0, 4;\nadd.s64 $g, $g, $a;\n"
         "ld.global.b16 $f0, [$g];\n",
         2, 2 * 4 * 2},
        {"mov.u32 $n, 6;\ncp.async.cg.shared.global [$d], [$g], 16, $n;\n", 2 * 16, 64 * 6},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct gpucc_emu_counters c;
        start(0, 0);
        gpucc_emu_counters_reset();
        assert_int_equal(run(cases[i].body, out, in), 0);
        assert_int_equal(gpucc_emu_counters(NULL, &c), 0);
        assert_int_equal(c.global_bytes, cases[i].bytes + BYTES);
        assert_int_equal(c.global_sectors, cases[i].sectors + BYTES / 32);
    }
}

/* Conflicts of an innermost loop with an mma are told from all others. */
static void conflicts_in_main_loops_are_told_apart(void **state)
{
    (void)state;
    unsigned char in[BYTES], out[BYTES];
    struct gpucc_emu_counters c;
#define ROWS_APART "and.b32 $r0, $t, 7;\nshl.b32 $r0, $r0, 7;\nadd.s32 $x, $h, $r0;\n"
#define LOOP(label, times, body)                                                                   \
    "mov.u32 $r6, 0;\n" label ":\n" body "add.s32 $r6, $r6, 1;\n"                                  \
    "setp.lt.u32 $p, $r6, " times ";\n@$p bra " label ";\n"
    start(0, 0);
    gpucc_emu_counters_reset();
    assert_int_equal(
        run(COPY COMMIT WAIT0 BAR ZERO ROWS_APART LOOP(
                "OTHER", "5", MATRIX("$x")) "mov.u32 $r7, 0;\nOUTER:\n" MATRIX("$x")
                LOOP("MAIN", "3",
                     MATRIX("$x")
                         MMA) "add.s32 $r7, $r7, 1;\nsetp.lt.u32 $p, $r7, 2;\n@$p bra OUTER;\n",
            out, in),
        0);
    assert_int_equal(gpucc_emu_counters(NULL, &c), 0);
    assert_int_equal(c.matrix_conflicts, 2 * (5 + 2 + 6) * 4 * 7);
    assert_int_equal(c.main_loop_conflicts, 2 * 6 * 4 * 7);
    assert_int_equal(c.tensor_instructions, 2 * 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_arrives),
        cmocka_unit_test(what_the_source_lacks_is_zero),
        cmocka_unit_test(groups_arrive_in_order),
        cmocka_unit_test(matrices_are_loaded),
        cmocka_unit_test(matrices_are_stored),
        cmocka_unit_test(a_wait_is_missing),
        cmocka_unit_test(a_wait_is_one_group_short),
        cmocka_unit_test(lanes_wait_for_themselves),
        cmocka_unit_test(a_barrier_is_missing),
        cmocka_unit_test(a_slot_is_overwritten_while_it_is_read),
        cmocka_unit_test(a_source_size_is_wrong),
        cmocka_unit_test(a_matrix_row_is_wrong),
        cmocka_unit_test(a_warp_is_apart),
        cmocka_unit_test(conflicts_are_counted),
        cmocka_unit_test(useful_bytes_are_counted),
        cmocka_unit_test(conflicts_in_main_loops_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
