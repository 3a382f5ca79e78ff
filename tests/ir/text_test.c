/*
 * Text files against the parser, the printer and the verifier:
 *
 *   round FILE   The file parses, verifies, and prints as the very same bytes.
 *
 *   error FILE   Its first line is "; error: line:column: message" or "; error: message", and
 *                parsing or verifying reports just that first.
 *
 *   ops FILE     docs/ir.md: its first example goes round, and its tables of ops are what ops.def
 *                says; with --bless they are rewritten.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../ir/text.h"

static char *read_file(const char *path, size_t *length)
{
    FILE *file = fopen(path, "rb");
    char *data = file ? calloc(1, 1 << 20) : NULL;
    *length = data ? fread(data, 1, (1 << 20) - 1, file) : 0;
    if (file)
        fclose(file);
    if (!data)
        fprintf(stderr, "cannot read %s\n", path);
    return data;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* The text of a file printed again; an empty one after an error. */
static struct text print_again(const char *name, const char *data, size_t length, struct diag *diag)
{
    struct arena arena = {0};
    struct text out = {0};
    struct graph *g = graph_parse(&arena, diag, name, data, length);
    if (g && graph_verify(g, "model"))
        graph_print(&out, g, 0);
    arena_free(&arena);
    return out;
}

static bool round_trip(const char *path, const char *data, size_t length)
{
    struct diag diag = {0};
    struct text out = print_again(base_name(path), data, length, &diag);
    bool same = out.data && out.length == length && memcmp(out.data, data, length) == 0;
    for (const struct diag_message *m = diag.first; m; m = m->next)
        fprintf(stderr, "%s: %s\n", m->where ? m->where : "?", m->text);
    if (!same)
        fprintf(stderr, "%s prints as\n%s", path, out.data ? out.data : "nothing\n");
    text_free(&out);
    diag_free(&diag);
    return same;
}

static bool reports(const char *path, const char *data, size_t length)
{
    static const char mark[] = "; error: ";
    struct diag diag = {0};
    struct text out = print_again("", data, length, &diag), got = {0};
    size_t line = strcspn(data, "\n");
    if (diag.first) {
        const char *where = diag.first->where ? diag.first->where : "";
        text_printf(&got, "%s%s%s%s", mark, *where == ':' ? where + 1 : where, *where ? ": " : "",
                    diag.first->text);
    }
    bool same = got.length == line && memcmp(got.data, data, line) == 0;
    if (!same)
        fprintf(stderr, "%s: should be\n%.*s\nbut is\n%s\n", path, (int)line, data,
                got.data ? got.data : "no error");
    text_free(&got);
    text_free(&out);
    diag_free(&diag);
    return same;
}

/* -- docs/ir.md: its first example, and its tables -- */

static void append_escaped(struct text *out, const char *s)
{
    for (; *s; s++)
        text_printf(out, *s == '|' ? "\\|" : "%c", *s);
}

static void scalar_table(struct text *out)
{
    static const char *const results[] = {"same", "bool", "`to`"};
    text_printf(out, "| op | operands | types | result | meaning |\n|---|---|---|---|---|\n");
    for (int i = 0; i < OP_COUNT; i++) {
        const struct op_info *info = &op_info[i];
        if (info->class != OC_SCALAR)
            continue;
        text_printf(out, "| %s | %d | %c | %s | `", info->name, info->least, info->domain,
                    results[info->result]);
        append_escaped(out, info->expression);
        text_printf(out, "` |\n");
    }
}

static void tensor_table(struct text *out)
{
    static const char *const classes[] = {"scalar",   "const",     "view",   "reduce",  "row",
                                          "contract", "attention", "window", "scan",    "gather",
                                          "scatter",  "sort",      "select", "control", "list"};
    static const char *const kinds[] = {"int",  "bool", "float", "type", "axes",    "dim",
                                        "dims", "ints", "perm",  "mode", "combine", "elements"};
    text_printf(out, "| op | class | operands | results | attributes |\n|---|---|---|---|---|\n");
    for (int i = 0; i < OP_COUNT; i++) {
        const struct op_info *info = &op_info[i];
        if (info->class == OC_SCALAR)
            continue;
        text_printf(out, "| %s | %s | %d", info->name, classes[info->class], info->least);
        if (info->most < 0)
            text_printf(out, " or more");
        else if (info->most != info->least)
            text_printf(out, "–%d", info->most);
        if (info->results < 0)
            text_printf(out, " | those of its bodies | ");
        else
            text_printf(out, " | %d | ", info->results);
        for (int k = 0; k < info->n_fields; k++)
            text_printf(out, "%s%s: %s", k ? ", " : "", info->fields[k].name,
                        kinds[info->fields[k].kind]);
        text_printf(out, " |\n");
    }
}

static bool check_example(const char *path, const char *data)
{
    const char *start = strstr(data, "```\n"), *end = start ? strstr(start + 4, "```\n") : NULL;
    return end && round_trip(path, start + 4, (size_t)(end - start) - 4);
}

static bool check_docs(const char *path, const char *data, bool bless)
{
    struct text out = {0};
    const char *at = data;
    for (int i = 0; i < 2; i++) {
        const char *mark = i ? "<!-- tensor ops -->\n" : "<!-- scalar ops -->\n";
        const char *start = strstr(at, mark), *end = start ? strstr(start, "<!-- end -->") : NULL;
        if (!end) {
            fprintf(stderr, "%s has no place for a table: %s", path, mark);
            text_free(&out);
            return false;
        }
        text_append(&out, at, (size_t)(start - at) + strlen(mark));
        (i ? tensor_table : scalar_table)(&out);
        at = end;
    }
    text_printf(&out, "%s", at);
    bool same = strcmp(out.data, data) == 0;
    if (!same && bless) {
        FILE *file = fopen(path, "wb");
        same = file && fwrite(out.data, 1, out.length, file) == out.length;
        same = file && fclose(file) == 0 && same;
    } else if (!same) {
        fprintf(stderr, "the tables of %s are not those of ir/ops.def: run with --bless\n", path);
    }
    text_free(&out);
    return same;
}

int main(int argc, char **argv)
{
    size_t length;
    char *data = argc >= 3 ? read_file(argv[2], &length) : NULL;
    bool ok = false;
    if (!data)
        fprintf(stderr, "usage: ir_text_test round|error|ops FILE [--bless]\n");
    else if (strcmp(argv[1], "round") == 0)
        ok = round_trip(argv[2], data, length);
    else if (strcmp(argv[1], "error") == 0)
        ok = reports(argv[2], data, length);
    else if (strcmp(argv[1], "ops") == 0)
        ok = check_example(argv[2], data) &&
             check_docs(argv[2], data, argc > 3 && strcmp(argv[3], "--bless") == 0);
    free(data);
    return ok ? 0 : 1;
}
