/*
 * Writes a small plan for the tests of gpurun.
 *
 *   make_plan add FILE            x f32[n] → y = x + 2
 *   make_plan add:N FILE          the same with n = N
 *   make_plan copy:DTYPE FILE     x → y = x; ONNX's type code, shape [2, n]
 *   make_plan stray FILE          x f32[4] → y f32[5] = x + 1: a read beyond x
 */
#include "plan_builder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned char *plan_copy(int dtype, int64_t element_bytes, size_t *size)
{
    struct plan_builder b;
    int64_t dims[] = {2, -1};
    builder_init(&b, "sm_80", 80);
    builder_tensor(&b, 0, "x", dtype, 2, dims);
    builder_tensor(&b, 1, "y", dtype, 2, dims);
    uint32_t n = builder_scalar(&b, PLAN_SC_INPUT_DIM, 0, 1), two = builder_const(&b, 2);
    uint32_t shape[] = {two, n};
    uint32_t elements = builder_scalar(&b, PLAN_SC_MUL, n, two);
    uint32_t bytes = builder_scalar(&b, PLAN_SC_MUL, elements, builder_const(&b, element_bytes));
    builder_add(&b, PLAN_SHAPES, shape, sizeof shape);
    struct plan_step step = {.kind = PLAN_STEP_COPY,
                             .nodes = builder_string(&b, "copy (Identity)")};
    step.u.copy.from = builder_buffer(&b, PLAN_BUFFER_INPUT, 0, bytes);
    step.u.copy.to = builder_buffer(&b, PLAN_BUFFER_OUTPUT, 0, bytes);
    step.u.copy.from_offset = step.u.copy.to_offset = PLAN_NONE;
    step.u.copy.bytes = bytes;
    builder_add(&b, PLAN_STEPS, &step, sizeof step);
    unsigned char *plan = builder_finish(&b, size);
    builder_free(&b);
    return plan;
}

static unsigned char *plan_stray(size_t *size)
{
    struct plan_builder b;
    int64_t four = 4, five = 5;
    builder_init(&b, "sm_90a", 90);
    builder_tensor(&b, 0, "x", 1, 1, &four);
    builder_tensor(&b, 1, "y", 1, 1, &five);
    uint32_t n = builder_const(&b, five);
    builder_add(&b, PLAN_SHAPES, &n, sizeof n);
    uint32_t x = builder_buffer(&b, PLAN_BUFFER_INPUT, 0, builder_const(&b, 4 * four));
    uint32_t y = builder_buffer(&b, PLAN_BUFFER_OUTPUT, 0, builder_const(&b, 4 * five));
    struct plan_arg args[] = {{PLAN_ARG_BUFFER, x, PLAN_NONE, 0},
                              {PLAN_ARG_BUFFER, y, PLAN_NONE, 0},
                              {PLAN_ARG_I32, n, 0, 0}};
    builder_launch(&b, builder_kernel(&b, "add_one", add_one_ptx, 32), builder_const(&b, 1), args,
                   3);
    unsigned char *plan = builder_finish(&b, size);
    builder_free(&b);
    return plan;
}

/* Bytes of an element in a buffer. */
static int64_t element_bytes(int dtype)
{
    static const int bytes[] = {0, 4, 1, 1, 2, 2, 4, 8, 0, 1, 2, 8, 4, 8, 8, 16, 2};
    return dtype < 17 ? bytes[dtype] : 1;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    size_t size;
    const char *colon = strchr(argv[1], ':');
    int number = colon != NULL ? atoi(colon + 1) : -1;
    unsigned char *plan;
    if (strncmp(argv[1], "copy", strlen("copy")) == 0)
        plan = plan_copy(number, element_bytes(number), &size);
    else if (strcmp(argv[1], "stray") == 0)
        plan = plan_stray(&size);
    else
        plan = plan_add_two(number, "sm_90a", 90, &size);
    FILE *file = fopen(argv[2], "wb");
    if (file == NULL || fwrite(plan, 1, size, file) != size || fclose(file) != 0)
        return 7;
    free(plan);
    return 0;
}
