#include "diag.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *format_text(const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    char *text = length < 0 ? NULL : malloc((size_t)length + 1);
    if (text)
        vsnprintf(text, (size_t)length + 1, format, args);
    return text;
}

void disarm(char *text, const char *kept)
{
    for (; text && *text; text++)
        if (((unsigned char)*text < 0x20 || *text == 0x7f) && !strchr(kept, *text))
            *text = '?';
}

static void message_free(struct diag_message *m)
{
    if (!m)
        return;
    free((char *)m->where);
    free((char *)m->text);
    free(m);
}

static void report(struct diag *diag, enum status status, const char *where, const char *format,
                   va_list args)
{
    if (status == STATUS_OK)
        diag->warnings++;
    else
        diag->errors++;
    struct diag_message *m = calloc(1, sizeof *m);
    if (m) {
        m->status = status;
        char *text = format_text(format, args), *place = where ? strdup(where) : NULL;
        disarm(text, "\n\t"); /* logs of compilers have lines */
        disarm(place, "");
        m->text = text;
        m->where = place;
    }
    if (!m || !m->text || (where && !m->where)) {
        message_free(m);
        diag->status = STATUS_LIMIT;
        return;
    }
    if (diag->last)
        diag->last->next = m;
    else
        diag->first = m;
    diag->last = m;
    if (diag->status == STATUS_OK)
        diag->status = status;
}

void diag_error(struct diag *diag, enum status status, const char *where, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    report(diag, status, where, format, args);
    va_end(args);
}

void diag_warning(struct diag *diag, const char *where, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    report(diag, STATUS_OK, where, format, args);
    va_end(args);
}

enum status status_of_errno(int error)
{
    return error == ENOMEM ? STATUS_LIMIT : STATUS_IO;
}

void diag_free(struct diag *diag)
{
    for (struct diag_message *m = diag->first, *next; m; m = next) {
        next = m->next;
        message_free(m);
    }
    *diag = (struct diag){0};
}
