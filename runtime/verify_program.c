/* The checks of one target's program: every index, range and structure in it. */
#include "list.h"
#include "plan.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

#define DAMAGED(...) rt_fail(GPUCC_BAD_PLAN, __VA_ARGS__)

enum {
    MAX_READ_ELEMENTS = 1 << 16, /* of one READS record */
    MAX_ALL_ELEMENTS = 1 << 20,  /* of all */
    MAX_SHARED_BYTES = 1 << 20,
    MAX_CLUSTER = 16
};

static bool range_ok(uint64_t offset, uint64_t n, uint64_t size)
{
    return offset <= size && n <= size - offset;
}

static bool optional_ok(uint32_t index, uint32_t n)
{
    return index == PLAN_NONE || index < n;
}

/* ---- scalars and steps' structure ---- */

static const uint8_t scalar_operands[PLAN_SC_COUNT] = {
#define X(name, code, operands) [code] = operands,
    PLAN_SCALAR_OPS(X)
#undef X
};

static bool scalar_ok(const struct gpucc_plan *plan, const struct program *p, uint32_t index)
{
    const struct plan_scalar *s = &p->scalars[index];
    if (s->op >= PLAN_SC_COUNT || s->text >= plan->n_strings)
        return false;
    if (scalar_operands[s->op] == 2)
        return s->a < index && s->b < index;
    switch (s->op) {
    case PLAN_SC_INPUT_DIM:
        return s->a < plan->header->n_inputs && plan->values[s->a].kind == PLAN_TENSOR &&
               s->b < plan->values[s->a].rank;
    case PLAN_SC_ELEMENT: /* its read comes after the shapes are set */
        return s->a < p->n_reads && s->b < p->reads[s->a].elements &&
               index >= p->info->bind_scalars;
    case PLAN_SC_LOOP_INDEX:
        return s->a < p->n_steps && p->steps[s->a].kind == PLAN_STEP_LOOP &&
               index >= p->info->bind_scalars;
    default: return true; /* CONST */
    }
}

/* Bodies lie behind the main steps in the order of their owners, and READ_DIM's scalars behind the
 * bind scalars in the order of the steps, both without gaps. So each has one owner, and nothing
 * recurses. */
struct layout {
    uint32_t next_body, next_scalar;
    uint32_t n_segments;
    uint8_t *depth; /* by step */
};

static bool take_body(const struct program *p, struct layout *layout, uint32_t owner,
                      uint32_t first, uint32_t n)
{
    if (n == 0)
        return true;
    if (first != layout->next_body || first <= owner || !range_ok(first, n, p->n_steps) ||
        layout->depth[owner] >= PLAN_MAX_DEPTH)
        return false;
    layout->next_body += n;
    memset(layout->depth + first, layout->depth[owner] + 1, n);
    return true;
}

static bool take_scalars(const struct program *p, struct layout *layout, uint32_t first, uint32_t n)
{
    if (first != layout->next_scalar || !range_ok(first, n, p->n_scalars))
        return false;
    layout->next_scalar += n;
    p->segments[layout->n_segments++] = (struct segment){first, n};
    return true;
}

/* index is one of n where the step has it, else NONE. */
static bool present(bool has, uint32_t index, uint32_t n)
{
    return has ? index < n : index == PLAN_NONE;
}

