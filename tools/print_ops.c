#include "print_ops.h"
#include "../frontend/frontend.h"

#include <stdlib.h>
#include <string.h>

static int compare(const void *left, const void *right)
{
    const struct frontend_operator *a = left, *b = right;
    int order = strcmp(a->domain, b->domain);
    if (!order)
        order = strcmp(a->name, b->name);
    return order ? order : a->since - b->since;
}

static const char *type_names(char domain)
{
    switch (domain) {
    case 'F': return "floats";
    case 'N': return "floats, integers";
    case 'I': return "integers";
    case 'L': return "integers, bool";
    case 'B': return "bool";
    case 'A': return "any";
    default: return "-";
    }
}

/* "3", "3-7" or "3+"; most -1: any number. */
static void print_range(char text[static 32], int least, int most)
{
    if (most < 0)
        snprintf(text, 32, "%d+", least);
    else if (most == least)
        snprintf(text, 32, "%d", least);
    else
        snprintf(text, 32, "%d-%d", least, most);
}

/* The n rows of one operator as one line: opsets that follow each other are one range. */
static void print_operator(FILE *out, int n, const struct frontend_operator *rows)
{
    char opsets[128] = "", inputs[32], range[32];
    int least = rows[0].least, most = rows[0].most;
    for (int i = 0; i < n;) {
        int since = rows[i].since, until = rows[i].until;
        for (i++; i < n && until && rows[i].since <= until + 1; i++)
            until = rows[i].until;
        print_range(range, since, until ? until : -1);
        size_t used = strlen(opsets);
        snprintf(opsets + used, sizeof opsets - used, "%s%s", used ? "," : "", range);
    }
    for (int i = 1; i < n; i++) {
        least = rows[i].least < least ? rows[i].least : least;
        if (most >= 0)
            most = rows[i].most < 0 || rows[i].most > most ? rows[i].most : most;
    }
    print_range(inputs, least, most);
    fprintf(out, "%-24s  %-32s  %-8s  %-6s  %s\n", *rows->domain ? rows->domain : "ai.onnx",
            rows->name, opsets, inputs, type_names(rows->types));
}

bool print_ops(FILE *out)
{
    int n = frontend_operator_count();
    struct frontend_operator *rows = malloc((size_t)n * sizeof *rows);
    if (!rows)
        return false;
    for (int i = 0; i < n; i++)
        rows[i] = frontend_operator(i);
    qsort(rows, (size_t)n, sizeof *rows, compare);
    fprintf(out, "%-24s  %-32s  %-8s  %-6s  %s\n", "domain", "operator", "opsets", "inputs",
            "types");
    for (int i = 0, last; i < n; i = last) {
        for (last = i + 1; last < n && !strcmp(rows[last].domain, rows[i].domain) &&
                           !strcmp(rows[last].name, rows[i].name);)
            last++;
        print_operator(out, last - i, rows + i);
    }
    free(rows);
    return true;
}
