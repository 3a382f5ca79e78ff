#include "depfile.h"
#include "../codegen/atomic_file.h"

#include <errno.h>
#include <string.h>

/* As make reads names: a backslash before spaces and '#', two dollars for one. */
static void print_name(struct text *out, const char *name)
{
    for (const char *c = name; *c; c++)
        text_printf(out, "%s%c",
                    *c == ' ' || *c == '\t' || *c == '#' ? "\\"
                    : *c == '$'                          ? "$"
                                                         : "",
                    *c);
}

bool depfile_write(const char *output, int n, const char *const *files, struct diag *diag)
{
    struct text text = {0}, path = {0};
    print_name(&text, output);
    text_printf(&text, ":");
    for (int i = 0; i < n; i++) {
        text_printf(&text, " \\\n  ");
        print_name(&text, files[i]);
    }
    text_printf(&text, "\n");
    for (int i = 0; i < n; i++) {
        text_printf(&text, "\n");
        print_name(&text, files[i]);
        text_printf(&text, ":\n");
    }
    text_printf(&path, "%s.d", output);
    bool good = !text.failed && !path.failed && atomic_file_put(path.data, text.data, text.length);
    if (!good)
        diag_error(diag, STATUS_IO, path.failed ? output : path.data, "%s", strerror(errno));
    text_free(&text);
    text_free(&path);
    return good;
}
