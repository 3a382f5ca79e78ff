/*
 * Plans made of a few hand-written kernels, opened and checked by the runtime. The graphs here only
 * name values; what computes them is given by hand.
 */
#include "test.h"

#include "../../codegen/emit.h"
#include "../../codegen/plan_write.h"
#include "../../codegen/target.h"
#include "../../ir/text.h"
#include "../../runtime/gpucc_runtime.h"
#include "../../runtime/plan_format.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct fixture {
    struct arena arena;
    jmp_buf out_of_memory;
    struct diag diag;
    struct graph *g;
    struct nvrtc *nvrtc;
    char path[64];
    unsigned char *bytes; /* of the plan */
    size_t size;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->arena.on_oom = &f->out_of_memory;
    strcpy(f->path, "/tmp/gpucc-plan-XXXXXX");
    close(mkstemp(f->path));
    f->nvrtc = nvrtc_open(&f->diag);
    *state = f;
    return f->nvrtc ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    unlink(f->path);
    free(f->bytes);
    nvrtc_close(f->nvrtc);
    arena_free(&f->arena);
    diag_free(&f->diag);
    free(f);
    return 0;
}

static void parse(struct fixture *f, const char *text)
{
    f->g = graph_parse(&f->arena, &f->diag, "test.ir", text, strlen(text));
    if (!f->g)
        fail_msg("%s: %s", f->diag.first->where, f->diag.first->text);
}

/* A kernel that reads and writes what its name says; its text does not matter here. */
static struct kernel *make_kernel(struct fixture *f, const char *symbol, int n,
                                  struct value *const *buffers, const struct dim *blocks)
{
    struct kernel *k = ARENA_NEW(&f->arena, struct kernel);
    struct text source = {0};
    text_printf(&source, "extern \"C\" __global__ void %s(", symbol);
    k->args = ARENA_ARRAY(&f->arena, (size_t)n + 1, struct kernel_arg);
    for (int i = 0; i < n; i++) {
        text_printf(&source, "float *b%d, ", i);
        k->args[k->n_args++] = (struct kernel_arg){.kind = ARG_BUFFER, .value = buffers[i]};
    }
    text_printf(&source, "long long n) { }\n");
    k->args[k->n_args++] = (struct kernel_arg){.kind = ARG_I64, .dim = blocks};
    k->source = arena_strdup(&f->arena, source.data);
    k->family = "test";
    snprintf(k->symbol, sizeof k->symbol, "%s", symbol);
    k->grid[0] = blocks; /* the others NULL: 1 */
    k->block[0] = 32;
    k->block[1] = k->block[2] = 1;
    k->n_writes = 1;
    k->writes = ARENA_ARRAY(&f->arena, 1, struct value *);
    k->writes[0] = buffers[0];
    text_free(&source);
    return k;
}

static void write_plan(struct fixture *f, const char *targets, struct step *steps, int n)
{
    struct target_list list;
    struct compiled_set set;
    struct compile_options options = {.no_cache = true};
    struct program programs[MAX_TARGETS], *pointers[MAX_TARGETS];
    assert_true(target_list_parse(&f->diag, targets, &list));
    for (int i = 0; i < list.n; i++) {
        programs[i] = (struct program){list.at[i], steps, n};
        pointers[i] = &programs[i];
    }
    assert_true(compiled_collect(&set, pointers, list.n, &f->diag));
    assert_true(compile_all(f->nvrtc, &set, &options, &f->diag));
    bool good = plan_write(f->path, f->g, pointers, list.n, &set, f->nvrtc, &f->diag);
    compiled_free(&set);
    if (!good)
        return;
    FILE *file = fopen(f->path, "rb");
    fseek(file, 0, SEEK_END);
    f->size = (size_t)ftell(file);
    rewind(file);
    free(f->bytes);
    f->bytes = malloc(f->size);
    assert_int_equal(fread(f->bytes, 1, f->size, file), f->size);
    fclose(file);
}

/* The runtime finds no fault with the plan. */
static void check_opens(struct fixture *f)
{
    struct gpucc_plan *plan;
    assert_int_equal(f->diag.errors, 0);
    if (gpucc_plan_open(f->path, 0, &plan) != GPUCC_OK)
        fail_msg("%s", gpucc_last_error());
    gpucc_plan_close(plan);
}

