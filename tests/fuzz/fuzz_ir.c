/* A graph in text form: parsed, verified, printed, and what was printed parsed and printed again.
 */
#include "../../ir/text.h"
#include "fuzz.h"

#include <setjmp.h>

enum { ARENA_BYTES = 512 << 20 };

static void check_round_trip(struct arena *arena, struct graph *graph)
{
    struct diag diag = {0};
    struct text once = {0}, twice = {0};
    graph_print(&once, graph, 0);
    struct graph *copy = graph_parse(arena, &diag, "printed", once.data, once.length);
    if (!copy || !graph_verify(copy, "printed"))
        fuzz_broken("what is printed is accepted", diag.first ? diag.first->text : "");
    graph_print(&twice, copy, 0);
    if (once.length != twice.length || memcmp(once.data, twice.data, once.length) != 0)
        fuzz_broken("printing and parsing are inverse", twice.data);
    text_free(&once);
    text_free(&twice);
    diag_free(&diag);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct diag diag = {0};
    jmp_buf out_of_memory;
    struct arena arena = {.limit = ARENA_BYTES, .on_oom = &out_of_memory};
    volatile bool good = false;
    if (setjmp(out_of_memory)) {
        diag_error(&diag, STATUS_LIMIT, NULL, "out of memory");
    } else {
        struct graph *graph = graph_parse(&arena, &diag, "fuzz", (const char *)data, size);
        good = graph && graph_verify(graph, "model");
        if (good)
            check_round_trip(&arena, graph);
    }
    const char *why = diag.first ? diag.first->text : NULL;
    fuzz_reason(good, why);
    fuzz_result(size, good, why);
    arena_free(&arena);
    diag_free(&diag);
    return 0;
}
