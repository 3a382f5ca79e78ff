/* Tokens, numbers and operands. */
#include "parser.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void fail(struct parser *p, const char *format, ...)
{
    if (!p->failed) {
        int n = snprintf(p->message, p->size, "PTX line %" PRIu32 ": ", p->line);
        if (n >= 0 && (size_t)n < p->size) {
            va_list args;
            va_start(args, format);
            vsnprintf(p->message + n, p->size - (size_t)n, format, args);
            va_end(args);
        }
    }
    p->failed = true;
    p->p = p->end;
}

void *alloc(struct parser *p, size_t count, size_t size)
{
    void *result = arena_alloc(&p->m->arena, count, size);
    if (!result) {
        fail(p, "out of memory");
    }
    return result;
}

bool grow(struct parser *p, void *array, size_t n, size_t *capacity, size_t size)
{
    if (!arena_grow(&p->m->arena, array, n, capacity, size)) {
        fail(p, "out of memory");
        return false;
    }
    return true;
}

/* ---- Tokens ---- */

void skip(struct parser *p)
{
    for (; p->p < p->end; p->p++) {
        if (*p->p == '\n') {
            p->line++;
        } else if (p->p[0] == '/' && p->p[1] == '/') {
            while (p->p + 1 < p->end && p->p[1] != '\n') {
                p->p++;
            }
        } else if (p->p[0] == '/' && p->p[1] == '*') {
            for (p->p += 2; p->p < p->end && !(p->p[0] == '*' && p->p[1] == '/'); p->p++) {
                p->line += *p->p == '\n';
            }
            if (p->p >= p->end) {
                fail(p, "a comment does not end");
                return;
            }
            p->p++;
        } else if (!isspace((unsigned char)*p->p)) {
            return;
        }
    }
}

bool name_char(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '$' || c == '%';
}

bool at(struct parser *p, char c)
{
    skip(p);
    return *p->p == c;
}

bool accept(struct parser *p, char c)
{
    if (!at(p, c) || p->p >= p->end) {
        return false;
    }
    p->p++;
    return true;
}

void expect(struct parser *p, char c)
{
    if (!accept(p, c)) {
        int n = (int)strcspn(p->p, "\n");
        fail(p, "expected '%c' before '%.*s'", c, n > 40 ? 40 : n, p->p);
    }
}

struct slice name(struct parser *p)
{
    skip(p);
    struct slice s = {p->p, 0};
    while (p->p < p->end && name_char(*p->p)) {
        p->p++;
    }
    s.n = (uint32_t)(p->p - s.s);
    if (!s.n) {
        int n = (int)strcspn(p->p, "\n");
        fail(p, "expected a name before '%.*s'", n > 40 ? 40 : n, p->p);
    }
    return s;
}

/* A word with its dots and colons: a directive or an opcode. */
struct slice dotted(struct parser *p)
{
    skip(p);
    struct slice s = {p->p, 0};
    while (p->p < p->end &&
           (name_char(*p->p) || *p->p == '.' || (p->p[0] == ':' && p->p[1] == ':'))) {
        p->p += *p->p == ':' ? 2 : 1;
    }
    s.n = (uint32_t)(p->p - s.s);
    return s;
}

bool slice_is(struct slice a, const char *s)
{
    return strlen(s) == a.n && !memcmp(a.s, s, a.n);
}

bool slice_equal(struct slice a, struct slice b)
{
    return a.n == b.n && !memcmp(a.s, b.s, a.n);
}

