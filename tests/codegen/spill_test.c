/*
 * No kernel keeps registers in memory: a spill in a loop costs more than any choice of tiles gains.
 *
 *     spill_test FILE.ir…
 */
#include "../../codegen/compile.h"
#include "../../codegen/target.h"
#include "../../ir/text.h"
#include "../../passes/passes.h"

#include <stdio.h>
#include <stdlib.h>

static bool read_file(const char *path, struct text *out)
{
    char part[4096];
    size_t n;
    FILE *f = fopen(path, "rb");
    if (!f)
        return false;
    while ((n = fread(part, 1, sizeof part, f)) > 0)
        text_append(out, part, n);
    return fclose(f) == 0 && !out->failed;
}

/* Kernels of the set that have a stack frame. */
static int count_spills(const struct compiled_set *set, const char *file)
{
    int spills = 0;
    for (int i = 0; i < set->n; i++) {
        const struct compiled *c = &set->at[i];
        struct resources r;
        if (!cubin_resources(c->binary.cubin, c->binary.cubin_size, c->kernel->symbol, &r)) {
            printf("%s: the cubin of %s cannot be read\n", file, c->kernel->symbol);
            spills++;
        } else if (r.local_bytes > 0) {
            printf("%s, %s: %s has %d bytes of stack beside %d registers\n", file, c->target->name,
                   c->kernel->symbol, r.local_bytes, r.registers);
            spills++;
        }
    }
    return spills;
}

/* Faults found in the kernels of one graph, for all targets. */
static int check_file(struct nvrtc *nvrtc, const struct target_list *targets, const char *file)
{
    struct diag diag = {0};
    jmp_buf oom;
    struct arena arena = {.on_oom = &oom};
    struct text text = {0};
    volatile int faults = 1; /* survives the jump */
    if (setjmp(oom) == 0 && read_file(file, &text)) {
        struct graph *g = graph_parse(&arena, &diag, file, text.data, text.length);
        struct program *programs[MAX_TARGETS];
        bool ok = g && passes_run(g, &(struct pass_options){0});
        for (int i = 0; ok && i < targets->n; i++)
            ok = (programs[i] = codegen_program(g, targets->at[i])) != NULL;
        struct compiled_set set = {0};
        if (ok && compiled_collect(&set, programs, targets->n, &diag) &&
            compile_all(nvrtc, &set, &(struct compile_options){0}, &diag))
            faults = count_spills(&set, file);
        compiled_free(&set);
    }
    for (const struct diag_message *m = diag.first; m; m = m->next)
        printf("%s: %s\n", m->where ? m->where : file, m->text);
    text_free(&text);
    arena_free(&arena);
    diag_free(&diag);
    return faults;
}

int main(int argc, char **argv)
{
    struct diag diag = {0};
    struct target_list targets;
    struct nvrtc *nvrtc = nvrtc_open(&diag);
    int faults = 0;
    if (!nvrtc || !target_list_parse(&diag, "sm_80,sm_90a", &targets)) {
        fprintf(stderr, "%s\n", diag.first ? diag.first->text : "cannot begin");
        return 1;
    }
    for (int i = 1; i < argc; i++)
        faults += check_file(nvrtc, &targets, argv[i]);
    nvrtc_close(nvrtc);
    diag_free(&diag);
    printf("%d faults in %d graphs\n", faults, argc - 1);
    return faults ? 1 : 0;
}