static const struct plan_section *find_section(const struct fixture *f, enum plan_section_kind kind,
                                               uint32_t program)
{
    const struct plan_header *header = (const void *)f->bytes;
    const struct plan_target *targets = (const void *)(header + 1);
    const struct plan_section *sections = (const void *)(targets + header->n_targets);
    for (uint32_t i = 0; i < header->n_sections; i++)
        if (sections[i].kind == (uint32_t)kind && sections[i].program == program)
            return &sections[i];
    fail_msg("no section %d", kind);
    return NULL;
}

static const void *records(const struct fixture *f, enum plan_section_kind kind, uint32_t program,
                           size_t *n)
{
    const struct plan_section *s = find_section(f, kind, program);
    *n = s->bytes / s->record_bytes;
    return f->bytes + s->offset;
}

#define OUT(f, i) ((f)->g->outputs[i])

static void a_chain_of_kernels_shares_memory(void **state)
{
    struct fixture *f = *state;
    parse(f, "graph \"chain\"\n"
             "%0 = input \"x\" : f32[1000]\n"
             "%1 = neg %0\n%2 = neg %1\n%3 = neg %2\n%4 = neg %3\n"
             "output \"y\" = %4\n");
    struct value *v[5] = {f->g->inputs[0]};
    int n = 1;
    for (struct node *node = f->g->first; node; node = node->next)
        v[n++] = node->out[0];
    struct step steps[4];
    const struct dim *blocks = dim_const(f->g->dims, 32);
    for (int i = 0; i < 4; i++) {
        struct value *buffers[] = {v[i + 1], v[i]};
        steps[i] = (struct step){.kind = STEP_LAUNCH,
                                 .kernel = make_kernel(f, "negate", 2, buffers, blocks)};
    }
    write_plan(f, "sm_80,portable", steps, 4);
    check_opens(f);
    size_t count;
    const struct plan_program *program = records(f, PLAN_PROGRAM, 0, &count);
    assert_int_equal(program->main_steps, 4);
    assert_int_equal(program->arena_bytes, 2 * 4096); /* 4000 bytes, rounded up, two at a time */
    assert_int_equal(program->peak_bytes, 2 * 4096);
    const struct plan_kernel *kernels = records(f, PLAN_KERNELS, 0, &count);
    assert_int_equal(count, 1);
    assert_true(kernels->cubin_bytes > 0 && kernels->ptx_bytes > 0);
    kernels = records(f, PLAN_KERNELS, 1, &count);
    assert_true(kernels->cubin_bytes == 0 && kernels->ptx_bytes > 0);
}

/* Each node a map of its own; the last one also reads the first one's result. Bytes of the arena.
 */
static int64_t arena_of_maps(struct fixture *f, const char *text, bool again)
{
    parse(f, text);
    struct step steps[8];
    int n = 0;
    for (struct node *node = f->g->first; node; node = node->next, n++) {
        struct value *buffers[] = {node->out[0], node->in[0], f->g->first->out[0]};
        bool two = again && !node->next;
        struct kernel *k = make_kernel(f, two ? "reads_two" : "reads_one", two ? 3 : 2, buffers,
                                       dim_const(f->g->dims, 1));
        struct group *group = ARENA_NEW(&f->arena, struct group);
        *group = (struct group){.id = n};
        node->kernel = n;
        k->family = "map";
        k->group = group;
        k->n_reads = 1;
        k->reads = node->in;
        steps[n] = (struct step){.kind = STEP_LAUNCH, .kernel = k};
    }
    f->g->n_kernels = n;
    write_plan(f, "sm_80", steps, n);
    check_opens(f);
    size_t count;
    const struct plan_program *program = records(f, PLAN_PROGRAM, 0, &count);
    assert_int_equal(program->arena_bytes, program->peak_bytes);
    return program->arena_bytes;
}

static void a_map_takes_the_memory_of_an_operand_that_ends(void **state)
{
    static const char chain[] = "graph \"chain\"\n%0 = input \"x\" : f32[32, 32]\n"
                                "%1 = neg %0\n%2 = abs %1\n%3 = neg %2\n%4 = exp %3\n"
                                "output \"y\" = %4\n";
    static const char turned[] = "graph \"turned\"\n%0 = input \"x\" : f32[32, 32]\n"
                                 "%1 = neg %0\n%2 = transpose %1 {perm=[1, 0]}\n%3 = neg %2\n"
                                 "output \"y\" = %3\n";
    assert_int_equal(arena_of_maps(*state, chain, false), 4096);
    assert_int_equal(arena_of_maps(*state, chain, true), 2 * 4096);
    assert_int_equal(arena_of_maps(*state, turned, false), 2 * 4096);
}

