/* Tokens, numbers, types, variables, registers and operands. */
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
static void number(struct parser *p, struct operand *o)
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

static int64_t signed_number(struct parser *p)
{
    struct operand o = {0};
    number(p, &o);
    if (o.kind != OPERAND_INT) {
        fail(p, "expected an integer");
    }
    return (int64_t)o.imm;
}

/* ---- Types and variables ---- */

static const struct type {
    const char *name;
    unsigned size;
    enum reg_class cls;
} types[] = {
    {".pred", 0, REG_PRED}, {".b8", 1, REG_16},    {".u8", 1, REG_16},     {".s8", 1, REG_16},
    {".b16", 2, REG_16},    {".u16", 2, REG_16},   {".s16", 2, REG_16},    {".f16", 2, REG_16},
    {".bf16", 2, REG_16},   {".b32", 4, REG_32},   {".u32", 4, REG_32},    {".s32", 4, REG_32},
    {".f32", 4, REG_32},    {".f16x2", 4, REG_32}, {".bf16x2", 4, REG_32}, {".b64", 8, REG_64},
    {".u64", 8, REG_64},    {".s64", 8, REG_64},   {".f64", 8, REG_64},
};

static const struct type *find_type(struct slice s)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (slice_is(s, types[i].name)) {
            return &types[i];
        }
    }
    return NULL;
}

struct slice directive(struct parser *p)
{
    skip(p);
    struct slice s = {p->p, 0};
    if (*p->p == '.') {
        p->p++;
        while (p->p < p->end && name_char(*p->p)) {
            p->p++;
        }
    }
    s.n = (uint32_t)(p->p - s.s);
    return s;
}

/* One element of an initializer, to v->init at offset. */
static void initial_value(struct parser *p, struct variable *v, uint64_t offset, unsigned size)
{
    if (offset + size > v->size) {
        fail(p, "more initial values than %.*s has elements", (int)v->name.n, v->name.s);
        return;
    }
    skip(p);
    if (*p->p == '-' || isdigit((unsigned char)*p->p)) {
        struct operand o = {0};
        number(p, &o);
        if (o.kind == OPERAND_F64 && size == 4) {
            double wide;
            memcpy(&wide, &o.imm, sizeof wide);
            float narrow = (float)wide;
            memcpy(v->init + offset, &narrow, sizeof narrow);
        } else {
            memcpy(v->init + offset, &o.imm, size);
        }
        return;
    }
    struct relocation *r = alloc(p, 1, sizeof *r);
    if (!r) {
        return;
    }
    r->symbol = name(p);
    if (slice_is(r->symbol, "generic")) {
        expect(p, '(');
        r->symbol = name(p);
        expect(p, ')');
    }
    r->addend = at(p, '+') && accept(p, '+') ? signed_number(p) : 0;
    r->offset = offset;
    r->line = p->line;
    r->next = v->relocations;
    v->relocations = r;
    if (size != 8) {
        fail(p, "an address needs an element of 64 bits");
    }
}

static void initializer(struct parser *p, struct variable *v, unsigned size)
{
    v->init = alloc(p, v->size, 1);
    if (!v->init) {
        return;
    }
    if (!at(p, '{')) {
        initial_value(p, v, 0, size);
        return;
    }
    int depth = 0;
    uint64_t offset = 0;
    do {
        if (accept(p, '{')) {
            depth++;
        } else if (accept(p, '}')) {
            depth--;
        } else if (!accept(p, ',')) {
            initial_value(p, v, offset, size);
            offset += size;
        }
    } while (depth > 0 && !p->failed && p->p < p->end);
}

/* After the space's directive: .align 4 .b8 name[12] = {…}. NULL on failure. */
struct variable *variable(struct parser *p, enum space space)
{
    struct variable *v = alloc(p, 1, sizeof *v);
    const struct type *type = NULL;
    if (!v) {
        return NULL;
    }
    v->space = space;
    v->scope = p->scope;
    v->align = 1;
    while (at(p, '.') && !p->failed) {
        struct slice d = directive(p);
        if (slice_is(d, ".align")) {
            v->align = count(p);
            if (v->align == 0 || v->align > 4096 || (v->align & (v->align - 1))) {
                fail(p, "alignment is not a power of two up to 4096");
            }
        } else if (slice_is(d, ".ptr") || slice_is(d, ".global") || slice_is(d, ".const") ||
                   slice_is(d, ".shared") || slice_is(d, ".local") || slice_is(d, ".attribute")) {
            if (slice_is(d, ".attribute")) {
                fail(p, "variable attributes are not supported");
            }
        } else if (slice_is(d, ".v2") || slice_is(d, ".v4")) {
            fail(p, "vector variables are not supported");
        } else {
            type = find_type(d);
            if (!type || !type->size) {
                fail(p, "unknown type '%.*s'", (int)d.n, d.s);
            }
        }
    }
    v->name = name(p);
    if (!type) {
        fail(p, "'%.*s' has no type", (int)v->name.n, v->name.s);
        return NULL;
    }
    uint64_t elements = 1;
    while (accept(p, '[')) {
        uint64_t n = at(p, ']') ? 0 : count(p);
        if (n && elements > MAX_VARIABLE / n) {
            fail(p, "variable larger than %" PRIu64 " bytes", MAX_VARIABLE);
        }
        elements *= n;
        expect(p, ']');
    }
    v->size = elements * type->size;
    if (v->size > MAX_VARIABLE) {
        fail(p, "variable larger than %" PRIu64 " bytes", MAX_VARIABLE);
        return NULL;
    }
    if (v->align < type->size) {
        v->align = type->size;
    }
    if (accept(p, '=')) {
        if (space != SPACE_GLOBAL && space != SPACE_CONST) {
            fail(p, "only .global and .const variables have initial values");
            return NULL;
        }
        initializer(p, v, type->size);
    }
    return p->failed ? NULL : v;
}

