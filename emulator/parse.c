/* PTX text to module: functions, directives, look-up by name. */
#include "parser.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Function bodies ---- */

static void instruction(struct parser *p)
{
    struct function *f = p->f;
    if (!grow(p, &f->statements, f->n_statements, &p->statement_cap, sizeof *f->statements)) {
        return;
    }
    struct statement *s = &f->statements[f->n_statements];
    *s = (struct statement){.scope = p->scope, .source_line = p->source_line};
    if (accept(p, '@')) {
        s->guard = alloc(p, 1, sizeof *s->guard);
        if (s->guard) {
            operand(p, s->guard, 0);
        }
    }
    skip(p);
    s->line = p->line;
    s->op = dotted(p);
    if (!s->op.n) {
        int n = (int)strcspn(p->p, "\n");
        fail(p, "expected an instruction before '%.*s'", n > 40 ? 40 : n, p->p);
        return;
    }
    size_t cap = 0;
    if (!at(p, ';')) {
        do {
            if (s->n_operands >= 16) {
                fail(p, "too many operands");
                return;
            }
            if (!grow(p, &s->operands, s->n_operands, &cap, sizeof *s->operands)) {
                return;
            }
            operand(p, &s->operands[s->n_operands++], 0);
        } while (accept(p, ','));
    }
    expect(p, ';');
    f->n_statements++;
}

static void branch_targets(struct parser *p, struct label *l)
{
    size_t cap = 0;
    do {
        if (l->n_targets >= 65536 ||
            !grow(p, &l->targets, l->n_targets, &cap, sizeof *l->targets)) {
            fail(p, "too many branch targets");
            return;
        }
        l->targets[l->n_targets++] = name(p);
    } while (accept(p, ','));
    expect(p, ';');
}

/* If a label stands here, takes it. */
static bool take_label(struct parser *p)
{
    struct function *f = p->f;
    const char *start = p->p;
    uint32_t line = p->line;
    if (!name_char(*p->p)) {
        return false;
    }
    struct slice s = name(p);
    skip(p);
    if (*p->p != ':' || p->p[1] == ':') {
        p->p = start;
        p->line = line;
        return false;
    }
    p->p++;
    if (!grow(p, &f->labels, f->n_labels, &p->label_cap, sizeof *f->labels)) {
        return true;
    }
    struct label *l = &f->labels[f->n_labels++];
    *l = (struct label){.name = s, .scope = p->scope, .statement = f->n_statements};
    if (at(p, '.')) {
        start = p->p;
        struct slice d = directive(p);
        if (slice_is(d, ".branchtargets")) {
            branch_targets(p, l);
        } else if (slice_is(d, ".callprototype") || slice_is(d, ".calltargets")) {
            fail(p, "indirect calls are not supported");
        } else {
            p->p = start;
        }
    }
    return true;
}

static void to_line_end(struct parser *p)
{
    while (p->p < p->end && *p->p != '\n') {
        p->p++;
    }
}

static void body_directive(struct parser *p)
{
    struct slice d = directive(p);
    if (slice_is(d, ".reg")) {
        registers(p);
    } else if (slice_is(d, ".loc")) {
        count(p);
        p->source_line = (uint32_t)count(p);
        to_line_end(p);
    } else if (slice_is(d, ".pragma")) {
        to_line_end(p);
    } else if (!declare(p, d, false)) {
        fail(p, "unknown directive '%.*s'", (int)d.n, d.s);
    }
}

static void open_scope(struct parser *p)
{
    struct function *f = p->f;
    if (p->depth >= MAX_DEPTH) {
        fail(p, "braces nested deeper than %d", MAX_DEPTH);
        return;
    }
    if (!grow(p, &f->scopes, f->n_scopes, &p->scope_cap, sizeof *f->scopes)) {
        return;
    }
    f->scopes[f->n_scopes] = p->scope;
    p->stack[p->depth++] = p->scope;
    p->scope = f->n_scopes++;
}

static void body(struct parser *p)
{
    open_scope(p); /* after the '{' of the function */
    while (p->depth && !p->failed) {
        skip(p);
        if (p->p >= p->end) {
            fail(p, "a function does not end");
        } else if (accept(p, '{')) {
            open_scope(p);
        } else if (accept(p, '}')) {
            p->scope = p->stack[--p->depth];
        } else if (*p->p == '.') {
            body_directive(p);
        } else if (!take_label(p)) {
            instruction(p);
        }
    }
}

