#include "plan_builder.h"

#include <elf.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

const char add_one_ptx[] = ".version 7.0\n"
                           ".target sm_80\n"
                           ".address_size 64\n"
                           ".visible .entry add_one(\n"
                           "\t.param .u64 add_one_param_0,\n"
                           "\t.param .u64 add_one_param_1,\n"
                           "\t.param .u32 add_one_param_2\n"
                           ")\n"
                           "{\n"
                           "\t.reg .pred %p<2>;\n"
                           "\t.reg .f32 %f<3>;\n"
                           "\t.reg .b32 %r<6>;\n"
                           "\t.reg .b64 %rd<8>;\n"
                           "\tld.param.u64 %rd1, [add_one_param_0];\n"
                           "\tld.param.u64 %rd2, [add_one_param_1];\n"
                           "\tld.param.u32 %r1, [add_one_param_2];\n"
                           "\tmov.u32 %r2, %ctaid.x;\n"
                           "\tmov.u32 %r3, %ntid.x;\n"
                           "\tmov.u32 %r4, %tid.x;\n"
                           "\tmad.lo.s32 %r5, %r2, %r3, %r4;\n"
                           "\tsetp.ge.s32 %p1, %r5, %r1;\n"
                           "\t@%p1 bra $L__BB0_2;\n"
                           "\tcvta.to.global.u64 %rd3, %rd1;\n"
                           "\tmul.wide.s32 %rd4, %r5, 4;\n"
                           "\tadd.s64 %rd5, %rd3, %rd4;\n"
                           "\tld.global.f32 %f1, [%rd5];\n"
                           "\tadd.f32 %f2, %f1, 0f3F800000;\n"
                           "\tcvta.to.global.u64 %rd6, %rd2;\n"
                           "\tadd.s64 %rd7, %rd6, %rd4;\n"
                           "\tst.global.f32 [%rd7], %f2;\n"
                           "$L__BB0_2:\n"
                           "\tret;\n"
                           "}\n";

static const uint32_t record_bytes[PLAN_SECTION_COUNT] = {
#define X(name, code, record, whose) [code] = sizeof(record),
    PLAN_SECTIONS(X)
#undef X
};

static void append(struct bytes *bytes, const void *data, size_t size)
{
    if (size == 0)
        return;
    bytes->data = realloc(bytes->data, bytes->size + size);
    if (bytes->data == NULL) {
        fprintf(stderr, "out of memory\n");
        exit(1);
    }
    if (data != NULL)
        memcpy(bytes->data + bytes->size, data, size);
    else
        memset(bytes->data + bytes->size, 0, size);
    bytes->size += size;
}

static void pad(struct bytes *bytes, size_t alignment)
{
    append(bytes, NULL, (alignment - bytes->size % alignment) % alignment);
}

void builder_init(struct plan_builder *b, const char *target, uint32_t sm)
{
    memset(b, 0, sizeof *b);
    memcpy(b->header.magic, PLAN_MAGIC, sizeof b->header.magic);
    b->header.version = PLAN_VERSION;
    b->header.nvrtc_version = 13000;
    strcpy(b->header.gpucc_version, "test");
    snprintf(b->target.name, sizeof b->target.name, "%s", target);
    b->target.sm = sm;
    b->target.ptx_isa = 70;
    b->target.min_driver = 12000;
    if (strcmp(target, "portable") == 0)
        b->target.flags = PLAN_TARGET_PORTABLE;
    else if (target[strlen(target) - 1] == 'a')
        b->target.flags = PLAN_TARGET_EXACT;
    b->program.arena_bytes = b->program.peak_bytes = -1;
    b->program.main_steps = b->program.bind_scalars = PLAN_NONE;
    builder_string(b, "");
}

void builder_free(struct plan_builder *b)
{
    for (int i = 0; i < PLAN_SECTION_COUNT; i++)
        free(b->sections[i].data);
}

uint32_t builder_string(struct plan_builder *b, const char *text)
{
    uint32_t offset = (uint32_t)b->sections[PLAN_STRINGS].size;
    append(&b->sections[PLAN_STRINGS], text, strlen(text) + 1);
    return offset;
}

