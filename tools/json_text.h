/* Prints JSON: the caller gives the structure, this module the commas, the indent and the escapes. */
#ifndef GPUCC_TOOLS_JSON_TEXT_H
#define GPUCC_TOOLS_JSON_TEXT_H

#include "../ir/diag.h"

struct json {
    struct text text;               /* check text.failed at the end; text_free */
    int depth;
    bool filled;                    /* the open object or array has a member */
};

/* key: NULL in arrays and for the outermost value. */
void json_open(struct json *json, const char *key, char bracket);   /* '{' or '[' */
void json_close(struct json *json, char bracket);                   /* '}' or ']' */
void json_int(struct json *json, const char *key, int64_t value);
void json_real(struct json *json, const char *key, double value); /* null where it is no number */
void json_bool(struct json *json, const char *key, bool value);
void json_null(struct json *json, const char *key);
/* Bytes that are no UTF-8 become U+FFFD. */
void json_string(struct json *json, const char *key, const char *value);

#endif
