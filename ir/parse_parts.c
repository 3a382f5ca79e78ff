/* Parts of the text form: tokens, types, attributes. */
#include "parse.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool parse_fail(struct parser *ps, const char *format, ...)
{
    char message[512], where[512];
    va_list args;
    if (ps->failed)
        return false;
    ps->failed = true;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    snprintf(where, sizeof where, "%s:%d:%d", ps->file, ps->line,
             (int)(ps->p - ps->line_start) + 1);
    diag_error(ps->g->diag, STATUS_BAD_MODEL, where, "%s", message);
    return false;
}

/* --- Tokens ---------------------------------------------------------------------------------- */

void parse_blanks(struct parser *ps)
{
    while (*ps->p == ' ' || *ps->p == '\t' || *ps->p == '\r')
        ps->p++;
    if (*ps->p == ';' || *ps->p == '#')
        ps->p += strcspn(ps->p, "\n");
}

bool parse_accept(struct parser *ps, const char *token)
{
    parse_blanks(ps);
    size_t n = strlen(token);
    if (strncmp(ps->p, token, n) != 0)
        return false;
    if (isalpha((unsigned char)token[0]) && (isalnum((unsigned char)ps->p[n]) || ps->p[n] == '_'))
        return false;
    ps->p += n;
    return true;
}

bool parse_expect(struct parser *ps, const char *token)
{
    return !ps->failed && (parse_accept(ps, token) || parse_fail(ps, "expected '%s'", token));
}

/* Letters, digits and underscores; empty on an error. */
const char *parse_word(struct parser *ps, size_t *length)
{
    parse_blanks(ps);
    const char *start = ps->p;
    while (isalnum((unsigned char)*ps->p) || *ps->p == '_')
        ps->p++;
    *length = (size_t)(ps->p - start);
    if (*length == 0)
        parse_fail(ps, "expected a name");
    return start;
}

