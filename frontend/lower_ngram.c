/*
 * TfIdfVectorizer: how often each n-gram of a pool occurs in a row of tokens.
 *
 * Tokens of an n-gram stand `skip` places apart, for every skip from 1 to the greatest allowed;
 * single tokens are counted once. For each n and skip the pool's n-grams are compared with every
 * place of the row at once:
 *
 *     hits[row, place, gram] = x[row, place] == pool[gram, 0] && x[row, place + skip] == pool[gram,
 * 1] …
 *
 * and summed over the places.
 */
#include "lower.h"

enum { MOST_COMPARISONS = 1024 };

/* The attributes. Grams are numbered through the pool, those that do not count included. */
struct pool {
    const int64_t *tokens, *begin, *place; /* begin[n - 1]: where those of n tokens begin */
    int n_tokens, n_sizes, n_grams;
    int64_t shortest, longest, skips; /* skips: greatest distance of tokens */
};

static int64_t end_of(const struct pool *p, int size)
{
    return size < p->n_sizes ? p->begin[size] : p->n_tokens;
}

static bool read_pool(struct call *c, struct pool *p)
{
    p->n_tokens = attr_ints(c, "pool_int64s", &p->tokens);
    p->n_sizes = attr_ints(c, "ngram_counts", &p->begin);
    p->n_grams = attr_ints(c, "ngram_indexes", &p->place);
    p->shortest = attr_int(c, "min_gram_length", 1);
    p->longest = attr_int(c, "max_gram_length", 1);
    p->skips = attr_int(c, "max_skip_count", 0);
    int64_t grams = 0;
    if (c->failed)
        return false;
    if (p->shortest < 1 || p->longest < p->shortest || p->longest > p->n_sizes || p->skips < 0 ||
        __builtin_add_overflow(p->skips, 1, &p->skips))
        return call_error(c, "wrong lengths of n-grams");
    for (int size = 1; size <= p->n_sizes; size++) {
        int64_t begin = p->begin[size - 1], end = end_of(p, size);
        if (begin < 0 || end < begin || end > p->n_tokens || (end - begin) % size)
            return call_error(c, "ngram_counts[%d] does not fit the pool", size - 1);
        grams += (end - begin) / size;
    }
    if (grams != p->n_grams)
        return call_error(c, "%lld n-grams, but %d ngram_indexes", (long long)grams, p->n_grams);
    return true;
}

/* The tokens number k of all n-grams of this size, in x's type. */
static struct value *pool_column(struct call *c, const struct pool *p, int size, int k,
                                 enum dtype type)
{
    int64_t grams = (end_of(p, size) - p->begin[size - 1]) / size;
    int64_t *column = arena_array(c->b->g->arena, (size_t)grams + 1, sizeof *column);
    for (int64_t i = 0; i < grams; i++)
        column[i] = p->tokens[p->begin[size - 1] + i * size + k];
    return build_cast(c->b, build_constant(c->b, DT_I64, 1, &grams, column, NULL), type);
}

/* [rows, grams]: how often the n-grams of this size occur with tokens `skip` apart. */
static struct value *count_grams(struct call *c, const struct pool *p, struct value *x, int size,
                                 int64_t skip)
{
    struct value *hits = NULL;
    const struct dim *places =
        D(max, D(sub, x->shape[1], d_const(c, skip * (size - 1))), d_const(c, 0));
    for (int k = 0; k < size; k++) {
        struct value *tokens = build_slice_axis(c->b, x, 1, d_const(c, k * skip), places);
        struct value *gram = pool_column(c, p, size, k, x->type);
        struct value *hit = v_eq(c, build_unsqueeze(c->b, tokens, 4), gram);
        hits = k ? v_and(c, hits, hit) : hit;
    }
    return build_reduce(c->b, OP_reduce_sum, build_cast(c->b, hits, DT_F32), 2, false);
}

