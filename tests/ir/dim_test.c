/* Dims: each rule of simplification, then random expressions against plain evaluation. */
#include "ir_test.h"

static void check(void **state, const char *text, const char *expected)
{
    assert_dim(*state, parse_dim(*state, text), expected);
}

static void equal_expressions_are_one_pointer(void **state)
{
    struct world *w = *state;
    assert_ptr_equal(parse_dim(w, "2*(n + m)*n"), parse_dim(w, "n*m*2 + n*n + n*n"));
    assert_ptr_equal(parse_dim(w, "max(n, m)"), parse_dim(w, "max(m, n)"));
    assert_ptr_equal(parse_dim(w, "eq(n, m)"), parse_dim(w, "eq(m, n)"));
}

static void sums_are_kept_in_order_without_zeros(void **state)
{
    check(state, "3 + m + n*m - m", "n*m + 3");
    check(state, "n - n", "0");
    check(state, "(n + 1)*(n - 1)", "n*n - 1");
}

static void floordiv_takes_multiples_out(void **state)
{
    check(state, "floordiv(4*n + 2*m + 7, 2)", "2*n + m + 3");
    check(state, "floordiv(n + 5, 2)", "floordiv(n + 1, 2) + 2");
    check(state, "floordiv(6*n + 3, 4)", "floordiv(3*n + 1, 2)");
    check(state, "floordiv(-n, 1)", "-n");
}

static void floordiv_of_a_small_rest_is_zero(void **state)
{
    check(state, "floordiv(8*n + mod(m, 8), 8)", "n");
    check(state, "floordiv(mod(m, 8), 8)", "0");
}

static void floordiv_by_a_dim_needs_it_positive(void **state)
{
    check(state, "floordiv(n*m, n)", "floordiv(n*m, n)");
    check(state, "floordiv(n*(m + 1) + 2*m + 2, m + 1)", "n + 2");
}

static void floordivs_of_strided_layers_join(void **state)
{
    check(state, "floordiv(floordiv(n - 1, 2), 2) + 1", "floordiv(n + 3, 4)");
    check(state, "floordiv(floordiv(n + 1, 2) + 1, 2)", "floordiv(n + 3, 4)");
}

static void mod_reduces_coefficients(void **state)
{
    check(state, "mod(9*n + 4*m, 4)", "mod(n, 4)");
    check(state, "mod(6*n + 3, 4)", "2*mod(n + 1, 2) + 1");
    check(state, "mod(mod(n, 8), 4)", "mod(n, 4)");
    check(state, "mod(n*m + n, m + 1)", "0");
}

static void what_a_floordiv_leaves_is_a_mod(void **state)
{
    check(state, "n - 2*floordiv(n, 2)", "mod(n, 2)");
    check(state, "m + 6*floordiv(n, 3) - 2*n", "m - 2*mod(n, 3)");
    check(state, "floordiv(n, 8) - 2*floordiv(n, 16)", "mod(floordiv(n, 8), 2)");
    check(state, "floordiv(n, 2) - 2*floordiv(n + 2, 4)", "mod(floordiv(n, 2) + 1, 2) - 1");
    check(state, "3*n - 2*floordiv(n, 2)", "3*n - 2*floordiv(n, 2)");
    check(state, "floordiv(n - 2*floordiv(n, 2), 2)", "0");
}

static void min_and_max_are_decided_by_bounds(void **state)
{
    check(state, "max(n, 0)", "n");
    check(state, "min(n, n + m)", "n");
    check(state, "max(n + 2, n + 3)", "n + 3");
    check(state, "max(max(n, 5), max(3, n))", "max(n, 5)");
    check(state, "min(max(n, m), n)", "n");
}

static void comparisons_are_decided_by_bounds(void **state)
{
    check(state, "eq(n + 1, 0)", "0");
    check(state, "eq(n + 1, n + 1)", "1");
    check(state, "lt(n, n + 1)", "1");
    check(state, "lt(n, 0)", "0");
    check(state, "eq(lt(n, m), 0)", "-lt(n, m) + 1");
    check(state, "lt(n, m)*lt(n, m)", "lt(n, m)");
}

static void select_becomes_min_or_max_where_it_is_one(void **state)
{
    struct world *w = *state;
    struct dim_table *t = w->g->dims;
    assert_dim(w, dim_select(t, dim_lt(t, w->n, w->m), w->n, w->m), "min(n, m)");
    assert_dim(w, dim_select(t, dim_lt(t, w->n, w->m), w->m, w->n), "max(n, m)");
    assert_dim(w, dim_select(t, dim_eq(t, w->n, w->m), w->n, w->m), "m");
    assert_dim(w, dim_select(t, dim_const(t, 0), w->n, w->m), "m");
}

