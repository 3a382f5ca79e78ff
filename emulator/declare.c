/* Types, variables and registers. */
#include "parser.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

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

bool find_register(struct parser *p, struct slice s, uint32_t *reg)
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