uint32_t builder_add(struct plan_builder *b, enum plan_section_kind kind, const void *record,
                     size_t bytes)
{
    uint32_t index = (uint32_t)(b->sections[kind].size / record_bytes[kind]);
    append(&b->sections[kind], record, bytes);
    return index;
}

uint32_t builder_tensor(struct plan_builder *b, int is_output, const char *name, int dtype,
                        int rank, const int64_t *dims)
{
    uint32_t first = (uint32_t)(b->sections[PLAN_DIMS].size / sizeof(struct plan_dim));
    for (int i = 0; i < rank; i++)
        ADD(b, DIMS, .value = dims[i], .text = dims[i] < 0 ? builder_string(b, "n") : 0,
            .symbol = PLAN_NONE);
    *(is_output ? &b->header.n_outputs : &b->header.n_inputs) += 1;
    return ADD(b, VALUES, .name = builder_string(b, name), .kind = PLAN_TENSOR,
               .dtype = (uint8_t)dtype, .rank = (uint8_t)rank, .first_dim = first,
               .element = PLAN_NONE, .alias = PLAN_NONE);
}

uint32_t builder_const(struct plan_builder *b, int64_t value)
{
    return ADD(b, SCALARS, .op = PLAN_SC_CONST, .value = value);
}

uint32_t builder_scalar(struct plan_builder *b, enum plan_scalar_op op, uint32_t a, uint32_t c)
{
    return ADD(b, SCALARS, .op = op, .a = a, .b = c,
               .value = op == PLAN_SC_ELEMENT ? INT64_MAX : 0);
}

uint32_t builder_buffer(struct plan_builder *b, enum plan_buffer_kind kind, uint32_t index,
                        uint32_t size_slot)
{
    return ADD(b, BUFFERS, .kind = kind, .index = index, .size = size_slot, .alignment = 16,
               .offset = -1, .alias = PLAN_NONE);
}

uint32_t builder_weight(struct plan_builder *b, const void *bytes, size_t size)
{
    struct bytes *data = &b->sections[PLAN_WEIGHT_DATA];
    pad(data, PLAN_BUFFER_ALIGN);
    struct plan_weight weight = {
        .hash = XXH3_64bits(bytes, size), .offset = data->size, .bytes = size};
    append(data, bytes, size);
    return builder_add(b, PLAN_WEIGHTS, &weight, sizeof weight);
}

uint32_t builder_kernel(struct plan_builder *b, const char *symbol, const char *ptx,
                        uint32_t threads)
{
    struct bytes *code = &b->sections[PLAN_CODE];
    struct plan_kernel kernel = {.symbol = builder_string(b, symbol),
                                 .family = builder_string(b, "map"),
                                 .block = {threads, 1, 1}};
    pad(code, 16);
    kernel.ptx_offset = code->size;
    kernel.ptx_bytes = strlen(ptx) + 1;
    append(code, ptx, kernel.ptx_bytes);
    if (!(b->target.flags & PLAN_TARGET_PORTABLE)) {
        Elf64_Ehdr elf = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64}};
        pad(code, 16);
        kernel.cubin_offset = code->size;
        kernel.cubin_bytes = sizeof elf + kernel.ptx_bytes;
        append(code, &elf, sizeof elf);
        append(code, ptx, kernel.ptx_bytes); /* what the mock driver reads */
    }
    return builder_add(b, PLAN_KERNELS, &kernel, sizeof kernel);
}

uint32_t builder_launch(struct plan_builder *b, uint32_t kernel, uint32_t grid_slot,
                        const struct plan_arg *args, uint32_t n)
{
    uint32_t first = builder_add(b, PLAN_ARGS, args, n * sizeof *args), one = builder_const(b, 1);
    struct plan_step step = {.kind = PLAN_STEP_LAUNCH, .nodes = builder_string(b, "node (Add)")};
    step.u.launch.kernel = kernel;
    step.u.launch.first_arg = first;
    step.u.launch.n_args = n;
    step.u.launch.grid[0] = grid_slot;
    step.u.launch.grid[1] = step.u.launch.grid[2] = one;
    return builder_add(b, PLAN_STEPS, &step, sizeof step);
}