static bool list_ok(const struct program *p, const struct plan_step *step)
{
    uint32_t kind = step->kind;
    bool at = kind == PLAN_STEP_LIST_AT, insert = kind == PLAN_STEP_LIST_INSERT;
    bool shape = kind == PLAN_STEP_LIST_SHAPE, length = kind == PLAN_STEP_LIST_LENGTH;
    bool typed = at || insert;
    if (!present(!at && !shape && !length, step->u.list.to, p->n_buffers) ||
        !present(kind != PLAN_STEP_LIST_NEW, step->u.list.from, p->n_buffers) ||
        !present(at || insert || shape || length, step->u.list.tensor, p->n_buffers) ||
        !present(at || insert || shape || kind == PLAN_STEP_LIST_ERASE, step->u.list.position,
                 p->n_scalars) ||
        (typed ? rt_element_bytes(step->u.list.dtype) == 0 : step->u.list.dtype != 0) ||
        step->u.list.optional > 1 || step->u.list.n_args > PLAN_MAX_RANK)
        return false;
    if (!typed)
        return step->u.list.first_arg == 0 && (shape || step->u.list.n_args == 0);
    if (!range_ok(step->u.list.first_arg, step->u.list.n_args, p->n_args))
        return false;
    for (uint32_t i = 0; i < step->u.list.n_args; i++)
        if (p->args[step->u.list.first_arg + i].kind != PLAN_ARG_I64)
            return false;
    return true;
}

static bool step_ok(const struct gpucc_plan *plan, const struct program *p, struct layout *layout,
                    uint32_t index)
{
    const struct plan_step *step = &p->steps[index];
    if (step->nodes >= plan->n_strings)
        return false;
    switch (step->kind) {
    case PLAN_STEP_LAUNCH:
        for (int i = 0; i < 3; i++)
            if (step->u.launch.grid[i] >= p->n_scalars)
                return false;
        return step->u.launch.kernel < p->n_kernels && step->u.launch.n_args <= PLAN_MAX_ARGS &&
               range_ok(step->u.launch.first_arg, step->u.launch.n_args, p->n_args);
    case PLAN_STEP_COPY:
        return step->u.copy.to < p->n_buffers && step->u.copy.from < p->n_buffers &&
               optional_ok(step->u.copy.to_offset, p->n_scalars) &&
               optional_ok(step->u.copy.from_offset, p->n_scalars) &&
               step->u.copy.bytes < p->n_scalars;
    case PLAN_STEP_FILL:
        return step->u.fill.to < p->n_buffers &&
               optional_ok(step->u.fill.to_offset, p->n_scalars) &&
               step->u.fill.bytes < p->n_scalars;
    case PLAN_STEP_GEMM:
        for (int i = 0; i < 6; i++) /* m … stride_b lie side by side */
            if ((&step->u.gemm.m)[i] >= p->n_scalars)
                return false;
        return step->u.gemm.a < p->n_buffers && step->u.gemm.b < p->n_buffers &&
               step->u.gemm.c < p->n_buffers && rt_element_bytes(step->u.gemm.dtype) > 0 &&
               step->u.gemm.transpose <= 3;
    case PLAN_STEP_READ_DIM:
        return optional_ok(step->u.read.read, p->n_reads) &&
               take_scalars(p, layout, step->u.read.first_scalar, step->u.read.n_scalars);
    case PLAN_STEP_IF:
        return step->u.branch.condition < p->n_scalars &&
               take_body(p, layout, index, step->u.branch.first_then, step->u.branch.n_then) &&
               take_body(p, layout, index, step->u.branch.first_else, step->u.branch.n_else);
    case PLAN_STEP_LOOP:
        return optional_ok(step->u.loop.trips, p->n_scalars) &&
               optional_ok(step->u.loop.again, p->n_scalars) &&
               (step->u.loop.trips != PLAN_NONE || step->u.loop.again != PLAN_NONE) &&
               take_body(p, layout, index, step->u.loop.first, step->u.loop.n);
    case PLAN_STEP_LIST_NEW:
    case PLAN_STEP_LIST_COPY:
    case PLAN_STEP_LIST_INSERT:
    case PLAN_STEP_LIST_ERASE:
    case PLAN_STEP_LIST_AT:
    case PLAN_STEP_LIST_LENGTH:
    case PLAN_STEP_LIST_SHAPE: return list_ok(p, step);
    case PLAN_STEP_HOST_CALL:
        return step->u.call.function < plan->n_strings && step->u.call.n_args <= PLAN_MAX_ARGS &&
               range_ok(step->u.call.first_arg, step->u.call.n_args, p->n_args);
    default: return false;
    }
}