static void identical_constants_are_stored_once(void **state)
{
    struct fixture *f = *state;
    parse(f, "graph \"weights\"\n"
             "%0 = input \"x\" : f32[4]\n"
             "%1 = constant {type = f32, shape = [4], data = [1, 2, 3, 4]}\n"
             "%2 = constant {type = f32, shape = [2, 2], data = [1, 2, 3, 4]}\n"
             "%3 = add %0, %1\n"
             "output \"y\" = %3\n");
    struct node *first = f->g->first;
    struct value *buffers[] = {OUT(f, 0), f->g->inputs[0], first->out[0], first->next->out[0]};
    struct step step = {.kind = STEP_LAUNCH,
                        .kernel = make_kernel(f, "k", 4, buffers, dim_const(f->g->dims, 1))};
    write_plan(f, "sm_80,sm_90", &step, 1);
    check_opens(f);
    size_t n;
    const struct plan_weight *weights = records(f, PLAN_WEIGHTS, PLAN_NONE, &n);
    assert_int_equal(n, 2);
    assert_int_equal(weights[0].offset, weights[1].offset);
    const struct plan_section *data = find_section(f, PLAN_WEIGHT_DATA, PLAN_NONE);
    assert_int_equal(data->bytes, 16);
    assert_int_equal(data->offset % 4096, 0);
    const struct plan_section *recipes = find_section(f, PLAN_RECIPES, PLAN_NONE);
    const char *text = (const char *)f->bytes + recipes->offset;
    assert_memory_equal(text, "%1 = constant f32[4] literal", 28);
}

static void outputs_that_no_kernel_writes_are_copied(void **state)
{
    struct fixture *f = *state;
    parse(f, "graph \"copies\"\n"
             "symbol n in [0, inf]\n"
             "%0 = input \"x\" : f32[n]\n"
             "%1 = constant {type = f32, shape = [2], data = [1, 2]}\n"
             "%2 = neg %0\n"
             "source n = dim 0, 0\n"
             "output \"same\" = %0\noutput \"fixed\" = %1\n"
             "output \"a\" = %2\noutput \"b\" = %2\n");
    struct value *buffers[] = {OUT(f, 2), f->g->inputs[0]};
    struct step step = {.kind = STEP_LAUNCH,
                        .kernel = make_kernel(f, "k", 2, buffers, f->g->inputs[0]->shape[0])};
    write_plan(f, "sm_80", &step, 1);
    check_opens(f);
    size_t n, n_buffers;
    const struct plan_step *steps = records(f, PLAN_STEPS, 0, &n);
    const struct plan_buffer *all = records(f, PLAN_BUFFERS, 0, &n_buffers);
    assert_int_equal(n, 4);
    assert_int_equal(steps[0].kind, PLAN_STEP_LAUNCH);
    static const struct {
        enum plan_buffer_kind from;
        uint32_t from_index, output;
    } wanted[] = {
        {PLAN_BUFFER_INPUT, 0, 0}, {PLAN_BUFFER_WEIGHT, 0, 1}, {PLAN_BUFFER_OUTPUT, 2, 3}};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(steps[i + 1].kind, PLAN_STEP_COPY);
        const struct plan_buffer *from = &all[steps[i + 1].u.copy.from];
        const struct plan_buffer *to = &all[steps[i + 1].u.copy.to];
        assert_int_equal(from->kind, wanted[i].from);
        assert_int_equal(from->index, wanted[i].from_index);
        assert_int_equal(to->kind, PLAN_BUFFER_OUTPUT);
        assert_int_equal(to->index, wanted[i].output);
    }
}

