/*
 * The checks of a plan's header, section table and shared sections. What they accept is safe to
 * index; a program's own sections are checked in verify_program.c.
 */
#include "plan.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define DAMAGED(...) rt_fail(GPUCC_BAD_PLAN, __VA_ARGS__)

/* Where a section's pointer and number of records go: in the plan, or in each program. */
static const struct section_rule {
    const char *name;
    uint32_t kind, record_bytes;
    bool per_program;
    size_t pointer, count;
    size_t count_bytes;
} rules[] = {
#define MEMBER_BYTES(type, member) sizeof(((struct type *)0)->member)
#define PLAN_RULE(NAME, record, where, member, owned)                                              \
    {                                                                                              \
#NAME, PLAN_##NAME, sizeof(record), owned, offsetof(struct where, member),                 \
            offsetof(struct where, n_##member), MEMBER_BYTES(where, n_##member)                    \
    }
    PLAN_RULE(STRINGS, char, gpucc_plan, strings, false),
    PLAN_RULE(VALUES, struct plan_value, gpucc_plan, values, false),
    PLAN_RULE(DIMS, struct plan_dim, gpucc_plan, dims, false),
    PLAN_RULE(SYMBOLS, struct plan_symbol, gpucc_plan, symbols, false),
    PLAN_RULE(PROGRAM, struct plan_program, program, info, true),
    PLAN_RULE(SCALARS, struct plan_scalar, program, scalars, true),
    PLAN_RULE(BUFFERS, struct plan_buffer, program, buffers, true),
    PLAN_RULE(SHAPES, uint32_t, program, shapes, true),
    PLAN_RULE(READS, struct plan_read, program, reads, true),
    PLAN_RULE(KERNELS, struct plan_kernel, program, kernels, true),
    PLAN_RULE(ARGS, struct plan_arg, program, args, true),
    PLAN_RULE(STEPS, struct plan_step, program, steps, true),
    PLAN_RULE(TAPS, struct plan_tap, program, taps, true),
    PLAN_RULE(WEIGHTS, struct plan_weight, gpucc_plan, weights, false),
    PLAN_RULE(RECIPES, char, gpucc_plan, recipes, false),
    PLAN_RULE(CODE, uint8_t, gpucc_plan, code, false),
    PLAN_RULE(WEIGHT_DATA, uint8_t, gpucc_plan, weight_data, false),
};

enum {
    N_RULES = sizeof rules / sizeof rules[0],
    FIRST_OF_PROGRAM = PLAN_PROGRAM - 1, /* in rules */
    N_PER_PROGRAM = PLAN_TAPS - PLAN_PROGRAM + 1,
    N_SHARED = N_RULES - N_PER_PROGRAM,
    MAX_SECTION_ALIGN = 1 << 20
};

static bool zeros(const unsigned char *bytes, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

static bool text_ends(const char *text, size_t bytes)
{
    return memchr(text, 0, bytes) != NULL;
}

static uint64_t hash_header(const struct gpucc_plan *plan)
{
    static const char zero[sizeof plan->header->header_hash];
    size_t before = offsetof(struct plan_header, header_hash), after = before + sizeof zero;
    XXH3_state_t state;
    XXH3_64bits_reset(&state);
    XXH3_64bits_update(&state, plan->bytes, before);
    XXH3_64bits_update(&state, zero, sizeof zero);
    XXH3_64bits_update(&state, plan->bytes + after, plan->header->header_bytes - after);
    return XXH3_64bits_digest(&state);
}

static enum gpucc_status check_header(struct gpucc_plan *plan, unsigned flags)
{
    const struct plan_header *header = (const void *)plan->bytes;
    if (plan->size < sizeof *header || memcmp(header->magic, PLAN_MAGIC, sizeof header->magic) != 0)
        return DAMAGED("this is no gpucc plan");
    if (header->version != PLAN_VERSION)
        return DAMAGED("the plan's format has version %u, this runtime reads %d: rebuild the plan, "
                       "or use the runtime of its gpucc",
                       header->version, PLAN_VERSION);
    if (header->file_bytes != plan->size)
        return DAMAGED("the plan should have %llu bytes but has %zu: it was cut or appended to",
                       (unsigned long long)header->file_bytes, plan->size);
    if (header->n_targets < 1 || header->n_targets > PLAN_MAX_TARGETS)
        return DAMAGED("header: %u targets, 1 to %d are allowed", header->n_targets,
                       PLAN_MAX_TARGETS);
    uint32_t n_sections = N_SHARED + N_PER_PROGRAM * header->n_targets;
    size_t bytes = sizeof *header + header->n_targets * sizeof(struct plan_target) +
                   n_sections * sizeof(struct plan_section);
    if (header->n_sections != n_sections || header->header_bytes != bytes || bytes > plan->size)
        return DAMAGED("header: wrong number of sections or bytes");
    plan->header = header;
    if (!(flags & GPUCC_SKIP_HASH) && hash_header(plan) != header->header_hash)
        return DAMAGED("header: the hash does not match: the file is damaged");
    if (!text_ends(header->gpucc_version, sizeof header->gpucc_version) ||
        !text_ends(header->nvrtc_build, sizeof header->nvrtc_build) ||
        header->needs & ~(uint32_t)(PLAN_NEEDS_CUBLASLT | PLAN_NEEDS_HOST_CALLS) ||
        !zeros((const void *)header->reserved, sizeof header->reserved))
        return DAMAGED("header: a field has no legal value");

    plan->targets = (const void *)(plan->bytes + sizeof *header);
    plan->sections = (const void *)(plan->targets + header->n_targets);
    for (uint32_t i = 0; i < header->n_targets; i++) {
        const struct plan_target *target = &plan->targets[i];
        if (!text_ends(target->name, sizeof target->name) || target->sm < 10 || target->sm > 999 ||
            target->flags > PLAN_TARGET_EXACT)
            return DAMAGED("target %u: a field has no legal value", i);
    }
    return GPUCC_OK;
}

/* The rule and the program (PLAN_NONE: shared) of the index-th section of a plan. */
static const struct section_rule *expected(const struct gpucc_plan *plan, uint32_t index,
                                           uint32_t *program)
{
    uint32_t of_programs = N_PER_PROGRAM * plan->header->n_targets;
    *program = PLAN_NONE;
    if (index < FIRST_OF_PROGRAM)
        return &rules[index];
    if (index >= FIRST_OF_PROGRAM + of_programs)
        return &rules[index - of_programs + N_PER_PROGRAM];
    *program = (index - FIRST_OF_PROGRAM) / N_PER_PROGRAM;
    return &rules[FIRST_OF_PROGRAM + (index - FIRST_OF_PROGRAM) % N_PER_PROGRAM];
}

/* `end` is where the section before ended. */
static enum gpucc_status check_section(const struct gpucc_plan *plan, uint32_t index, uint64_t *end,
                                       unsigned flags)
{
    const struct plan_section *section = &plan->sections[index];
    uint32_t program;
    const struct section_rule *rule = expected(plan, index, &program);
    uint32_t least = rule->kind == PLAN_WEIGHT_DATA ? PLAN_WEIGHT_ALIGN : 8;
    if (section->kind != rule->kind || section->program != program)
        return DAMAGED("section %u: is not %s, as it must be", index, rule->name);
    if (section->record_bytes != rule->record_bytes || section->alignment < least ||
        section->alignment > MAX_SECTION_ALIGN ||
        (section->alignment & (section->alignment - 1)) != 0 ||
        section->offset % section->alignment != 0 || section->bytes % section->record_bytes != 0 ||
        (rule->count_bytes == 4 && section->bytes / section->record_bytes > INT32_MAX))
        return DAMAGED("section %s: its alignment or size is wrong", rule->name);
    if (section->offset < *end || section->offset - *end >= section->alignment ||
        section->offset > plan->size || section->bytes > plan->size - section->offset)
        return DAMAGED("section %s: it does not lie where it must", rule->name);
    if (!zeros(plan->bytes + *end, section->offset - *end))
        return DAMAGED("section %s: bytes before it are not zero", rule->name);
    *end = section->offset + section->bytes;
    if (!(flags & GPUCC_SKIP_HASH) &&
        XXH3_64bits(plan->bytes + section->offset, section->bytes) != section->hash)
        return DAMAGED("section %s: the hash does not match: the file is damaged", rule->name);
    return GPUCC_OK;
}

static void set_fields(struct gpucc_plan *plan, uint32_t index)
{
    const struct plan_section *section = &plan->sections[index];
    uint32_t program;
    const struct section_rule *rule = expected(plan, index, &program);
    char *owner = program == PLAN_NONE ? (char *)plan : (char *)&plan->programs[program];
    const unsigned char *data = plan->bytes + section->offset;
    uint64_t count = section->bytes / section->record_bytes;
    memcpy(owner + rule->pointer, &data, sizeof data);
    memcpy(owner + rule->count, &count, rule->count_bytes); /* little-endian: also the low half */
}

enum gpucc_status rt_plan_sections(struct gpucc_plan *plan, unsigned flags)
{
    enum gpucc_status status = check_header(plan, flags);
    if (status != GPUCC_OK)
        return status;
    uint64_t end = plan->header->header_bytes;
    for (uint32_t i = 0; i < plan->header->n_sections; i++)
        if ((status = check_section(plan, i, &end, flags)) != GPUCC_OK)
            return status;
    if (end != plan->size)
        return DAMAGED("bytes follow the last section");
    plan->programs = calloc(plan->header->n_targets, sizeof *plan->programs);
    if (plan->programs == NULL)
        return rt_fail(GPUCC_LIMIT, "out of memory");
    for (uint32_t i = 0; i < plan->header->n_sections; i++)
        set_fields(plan, i);
    for (uint32_t i = 0; i < plan->header->n_targets; i++)
        plan->programs[i].target = &plan->targets[i];
    return GPUCC_OK;
}

/* ---- shared sections ---- */

static bool range_ok(uint64_t offset, uint64_t bytes, uint64_t size)
{
    return offset <= size && bytes <= size - offset;
}

static bool value_ok(const struct gpucc_plan *plan, uint32_t index)
{
    const struct plan_value *value = &plan->values[index];
    uint32_t n_inputs = plan->header->n_inputs, n_outputs = plan->header->n_outputs;
    bool nested =
        value->kind == PLAN_SEQUENCE || value->kind == PLAN_OPTIONAL || value->kind == PLAN_MAP;
    bool is_output = index >= n_inputs && index - n_inputs < n_outputs;
    if (value->name >= plan->n_strings || value->kind > PLAN_STRING ||
        value->rank > PLAN_MAX_RANK || value->reserved != 0 || value->reserved2 != 0)
        return false;
    if (value->kind == PLAN_TENSOR) {
        if (value->dtype != 8 && rt_element_bytes(value->dtype) == 0)
            return false;
        if (!range_ok(value->first_dim, value->rank, plan->n_dims))
            return false;
    } else if (value->rank != 0) {
        return false;
    }
    if (nested ? value->element <= index || value->element >= plan->n_values
               : value->element != PLAN_NONE)
        return false;
    return value->alias == PLAN_NONE ||
           (is_output && value->kind == PLAN_TENSOR && value->alias < n_inputs &&
            plan->values[value->alias].kind == PLAN_TENSOR);
}

static enum gpucc_status check_shared(const struct gpucc_plan *plan)
{
    const struct plan_header *header = plan->header;
    if (plan->n_strings < 1 || plan->strings[0] != 0 || plan->strings[plan->n_strings - 1] != 0)
        return DAMAGED("STRINGS: the first or the last byte is not zero");
    if ((uint64_t)header->n_inputs + header->n_outputs > plan->n_values)
        return DAMAGED("VALUES: fewer than there are inputs and outputs");
    for (uint32_t i = 0; i < plan->n_values; i++)
        if (!value_ok(plan, i))
            return DAMAGED("VALUES: record %u is wrong", i);
    for (uint32_t i = 0; i < plan->n_dims; i++) {
        const struct plan_dim *dim = &plan->dims[i];
        if (dim->value < -1 || dim->text >= plan->n_strings ||
            (dim->symbol != PLAN_NONE && dim->symbol >= plan->n_symbols))
            return DAMAGED("DIMS: record %u is wrong", i);
    }
    for (uint32_t i = 0; i < plan->n_symbols; i++)
        if (plan->symbols[i].name >= plan->n_strings || plan->symbols[i].reserved != 0)
            return DAMAGED("SYMBOLS: record %u is wrong", i);
    for (uint32_t i = 0; i < plan->n_weights; i++) {
        const struct plan_weight *weight = &plan->weights[i];
        if (weight->offset % PLAN_BUFFER_ALIGN != 0 || weight->reserved != 0 ||
            !range_ok(weight->offset, weight->bytes, plan->n_weight_data) ||
            !range_ok(weight->recipe_offset, weight->recipe_bytes, plan->n_recipes))
            return DAMAGED("WEIGHTS: record %u is wrong", i);
    }
    return GPUCC_OK;
}

enum gpucc_status rt_plan_verify(struct gpucc_plan *plan)
{
    enum gpucc_status status = check_shared(plan);
    for (uint32_t i = 0; i < plan->header->n_targets && status == GPUCC_OK; i++) {
        status = rt_program_verify(plan, &plan->programs[i]);
        if (status == GPUCC_BAD_PLAN)
            rt_fail_within("program %s: ", plan->targets[i].name);
    }
    return status;
}