/* Checks the steps and fills p->segments. */
static enum gpucc_status check_steps(const struct gpucc_plan *plan, struct program *p)
{
    uint32_t n_segments = 1;
    for (uint32_t i = 0; i < p->n_steps; i++)
        n_segments += p->steps[i].kind == PLAN_STEP_READ_DIM;
    p->segments = malloc(n_segments * sizeof *p->segments);
    struct layout layout = {p->info->main_steps, p->info->bind_scalars, 1,
                            calloc(p->n_steps + (size_t)1, 1)};
    if (p->segments == NULL || layout.depth == NULL) {
        free(layout.depth);
        return rt_fail(GPUCC_LIMIT, "out of memory");
    }
    p->segments[0] = (struct segment){0, p->info->bind_scalars};
    enum gpucc_status status = GPUCC_OK;
    for (uint32_t i = 0; i < p->n_steps && status == GPUCC_OK; i++)
        if (!step_ok(plan, p, &layout, i))
            status = DAMAGED("STEPS: record %u (%s) is wrong", i, rt_step_name(p->steps[i].kind));
    free(layout.depth);
    p->n_segments = layout.n_segments;
    if (status == GPUCC_OK && layout.next_body != p->n_steps)
        status = DAMAGED("STEPS: some belong to no step");
    if (status == GPUCC_OK && layout.next_scalar != p->n_scalars)
        status = DAMAGED("SCALARS: some belong to no step");
    return status;
}

/* ---- buffers ---- */