/* [rows, grams] for the n-grams of one size, over all skips. */
static struct value *count_size(struct call *c, const struct pool *p, struct value *x, int size,
                                int *comparisons)
{
    int64_t grams = (end_of(p, size) - p->begin[size - 1]) / size, length;
    const struct dim *shape[] = {x->shape[0], d_const(c, grams)};
    struct value *sum = build_expand(c->b, build_float(c->b, DT_F32, 0), 2, shape);
    if (size < p->shortest || size > p->longest || grams == 0)
        return sum;
    int64_t skips = size == 1 ? 1 : p->skips;
    if (size > 1 && dim_is_const(x->shape[1], &length) && skips > (length - 1) / (size - 1))
        skips = (length - 1) / (size - 1); /* more do not fit in the row */
    for (int64_t skip = 1; skip <= skips; skip++) {
        *comparisons += size;
        if (*comparisons > MOST_COMPARISONS) {
            call_unsupported(c, "n-grams and skips for more than %d comparisons", MOST_COMPARISONS);
            return NULL;
        }
        sum = v_add(c, sum, count_grams(c, p, x, size, skip));
    }
    return sum;
}

/* counts [rows, grams] → [rows, results]: each where ngram_indexes says. */
static struct value *place_counts(struct call *c, const struct pool *p, struct value *counts,
                                  int64_t results)
{
    const struct dim *shape[] = {counts->shape[0], d_const(c, results)};
    struct value *zero = build_expand(c->b, build_float(c->b, DT_F32, 0), 2, shape);
    struct value *index =
        build_expand(c->b, build_ints(c->b, p->n_grams, p->place), 2, counts->shape);
    union attr attr = {.scatter_elements = {1, COMBINE_ADD}};
    return zero && index ? build_tensor(c->b, OP_scatter_elements, 3,
                                        (struct value *[]){zero, index, counts}, &attr)
                         : NULL;
}

/* What the mode makes of the counts [rows, grams]. The weights are the pool's n-grams', as ONNX's
 * text has it (its reference implementation takes them for the results'). */
static struct value *weigh(struct call *c, struct value *counts, int64_t grams)
{
    static const char *const modes[] = {"TF", "IDF", "TFIDF", NULL};
    int mode = attr_choice(c, "mode", modes, 0);
    const Onnx__AttributeProto *a = call_attr(c, "weights", ONNX__ATTRIBUTE_PROTO__TYPE__FLOATS);
    if (c->failed)
        return NULL;
    if (mode == 1)
        counts = build_cast(c->b, v_lt(c, v_number(c, counts, 0), counts), DT_F32);
    if (mode == 0 || !a || a->n_floats == 0)
        return counts;
    if ((int64_t)a->n_floats != grams) {
        call_error(c, "%zu weights for %lld n-grams", a->n_floats, (long long)grams);
        return NULL;
    }
    return v_mul(c, counts, build_constant(c->b, DT_F32, 1, &grams, a->floats, NULL));
}

bool lower_tf_idf(struct call *c)
{
    struct value *x = c->in[0], *sizes[MAX_ELEMENTS];
    struct pool p;
    int64_t results = 0;
    int n = 0, comparisons = 0;
    if (x->rank > 2 || (x->type != DT_I32 && x->type != DT_I64))
        return call_error(c, "its operand must hold int32 or int64 and have a rank of at most 2");
    if (!read_pool(c, &p))
        return false;
    if (p.n_sizes > MAX_ELEMENTS)
        return call_unsupported(c, "n-grams of %d sizes", p.n_sizes);
    for (int i = 0; i < p.n_grams; i++) {
        if (p.place[i] < 0 || p.place[i] >= INT32_MAX)
            return call_error(c, "ngram_indexes[%d] is %lld", i, (long long)p.place[i]);
        results = p.place[i] >= results ? p.place[i] + 1 : results;
    }
    const struct dim *one = d_const(c, 1);
    const struct dim *row[] = {one, x->rank ? x->shape[0] : one};
    struct value *rows = x->rank == 2 ? x : build_reshape(c->b, x, 2, row);
    for (int size = 1; size <= p.n_sizes && rows; size++) {
        sizes[n] = count_size(c, &p, rows, size, &comparisons);
        if (!sizes[n++])
            return false;
    }
    struct value *counts = n ? build_concat(c->b, n, sizes, 1) : NULL;
    if (!counts)
        return n || call_error(c, "its pool is empty");
    counts = weigh(c, counts, p.n_grams);
    struct value *y = counts ? place_counts(c, &p, counts, results) : NULL;
    return call_result(c, x->rank == 2 ? y : build_squeeze(c->b, y, 1));
}
