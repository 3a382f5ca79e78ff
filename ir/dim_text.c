/* Dims: printed and parsed. */
#include "dim_table.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

enum { MOST_NESTING = 200 };

/* By dim_kind; the parser reads the same names. */
static const char *const function_names[] = {
    [DIM_FLOORDIV] = "floordiv", [DIM_MOD] = "mod", [DIM_MIN] = "min",
    [DIM_MAX] = "max",           [DIM_EQ] = "eq",   [DIM_LT] = "lt",
};

static void print_atom(struct text *out, const struct dim_table *t, const struct dim *d)
{
    /* A sum left unfolded because its product is too long; a constant because it would overflow. */
    bool group = d->kind == DIM_SUM || d->kind == DIM_CONST;
    text_printf(out, "%s", group ? "(" : "");
    dim_print(out, t, d);
    text_printf(out, "%s", group ? ")" : "");
}

static void print_term(struct text *out, const struct dim_table *t, const struct dim_term *term,
                       bool first)
{
    uint64_t size = (uint64_t)term->coefficient;
    if (term->coefficient < 0) {
        text_printf(out, first ? "-" : " - ");
        size = -size;
    } else if (!first) {
        text_printf(out, " + ");
    }
    if (size != 1 || term->n_atoms == 0)
        text_printf(out, "%" PRIu64 "%s", size, term->n_atoms ? "*" : "");
    for (int i = 0; i < term->n_atoms; i++) {
        text_printf(out, "%s", i ? "*" : "");
        print_atom(out, t, term->atoms[i]);
    }
}

void dim_print(struct text *out, const struct dim_table *t, const struct dim *d)
{
    if (d->kind == DIM_CONST) {
        text_printf(out, "%" PRId64, d->value);
    } else if (d->kind == DIM_SYMBOL) {
        text_printf(out, "%s", t->symbols[d->symbol].name);
    } else if (d->kind == DIM_SUM) {
        for (int i = 0; i < d->n_terms; i++)
            print_term(out, t, &d->terms[i], i == 0);
    } else {
        text_printf(out, "%s(", function_names[d->kind]);
        dim_print(out, t, d->a);
        text_printf(out, ", ");
        dim_print(out, t, d->b);
        text_printf(out, ")");
    }
}

/* -- Parsing: sum = ["-"] product {("+"|"-") product}, product = atom {"*" atom} -- */

struct reader {
    struct dim_table *t;
    const char *at;
    int depth;
};

static const struct dim *read_sum(struct reader *r);

static void skip_blanks(struct reader *r)
{
    while (*r->at == ' ')
        r->at++;
}

static bool accept(struct reader *r, char c)
{
    skip_blanks(r);
    if (*r->at != c)
        return false;
    r->at++;
    return true;
}

/* negative: the number stands behind a minus (so that INT64_MIN can be read). */
static const struct dim *read_number(struct reader *r, bool negative)
{
    int64_t value = 0;
    for (; isdigit((unsigned char)*r->at); r->at++) {
        int digit = *r->at - '0';
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, negative ? -digit : digit, &value))
            return NULL;
    }
    return dim_const(r->t, value);
}

typedef const struct dim *construct(struct dim_table *t, const struct dim *a, const struct dim *b);

static construct *const constructors[] = {
    [DIM_FLOORDIV] = dim_floordiv, [DIM_MOD] = dim_mod, [DIM_MIN] = dim_min,
    [DIM_MAX] = dim_max,           [DIM_EQ] = dim_eq,   [DIM_LT] = dim_lt,
};

static const struct dim *read_call(struct reader *r, construct *make)
{
    const struct dim *a = read_sum(r);
    if (!a || !accept(r, ','))
        return NULL;
    const struct dim *b = read_sum(r);
    return b && accept(r, ')') ? make(r->t, a, b) : NULL;
}

static bool is_name_char(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

static const struct dim *read_name(struct reader *r)
{
    const char *start = r->at;
    while (is_name_char(*r->at))
        r->at++;
    char *name = arena_strndup(r->t->arena, start, (size_t)(r->at - start));
    for (int kind = DIM_FLOORDIV; kind <= DIM_LT; kind++)
        if (strcmp(name, function_names[kind]) == 0 && accept(r, '('))
            return read_call(r, constructors[kind]);
    const struct dim *symbol = dim_symbol_find(r->t, name);
    return symbol ? symbol : dim_symbol(r->t, name, 0, INT64_MAX);
}

static const struct dim *read_atom(struct reader *r, bool negative)
{
    skip_blanks(r);
    const struct dim *d = NULL;
    if (++r->depth > MOST_NESTING)
        return NULL;
    if (isdigit((unsigned char)*r->at)) {
        d = read_number(r, negative);
    } else {
        if (*r->at == '(') {
            r->at++;
            d = read_sum(r);
            d = d && accept(r, ')') ? d : NULL;
        } else if (isalpha((unsigned char)*r->at) || *r->at == '_') {
            d = read_name(r);
        }
        if (d && negative)
            d = dim_sub(r->t, dim_const(r->t, 0), d);
    }
    r->depth--;
    return d;
}

/* Sums among the factors are written out if all of them together can be, whatever their order. */
static const struct dim *read_product(struct reader *r, bool negative)
{
    const struct dim *product = read_atom(r, negative);
    const struct dim *whole = product;
    int64_t n_terms = product ? product->n_terms : 0;
    while (product && accept(r, '*')) {
        const struct dim *factor = read_atom(r, false);
        if (!factor)
            return NULL;
        n_terms *= factor->n_terms > 1 ? factor->n_terms : 1;
        n_terms = n_terms > MOST_TERMS ? MOST_TERMS + 1 : n_terms;
        whole = dim_mul_whole(r->t, whole, factor);
        product = n_terms > MOST_TERMS ? whole : dim_mul(r->t, product, factor);
    }
    return product;
}

static const struct dim *read_sum(struct reader *r)
{
    const struct dim *sum = read_product(r, accept(r, '-'));
    while (sum) {
        bool minus = accept(r, '-');
        if (!minus && !accept(r, '+'))
            break;
        const struct dim *product = read_product(r, minus);
        sum = product ? dim_add(r->t, sum, product) : NULL;
    }
    return sum;
}

const struct dim *dim_parse(struct dim_table *t, const char **text)
{
    struct reader r = {.t = t, .at = *text};
    const struct dim *d = read_sum(&r);
    *text = r.at;
    return d;
}