unsigned char *builder_finish(struct plan_builder *b, size_t *size)
{
    struct bytes plan = {NULL, 0};
    struct plan_section sections[PLAN_SECTION_COUNT - 1];
    struct plan_program program = b->program;
    if (program.main_steps == PLAN_NONE)
        program.main_steps = (uint32_t)(b->sections[PLAN_STEPS].size / sizeof(struct plan_step));
    if (program.bind_scalars == PLAN_NONE)
        program.bind_scalars =
            (uint32_t)(b->sections[PLAN_SCALARS].size / sizeof(struct plan_scalar));
    free(b->sections[PLAN_PROGRAM].data);
    b->sections[PLAN_PROGRAM] = (struct bytes){NULL, 0};
    append(&b->sections[PLAN_PROGRAM], &program, sizeof program);

    b->header.n_targets = 1;
    b->header.n_sections = PLAN_SECTION_COUNT - 1;
    b->header.header_bytes = sizeof b->header + sizeof b->target + sizeof sections;
    append(&plan, NULL, b->header.header_bytes);
    for (int i = 0; i < PLAN_SECTION_COUNT - 1; i++) {
        const struct bytes *from = &b->sections[i + 1];
        bool per_program = i + 1 >= PLAN_PROGRAM && i + 1 <= PLAN_TAPS;
        sections[i] = (struct plan_section){.kind = (uint32_t)i + 1,
                                            .program = per_program ? 0 : PLAN_NONE,
                                            .bytes = from->size,
                                            .alignment = i + 1 == PLAN_WEIGHT_DATA ? 4096 : 8,
                                            .record_bytes = record_bytes[i + 1]};
        pad(&plan, sections[i].alignment);
        sections[i].offset = plan.size;
        append(&plan, from->data, from->size);
    }
    b->header.file_bytes = plan.size;
    memcpy(plan.data, &b->header, sizeof b->header);
    memcpy(plan.data + sizeof b->header, &b->target, sizeof b->target);
    memcpy(plan.data + sizeof b->header + sizeof b->target, sections, sizeof sections);
    repair_hashes(plan.data, plan.size);
    *size = plan.size;
    return plan.data;
}

void repair_hashes(unsigned char *plan, size_t size)
{
    struct plan_header header;
    if (size < sizeof header)
        return;
    memcpy(&header, plan, sizeof header);
    size_t table = sizeof header + (size_t)header.n_targets * sizeof(struct plan_target);
    for (size_t i = 0; i < header.n_sections; i++) {
        struct plan_section section;
        size_t at = table + i * sizeof section;
        if (at > size || sizeof section > size - at)
            return;
        memcpy(&section, plan + at, sizeof section);
        if (section.offset <= size && section.bytes <= size - section.offset)
            section.hash = XXH3_64bits(plan + section.offset, section.bytes);
        memcpy(plan + at, &section, sizeof section);
    }
    memset(plan + offsetof(struct plan_header, header_hash), 0, sizeof header.header_hash);
    if (header.header_bytes <= size)
        header.header_hash = XXH3_64bits(plan, header.header_bytes);
    memcpy(plan + offsetof(struct plan_header, header_hash), &header.header_hash,
           sizeof header.header_hash);
}

