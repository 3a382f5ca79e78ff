/*
 * Sections are built in memory, but for the weights: those are streamed behind them, and then the
 * head of the file, which holds their hashes, is put in its place.
 */
#include "plan_layout.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CODE_ALIGN = 16, SECTION_ALIGN = 8, PTX_ISA_UNKNOWN = 0, CUBIN_ABI_AT = 8 };

enum whose { PLAN, PROGRAM };

static const struct {
    enum plan_section_kind kind;
    enum whose whose;
    uint32_t record_bytes;
} section_table[] = {
#define X(name, code, record, whose) {PLAN_##name, whose, sizeof(record)},
    PLAN_SECTIONS(X)
#undef X
};

enum { N_SECTIONS = sizeof section_table / sizeof section_table[0] };

/* ---- strings ------------------------------------------------------------------------------- */

static void grow_strings(struct plan_builder *b)
{
    struct plan_strings *s = &b->strings;
    const char *texts = b->shared[PLAN_STRINGS].data;
    uint32_t capacity = s->cap ? 2 * s->cap : 256;
    uint32_t *slot = ARENA_ARRAY(b->g->arena, capacity, uint32_t);
    for (uint32_t i = 0; i < s->cap; i++) {
        if (!s->slot[i])
            continue;
        const char *text = texts + s->slot[i];
        uint32_t at = (uint32_t)XXH3_64bits(text, strlen(text)) & (capacity - 1);
        while (slot[at])
            at = (at + 1) & (capacity - 1);
        slot[at] = s->slot[i];
    }
    s->slot = slot;
    s->cap = capacity;
}

uint32_t plan_string(struct plan_builder *b, const char *text)
{
    struct plan_strings *s = &b->strings;
    struct text *section = &b->shared[PLAN_STRINGS];
    if (!section->length)
        text_append(section, "", 1);
    if (!text || !*text || section->failed)
        return 0;
    if (2 * (s->n + 1) > s->cap)
        grow_strings(b);
    size_t length = strlen(text);
    uint32_t at = (uint32_t)XXH3_64bits(text, length) & (s->cap - 1);
    for (; s->slot[at]; at = (at + 1) & (s->cap - 1))
        if (!strcmp(section->data + s->slot[at], text))
            return s->slot[at];
    uint32_t offset = (uint32_t)section->length;
    text_append(section, text, length + 1);
    if (section->failed)
        return 0;
    s->slot[at] = offset;
    s->n++;
    return offset;
}

/* ---- what all programs share --------------------------------------------------------------- */

/* A list, whose elements are described behind the inputs and outputs. */
static void add_list(struct plan_builder *b, enum dtype type, const char *name)
{
    enum dtype kind = dtype_list_kind(type);
    struct plan_value record = {.name = plan_string(b, name),
                                .kind = kind == DT_SEQUENCE ? PLAN_SEQUENCE : PLAN_OPTIONAL,
                                .element = b->n_values,
                                .alias = PLAN_NONE};
    PLAN_PUSH(&b->shared[PLAN_VALUES], &record);
    b->n_values += kind == DT_OPTIONAL_SEQUENCE ? 2 : 1;
}

/* What the elements of a list are; nothing says of which shape. */
static void add_elements(struct plan_builder *b, enum dtype type)
{
    uint32_t next = (uint32_t)(b->shared[PLAN_VALUES].length / sizeof(struct plan_value)) + 1;
    struct plan_value sequence = {.kind = PLAN_SEQUENCE, .element = next, .alias = PLAN_NONE};
    struct plan_value tensor = {.kind = PLAN_TENSOR,
                                .dtype = (uint8_t)dtype_element(type),
                                .element = PLAN_NONE,
                                .alias = PLAN_NONE};
    if (!dtype_is_list(type))
        return;
    if (dtype_list_kind(type) == DT_OPTIONAL_SEQUENCE)
        PLAN_PUSH(&b->shared[PLAN_VALUES], &sequence);
    PLAN_PUSH(&b->shared[PLAN_VALUES], &tensor);
}