/* Puts v into the frame of the function. */
void place(struct parser *p, struct variable *v, uint64_t *bytes)
{
    v->offset = (*bytes + v->align - 1) & ~(v->align - 1);
    *bytes = v->offset + v->size;
    if (*bytes > MAX_VARIABLE) {
        fail(p, "a function's variables are larger than %" PRIu64 " bytes", MAX_VARIABLE);
    }
}

bool declare(struct parser *p, struct slice d, bool external)
{
    static const struct {
        const char *name;
        enum space space;
    } spaces[] = {{".global", SPACE_GLOBAL},
                  {".const", SPACE_CONST},
                  {".shared", SPACE_SHARED},
                  {".local", SPACE_LOCAL},
                  {".param", SPACE_PARAM}};
    for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++) {
        if (!slice_is(d, spaces[i].name)) {
            continue;
        }
        do {
            struct variable *v = variable(p, spaces[i].space);
            if (!v) {
                return true;
            }
            v->external = external;
            bool local = v->space == SPACE_LOCAL || v->space == SPACE_PARAM;
            if (local && !p->f) {
                fail(p, "%s outside a function", spaces[i].name);
                return true;
            }
            if (local) {
                place(p, v, &p->f->frame_bytes);
            }
            struct variable **list = p->f ? &p->f->variables : &p->m->variables;
            v->next = *list;
            *list = v;
        } while (accept(p, ','));
        expect(p, ';');
        return true;
    }
    return false;
}

/* ---- Registers ---- */

static void add_registers(struct parser *p, struct slice prefix, uint64_t n, bool range,
                          enum reg_class cls)
{
    struct function *f = p->f;
    if (n > MAX_REGISTERS || f->n_registers + n > MAX_REGISTERS) {
        fail(p, "more than %d registers in a function", MAX_REGISTERS);
        return;
    }
    if (!grow(p, &f->ranges, f->n_ranges, &p->range_cap, sizeof *f->ranges)) {
        return;
    }
    f->ranges[f->n_ranges++] =
        (struct reg_range){prefix, p->scope, f->n_registers, range ? (uint32_t)n : 0, cls};
    for (uint64_t i = 0; i < n; i++) {
        if (!grow(p, &f->classes, f->n_registers, &p->class_cap, sizeof *f->classes)) {
            return;
        }
        f->classes[f->n_registers++] = cls;
    }
}

void registers(struct parser *p)
{
    struct slice d = directive(p);
    const struct type *t = find_type(d);
    if (!t || (t->size == 1)) {
        fail(p, "registers of type '%.*s' are not supported", (int)d.n, d.s);
        return;
    }
    do {
        struct slice prefix = name(p);
        if (accept(p, '<')) {
            uint64_t n = count(p);
            expect(p, '>');
            add_registers(p, prefix, n, true, t->cls);
        } else {
            add_registers(p, prefix, 1, false, t->cls);
        }
    } while (accept(p, ','));
    expect(p, ';');
}

/* Is scope outer, or inside of it? */
bool inside(const struct function *f, uint32_t scope, uint32_t outer)
{
    while (scope != outer && scope) {
        scope = f->scopes[scope];
    }
    return scope == outer;
}

static bool range_has(const struct reg_range *r, struct slice s, uint32_t *index)
{
    *index = 0;
    if (!r->count) {
        return slice_equal(r->prefix, s);
    }
    if (s.n <= r->prefix.n || s.n > r->prefix.n + 9 || memcmp(s.s, r->prefix.s, r->prefix.n) ||
        (s.s[r->prefix.n] == '0' && s.n > r->prefix.n + 1)) {
        return false;
    }
    for (uint32_t i = r->prefix.n; i < s.n; i++) {
        if (!isdigit((unsigned char)s.s[i])) {
            return false;
        }
        *index = *index * 10 + (uint32_t)(s.s[i] - '0');
    }
    return *index < r->count;
}

static bool find_register(struct parser *p, struct slice s, uint32_t *reg)
{
    const struct function *f = p->f;
    for (uint32_t i = f ? f->n_ranges : 0; i-- > 0;) {
        uint32_t index;
        if (range_has(&f->ranges[i], s, &index) && inside(f, p->scope, f->ranges[i].scope)) {
            *reg = f->ranges[i].first + index;
            return true;
        }
    }
    return false;
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
