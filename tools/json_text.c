#include "json_text.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* Bytes of the UTF-8 character at s, 0 if it is none. */
static int utf8_length(const unsigned char *s)
{
    static const struct {
        unsigned char mask, lead;
        uint32_t least;
    } forms[] = {{0x80, 0x00, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
    for (int extra = 0; extra < 4; extra++) {
        if ((s[0] & forms[extra].mask) != forms[extra].lead)
            continue;
        uint32_t code = s[0] & (unsigned char)~forms[extra].mask;
        for (int i = 1; i <= extra; i++) {
            if ((s[i] & 0xc0) != 0x80)
                return 0;
            code = code << 6 | (s[i] & 0x3f);
        }
        bool surrogate = code >= 0xd800 && code < 0xe000;
        return code >= forms[extra].least && code <= 0x10ffff && !surrogate ? extra + 1 : 0;
    }
    return 0;
}

static void quote(struct text *out, const char *value)
{
    const unsigned char *s = (const unsigned char *)value;
    text_append(out, "\"", 1);
    while (*s != 0) {
        int length = utf8_length(s);
        if (length == 0)
            text_printf(out, "\\ufffd");
        else if (*s == '"' || *s == '\\')
            text_printf(out, "\\%c", *s);
        else if (*s < 0x20 || *s == 0x7f)
            text_printf(out, "\\u%04x", *s);
        else
            text_append(out, (const char *)s, (size_t)length);
        s += length > 0 ? length : 1;
    }
    text_append(out, "\"", 1);
}

static void member(struct json *json, const char *key)
{
    if (json->depth > 0)
        text_printf(&json->text, "%s\n%*s", json->filled ? "," : "", 2 * json->depth, "");
    json->filled = true;
    if (key != NULL) {
        quote(&json->text, key);
        text_printf(&json->text, ": ");
    }
}

void json_open(struct json *json, const char *key, char bracket)
{
    member(json, key);
    text_append(&json->text, &bracket, 1);
    json->depth++;
    json->filled = false;
}

void json_close(struct json *json, char bracket)
{
    json->depth--;
    if (json->filled)
        text_printf(&json->text, "\n%*s", 2 * json->depth, "");
    text_append(&json->text, &bracket, 1);
    json->filled = true;
    if (json->depth == 0)
        text_printf(&json->text, "\n");
}

void json_int(struct json *json, const char *key, int64_t value)
{
    member(json, key);
    text_printf(&json->text, "%" PRId64, value);
}

void json_real(struct json *json, const char *key, double value)
{
    member(json, key);
    if (isfinite(value))
        text_printf(&json->text, "%.9g", value);
    else
        text_printf(&json->text, "null");
}

void json_bool(struct json *json, const char *key, bool value)
{
    member(json, key);
    text_printf(&json->text, "%s", value ? "true" : "false");
}

void json_null(struct json *json, const char *key)
{
    member(json, key);
    text_printf(&json->text, "null");
}

void json_string(struct json *json, const char *key, const char *value)
{
    member(json, key);
    quote(&json->text, value);
}