uint32_t rt_segment_of(const struct program *p, uint32_t slot)
{
    uint32_t low = 0, high = p->n_segments; /* the last segment that starts at or before slot */
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (p->segments[middle].first <= slot)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static bool alias_ok(const struct program *p, uint32_t index)
{
    const struct plan_buffer *buffer = &p->buffers[index];
    if (buffer->alias == PLAN_NONE)
        return true;
    if (buffer->kind != PLAN_BUFFER_ARENA || buffer->alias >= p->n_buffers)
        return false;
    const struct plan_buffer *base = &p->buffers[buffer->alias];
    return base->kind == PLAN_BUFFER_ARENA && base->alias == PLAN_NONE &&
           base->first <= buffer->first && base->last >= buffer->last &&
           base->offset == buffer->offset && base->size < p->n_scalars &&
           rt_segment_of(p, base->size) == rt_segment_of(p, buffer->size);
}

static bool buffer_ok(const struct gpucc_plan *plan, const struct program *p, uint32_t index)
{
    const struct plan_buffer *buffer = &p->buffers[index];
    const struct plan_header *header = plan->header;
    bool fixed = buffer->kind == PLAN_BUFFER_ARENA && p->info->arena_bytes >= 0;
    if (buffer->kind > PLAN_BUFFER_ZEROED || buffer->size >= p->n_scalars ||
        buffer->alignment == 0 || buffer->alignment > PLAN_BUFFER_ALIGN ||
        (buffer->alignment & (buffer->alignment - 1)) != 0 || buffer->reserved != 0 ||
        buffer->last < buffer->first || (buffer->last >= p->n_steps && buffer->last > 0))
        return false;
    if (fixed ? buffer->offset < 0 || buffer->offset % PLAN_BUFFER_ALIGN != 0 ||
                    buffer->offset > p->info->arena_bytes || buffer->size >= p->info->bind_scalars
              : buffer->offset != -1)
        return false;
    switch (buffer->kind) {
    case PLAN_BUFFER_INPUT:
        return buffer->index < header->n_inputs && buffer->size < p->info->bind_scalars &&
               buffer->alias == PLAN_NONE;
    case PLAN_BUFFER_OUTPUT:
        return buffer->index < header->n_outputs && buffer->alias == PLAN_NONE &&
               (plan->values[header->n_inputs + buffer->index].alias == PLAN_NONE ||
                buffer->size < p->info->bind_scalars);
    case PLAN_BUFFER_WEIGHT: return buffer->index < plan->n_weights && buffer->alias == PLAN_NONE;
    default: return buffer->index == 0 && alias_ok(p, index);
    }
}

/* Each input has at most one buffer, each output exactly one. An input lends its memory to one
 * output at most. */
static enum gpucc_status check_owners(const struct gpucc_plan *plan, const struct program *p)
{
    const struct plan_header *header = plan->header;
    size_t n = (size_t)header->n_inputs + header->n_outputs;
    uint8_t *seen = calloc(n + 1, 1);
    if (seen == NULL)
        return rt_fail(GPUCC_LIMIT, "out of memory");
    enum gpucc_status status = GPUCC_OK;
    for (uint32_t i = 0; i < p->n_buffers; i++) {
        const struct plan_buffer *buffer = &p->buffers[i];
        if (buffer->kind != PLAN_BUFFER_INPUT && buffer->kind != PLAN_BUFFER_OUTPUT)
            continue;
        size_t owner = buffer->index;
        owner += buffer->kind == PLAN_BUFFER_OUTPUT ? header->n_inputs : 0;
        if (seen[owner]++ != 0)
            status = DAMAGED("BUFFERS: record %u is the second of its input or output", i);
        if (status != GPUCC_OK)
            break;
    }
    for (size_t i = header->n_inputs; i < n && status == GPUCC_OK; i++)
        if (seen[i] == 0)
            status = DAMAGED("BUFFERS: output %zu has none", i - header->n_inputs);
    for (size_t i = header->n_inputs; i < n && status == GPUCC_OK; i++)
        if (plan->values[i].alias != PLAN_NONE && seen[plan->values[i].alias]++ != 1)
            status = DAMAGED("VALUES: output %zu lies where no input does, or another output",
                             i - header->n_inputs);
    free(seen);
    return status;
}

static enum gpucc_status check_buffers(const struct gpucc_plan *plan, const struct program *p)
{
    for (uint32_t i = 0; i < p->n_buffers; i++)
        if (!buffer_ok(plan, p, i))
            return DAMAGED("BUFFERS: record %u is wrong", i);
    uint64_t elements = 0;
    for (uint32_t i = 0; i < p->n_reads; i++) {
        const struct plan_read *read = &p->reads[i];
        static const uint32_t integers = 1u << 2 | 1u << 3 | 1u << 4 | 1u << 5 | 1u << 6 | 1u << 7 |
                                         1u << 9 | 1u << 12 | 1u << 13; /* ONNX's codes */
        if (read->buffer >= p->n_buffers || read->dtype >= 32 || !(integers >> read->dtype & 1) ||
            read->elements < 1 || read->elements > MAX_READ_ELEMENTS || read->reserved != 0 ||
            (elements += read->elements) > MAX_ALL_ELEMENTS)
            return DAMAGED("READS: record %u is wrong", i);
    }
    uint64_t n_shapes = 0;
    for (uint32_t i = 0; i < plan->header->n_outputs; i++) {
        const struct plan_value *value = &plan->values[plan->header->n_inputs + i];
        n_shapes += value->kind == PLAN_TENSOR ? value->rank : 0;
    }
    if (n_shapes != p->n_shapes)
        return DAMAGED("SHAPES: not as many as the outputs have dims");
    for (uint32_t i = 0; i < p->n_shapes; i++)
        if (p->shapes[i] >= p->n_scalars)
            return DAMAGED("SHAPES: slot %u does not exist", p->shapes[i]);
    return check_owners(plan, p);
}

/* ---- kernels ---- */

/* The driver gets no length with a cubin, so the ELF file must not lead it out of its range. */
static bool cubin_ok(const unsigned char *bytes, uint64_t size)
{
    Elf64_Ehdr header;
    if (size < sizeof header)
        return false;
    memcpy(&header, bytes, sizeof header);
    if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64)
        return false;
    if ((header.e_shnum > 0 && header.e_shentsize != sizeof(Elf64_Shdr)) ||
        (header.e_phnum > 0 && header.e_phentsize != sizeof(Elf64_Phdr)) ||
        !range_ok(header.e_shoff, (uint64_t)header.e_shnum * sizeof(Elf64_Shdr), size) ||
        !range_ok(header.e_phoff, (uint64_t)header.e_phnum * sizeof(Elf64_Phdr), size))
        return false;
    for (unsigned i = 0; i < header.e_shnum; i++) {
        Elf64_Shdr section;
        memcpy(&section, bytes + header.e_shoff + i * sizeof section, sizeof section);
        if (section.sh_type != SHT_NOBITS && !range_ok(section.sh_offset, section.sh_size, size))
            return false;
    }
    for (unsigned i = 0; i < header.e_phnum; i++) {
        Elf64_Phdr segment;
        memcpy(&segment, bytes + header.e_phoff + i * sizeof segment, sizeof segment);
        if (!range_ok(segment.p_offset, segment.p_filesz, size))
            return false;
    }
    return true;
}