static void a_size_in_an_input_tensor_is_read_before_it_is_used(void **state)
{
    struct fixture *f = *state;
    parse(f, "graph \"reads\"\n"
             "symbol k in [0, 100]\n"
             "%0 = input \"x\" : f32[1]\n"
             "%1 = input \"count\" : i64[1]\n"
             "%2 = expand %0 {shape = [k]}\n"
             "source k = element %1, 0\n"
             "output \"y\" = %2\n");
    struct value *buffers[] = {OUT(f, 0), f->g->inputs[0]};
    struct step step = {.kind = STEP_LAUNCH,
                        .kernel = make_kernel(f, "k", 2, buffers, OUT(f, 0)->shape[0])};
    write_plan(f, "sm_80", &step, 1);
    check_opens(f);
    size_t n;
    const struct plan_step *steps = records(f, PLAN_STEPS, 0, &n);
    assert_int_equal(n, 2);
    assert_int_equal(steps[0].kind, PLAN_STEP_READ_DIM);
    assert_true(steps[0].u.read.n_scalars > 0);
    assert_true(steps[1].u.launch.grid[0] >= steps[0].u.read.first_scalar);
    const struct plan_read *reads = records(f, PLAN_READS, 0, &n);
    assert_int_equal(n, 1);
    assert_int_equal(reads[0].elements, 1);
}

static void free_dims_leave_placing_to_the_runtime_and_print_a_formula(void **state)
{
    struct fixture *f = *state;
    parse(f, "graph \"free\"\n"
             "symbol n in [0, inf]\n"
             "%0 = input \"x\" : f32[n, 8]\n"
             "%1 = neg %0\n%2 = neg %1\n"
             "source n = dim 0, 0\n"
             "output \"y\" = %2\n");
    struct value *middle = f->g->first->out[0];
    struct value *first[] = {middle, f->g->inputs[0]}, *second[] = {OUT(f, 0), middle};
    const struct dim *n = f->g->inputs[0]->shape[0];
    struct step steps[] = {
        {.kind = STEP_LAUNCH, .kernel = make_kernel(f, "k", 2, first, n)},
        {.kind = STEP_LAUNCH, .kernel = make_kernel(f, "k", 2, second, n)},
    };
    write_plan(f, "sm_80", steps, 2);
    check_opens(f);
    size_t count;
    const struct plan_program *program = records(f, PLAN_PROGRAM, 0, &count);
    const char *strings = records(f, PLAN_STRINGS, PLAN_NONE, &count);
    assert_int_equal(program->arena_bytes, -1);
    assert_int_equal(program->peak_bytes, -1);
    assert_string_equal(strings + program->peak_formula, "32*n");
}

static void the_same_plan_has_the_same_bytes(void **state)
{
    struct fixture *f = *state;
    unsigned char *before = NULL;
    size_t size = 0;
    for (int round = 0; round < 2; round++) {
        parse(f, "graph \"g\"\n%0 = input \"x\" : f32[8]\n%1 = neg %0\noutput \"y\" = %1\n");
        struct value *buffers[] = {OUT(f, 0), f->g->inputs[0]};
        struct step step = {.kind = STEP_LAUNCH,
                            .kernel = make_kernel(f, "k", 2, buffers, dim_const(f->g->dims, 1))};
        write_plan(f, TARGETS_DEFAULT, &step, 1);
        check_opens(f);
        if (before) {
            assert_int_equal(size, f->size);
            assert_memory_equal(before, f->bytes, size);
        }
        free(before);
        size = f->size;
        before = malloc(size);
        memcpy(before, f->bytes, size);
    }
    free(before);
}

static void a_folder_that_cannot_be_written_is_an_io_error(void **state)
{
    struct fixture *f = *state;
    parse(f, "graph \"g\"\n%0 = input \"x\" : f32[8]\noutput \"y\" = %0\n");
    char path[64];
    strcpy(path, f->path);
    strcpy(f->path, "/nowhere/a.plan");
    write_plan(f, "sm_80", NULL, 0);
    assert_int_equal(f->diag.status, STATUS_IO);
    assert_string_equal(f->diag.first->where, "/nowhere/a.plan");
    strcpy(f->path, path);
}

#define WITH_NVRTC(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_NVRTC(a_chain_of_kernels_shares_memory),
        WITH_NVRTC(a_map_takes_the_memory_of_an_operand_that_ends),
        WITH_NVRTC(identical_constants_are_stored_once),
        WITH_NVRTC(outputs_that_no_kernel_writes_are_copied),
        WITH_NVRTC(a_size_in_an_input_tensor_is_read_before_it_is_used),
        WITH_NVRTC(free_dims_leave_placing_to_the_runtime_and_print_a_formula),
        WITH_NVRTC(the_same_plan_has_the_same_bytes),
        WITH_NVRTC(a_folder_that_cannot_be_written_is_an_io_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