bool parse_int(struct parser *ps, int64_t *value)
{
    char *end;
    parse_blanks(ps);
    errno = 0;
    *value = strtoll(ps->p, &end, 10);
    if (end == ps->p || errno)
        return parse_fail(ps, "expected an integer");
    ps->p = end;
    return true;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

const char *parse_quoted(struct parser *ps)
{
    struct text out = {.arena = ps->g->arena};
    if (!parse_expect(ps, "\""))
        return "";
    while (*ps->p && *ps->p != '"' && *ps->p != '\n') {
        char c = *ps->p++;
        if (c == '\\' && *ps->p == 'x' && hex_digit(ps->p[1]) >= 0 && hex_digit(ps->p[2]) >= 0) {
            c = (char)(hex_digit(ps->p[1]) * 16 + hex_digit(ps->p[2]));
            ps->p += 3;
        } else if (c == '\\' && *ps->p) {
            c = *ps->p++;
        }
        text_append(&out, &c, 1);
    }
    parse_expect(ps, "\"");
    return out.data ? out.data : "";
}

/* --- Types and attributes -------------------------------------------------------------------- */

const struct dim *parse_dim(struct parser *ps)
{
    parse_blanks(ps);
    int declared = dim_symbol_count(ps->g->dims);
    const struct dim *d = ps->failed ? NULL : dim_parse(ps->g->dims, &ps->p);
    if (!d)
        parse_fail(ps, "expected a dim");
    else if (dim_symbol_count(ps->g->dims) > declared)
        parse_fail(ps, "symbol %s needs a symbol line above",
                   dim_symbol_name(ps->g->dims, declared));
    return d;
}

struct dims parse_dims(struct parser *ps)
{
    struct dims dims = {0};
    const struct dim **d = ARENA_ARRAY(ps->g->arena, MAX_RANK, const struct dim *);
    dims.d = d;
    if (!parse_expect(ps, "[") || parse_accept(ps, "]"))
        return dims;
    do {
        if (dims.n == MAX_RANK) {
            parse_fail(ps, "more than %d dims", MAX_RANK);
            return dims;
        }
        d[dims.n] = parse_dim(ps);
        if (!d[dims.n])
            return dims;
        dims.n++;
    } while (parse_accept(ps, ","));
    parse_expect(ps, "]");
    return dims;
}

static struct ints parse_ints(struct parser *ps)
{
    struct ints ints = {0};
    if (!parse_expect(ps, "[") || parse_accept(ps, "]"))
        return ints;
    do {
        if (ints.n == MAX_RANK) {
            parse_fail(ps, "more than %d integers", MAX_RANK);
            return ints;
        }
        if (!parse_int(ps, &ints.v[ints.n]))
            return ints;
        ints.n++;
    } while (parse_accept(ps, ","));
    parse_expect(ps, "]");
    return ints;
}

enum dtype parse_dtype(struct parser *ps)
{
    size_t length;
    const char *name = parse_word(ps, &length);
    enum dtype type = dtype_parse(name, length);
    if (type == DT_NONE)
        parse_fail(ps, "'%.*s' is no element type", (int)length, name);
    return type;
}

static struct perm parse_perm(struct parser *ps)
{
    struct ints ints = parse_ints(ps);
    struct perm perm = {.n = ints.n};
    for (int i = 0; i < ints.n; i++) {
        if (ints.v[i] < 0 || ints.v[i] >= MAX_RANK)
            parse_fail(ps, "axis %" PRId64 " is out of range", ints.v[i]);
        else
            perm.axis[i] = (int8_t)ints.v[i];
    }
    return perm;
}

static uint32_t parse_axes(struct parser *ps)
{
    struct perm perm = parse_perm(ps);
    uint32_t axes = 0;
    for (int i = 0; i < perm.n; i++)
        axes |= 1u << perm.axis[i];
    return axes;
}

int parse_choice(struct parser *ps, const char *const *names, int n)
{
    size_t length;
    const char *name = parse_word(ps, &length);
    for (int i = 0; i < n; i++)
        if (strlen(names[i]) == length && memcmp(names[i], name, length) == 0)
            return i;
    parse_fail(ps, "'%.*s' is not known here", (int)length, name);
    return 0;
}

static bool fits(enum dtype type, uint64_t bits, bool negative)
{
    bool is_signed = dtype_info[type].cls == DC_S;
    int magnitude_bits = dtype_info[type].bits - is_signed;
    uint64_t most = magnitude_bits == 64 ? UINT64_MAX : ((uint64_t)1 << magnitude_bits) - 1;
    if (negative)
        return is_signed ? ~bits <= most : bits == 0;
    return bits <= most;
}

/* One literal element, written at out in the type's buffer representation. */
static bool parse_element(struct parser *ps, enum dtype type, unsigned char *out)
{
    char *end;
    size_t size = dtype_size(type);
    uint64_t bits = 0;
    parse_blanks(ps);
    errno = 0;
    if (strncmp(ps->p, "0x", 2) == 0) {
        ps->p += 2;
        for (size_t i = 2 * size; i > 0; i--, ps->p++) {
            int digit = hex_digit(*ps->p);
            if (digit < 0)
                return parse_fail(ps, "expected %zu hexadecimal digits", 2 * size);
            out[(i - 1) / 2] = (unsigned char)(out[(i - 1) / 2] << 4 | digit);
        }
        return true;
    }
    if (type == DT_F32 || type == DT_F64) {
        double d = strtod(ps->p, &end);
        float f = strtof(ps->p, NULL);
        if (end == ps->p)
            return parse_fail(ps, "expected a number");
        memcpy(out, type == DT_F32 ? (void *)&f : (void *)&d, size);
        ps->p = end;
        return true;
    }
    if (type == DT_BOOL &&
        (parse_accept(ps, "true") || (parse_accept(ps, "false") && (bits = 2)))) {
        out[0] = bits == 0;
        return true;
    }
    if (!dtype_is_int(type))
        return parse_fail(ps, "a literal of type %s is written as its bits, 0x…",
                          dtype_info[type].text);
    bool negative = *ps->p == '-';
    bits = negative ? (uint64_t)strtoll(ps->p, &end, 10) : strtoull(ps->p, &end, 10);
    if (end == ps->p || errno)
        return parse_fail(ps, "expected an integer");
    if (!fits(type, bits, negative))
        return parse_fail(ps, "the number does not fit in %s", dtype_info[type].text);
    ps->p = end;
    memcpy(out, &bits, size);
    return true;
}

/* [elements] or opaque "initializer" size, for the type and shape that stand before it. */
static struct constant *parse_constant(struct parser *ps, enum dtype type, const struct dims *shape)
{
    struct constant *c = ARENA_NEW(ps->g->arena, struct constant);
    int64_t n = 1, size = 0;
    if (parse_accept(ps, "opaque")) {
        c->initializer = parse_quoted(ps);
        if (parse_int(ps, &size) && size < 0)
            parse_fail(ps, "a size cannot be negative");
        c->size = (size_t)size;
        return c;
    }
    for (int i = 0; i < shape->n; i++)
        if (!dim_is_const(shape->d[i], &size) || size < 0 || __builtin_mul_overflow(n, size, &n) ||
            n > 1 << 24) {
            parse_fail(ps, "a constant needs a fixed shape of reasonable size");
            return c;
        }
    unsigned char *bytes = arena_array(ps->g->arena, (size_t)n + 1, 16); /* widest type */
    parse_expect(ps, "[");
    for (int64_t i = 0; i < n && !ps->failed; i++) {
        if (i)
            parse_expect(ps, ",");
        parse_element(ps, type, bytes + (size_t)i * dtype_size(type));
    }
    parse_expect(ps, "]");
    c->bytes = bytes;
    c->size = (size_t)n * dtype_size(type);
    return c;
}

static void parse_attr(struct parser *ps, const struct attr_field *field, union attr *attr)
{
    void *p = (char *)attr + field->offset;
    char *end;
    switch (field->kind) {
    case AK_INT: parse_int(ps, p); break;
    case AK_BOOL:
        *(bool *)p = parse_accept(ps, "true");
        if (!*(bool *)p)
            parse_expect(ps, "false");
        break;
    case AK_FLOAT:
        parse_blanks(ps);
        *(double *)p = strtod(ps->p, &end);
        if (end == ps->p)
            parse_fail(ps, "expected a number");
        ps->p = end;
        break;
    case AK_DTYPE: *(enum dtype *)p = parse_dtype(ps); break;
    case AK_AXES: *(uint32_t *)p = parse_axes(ps); break;
    case AK_DIM: *(const struct dim **)p = parse_dim(ps); break;
    case AK_DIMS: *(struct dims *)p = parse_dims(ps); break;
    case AK_INTS: *(struct ints *)p = parse_ints(ps); break;
    case AK_PERM: *(struct perm *)p = parse_perm(ps); break;
    case AK_PADMODE:
        *(enum pad_mode *)p = (enum pad_mode)parse_choice(ps, text_pad_modes, 4);
        break;
    case AK_COMBINE: *(enum combine *)p = (enum combine)parse_choice(ps, text_combines, 5); break;
    case AK_CONSTANT:
        *(struct constant **)p = parse_constant(ps, attr->constant.type, &attr->constant.shape);
        break;
    }
}

/* {name=value, …}: every field of the op, in the order of ops.def. */
void parse_attrs(struct parser *ps, const struct op_info *info, union attr *attr)
{
    if (info->n_fields == 0)
        return;
    for (int i = 0; i < info->n_fields && !ps->failed; i++) {
        if (!parse_expect(ps, i ? "," : "{") || !parse_expect(ps, info->fields[i].name) ||
            !parse_expect(ps, "="))
            return;
        parse_attr(ps, &info->fields[i], attr);
    }
    parse_expect(ps, "}");
}

const struct layout *parse_layout(struct parser *ps, int rank)
{
    struct layout *layout = ARENA_NEW(ps->g->arena, struct layout);
    if (!parse_expect(ps, "("))
        return NULL;
    layout->perm = parse_perm(ps);
    parse_expect(ps, ",");
    struct ints align = parse_ints(ps);
    parse_expect(ps, ",");
    struct ints block = parse_ints(ps);
    parse_expect(ps, ")");
    if (layout->perm.n != rank || align.n != rank || block.n != rank)
        parse_fail(ps, "a layout has as many axes as its value");
    memcpy(layout->align, align.v, sizeof layout->align);
    memcpy(layout->block, block.v, sizeof layout->block);
    return layout;
}
