/*
 * Inside the parser: tokens and operands (tokens.c), types, variables and registers (declare.c),
 * functions and modules (parse.c). A failure is noted once and moves the cursor to the end of the
 * text, so that every loop ends by itself; the text is hostile, so counts and depths are bounded.
 */
#ifndef EMU_PARSER_H
#define EMU_PARSER_H

#include "module.h"

enum {
    MAX_REGISTERS = 1 << 20, /* of a function */
    MAX_DEPTH = 64,          /* of braces */
    MAX_ELEMENTS = 256,      /* of a vector or an argument list */
};
#define MAX_VARIABLE (UINT64_C(1) << 28) /* bytes */

struct parser {
    struct module *m;
    struct function *f; /* being parsed, or NULL */
    const char *p, *end;
    uint32_t line, source_line;
    uint32_t scope, depth;
    uint32_t stack[MAX_DEPTH];
    size_t range_cap, scope_cap, statement_cap, label_cap, class_cap;
    bool failed;
    char *message;
    size_t size;
};

__attribute__((format(printf, 2, 3))) void fail(struct parser *p, const char *format, ...);

void *alloc(struct parser *p, size_t count, size_t size);
bool grow(struct parser *p, void *array, size_t n, size_t *capacity, size_t size);
void skip(struct parser *p);
bool name_char(char c);
bool at(struct parser *p, char c);
bool accept(struct parser *p, char c);
void expect(struct parser *p, char c);
struct slice name(struct parser *p);
struct slice dotted(struct parser *p);
void number(struct parser *p, struct operand *o);
int64_t signed_number(struct parser *p);
uint64_t count(struct parser *p);
struct slice directive(struct parser *p);
struct variable *variable(struct parser *p, enum space space);
void place(struct parser *p, struct variable *v, uint64_t *bytes);
bool declare(struct parser *p, struct slice d, bool external);
void registers(struct parser *p);
bool find_register(struct parser *p, struct slice s, uint32_t *reg);
bool inside(const struct function *f, uint32_t scope, uint32_t outer);
void operand(struct parser *p, struct operand *o, int depth);

#endif