static bool kernel_ok(const struct gpucc_plan *plan, const struct program *p, uint32_t index)
{
    const struct plan_kernel *kernel = &p->kernels[index];
    const uint32_t *block = kernel->block, *cluster = kernel->cluster;
    bool portable = (p->target->flags & PLAN_TARGET_PORTABLE) != 0;
    if (kernel->symbol == 0 || kernel->symbol >= plan->n_strings ||
        kernel->family >= plan->n_strings || kernel->reserved != 0 ||
        kernel->flags > PLAN_KERNEL_COOPERATIVE || kernel->shared_bytes > MAX_SHARED_BYTES)
        return false;
    for (int i = 0; i < 3; i++)
        if (block[i] < 1 || block[i] > 1024 || cluster[i] > MAX_CLUSTER ||
            (cluster[i] == 0) != (cluster[0] == 0))
            return false;
    if (block[0] * block[1] * block[2] > 1024 || cluster[0] * cluster[1] * cluster[2] > MAX_CLUSTER)
        return false;
    if (!range_ok(kernel->cubin_offset, kernel->cubin_bytes, plan->n_code) ||
        !range_ok(kernel->ptx_offset, kernel->ptx_bytes, plan->n_code))
        return false;
    if (portable ? kernel->ptx_bytes == 0 : kernel->cubin_bytes == 0)
        return false;
    return (kernel->ptx_bytes == 0 ||
            plan->code[kernel->ptx_offset + kernel->ptx_bytes - 1] == 0) &&
           (kernel->cubin_bytes == 0 ||
            cubin_ok(plan->code + kernel->cubin_offset, kernel->cubin_bytes));
}

static bool arg_ok(const struct program *p, const struct plan_arg *arg)
{
    if (arg->kind > PLAN_ARG_TENSOR_MAP || arg->reserved != 0)
        return false;
    if (arg->kind == PLAN_ARG_I32 || arg->kind == PLAN_ARG_I64)
        return arg->index < p->n_scalars;
    return arg->index < p->n_buffers && optional_ok(arg->offset, p->n_scalars);
}

static bool tap_ok(const struct gpucc_plan *plan, const struct program *p, uint32_t index)
{
    const struct plan_tap *tap = &p->taps[index];
    if (tap->step >= p->info->main_steps || (index > 0 && tap->step < tap[-1].step) ||
        tap->buffer >= p->n_buffers || !optional_ok(tap->offset, p->n_scalars) || tap->name == 0 ||
        tap->name >= plan->n_strings || rt_element_bytes(tap->dtype) == 0 ||
        tap->rank > PLAN_MAX_RANK || tap->reserved != 0 ||
        !range_ok(tap->first_arg, 2 * tap->rank, p->n_args))
        return false;
    for (uint32_t i = 0; i < 2 * tap->rank; i++)
        if (p->args[tap->first_arg + i].kind != PLAN_ARG_I64)
            return false;
    return true;
}

