/* struct text: the growing buffer that everything printed goes through. */
#include "diag.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Room for `more` characters and a NUL. */
static bool reserve(struct text *text, size_t more)
{
    size_t need;
    if (text->failed || __builtin_add_overflow(text->length, more, &need) || need > SIZE_MAX / 2) {
        text->failed = true;
        return false;
    }
    need++;
    if (need <= text->capacity)
        return true;
    size_t capacity = text->capacity < 256 ? 256 : text->capacity;
    while (capacity < need)
        capacity *= 2;
    char *data = text->arena ? arena_alloc(text->arena, capacity) : realloc(text->data, capacity);
    if (!data) {
        text->failed = true;
        return false;
    }
    if (text->arena && text->length)
        memcpy(data, text->data, text->length + 1);
    text->data = data;
    text->capacity = capacity;
    return true;
}

void text_append(struct text *text, const char *data, size_t length)
{
    if (!reserve(text, length))
        return;
    if (length)
        memcpy(text->data + text->length, data, length);
    text->length += length;
    text->data[text->length] = '\0';
}

void text_vprintf(struct text *text, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (length < 0) {
        text->failed = true;
        return;
    }
    if (!reserve(text, (size_t)length))
        return;
    vsnprintf(text->data + text->length, (size_t)length + 1, format, args);
    text->length += (size_t)length;
}

void text_printf(struct text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    text_vprintf(text, format, args);
    va_end(args);
}

void text_add_name(struct text *text, int i, const char *name)
{
    enum { MOST_NAMES = 8 };
    if (i < MOST_NAMES)
        text_printf(text, "%s'%s'", i > 0 ? ", " : "", name);
    else if (i == MOST_NAMES)
        text_printf(text, ", …");
}

void text_free(struct text *text)
{
    if (!text->arena)
        free(text->data);
    *text = (struct text){.arena = text->arena};
}