unsigned char *plan_add_two(int64_t n, const char *target, uint32_t sm, size_t *size)
{
    struct plan_builder b;
    builder_init(&b, target, sm);
    builder_tensor(&b, 0, "x", 1, 1, &n);
    builder_tensor(&b, 1, "y", 1, 1, &n);
    uint32_t elements = builder_scalar(&b, PLAN_SC_INPUT_DIM, 0, 0);
    uint32_t bytes = builder_scalar(&b, PLAN_SC_MUL, elements, builder_const(&b, 4));
    uint32_t rounded = builder_scalar(&b, PLAN_SC_ADD, elements, builder_const(&b, 31));
    uint32_t blocks = builder_scalar(&b, PLAN_SC_FLOORDIV, rounded, builder_const(&b, 32));
    builder_add(&b, PLAN_SHAPES, &elements, sizeof elements);
    uint32_t x = builder_buffer(&b, PLAN_BUFFER_INPUT, 0, bytes);
    uint32_t middle = builder_buffer(&b, PLAN_BUFFER_ARENA, 0, bytes);
    uint32_t y = builder_buffer(&b, PLAN_BUFFER_OUTPUT, 0, bytes);
    uint32_t kernel = builder_kernel(&b, "add_one", add_one_ptx, 32);
    struct plan_arg first[] = {{PLAN_ARG_BUFFER, x, PLAN_NONE, 0},
                               {PLAN_ARG_BUFFER, middle, PLAN_NONE, 0},
                               {PLAN_ARG_I32, elements, 0, 0}};
    struct plan_arg second[] = {{PLAN_ARG_BUFFER, middle, PLAN_NONE, 0},
                                {PLAN_ARG_BUFFER, y, PLAN_NONE, 0},
                                {PLAN_ARG_I32, elements, 0, 0}};
    builder_launch(&b, kernel, blocks, first, 3);
    builder_launch(&b, kernel, blocks, second, 3);
    struct plan_buffer *buffers = (void *)b.sections[PLAN_BUFFERS].data;
    buffers[middle].last = 1;
    struct plan_arg shape[] = {{PLAN_ARG_I64, elements, PLAN_NONE, 0},
                               {PLAN_ARG_I64, builder_const(&b, 1), PLAN_NONE, 0}};
    uint32_t dims = builder_add(&b, PLAN_ARGS, shape, sizeof shape);
    ADD(&b, TAPS, .step = 0, .buffer = middle, .offset = PLAN_NONE,
        .name = builder_string(&b, "middle"), .dtype = 1, .rank = 1, .first_arg = dims);
    ADD(&b, TAPS, .step = 1, .buffer = y, .offset = PLAN_NONE, .name = builder_string(&b, "y"),
        .dtype = 1, .rank = 1, .first_arg = dims);
    unsigned char *plan = builder_finish(&b, size);
    builder_free(&b);
    return plan;
}

unsigned char *plan_positive(size_t *size)
{
    struct plan_builder b;
    int64_t n = 6, free_dim = -1;
    builder_init(&b, "sm_90a", 90);
    builder_tensor(&b, 0, "x", 1, 1, &n);
    builder_tensor(&b, 1, "y", 1, 1, &free_dim);
    uint32_t six = builder_const(&b, 6), bytes = builder_const(&b, 24);
    uint32_t eight = builder_const(&b, 8), one = builder_const(&b, 1);
    uint32_t x = builder_buffer(&b, PLAN_BUFFER_INPUT, 0, bytes);
    uint32_t count = builder_buffer(&b, PLAN_BUFFER_ARENA, 0, eight);
    uint32_t read = ADD(&b, READS, .buffer = count, .dtype = 7, .elements = 1);
    struct plan_arg args[] = {{PLAN_ARG_BUFFER, x, PLAN_NONE, 0},
                              {PLAN_ARG_BUFFER, count, PLAN_NONE, 0},
                              {PLAN_ARG_I32, six, 0, 0}};
    builder_launch(&b, builder_kernel(&b, "positive", "positive", 32), one, args, 3);

    uint32_t start = builder_const(&b, 4); /* the second segment */
    uint32_t found = builder_scalar(&b, PLAN_SC_ELEMENT, read, 0);
    struct plan_scalar *scalars = (void *)b.sections[PLAN_SCALARS].data;
    scalars[found].value = 6; /* at most */
    uint32_t found_bytes = builder_scalar(&b, PLAN_SC_MUL, found, start);
    builder_add(&b, PLAN_SHAPES, &found, sizeof found);
    uint32_t y = builder_buffer(&b, PLAN_BUFFER_OUTPUT, 0, found_bytes);
    struct plan_step step = {.kind = PLAN_STEP_READ_DIM,
                             .nodes = builder_string(&b, "c (NonZero)")};
    step.u.read.read = read;
    step.u.read.first_scalar = start;
    b.program.bind_scalars = start;
    builder_add(&b, PLAN_STEPS, &step, sizeof step);
    struct plan_arg second[] = {{PLAN_ARG_BUFFER, x, PLAN_NONE, 0},
                                {PLAN_ARG_BUFFER, y, PLAN_NONE, 0},
                                {PLAN_ARG_I32, found, 0, 0}};
    builder_launch(&b, builder_kernel(&b, "add_one", add_one_ptx, 32), found, second, 3);
    struct plan_step *steps = (void *)b.sections[PLAN_STEPS].data;
    steps[1].u.read.n_scalars =
        (uint32_t)(b.sections[PLAN_SCALARS].size / sizeof(struct plan_scalar)) - start;
    struct plan_buffer *buffers = (void *)b.sections[PLAN_BUFFERS].data;
    buffers[count].last = 1;
    unsigned char *plan = builder_finish(&b, size);
    builder_free(&b);
    return plan;
}