static void add_value(struct plan_builder *b, const struct value *v, const char *name, int alias)
{
    if (dtype_is_list(v->type)) {
        add_list(b, v->type, name);
        return;
    }
    struct text *dims = &b->shared[PLAN_DIMS];
    struct plan_value record = {.name = plan_string(b, name),
                                .kind = PLAN_TENSOR,
                                .dtype = (uint8_t)v->type,
                                .rank = (uint8_t)v->rank,
                                .first_dim = (uint32_t)(dims->length / sizeof(struct plan_dim)),
                                .element = PLAN_NONE,
                                .alias = alias < 0 ? PLAN_NONE : (uint32_t)alias};
    PLAN_PUSH(&b->shared[PLAN_VALUES], &record);
    for (int i = 0; i < v->rank; i++) {
        const struct dim *d = v->shape[i];
        struct plan_dim dim = {.value = -1, .symbol = PLAN_NONE};
        if (!dim_is_const(d, &dim.value)) {
            struct text text = {.arena = b->g->arena};
            dim_print(&text, b->g->dims, d);
            dim.text = plan_string(b, text.data);
            if (d->kind == DIM_SYMBOL)
                dim.symbol = (uint32_t)d->symbol;
        }
        PLAN_PUSH(dims, &dim);
    }
}

static void add_shared(struct plan_builder *b)
{
    struct graph *g = b->g;
    b->n_values = (uint32_t)(g->n_inputs + g->n_outputs);
    plan_string(b, "");
    for (int i = 0; i < g->n_inputs; i++)
        add_value(b, g->inputs[i], g->inputs[i]->name, -1);
    for (int i = 0; i < g->n_outputs; i++)
        add_value(b, g->outputs[i], g->output_names[i], g->output_alias[i]);
    for (int i = 0; i < g->n_inputs; i++)
        add_elements(b, g->inputs[i]->type);
    for (int i = 0; i < g->n_outputs; i++)
        add_elements(b, g->outputs[i]->type);
    for (int i = 0; i < dim_symbol_count(g->dims); i++) {
        struct plan_symbol record = {.name = plan_string(b, dim_symbol_name(g->dims, i))};
        dim_bounds(dim_symbol_at(g->dims, i), &record.lower, &record.upper);
        PLAN_PUSH(&b->shared[PLAN_SYMBOLS], &record);
    }
}

static void pad_to(struct text *section, size_t alignment)
{
    static const char zeros[CODE_ALIGN];
    text_append(section, zeros, (alignment - section->length % alignment) % alignment);
}

static void add_code(struct plan_builder *b)
{
    const struct compiled_set *set = b->compiled;
    struct text *code = &b->shared[PLAN_CODE];
    b->cubin_at = ARENA_ARRAY(b->g->arena, (size_t)set->n + 1, uint64_t);
    b->ptx_at = ARENA_ARRAY(b->g->arena, (size_t)set->n + 1, uint64_t);
    for (int i = 0; i < set->n; i++) {
        const struct binary *binary = &set->at[i].binary;
        pad_to(code, CODE_ALIGN);
        b->cubin_at[i] = code->length;
        if (binary->cubin)
            text_append(code, binary->cubin, binary->cubin_size);
        pad_to(code, CODE_ALIGN);
        b->ptx_at[i] = code->length;
        text_append(code, binary->ptx, binary->ptx_size + 1);
    }
}

/* ---- header and targets -------------------------------------------------------------------- */

/* ".version 9.0" → 90. */
static uint32_t ptx_isa(const char *ptx)
{
    const char *at = strstr(ptx, "\n.version ");
    int major, minor;
    if (!at && !strncmp(ptx, ".version ", 9))
        at = ptx - 1;
    return at && sscanf(at + 10, "%d.%d", &major, &minor) == 2 ? (uint32_t)(major * 10 + minor)
                                                               : PTX_ISA_UNKNOWN;
}

/*
 * A cubin runs on every driver of its CUDA major version (minor version compatibility); PTX needs a
 * driver whose compiler knows its ISA. Neither runs before the driver that first knew the SM.
 */
static uint32_t least_driver(const struct plan_builder *b, const struct target *target)
{
    int major, minor;
    nvrtc_version(b->nvrtc, &major, &minor);
    uint32_t needed = (uint32_t)(1000 * major + (target->portable ? 10 * minor : 0));
    return needed > (uint32_t)target->driver ? needed : (uint32_t)target->driver;
}

static struct plan_target describe_target(const struct plan_builder *b, const struct target *target)
{
    struct plan_target record = {.sm = (uint32_t)target->sm,
                                 .flags = (target->portable ? PLAN_TARGET_PORTABLE : 0) |
                                          (target_is_exact(target) ? PLAN_TARGET_EXACT : 0),
                                 .min_driver = least_driver(b, target)};
    snprintf(record.name, sizeof record.name, "%s", target->name);
    for (int i = 0; i < b->compiled->n && !record.ptx_isa; i++)
        if (b->compiled->at[i].target == target)
            record.ptx_isa = ptx_isa(b->compiled->at[i].binary.ptx);
    return record;
}

