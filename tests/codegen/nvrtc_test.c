/* NVRTC through its table of functions, and what cubins say of themselves. */
#include "test.h"

#include "../../codegen/cache.h"
#include "../../codegen/compile.h"
#include "../../codegen/target.h"

#include <stdlib.h>
#include <string.h>

static struct nvrtc *nvrtc;

static int open_nvrtc(void **state)
{
    (void)state;
    struct diag diag = {0};
    nvrtc = nvrtc_open(&diag);
    if (!nvrtc)
        print_error("%s\n", diag.first->text);
    diag_free(&diag);
    return nvrtc ? 0 : -1;
}

static int close_nvrtc(void **state)
{
    (void)state;
    nvrtc_close(nvrtc);
    return 0;
}

#define COPY_KERNEL(name)                                                                          \
    "extern \"C\" __global__ void " name "(float *y, const float *x)\n"                            \
    "{\n    y[threadIdx.x] = x[threadIdx.x];\n}\n"

static bool compile(const char *source, const char *arch, bool line_info, struct binary *out,
                    struct diag *diag)
{
    struct nvrtc_job job = {.source = source, .symbol = "k", .arch = arch, .line_info = line_info};
    return nvrtc_compile(nvrtc, &job, out, diag);
}

static bool contains(const void *bytes, size_t size, const char *text)
{
    for (size_t i = 0; i + strlen(text) <= size; i++)
        if (!memcmp((const char *)bytes + i, text, strlen(text)))
            return true;
    return false;
}

static void one_compile_gives_ptx_and_cubin(void **state)
{
    (void)state;
    struct diag diag = {0};
    struct binary b;
    struct resources r;
    assert_true(compile(COPY_KERNEL("k"), "sm_80", false, &b, &diag));
    assert_non_null(strstr(b.ptx, ".entry k"));
    assert_int_equal(b.ptx_size, strlen(b.ptx));
    assert_true(cubin_resources(b.cubin, b.cubin_size, "k", &r));
    assert_true(r.registers > 0);
    assert_false(cubin_resources(b.cubin, b.cubin_size, "other", &r));
    binary_free(&b);
}

static void a_virtual_architecture_gives_ptx_alone(void **state)
{
    (void)state;
    struct diag diag = {0};
    struct binary b;
    assert_true(compile(COPY_KERNEL("k"), "compute_80", false, &b, &diag));
    assert_non_null(b.ptx);
    assert_null(b.cubin);
    binary_free(&b);
}

static void line_information_names_a_virtual_file(void **state)
{
    (void)state;
    struct diag diag = {0};
    struct binary with, without;
    assert_true(compile(COPY_KERNEL("k"), "sm_80", true, &with, &diag));
    assert_true(contains(with.cubin, with.cubin_size, "/gpucc"));
    assert_true(compile(COPY_KERNEL("k"), "sm_80", false, &without, &diag));
    assert_false(contains(without.cubin, without.cubin_size, "/gpucc"));
    char *folder = realpath(".", NULL);
    assert_false(contains(with.cubin, with.cubin_size, folder));
    assert_false(contains(with.ptx, with.ptx_size, folder));
    free(folder);
    binary_free(&with);
    binary_free(&without);
}

static void registers_shared_memory_and_frames_are_read_from_the_cubin(void **state)
{
    (void)state;
    static const char source[] = "extern \"C\" __global__ void k(float *y, int i)\n"
                                 "{\n"
                                 "    __shared__ float s[256];\n"
                                 "    float local[64];\n"
                                 "    for (int j = 0; j < 64; j++)\n"
                                 "        local[j * i & 63] = y[j];\n"
                                 "    s[threadIdx.x] = local[i];\n"
                                 "    __syncthreads();\n"
                                 "    y[i] = s[255 - threadIdx.x];\n"
                                 "}\n";
    static const char *const archs[] = {"sm_80", "sm_90a"};
    for (int i = 0; i < 2; i++) {
        struct diag diag = {0};
        struct binary b;
        struct resources r;
        assert_true(compile(source, archs[i], false, &b, &diag));
        assert_true(cubin_resources(b.cubin, b.cubin_size, "k", &r));
        assert_true(r.registers > 8);
        assert_int_equal(r.local_bytes, 256);
        assert_true(r.shared_bytes >= 1024);
        binary_free(&b);
    }
}

static void a_cut_cubin_is_never_read_past_its_end(void **state)
{
    (void)state;
    struct diag diag = {0};
    struct binary b;
    assert_true(compile(COPY_KERNEL("k"), "sm_80", false, &b, &diag));
    for (size_t size = 0; size < b.cubin_size; size += 7) {
        void *cut = malloc(size + 1);
        struct resources r;
        memcpy(cut, b.cubin, size);
        (void)cubin_resources(cut, size, "k", &r);
        free(cut);
    }
    binary_free(&b);
}

