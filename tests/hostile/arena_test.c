/*
 * Every n-th piece of an arena fails: import, passes, code generation and the checks of a plan end
 * in a jump to the owner, who frees all there is. (An arena takes large blocks from the heap, so
 * that failing allocations of the heap meets few of these places.)
 *
 *     arena_test FILE.onnx…
 */
#include "../../codegen/plan_write.h"
#include "../../codegen/program.h"
#include "../../codegen/target.h"
#include "../../frontend/frontend.h"
#include "../../passes/passes.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_RUNS = 400 }; /* of a file; a larger model is sampled evenly */

static bool compile(struct arena *arena, struct diag *diag, struct model *model)
{
    const struct target *target = target_find("portable");
    const struct pass_options options = {.verify = true};
    struct graph *g = frontend_load(arena, diag, model, NULL);
    struct program *program =
        g && passes_run(g, &options) && !diag->errors ? codegen_program(g, target) : NULL;
    return program && plan_check(g, &program, 1, diag);
}

/* Compiles once; the countdown-th piece fails (0: none). *pieces: what was left of the countdown.
 */
static enum status run(const char *file, size_t countdown, size_t *left)
{
    struct diag diag = {0};
    jmp_buf out_of_memory;
    struct arena arena = {.countdown = countdown, .on_oom = &out_of_memory};
    struct model *model = model_open(&diag, file);
    if (setjmp(out_of_memory))
        diag_error(&diag, STATUS_LIMIT, file, "out of memory");
    else if (model && !compile(&arena, &diag, model) && !diag.errors)
        diag_error(&diag, STATUS_INTERNAL, file, "failed without a reason");
    *left = arena.countdown;
    enum status status = diag.status;
    arena_free(&arena);
    model_close(model);
    diag_free(&diag);
    return status;
}

/* Bytes of the heap in use; those that glibc keeps at hand (its tcache) would count, so the test
 * runs without. Sanitizers have a heap of their own, and look for leaks themselves. */
static size_t heap(void)
{
#ifdef __SANITIZE_ADDRESS__
    return 0;
#else
    return mallinfo2().uordblks;
#endif
}

static bool test(const char *file)
{
    const size_t most = (size_t)1 << 40;
    size_t left, failures = 0, runs = 0;
    enum status whole = run(file, most, &left);
    size_t pieces = most - left, step = 1 + pieces / MOST_RUNS, before = heap();
    if (whole != STATUS_OK) {
        printf("%s: status %d without a failure\n", file, (int)whole);
        return false;
    }
    for (size_t n = 1; n <= pieces; n += step, runs++) {
        enum status status = run(file, n, &left);
        size_t after = heap();
        if (status == STATUS_LIMIT && after == before)
            continue;
        printf("%s: piece %zu: status %d, %zd bytes are left\n", file, n, (int)status,
               (ssize_t)(after - before));
        failures++;
        before = after;
    }
    printf("%s: %zu pieces, %zu runs, %zu wrong\n", file, pieces, runs, failures);
    return failures == 0;
}

int main(int argc, char **argv)
{
    bool good = argc > 1;
    setvbuf(stdout, NULL, _IONBF, 0); /* a buffer would be a piece of the heap */
    for (int i = 1; i < argc; i++)
        good &= test(argv[i]);
    return good ? 0 : 1;
}