static struct plan_header describe_plan(const struct plan_builder *b, uint32_t n_sections)
{
    int major, minor;
    nvrtc_version(b->nvrtc, &major, &minor);
    struct plan_header header = {.version = PLAN_VERSION,
                                 .n_targets = (uint32_t)b->n_programs,
                                 .n_sections = n_sections,
                                 .n_inputs = (uint32_t)b->g->n_inputs,
                                 .n_outputs = (uint32_t)b->g->n_outputs,
                                 .nvrtc_version = (uint32_t)(1000 * major + 10 * minor)};
    memcpy(header.magic, PLAN_MAGIC, sizeof header.magic);
    snprintf(header.gpucc_version, sizeof header.gpucc_version, "%s", GPUCC_VERSION);
    const char *build = strchr(nvrtc_build_id(b->nvrtc), ' ');
    snprintf(header.nvrtc_build, sizeof header.nvrtc_build, "%.31s", build ? build + 1 : "");
    for (int i = 0; i < b->compiled->n && !header.cubin_abi; i++) {
        const struct binary *binary = &b->compiled->at[i].binary;
        if (binary->cubin_size > CUBIN_ABI_AT)
            header.cubin_abi = ((const unsigned char *)binary->cubin)[CUBIN_ABI_AT];
    }
    return header;
}

/* ---- the file ------------------------------------------------------------------------------ */

struct piece {
    struct plan_section record;
    const struct text *bytes;
};

static uint64_t align_up(uint64_t offset, uint64_t alignment)
{
    return (offset + alignment - 1) / alignment * alignment;
}

/* Sections in the order of the format: PLAN ones once, runs of PROGRAM ones program by program. */
static uint32_t list_sections(struct plan_builder *b, struct piece *pieces)
{
    uint32_t n = 0;
    for (int first = 0, last; first < N_SECTIONS; first = last) {
        enum whose whose = section_table[first].whose;
        for (last = first; last < N_SECTIONS && section_table[last].whose == whose; last++)
            ;
        for (int p = 0; p < (whose == PROGRAM ? b->n_programs : 1); p++)
            for (int i = first; i < last; i++) {
                enum plan_section_kind kind = section_table[i].kind;
                uint32_t alignment = kind == PLAN_WEIGHT_DATA ? PLAN_WEIGHT_ALIGN
                                     : kind == PLAN_CODE      ? CODE_ALIGN
                                                              : SECTION_ALIGN;
                pieces[n++] =
                    (struct piece){.record = {.kind = kind,
                                              .program = whose == PROGRAM ? (uint32_t)p : PLAN_NONE,
                                              .alignment = alignment,
                                              .record_bytes = section_table[i].record_bytes},
                                   .bytes = whose == PROGRAM ? &b->own[p][kind] : &b->shared[kind]};
            }
    }
    return n;
}

/* Offsets of all sections; the last one's bytes are not known yet. */
static void place_sections(struct piece *pieces, uint32_t n, uint64_t header_bytes)
{
    uint64_t offset = header_bytes;
    for (uint32_t i = 0; i < n; i++) {
        struct plan_section *s = &pieces[i].record;
        offset = s->offset = align_up(offset, s->alignment);
        offset += s->bytes = pieces[i].bytes->length;
        s->hash = XXH3_64bits(pieces[i].bytes->data, pieces[i].bytes->length);
    }
}

/* Everything before the weights, as one block. Heap. */
static char *make_head(struct plan_builder *b, const struct piece *pieces, uint32_t n,
                       uint64_t header_bytes)
{
    const struct plan_section *weights = &pieces[n - 1].record;
    char *head = calloc(1, weights->offset);
    if (!head)
        return NULL;
    struct plan_header header = describe_plan(b, n);
    header.header_bytes = (uint32_t)header_bytes;
    header.file_bytes = weights->offset + weights->bytes;
    char *at = head + sizeof header;
    for (int i = 0; i < b->n_programs; i++, at += sizeof(struct plan_target)) {
        struct plan_target target = describe_target(b, b->programs[i]->target);
        memcpy(at, &target, sizeof target);
    }
    for (uint32_t i = 0; i < n; i++, at += sizeof(struct plan_section)) {
        memcpy(at, &pieces[i].record, sizeof pieces[i].record);
        if (pieces[i].bytes->length)
            memcpy(head + pieces[i].record.offset, pieces[i].bytes->data, pieces[i].bytes->length);
    }
    memcpy(head, &header, sizeof header);
    header.header_hash = XXH3_64bits(head, header_bytes);
    memcpy(head, &header, sizeof header);
    return head;
}