static void an_error_in_a_kernel_shows_the_log(void **state)
{
    (void)state;
    struct diag diag = {0};
    struct binary b;
    assert_false(
        compile("extern \"C\" __global__ void k() { undeclared(); }", "sm_80", false, &b, &diag));
    assert_int_equal(diag.status, STATUS_INTERNAL);
    assert_non_null(strstr(diag.first->text, "undeclared"));
    diag_free(&diag);
}

static void the_key_depends_on_source_options_and_symbol(void **state)
{
    (void)state;
    struct nvrtc_job jobs[] = {
        {"a", "k", "sm_80", false}, {"b", "k", "sm_80", false}, {"a", "l", "sm_80", false},
        {"a", "k", "sm_90", false}, {"a", "k", "sm_80", true},
    };
    struct cache_key first, again, other;
    assert_true(cache_key(nvrtc, &jobs[0], &first) && cache_key(nvrtc, &jobs[0], &again));
    assert_memory_equal(first.bytes, again.bytes, sizeof first.bytes);
    for (int i = 1; i < 5; i++) {
        assert_true(cache_key(nvrtc, &jobs[i], &other));
        assert_memory_not_equal(first.bytes, other.bytes, sizeof first.bytes);
    }
}

/* ---- many kernels ---- */

static struct kernel kernels[3] = {
    {.family = "copy", .symbol = "k0", .source = COPY_KERNEL("k0")},
    {.family = "copy", .symbol = "k1", .source = COPY_KERNEL("k1")},
    {.family = "copy", .symbol = "k2", .source = COPY_KERNEL("k2")},
};

static void equal_kernels_are_compiled_once_whatever_the_threads(void **state)
{
    (void)state;
    struct step steps[] = {{.kind = STEP_LAUNCH, .kernel = &kernels[0]},
                           {.kind = STEP_LAUNCH, .kernel = &kernels[1]},
                           {.kind = STEP_LAUNCH, .kernel = &kernels[0]},
                           {.kind = STEP_LAUNCH, .kernel = &kernels[2]}};
    struct program program = {target_find("sm_80"), steps, 4}, *programs[] = {&program};
    struct compiled_set sets[2];
    for (int i = 0; i < 2; i++) {
        struct diag diag = {0};
        struct compile_options options = {.jobs = i ? 3 : 1, .no_cache = true};
        assert_true(compiled_collect(&sets[i], programs, 1, &diag));
        assert_int_equal(sets[i].n, 3);
        assert_true(compile_all(nvrtc, &sets[i], &options, &diag));
    }
    for (int i = 0; i < 3; i++) {
        assert_string_equal(sets[0].at[i].kernel->symbol, sets[1].at[i].kernel->symbol);
        assert_string_equal(sets[0].at[i].binary.ptx, sets[1].at[i].binary.ptx);
        assert_int_equal(sets[0].at[i].binary.cubin_size, sets[1].at[i].binary.cubin_size);
        assert_memory_equal(sets[0].at[i].binary.cubin, sets[1].at[i].binary.cubin,
                            sets[0].at[i].binary.cubin_size);
    }
    compiled_free(&sets[0]);
    compiled_free(&sets[1]);
}

static void all_kernels_that_fail_are_reported_in_order(void **state)
{
    (void)state;
    struct kernel bad[] = {{.symbol = "b0", .source = "wrong0"},
                           {.symbol = "b1", .source = "wrong1"}};
    struct step steps[] = {{.kind = STEP_LAUNCH, .kernel = &bad[0]},
                           {.kind = STEP_LAUNCH, .kernel = &kernels[0]},
                           {.kind = STEP_LAUNCH, .kernel = &bad[1]}};
    struct program program = {target_find("sm_80"), steps, 3}, *programs[] = {&program};
    struct diag diag = {0};
    struct compile_options options = {.jobs = 2, .no_cache = true};
    struct compiled_set set;
    assert_true(compiled_collect(&set, programs, 1, &diag));
    assert_false(compile_all(nvrtc, &set, &options, &diag));
    assert_int_equal(diag.errors, 2);
    assert_string_equal(diag.first->where, "b0");
    assert_string_equal(diag.first->next->where, "b1");
    compiled_free(&set);
    diag_free(&diag);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_compile_gives_ptx_and_cubin),
        cmocka_unit_test(a_virtual_architecture_gives_ptx_alone),
        cmocka_unit_test(line_information_names_a_virtual_file),
        cmocka_unit_test(registers_shared_memory_and_frames_are_read_from_the_cubin),
        cmocka_unit_test(a_cut_cubin_is_never_read_past_its_end),
        cmocka_unit_test(an_error_in_a_kernel_shows_the_log),
        cmocka_unit_test(the_key_depends_on_source_options_and_symbol),
        cmocka_unit_test(equal_kernels_are_compiled_once_whatever_the_threads),
        cmocka_unit_test(all_kernels_that_fail_are_reported_in_order),
    };
    return cmocka_run_group_tests(tests, open_nvrtc, close_nvrtc);
}