enum gpucc_status rt_program_verify(const struct gpucc_plan *plan, struct program *p)
{
    if (p->n_info != 1)
        return DAMAGED("PROGRAM: must be one record");
    if (p->info->main_steps > p->n_steps || p->info->bind_scalars > p->n_scalars ||
        p->info->arena_bytes < -1 || p->info->peak_bytes < -1 ||
        p->info->peak_formula >= plan->n_strings || p->info->reserved[0] != 0 ||
        p->info->reserved[1] != 0 || p->info->reserved[2] != 0)
        return DAMAGED("PROGRAM: a field has no legal value");
    for (uint32_t i = 0; i < p->n_scalars; i++)
        if (!scalar_ok(plan, p, i))
            return DAMAGED("SCALARS: record %u is wrong", i);
    for (uint32_t i = 0; i < p->n_kernels; i++)
        if (!kernel_ok(plan, p, i))
            return DAMAGED("KERNELS: record %u is wrong", i);
    enum gpucc_status status = check_steps(plan, p);
    if (status != GPUCC_OK)
        return status;
    for (uint32_t i = 0; i < p->n_args; i++)
        if (!arg_ok(p, &p->args[i]))
            return DAMAGED("ARGS: record %u is wrong", i);
    for (uint32_t i = 0; i < p->n_taps; i++)
        if (!tap_ok(plan, p, i))
            return DAMAGED("TAPS: record %u is wrong", i);
    return check_buffers(plan, p);
}

/* ---- what this runtime executes ---- */

const char *rt_step_name(uint32_t kind)
{
    static const char *const names[PLAN_STEP_COUNT] = {
#define X(name, code) [code] = #name,
        PLAN_STEPS_KINDS(X)
#undef X
    };
    return kind < PLAN_STEP_COUNT ? names[kind] : "";
}

enum gpucc_status rt_program_supported(const struct gpucc_plan *plan, const struct program *p)
{
    static const char *const kinds[] = {"tensor", "sequence", "optional", "map", "string"};
    uint32_t n_values = plan->header->n_inputs + plan->header->n_outputs;
    for (uint32_t i = 0; i < n_values; i++) {
        const struct plan_value *value = &plan->values[i];
        const char *name = rt_string(plan, value->name);
        uint32_t dtype = value->dtype;
        if (value->kind == PLAN_TENSOR ? rt_element_bytes(dtype) == 0
                                       : !rt_is_list(plan, value, &dtype))
            return rt_fail(GPUCC_UNSUPPORTED,
                           "'%s' is a %s: this runtime passes numeric tensors, and sequences and "
                           "optionals of them",
                           name, value->kind == PLAN_TENSOR ? "string tensor" : kinds[value->kind]);
    }
    for (uint32_t i = 0; i < p->n_steps; i++) {
        const struct plan_step *step = &p->steps[i];
        bool maps = false;
        if (step->kind == PLAN_STEP_LAUNCH)
            for (uint32_t j = 0; j < step->u.launch.n_args; j++)
                maps |= p->args[step->u.launch.first_arg + j].kind == PLAN_ARG_TENSOR_MAP;
        if (maps || step->kind == PLAN_STEP_GEMM || step->kind == PLAN_STEP_HOST_CALL)
            return rt_fail(GPUCC_UNSUPPORTED, "step %u (%s) of %s: this runtime cannot execute %s",
                           i, rt_string(plan, step->nodes), p->target->name,
                           maps ? "tensor map arguments" : rt_step_name(step->kind));
    }
    return GPUCC_OK;
}