static void exact_division_does_not_mind_zero(void **state)
{
    struct world *w = *state;
    struct dim_table *t = w->g->dims;
    assert_ptr_equal(dim_divide_exact(t, parse_dim(w, "6*n*m"), parse_dim(w, "2*m")),
                     parse_dim(w, "3*n"));
    assert_null(dim_divide_exact(t, parse_dim(w, "n + 1"), w->n));
    assert_null(dim_divide_exact(t, w->n, dim_const(t, 0)));
}

static void overflow_stays_unfolded(void **state)
{
    struct world *w = *state;
    int64_t value, symbols[2] = {3, 3};
    const struct dim *d =
        dim_mul(w->g->dims, dim_const(w->g->dims, INT64_MAX), dim_const(w->g->dims, 2));
    assert_true(d->overflows);
    assert_false(dim_eval(d, symbols, &value));
    assert_false(dim_eval(parse_dim(w, "floordiv(n, m - 3)"), symbols, &value));
}

static void symbol_names_become_words(void **state)
{
    struct world *w = *state;
    const struct dim *d = dim_symbol(w->g->dims, "batch size/2", 0, 9);
    assert_dim(w, d, "batch_size_2");
    assert_ptr_equal(dim_symbol_find(w->g->dims, "batch size/2"), d);
    assert_dim(w, dim_symbol(w->g->dims, "n", 0, 9), "n_2");
}

static void syntax_errors_are_null(void **state)
{
    static const char *const bad[] = {"",   "n +",    "*n",   "floordiv(n)",
                                      "(n", "n n n(", "max(", "9223372036854775808"};
    struct world *w = *state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *text = bad[i];
        assert_true(!dim_parse(w->g->dims, &text) || *text);
    }
}

/* -- Random expressions -- */

enum { N_SYMBOLS = 4, N_OPS = 10, MOST_NODES = 64 };

static const int64_t lowest[N_SYMBOLS] = {0, 1, 0, -5}, highest[N_SYMBOLS] = {INT64_MAX, 8, 9, 5};

struct expression {
    int op; /* 0 constant, 1 symbol, else 2 + index */
    int64_t value;
    const struct expression *a, *b;
};

struct source {
    uint64_t seed;
    struct expression node[MOST_NODES];
    int n;
};

static uint32_t draw(struct source *s, uint32_t below)
{
    s->seed = s->seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(s->seed >> 33) % below;
}

static const struct expression *random_expression(struct source *s, int depth)
{
    struct expression *e = &s->node[s->n++];
    *e = (struct expression){0};
    if (depth == 0 || draw(s, 6) == 0) {
        e->op = (int)draw(s, 2);
        e->value = e->op ? (int64_t)draw(s, N_SYMBOLS) : (int64_t)draw(s, 9) - 2;
        if (!e->op && draw(s, 30) == 0)
            e->value = draw(s, 2) ? INT64_MAX - (int64_t)draw(s, 3) : INT64_MIN;
        return e;
    }
    e->op = 2 + (int)draw(s, N_OPS);
    e->a = random_expression(s, depth - 1);
    e->b = random_expression(s, depth - 1);
    return e;
}

typedef const struct dim *construct(struct dim_table *, const struct dim *, const struct dim *);

static const struct dim *simplified(struct dim_table *t, const struct dim *const *symbols,
                                    const struct expression *e)
{
    static construct *const ops[N_OPS] = {dim_add, dim_sub, dim_mul, dim_floordiv, dim_mod,
                                          dim_min, dim_max, dim_eq,  dim_lt,       dim_ceildiv};
    if (e->op < 2)
        return e->op ? symbols[e->value] : dim_const(t, e->value);
    return ops[e->op - 2](t, simplified(t, symbols, e->a), simplified(t, symbols, e->b));
}