unsigned char *plan_loop(size_t *size)
{
    struct plan_builder b;
    int64_t n = 4;
    builder_init(&b, "sm_90a", 90);
    builder_tensor(&b, 0, "x", 7, 1, &n);
    builder_tensor(&b, 1, "y", 7, 1, &n);
    uint32_t four = builder_const(&b, 4), bytes = builder_const(&b, 32), one = builder_const(&b, 1);
    uint32_t three = builder_const(&b, 3);
    builder_add(&b, PLAN_SHAPES, &four, sizeof four);
    uint32_t x = builder_buffer(&b, PLAN_BUFFER_INPUT, 0, bytes);
    uint32_t y = builder_buffer(&b, PLAN_BUFFER_OUTPUT, 0, bytes);
    struct plan_step copy = {.kind = PLAN_STEP_COPY}, loop = {.kind = PLAN_STEP_LOOP};
    copy.u.copy.to = y;
    copy.u.copy.from = x;
    copy.u.copy.to_offset = copy.u.copy.from_offset = PLAN_NONE;
    copy.u.copy.bytes = bytes;
    loop.u.loop.trips = three;
    loop.u.loop.again = PLAN_NONE;
    loop.u.loop.first = 2;
    loop.u.loop.n = 3;
    builder_add(&b, PLAN_STEPS, &copy, sizeof copy);
    uint32_t owner = builder_add(&b, PLAN_STEPS, &loop, sizeof loop);
    struct plan_arg args[] = {{PLAN_ARG_BUFFER, y, PLAN_NONE, 0}, {PLAN_ARG_I32, four, 0, 0}};
    uint32_t kernel = builder_kernel(&b, "count_up", "count_up", 32);
    struct plan_step branch = {.kind = PLAN_STEP_IF}, scalars = {.kind = PLAN_STEP_READ_DIM};
    /* body of the loop: scalars, IF (iteration == 1), count_up */
    scalars.u.read.read = PLAN_NONE;
    builder_add(&b, PLAN_STEPS, &scalars, sizeof scalars);
    builder_add(&b, PLAN_STEPS, &branch, sizeof branch);
    builder_launch(&b, kernel, one, args, 2);
    uint32_t fill_bytes = builder_const(&b, 7), fill_offset = builder_const(&b, 24);
    struct plan_step fill = {.kind = PLAN_STEP_FILL};
    fill.u.fill.to = y;
    fill.u.fill.to_offset = fill_offset;
    fill.u.fill.bytes = fill_bytes; /* cut off inside a word */
    fill.u.fill.pattern = 0x01010101;
    builder_add(&b, PLAN_STEPS, &fill, sizeof fill);

    b.program.main_steps = 2;
    uint32_t first = builder_scalar(&b, PLAN_SC_LOOP_INDEX, owner, 0);
    b.program.bind_scalars = first;
    uint32_t equal = builder_scalar(&b, PLAN_SC_EQ, first, one);
    struct plan_step *steps = (void *)b.sections[PLAN_STEPS].data;
    steps[2].u.read.first_scalar = first;
    steps[2].u.read.n_scalars = 2;
    steps[3].u.branch.condition = equal;
    steps[3].u.branch.first_then = 5;
    steps[3].u.branch.n_then = 1;
    struct plan_buffer *buffers = (void *)b.sections[PLAN_BUFFERS].data;
    buffers[y].last = 1;
    unsigned char *plan = builder_finish(&b, size);
    builder_free(&b);
    return plan;
}