static void formals(struct parser *p, struct variable **list, uint32_t *n)
{
    struct function *f = p->f;
    if (accept(p, ')')) {
        return;
    }
    do {
        struct slice d = directive(p);
        if (!slice_is(d, ".param")) {
            fail(p, "parameters in '%.*s' are not supported", (int)d.n, d.s);
            return;
        }
        struct variable *v = variable(p, SPACE_PARAM);
        if (!v) {
            return;
        }
        v->scope = 0;
        place(p, v, f->entry ? &f->param_bytes : &f->frame_bytes);
        for (; *list; list = &(*list)->next) {
        }
        *list = v;
        ++*n;
        if (*n > 4096) {
            fail(p, "too many parameters");
        }
    } while (accept(p, ','));
    expect(p, ')');
}

static void dimensions(struct parser *p, uint32_t out[3])
{
    for (int i = 0; i < 3; i++) {
        out[i] = 1;
    }
    for (int i = 0; i < 3; i++) {
        uint64_t n = count(p);
        out[i] = n > 1024 ? 1025 : (uint32_t)n;
        if (!accept(p, ',')) {
            return;
        }
    }
}

static void performance_directives(struct parser *p)
{
    while (at(p, '.') && !p->failed) {
        struct slice d = directive(p);
        if (slice_is(d, ".reqntid")) {
            dimensions(p, p->f->required);
            p->f->max_threads = p->f->required[0] * p->f->required[1] * p->f->required[2];
        } else if (slice_is(d, ".maxntid")) {
            uint32_t n[3];
            dimensions(p, n);
            p->f->max_threads = n[0] * n[1] * n[2];
        } else if (slice_is(d, ".minnctapersm") || slice_is(d, ".maxnreg") ||
                   slice_is(d, ".maxnctapersm")) {
            count(p);
        } else if (slice_is(d, ".pragma")) {
            to_line_end(p);
        } else if (!slice_is(d, ".noreturn")) {
            fail(p, "'%.*s' is not supported", (int)d.n, d.s);
        }
    }
}

static void function(struct parser *p, bool entry)
{
    struct function *f = alloc(p, 1, sizeof *f);
    if (!f) {
        return;
    }
    f->entry = entry;
    f->line = p->line;
    p->f = f;
    p->range_cap = p->scope_cap = p->statement_cap = p->label_cap = p->class_cap = 0;
    p->scope = p->depth = 0;
    p->source_line = 0;
    if (grow(p, &f->scopes, 0, &p->scope_cap, sizeof *f->scopes)) {
        f->n_scopes = 1;
    }
    if (!entry && accept(p, '(')) {
        uint32_t n = 0;
        formals(p, &f->result, &n);
        if (n > 1) {
            fail(p, "a function returns at most one value");
        }
    }
    f->name = name(p);
    if (accept(p, '(')) {
        formals(p, &f->formals, &f->n_formals);
    }
    performance_directives(p);
    if (accept(p, '{')) {
        f->has_body = true;
        body(p);
    } else {
        expect(p, ';');
    }
    p->f = NULL;
    p->scope = 0;
    if (p->failed) {
        return;
    }
    struct function *old = module_function(p->m, f->name);
    if (old && (old->has_body && f->has_body)) {
        fail(p, "function %.*s is defined twice", (int)f->name.n, f->name.s);
        return;
    }
    f->next = p->m->functions;
    p->m->functions = f;
}

/* ---- Modules ---- */

static void target(struct parser *p)
{
    struct slice s = name(p);
    if (s.n < 5 || s.n > 7 || memcmp(s.s, "sm_", 3)) {
        fail(p, "unknown target '%.*s'", (int)s.n, s.s);
        return;
    }
    p->m->sm = (int)strtol(s.s + 3, NULL, 10);
    char last = s.s[s.n - 1];
    p->m->sm_suffix = isdigit((unsigned char)last) ? 0 : last;
    while (accept(p, ',')) {
        struct slice more = name(p);
        if (!slice_is(more, "debug") && !slice_is(more, "texmode_independent")) {
            fail(p, "target option '%.*s' is not supported", (int)more.n, more.s);
        }
    }
}