static int64_t floor_quotient(int64_t a, int64_t b)
{
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

/* False where a step overflows or divides by zero: then the simplified one may do as it likes. */
static bool plain_value(const struct expression *e, const int64_t *symbols, int64_t *r)
{
    int64_t a, b, sum;
    if (e->op < 2) {
        *r = e->op ? symbols[e->value] : e->value;
        return true;
    }
    if (!plain_value(e->a, symbols, &a) || !plain_value(e->b, symbols, &b))
        return false;
    bool no_quotient = b == 0 || (b == -1 && a == INT64_MIN);
    switch (e->op - 2) {
    case 0: return !__builtin_add_overflow(a, b, r);
    case 1: return !__builtin_sub_overflow(a, b, r);
    case 2: return !__builtin_mul_overflow(a, b, r);
    case 3: *r = no_quotient ? 0 : floor_quotient(a, b); return !no_quotient;
    case 4:
        *r = no_quotient ? 0 : a % b;
        *r += *r != 0 && (*r < 0) != (b < 0) ? b : 0;
        return !no_quotient;
    case 5: *r = a < b ? a : b; return true;
    case 6: *r = a > b ? a : b; return true;
    case 7: *r = a == b; return true;
    case 8: *r = a < b; return true;
    default:
        if (b == 0 || __builtin_add_overflow(a, b, &sum) || __builtin_sub_overflow(sum, 1, &sum) ||
            (b == -1 && sum == INT64_MIN))
            return false;
        *r = floor_quotient(sum, b);
        return true;
    }
}

static void check_values(struct source *s, const struct expression *e, const struct dim *d,
                         int *checked)
{
    for (int k = 0; k < 20; k++) {
        int64_t symbols[N_SYMBOLS], wanted, got;
        for (int i = 0; i < N_SYMBOLS; i++) {
            int64_t span = highest[i] == INT64_MAX ? 12 : highest[i] - lowest[i] + 1;
            symbols[i] = lowest[i] + (int64_t)draw(s, (uint32_t)span);
        }
        if (!plain_value(e, symbols, &wanted) || !dim_eval(d, symbols, &got))
            continue;
        assert_int_equal(got, wanted);
        int64_t lower, upper;
        dim_bounds(d, &lower, &upper);
        assert_true(lower <= got && got <= upper);
        ++*checked;
    }
}

static void simplified_has_the_value_of_the_written_one(void **state)
{
    (void)state;
    int checked = 0;
    for (uint64_t seed = 1; seed <= 5000; seed++) {
        struct source s = {.seed = seed * 7919};
        struct arena arena = {0};
        struct dim_table *t = dim_table_create(&arena);
        const struct dim *symbols[N_SYMBOLS];
        for (int i = 0; i < N_SYMBOLS; i++)
            symbols[i] = dim_symbol(t, "s", lowest[i], highest[i]);
        const struct expression *e = random_expression(&s, 4);
        const struct dim *d = simplified(t, symbols, e);
        check_values(&s, e, d, &checked);

        struct text text = {0};
        dim_print(&text, t, d);
        const char *at = text.data;
        const struct dim *again = dim_parse(t, &at);
        assert_true(d->overflows || (again == d && !*at));
        text_free(&text);
        arena_free(&arena);
    }
    assert_true(checked > 50000);
}

/* A product that is too long to write out reads as what it was printed from, in any order. */
static void long_products_print_and_parse(void **state)
{
    struct world *w = *state;
    struct text sum = {0}, all = {0}, again = {0};
    for (int i = 0; i < 17; i++)
        text_printf(&sum, "%ss%d", i ? " + " : "", i);
    text_printf(&all, "3*n*(%s)*(%s + 1)", sum.data, sum.data);
    const struct dim *d = parse_dim(w, all.data), *s = parse_dim(w, sum.data);
    const struct dim *product =
        dim_mul(w->g->dims, s, dim_add(w->g->dims, s, dim_const(w->g->dims, 1)));
    product = dim_mul(w->g->dims, dim_mul(w->g->dims, dim_const(w->g->dims, 3), w->n), product);
    assert_ptr_equal(d, product);
    dim_print(&again, w->g->dims, d);
    assert_ptr_equal(parse_dim(w, again.data), d);
    text_free(&sum);
    text_free(&all);
    text_free(&again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(long_products_print_and_parse),
        RULE(equal_expressions_are_one_pointer),
        RULE(sums_are_kept_in_order_without_zeros),
        RULE(floordiv_takes_multiples_out),
        RULE(floordiv_of_a_small_rest_is_zero),
        RULE(floordiv_by_a_dim_needs_it_positive),
        RULE(floordivs_of_strided_layers_join),
        RULE(mod_reduces_coefficients),
        RULE(what_a_floordiv_leaves_is_a_mod),
        RULE(min_and_max_are_decided_by_bounds),
        RULE(comparisons_are_decided_by_bounds),
        RULE(select_becomes_min_or_max_where_it_is_one),
        RULE(exact_division_does_not_mind_zero),
        RULE(overflow_stays_unfolded),
        RULE(symbol_names_become_words),
        RULE(syntax_errors_are_null),
        RULE(simplified_has_the_value_of_the_written_one),
    };
    return cmocka_run_group_tests_name("dim", tests, NULL, NULL);
}