static uint64_t hex_digits(struct parser *p, int digits)
{
    uint64_t v = 0;
    for (int i = 0; i < digits; i++, p->p++) {
        int c = tolower((unsigned char)*p->p);
        if (!isxdigit(c)) {
            fail(p, "a floating-point constant needs %d hexadecimal digits", digits);
            return 0;
        }
        v = v << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return v;
}

/* A number: fills kind and imm. */
void number(struct parser *p, struct operand *o)
{
    bool negative = accept(p, '-');
    skip(p);
    const char *s = p->p;
    if (s[0] == '0' && (s[1] == 'f' || s[1] == 'F')) {
        p->p += 2;
        o->kind = OPERAND_F32;
        o->imm = hex_digits(p, 8) ^ (negative ? UINT64_C(1) << 31 : 0);
        return;
    }
    if (s[0] == '0' && (s[1] == 'd' || s[1] == 'D')) {
        p->p += 2;
        o->kind = OPERAND_F64;
        o->imm = hex_digits(p, 16) ^ (negative ? UINT64_C(1) << 63 : 0);
        return;
    }
    bool hex = s[0] == '0' && (s[1] == 'x' || s[1] == 'X');
    const char *e = s + strspn(s, "0123456789");
    if (!hex && e > s && (*e == '.' || *e == 'e' || *e == 'E')) {
        char *stop;
        double v = strtod(s, &stop);
        v = negative ? -v : v;
        o->kind = OPERAND_F64;
        memcpy(&o->imm, &v, sizeof v);
        p->p = stop;
        return;
    }
    bool binary = s[0] == '0' && (s[1] == 'b' || s[1] == 'B');
    unsigned base = hex ? 16 : binary ? 2 : s[0] == '0' ? 8 : 10;
    uint64_t v = 0;
    p->p += hex || binary ? 2 : 0;
    const char *first = p->p;
    for (; p->p < p->end; p->p++) {
        int c = tolower((unsigned char)*p->p);
        unsigned digit = isdigit(c)    ? (unsigned)(c - '0')
                         : isxdigit(c) ? (unsigned)(c - 'a' + 10)
                                       : 99;
        if (digit >= base) {
            break;
        }
        if (v > (UINT64_MAX - digit) / base) {
            fail(p, "number too large");
            return;
        }
        v = v * base + digit;
    }
    if (p->p == first) {
        fail(p, "expected a number");
        return;
    }
    p->p += p->p < p->end && *p->p == 'U';
    o->kind = OPERAND_INT;
    o->imm = negative ? -v : v;
}

uint64_t count(struct parser *p)
{
    struct operand o = {0};
    number(p, &o);
    if (o.kind != OPERAND_INT || (int64_t)o.imm < 0) {
        fail(p, "expected a count");
        return 0;
    }
    return o.imm;
}

int64_t signed_number(struct parser *p)
{
    struct operand o = {0};
    number(p, &o);
    if (o.kind != OPERAND_INT) {
        fail(p, "expected an integer");
    }
    return (int64_t)o.imm;
}

/* ---- Operands ---- */

static void elements(struct parser *p, struct operand *o, char close, int depth)
{
    size_t cap = 0;
    if (accept(p, close)) {
        return;
    }
    do {
        if (o->n_elements >= MAX_ELEMENTS) {
            fail(p, "more than %d elements in a list", MAX_ELEMENTS);
            return;
        }
        if (!grow(p, &o->elements, o->n_elements, &cap, sizeof *o->elements)) {
            return;
        }
        operand(p, &o->elements[o->n_elements++], depth + 1);
    } while (accept(p, ','));
    expect(p, close);
}

static void address_offset(struct parser *p, struct operand *o)
{
    while (!p->failed && (at(p, '+') || at(p, '-'))) {
        bool minus = *p->p == '-';
        p->p++;
        int64_t v = signed_number(p);
        o->offset = (int64_t)((uint64_t)o->offset + (minus ? -(uint64_t)v : (uint64_t)v));
    }
}

static bool special_register(struct parser *p, struct slice s, struct operand *o)
{
    static const char *const names[] = {
#define X(id, text) text,
        SPECIAL_REGISTERS(X)
#undef X
    };
    if (p->p < p->end && *p->p == '.' && s.s[0] == '%') { /* %tid.x */
        const char *e = p->p + 1;
        while (e < p->end && name_char(*e)) {
            e++;
        }
        s.n = (uint32_t)(e - s.s);
    }
    for (uint32_t i = 0; i < SPECIALS; i++) {
        if (slice_is(s, names[i])) {
            o->kind = OPERAND_SPECIAL;
            o->reg = i;
            p->p = s.s + s.n;
            return true;
        }
    }
    return false;
}

static void named_operand(struct parser *p, struct operand *o, int depth)
{
    struct slice s = name(p);
    if (slice_is(s, "_")) {
        o->kind = OPERAND_SINK;
    } else if (slice_is(s, "WARP_SZ")) {
        o->kind = OPERAND_INT;
        o->imm = 32;
    } else if (find_register(p, s, &o->reg)) {
        o->kind = OPERAND_REG;
    } else if (special_register(p, s, o)) {
        return;
    } else if (s.n && s.s[0] == '%') {
        fail(p, "unknown register %.*s", (int)s.n, s.s);
    } else {
        o->kind = OPERAND_SYMBOL;
        o->symbol = s;
        address_offset(p, o);
    }
    if (accept(p, '|')) {
        o->second = alloc(p, 1, sizeof *o->second);
        if (o->second) {
            operand(p, o->second, depth + 1);
        }
    }
}

void operand(struct parser *p, struct operand *o, int depth)
{
    if (depth > 4) {
        fail(p, "operands nested too deeply");
        return;
    }
    skip(p);
    char c = *p->p;
    if (c == '{' || c == '(') {
        p->p++;
        o->kind = OPERAND_VECTOR;
        elements(p, o, c == '{' ? '}' : ')', depth);
    } else if (c == '[') {
        p->p++;
        o->kind = OPERAND_MEMORY;
        size_t cap = 0;
        if (!grow(p, &o->elements, 0, &cap, sizeof *o->elements)) {
            return;
        }
        o->n_elements = 1;
        operand(p, o->elements, depth + 1);
        address_offset(p, o);
        expect(p, ']');
    } else if (c == '!') {
        p->p++;
        operand(p, o, depth + 1);
        o->negate = !o->negate;
    } else if (c == '-' || isdigit((unsigned char)c)) {
        number(p, o);
    } else {
        named_operand(p, o, depth);
    }
}
