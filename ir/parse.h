/* Private to the parser: its state, and the parts that statements are made of. */
#ifndef GPUCC_IR_PARSE_H
#define GPUCC_IR_PARSE_H

#include "text.h"

struct parser {
    struct graph *g; /* the root or the body at hand */
    int depth;
    const char *file;
    const char *p; /* next character; the text ends with a NUL */
    const char *line_start;
    int line;
    bool failed;
    struct value **values; /* by id, those of all bodies too */
    uint32_t cap_values;
};

/* Reports the first fault, here in the text; always false. */
bool parse_fail(struct parser *ps, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* -- Tokens -- */

void parse_blanks(struct parser *ps); /* and comments */
bool parse_accept(struct parser *ps, const char *token);
bool parse_expect(struct parser *ps, const char *token);
/* Letters, digits and underscores; empty on an error. */
const char *parse_word(struct parser *ps, size_t *length);
bool parse_int(struct parser *ps, int64_t *value);
const char *parse_quoted(struct parser *ps);
/* The index of a name among n. */
int parse_choice(struct parser *ps, const char *const *names, int n);

/* -- Types and attributes -- */

const struct dim *parse_dim(struct parser *ps); /* NULL on an error */
struct dims parse_dims(struct parser *ps);
enum dtype parse_dtype(struct parser *ps);
const struct layout *parse_layout(struct parser *ps, int rank);
/* {name=value, …}: every field of the op, in the order of ops.def. */
void parse_attrs(struct parser *ps, const struct op_info *info, union attr *attr);

#endif
