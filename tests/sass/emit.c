/*
 * Machine code of the kernels of a graph, with the tile that is asked for:
 *
 *     sass_emit FILE.ir TARGET FOLDER [TILE_M TILE_N PARTS]
 *
 * writes FOLDER/KERNEL.cubin and prints a line "KERNEL REGISTERS" for each.
 */
#include "../../codegen/cost.h"
#include "../../codegen/nvrtc.h"
#include "../../codegen/target.h"
#include "../../ir/text.h"
#include "../../passes/passes.h"
#include "../kernels/case.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct emission {
    struct nvrtc *nvrtc;
    struct diag *diag;
    const struct target *target;
    const char *folder;
};

static bool write_file(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    bool done = file && fwrite(data, 1, size, file) == size;
    return file && fclose(file) == 0 && done;
}

static bool emit_kernel(void *context, const struct kernel *kernel)
{
    struct emission *e = context;
    struct nvrtc_job job = {kernel->source, kernel->symbol, e->target->nvrtc_arch, false};
    struct binary binary;
    struct resources resources;
    char path[4096];
    if (!nvrtc_compile(e->nvrtc, &job, &binary, e->diag))
        return false;
    snprintf(path, sizeof path, "%s/%s.cubin", e->folder, kernel->symbol);
    bool done = binary.cubin &&
                cubin_resources(binary.cubin, binary.cubin_size, kernel->symbol, &resources) &&
                write_file(path, binary.cubin, binary.cubin_size);
    if (done)
        printf("%s %d\n", kernel->symbol, resources.registers);
    else
        fprintf(stderr, "%s: no machine code\n", path);
    binary_free(&binary);
    return done;
}

static bool emit_file(struct emission *e, struct arena *arena, const char *file)
{
    struct text text = {0};
    bool read = case_read_file(file, &text);
    struct graph *g = read ? graph_parse(arena, e->diag, file, text.data, text.length) : NULL;
    if (g)
        pass_fuse_kernels(g);
    struct program *program = g ? codegen_program(g, e->target) : NULL;
    bool done = program && program_each_launch(program, emit_kernel, e);
    text_free(&text);
    return done;
}

int main(int argc, char **argv)
{
    struct arena arena = {0};
    struct diag diag = {0};
    jmp_buf oom;
    if (argc != 4 && argc != 7) {
        fprintf(stderr, "usage: sass_emit FILE.ir TARGET FOLDER [TILE_M TILE_N PARTS]\n");
        return 2;
    }
    struct emission e = {.diag = &diag, .target = target_find(argv[2]), .folder = argv[3]};
    if (argc == 7)
        cost_mma_only = (struct mma_only){atoi(argv[4]), atoi(argv[5]), atoi(argv[6])};
    volatile bool done = false;
    arena.on_oom = &oom;
    if (e.target && setjmp(oom) == 0) {
        e.nvrtc = nvrtc_open(&diag);
        done = e.nvrtc && emit_file(&e, &arena, argv[1]);
    }
    case_print_diag(&diag);
    nvrtc_close(e.nvrtc);
    diag_free(&diag);
    arena_free(&arena);
    return done ? 0 : 1;
}
