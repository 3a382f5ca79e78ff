#include "emit_forms.h"
#include "../ir/text.h"

#include <stdio.h>
#include <string.h>

/* A member of a Unix archive: a header of fixed columns, then the bytes, padded to an even size.
 * The name takes the "#1/N" form (N bytes of name lead the data), since symbols are longer than 16.
 */
static void archive_member(struct text *out, const struct compiled *c)
{
    char name[80];
    size_t length = (size_t)snprintf(name, sizeof name, "%s.cubin", c->kernel->symbol);
    text_printf(out, "#1/%-13zu%-12d%-6d%-6d%-8s%-10zu`\n", length, 0, 0, 0, "644",
                length + c->binary.cubin_size);
    text_append(out, name, length);
    text_append(out, c->binary.cubin, c->binary.cubin_size);
    if (out->length % 2)
        text_append(out, "\n", 1);
}

bool emit_form(enum emit form, struct graph *g, struct program *program,
               const struct compiled_set *set, const struct nvrtc *nvrtc, struct text *out,
               struct diag *diag)
{
    if (form == EMIT_IR)
        graph_print(out, g, PRINT_ORIGINS);
    if (form == EMIT_CUBIN)
        text_printf(out, "!<arch>\n");
    for (int i = 0; form != EMIT_IR && i < set->n; i++) {
        const struct compiled *c = &set->at[i];
        const char *gap = i ? "\n" : "";
        switch (form) {
        case EMIT_CUDA:
            text_printf(out, "%s", gap);
            compiled_print_cuda(out, c, &program, 1);
            break;
        case EMIT_PTX:
            text_printf(out, "%s// %s\n%s", gap, c->kernel->symbol, c->binary.ptx);
            break;
        case EMIT_CUBIN: archive_member(out, c); break;
        case EMIT_SASS:
            text_printf(out, "%s// %s\n", gap, c->kernel->symbol);
            if (!disassemble(c->binary.cubin, c->binary.cubin_size, nvrtc, out, diag))
                return false;
            break;
        case EMIT_PLAN:
        case EMIT_IR:
        case EMIT_COUNT: break;
        }
    }
    if (out->failed)
        diag_error(diag, STATUS_LIMIT, NULL, "out of memory");
    return !out->failed;
}