static bool write_file(struct plan_builder *b, struct atomic_file *file, struct piece *pieces,
                       uint32_t n, uint64_t header_bytes, const char *path)
{
    struct plan_section *weights = &pieces[n - 1].record;
    XXH3_state_t hash;
    XXH3_INITSTATE(&hash);
    XXH3_64bits_reset(&hash);
    struct plan_stream stream = {.file = file, .hash = &hash};
    bool seekable = lseek(file->fd, (off_t)weights->offset, SEEK_SET) >= 0;
    if (seekable && !plan_stream_weights(b, &stream, path))
        return false;
    weights->bytes = stream.offset;
    weights->hash = XXH3_64bits_digest(&hash);
    for (uint32_t i = 0; i < n; i++)
        if (pieces[i].record.kind == PLAN_WEIGHTS) {
            memcpy(b->shared[PLAN_WEIGHTS].data, b->weights.records, pieces[i].record.bytes);
            pieces[i].record.hash =
                XXH3_64bits(b->shared[PLAN_WEIGHTS].data, pieces[i].record.bytes);
        }
    char *head = seekable ? make_head(b, pieces, n, header_bytes) : NULL;
    bool good =
        head && lseek(file->fd, 0, SEEK_SET) == 0 && atomic_file_write(file, head, weights->offset);
    if (!good)
        diag_error(b->diag, status_of_errno(errno), path, "%s", strerror(errno));
    free(head);
    return good;
}

static bool failed(const struct plan_builder *b)
{
    bool any = false;
    for (int kind = 0; kind < PLAN_SECTION_COUNT; kind++) {
        any |= b->shared[kind].failed || b->shared[kind].length > UINT32_MAX;
        for (int p = 0; p < b->n_programs; p++)
            any |= b->own[p][kind].failed || b->own[p][kind].length > UINT32_MAX;
    }
    if (any)
        diag_error(b->diag, STATUS_LIMIT, NULL, "out of memory, or a section beyond 4 GiB");
    return any;
}

static bool build_and_write(struct plan_builder *b, const char *path)
{
    add_shared(b);
    add_code(b);
    for (int i = 0; i < b->n_programs; i++)
        if (!plan_add_program(b, i))
            return false;
    plan_describe_weights(b);
    text_append(&b->shared[PLAN_WEIGHTS], (const char *)b->weights.records,
                b->weights.n * sizeof *b->weights.records);
    if (failed(b))
        return false;
    struct piece *pieces =
        ARENA_ARRAY(b->g->arena, (size_t)N_SECTIONS * (size_t)b->n_programs, struct piece);
    uint32_t n = list_sections(b, pieces);
    uint64_t header_bytes = sizeof(struct plan_header) +
                            (uint64_t)b->n_programs * sizeof(struct plan_target) +
                            n * sizeof(struct plan_section);
    place_sections(pieces, n, header_bytes);

    struct atomic_file file;
    bool good = atomic_file_open(&file, path);
    if (good && !write_file(b, &file, pieces, n, header_bytes, path)) {
        atomic_file_abort(&file);
        return false;
    }
    good = good && atomic_file_commit(&file);
    if (!good)
        diag_error(b->diag, status_of_errno(errno), path, "%s", strerror(errno));
    return good;
}

static void sections_in_arena(struct plan_builder *b)
{
    for (int kind = 0; kind < PLAN_SECTION_COUNT; kind++) {
        b->shared[kind].arena = b->g->arena;
        for (int i = 0; i < b->n_programs; i++)
            b->own[i][kind].arena = b->g->arena;
    }
}

bool plan_write(const char *path, struct graph *g, struct program *const *programs, int n_programs,
                const struct compiled_set *compiled, const struct nvrtc *nvrtc, struct diag *diag)
{
    struct plan_builder *b = ARENA_NEW(g->arena, struct plan_builder);
    *b = (struct plan_builder){.g = g,
                               .diag = diag,
                               .compiled = compiled,
                               .nvrtc = nvrtc,
                               .n_programs = n_programs,
                               .programs = programs};
    sections_in_arena(b);
    return build_and_write(b, path);
}

struct plan_builder *plan_lay_out(struct graph *g, struct program *const *programs, int n_programs,
                                  struct diag *diag)
{
    struct plan_builder *b = ARENA_NEW(g->arena, struct plan_builder);
    *b =
        (struct plan_builder){.g = g, .diag = diag, .n_programs = n_programs, .programs = programs};
    b->kept = ARENA_ARRAY(g->arena, (size_t)n_programs, struct plan_layout);
    bool good = true;
    sections_in_arena(b);
    add_shared(b);
    for (int i = 0; i < n_programs && good; i++)
        good = plan_add_program(b, i);
    return good && !failed(b) ? b : NULL;
}

bool plan_check(struct graph *g, struct program *const *programs, int n_programs, struct diag *diag)
{
    return plan_lay_out(g, programs, n_programs, diag) != NULL;
}
