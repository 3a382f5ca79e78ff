/* What the emulator counted, for people and as JSON. */
#include "gpurun.h"
#include "json_text.h"
#include "../emulator/gpucc_emu.h"

#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* clang-format off */
#define COUNTERS(X)                                                                                \
    X(launches) X(copies) X(fills) X(copied_bytes) X(filled_bytes) X(warp_instructions)            \
    X(divergences) X(tensor_instructions) X(global_requests) X(global_sectors) X(global_bytes)     \
    X(read_bytes) X(written_bytes) X(shared_requests) X(shared_wavefronts) X(load_conflicts)       \
    X(matrix_conflicts) X(store_conflicts) X(async_conflicts) X(main_loop_conflicts)
/* clang-format on */

static const struct {
    const char *name;
    size_t offset;
} fields[] = {
#define FIELD(name) {#name, offsetof(struct gpucc_emu_counters, name)},
    COUNTERS(FIELD)
#undef FIELD
};
enum { N_FIELDS = sizeof fields / sizeof fields[0] };
_Static_assert(sizeof(struct gpucc_emu_counters) == N_FIELDS * sizeof(uint64_t), "all counters");

struct emulator {
    int (*counters)(const char *, struct gpucc_emu_counters *);
    size_t (*mix)(const char *, char *, size_t);
    const char *(*kernel)(size_t);
};

static void print_text(const struct gpucc_emu_counters *c)
{
    printf("launches %" PRIu64 ", copies %" PRIu64 " (%" PRIu64 " bytes), fills %" PRIu64
           " (%" PRIu64 " bytes)\n"
           "instructions of warps %" PRIu64 ", of tensor cores among them %" PRIu64
           ", branches that diverged %" PRIu64 "\n"
           "global requests %" PRIu64 ", sectors %" PRIu64 ", bytes asked for %" PRIu64
           "; moved %" PRIu64 " to the launches, %" PRIu64 " from them\n"
           "shared requests %" PRIu64 ", wavefronts %" PRIu64 "\n"
           "bank conflicts: ld %" PRIu64 ", ldmatrix %" PRIu64 ", st %" PRIu64 ", cp.async %" PRIu64
           "; in main loops %" PRIu64 "\n",
           c->launches, c->copies, c->copied_bytes, c->fills, c->filled_bytes, c->warp_instructions,
           c->tensor_instructions, c->divergences, c->global_requests, c->global_sectors,
           c->global_bytes, c->read_bytes, c->written_bytes, c->shared_requests,
           c->shared_wavefronts, c->load_conflicts, c->matrix_conflicts, c->store_conflicts,
           c->async_conflicts, c->main_loop_conflicts);
}

static void json_counters(struct json *json, const struct gpucc_emu_counters *c)
{
    for (int i = 0; i < N_FIELDS; i++) {
        uint64_t value;
        memcpy(&value, (const char *)c + fields[i].offset, sizeof value);
        json_int(json, fields[i].name, (int64_t)value);
    }
}

/* "count form" lines to members. */
static void json_mix(struct json *json, const struct emulator *e, const char *kernel)
{
    size_t size = e->mix(kernel, NULL, 0);
    char *lines = malloc(size + 1);
    json_open(json, "instructions", '{');
    if (lines != NULL && e->mix(kernel, lines, size) <= size)
        for (char *line = lines, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
            char *form = NULL;
            *end = 0;
            int64_t count = (int64_t)strtoull(line, &form, 10);
            if (count > 0)
                json_int(json, form + 1, count);
        }
    json_close(json, '}');
    free(lines);
}

static bool write_json(struct session *session, const struct emulator *e,
                       const struct gpucc_emu_counters *total)
{
    const char *path = session->options->statistics_file, *kernel;
    struct json json = {0};
    json_open(&json, NULL, '{');
    json_counters(&json, total);
    json_open(&json, "kernels", '[');
    for (size_t i = 0; (kernel = e->kernel(i)) != NULL; i++) {
        struct gpucc_emu_counters c;
        if (e->counters(kernel, &c) != 0 || c.launches == 0)
            continue;
        json_open(&json, NULL, '{');
        json_string(&json, "kernel", kernel);
        json_counters(&json, &c);
        json_mix(&json, e, kernel);
        json_close(&json, '}');
    }
    json_close(&json, ']');
    json_close(&json, '}');
    FILE *file = json.text.failed ? NULL : fopen(path, "w");
    bool done = file != NULL && fputs(json.text.data, file) >= 0 && fputc('\n', file) != EOF;
    done = file != NULL && fclose(file) == 0 && done;
    if (!done)
        diag_error(session->diag, STATUS_IO, path, "%s", strerror(errno));
    text_free(&json.text);
    return done;
}

bool gpurun_statistics(struct session *session)
{
    struct emulator e;
    struct gpucc_emu_counters total;
    *(void **)&e.counters = dlsym(session->emulator, "gpucc_emu_counters");
    *(void **)&e.mix = dlsym(session->emulator, "gpucc_emu_instruction_mix");
    *(void **)&e.kernel = dlsym(session->emulator, "gpucc_emu_kernel");
    if (e.counters == NULL || e.mix == NULL || e.kernel == NULL || e.counters(NULL, &total) != 0) {
        diag_error(session->diag, STATUS_ENVIRONMENT, NULL, "the emulator does not count");
        return false;
    }
    if (session->options->statistics_file != NULL)
        return write_json(session, &e, &total);
    print_text(&total);
    return true;
}