static void version(struct parser *p)
{
    uint64_t major = 0, minor = 0; /* not a number: 9.0 would be read as one */
    skip(p);
    for (; isdigit((unsigned char)*p->p) && major < 100; p->p++) {
        major = 10 * major + (uint64_t)(*p->p - '0');
    }
    expect(p, '.');
    minor = count(p);
    if (major < 1 || major > 99 || minor > 9) {
        fail(p, "unknown PTX version");
        return;
    }
    p->m->ptx = (int)(10 * major + minor);
}

static void skip_section(struct parser *p)
{
    while (p->p < p->end && *p->p != '{') {
        p->p++;
    }
    while (p->p < p->end && *p->p != '}') {
        p->line += *p->p == '\n';
        p->p++;
    }
    expect(p, '}');
}

static void module_directive(struct parser *p)
{
    bool external = false;
    struct slice d = directive(p);
    while (slice_is(d, ".visible") || slice_is(d, ".extern") || slice_is(d, ".weak") ||
           slice_is(d, ".common")) {
        external |= slice_is(d, ".extern");
        d = directive(p);
    }
    if (slice_is(d, ".version")) {
        version(p);
    } else if (slice_is(d, ".target")) {
        target(p);
    } else if (slice_is(d, ".address_size")) {
        if (count(p) != 64) {
            fail(p, "only 64-bit addresses are supported");
        }
    } else if (slice_is(d, ".entry") || slice_is(d, ".func")) {
        function(p, slice_is(d, ".entry"));
    } else if (slice_is(d, ".file") || slice_is(d, ".pragma")) {
        to_line_end(p);
    } else if (slice_is(d, ".section")) {
        skip_section(p);
    } else if (!declare(p, d, external)) {
        int n = d.n ? (int)d.n : (int)strcspn(p->p, "\n");
        fail(p, "unknown directive '%.*s'", n > 40 ? 40 : n, d.s);
    }
}

struct module *module_parse(const char *text, char *message, size_t size)
{
    struct module *m = calloc(1, sizeof *m);
    size_t n = strlen(text);
    char *copy = m ? arena_alloc(&m->arena, n + 4, 1) : NULL; /* 4: to look ahead of the end */
    if (!copy) {
        snprintf(message, size, "out of memory");
        module_free(m);
        return NULL;
    }
    memcpy(copy, text, n);
    m->text = copy;
    struct parser p = {
        .m = m, .p = copy, .end = copy + n, .line = 1, .message = message, .size = size};
    for (skip(&p); p.p < p.end && !p.failed; skip(&p)) {
        module_directive(&p);
    }
    if (!p.failed && (!m->ptx || !m->sm)) {
        fail(&p, "not a PTX module: no .version and .target");
    }
    if (p.failed) {
        module_free(m);
        return NULL;
    }
    return m;
}

void module_free(struct module *m)
{
    if (m) {
        arena_free(&m->arena);
        free(m);
    }
}

static struct variable *find_variable(struct variable *v, const struct function *f, uint32_t scope,
                                      struct slice name)
{
    for (; v; v = v->next) {
        if (slice_equal(v->name, name) && (!f || inside(f, scope, v->scope))) {
            return v;
        }
    }
    return NULL;
}

struct variable *module_variable(const struct module *m, const struct function *f, uint32_t scope,
                                 struct slice name)
{
    struct variable *v = NULL;
    if (f) {
        v = find_variable(f->variables, f, scope, name);
        v = v ? v : find_variable(f->formals, f, scope, name);
        v = v ? v : find_variable(f->result, f, scope, name);
    }
    return v ? v : find_variable(m->variables, NULL, 0, name);
}

struct function *module_function(const struct module *m, struct slice name)
{
    struct function *found = NULL;
    for (struct function *f = m->functions; f; f = f->next) {
        if (slice_equal(f->name, name) && (!found || f->has_body)) {
            found = f;
        }
    }
    return found;
}

const struct label *function_label(const struct function *f, uint32_t scope, struct slice name)
{
    for (;;) {
        for (uint32_t i = 0; i < f->n_labels; i++) {
            if (f->labels[i].scope == scope && slice_equal(f->labels[i].name, name)) {
                return &f->labels[i];
            }
        }
        if (!scope) {
            return NULL;
        }
        scope = f->scopes[scope];
    }
}
