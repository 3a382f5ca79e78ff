/*
 * A block of b is copied so that four columns of a row lie together, and four rows of the result by
 * four columns are summed in registers. Sums are the same as without blocks: each result's terms
 * are added one after the other, in their order.
 */
#include "eval_product.h"

enum {
    ROWS = PRODUCT_ROWS,
    COLUMNS = 4,
    DEPTH = 256, /* of a block: rows of b */
    BLOCK = 128, /* columns of a block */
    STRIP = DEPTH * COLUMNS
};

double *product_panel(struct eval_call *c)
{
    return scratch_reals(c, (int64_t)DEPTH * BLOCK);
}

static double element(const struct product *p, int64_t l, int64_t j)
{
    if (!p->at)
        return p->b[l * p->n + j];
    int64_t at = p->at[l % p->taps * p->n + j];
    return at < 0 ? 0 : p->b[l / p->taps * p->plane + at];
}

/* Rows from l and columns from j of b; strips are filled up with zeros. */
static void pack(const struct product *p, int64_t l, int64_t depth, int64_t j, int64_t columns)
{
    int64_t filled = (columns + COLUMNS - 1) / COLUMNS * COLUMNS;
    for (int64_t row = 0; row < depth; row++) {
        double *to = p->panel + row * COLUMNS;
        for (int64_t i = 0; i < filled; i++)
            to[i / COLUMNS * STRIP + i % COLUMNS] = i < columns ? element(p, l + row, j + i) : 0;
    }
}

static void add_tile(const struct product *p, int64_t i, int64_t j, int64_t l, int64_t depth,
                     const double *strip)
{
    int64_t columns = p->n - j < COLUMNS ? p->n - j : COLUMNS;
    const double *a = p->a + i * p->k + l, *b = a + p->k, *c = b + p->k, *d = c + p->k;
    double sums[ROWS][COLUMNS] = {{0}}, *to = p->to + i * p->n + j;
    for (int64_t row = 0; row < ROWS; row++)
        for (int64_t x = 0; x < columns; x++)
            sums[row][x] = to[row * p->n + x];
    for (int64_t step = 0; step < depth; step++)
        for (int x = 0; x < COLUMNS; x++) {
            double with = strip[step * COLUMNS + x];
            sums[0][x] += a[step] * with;
            sums[1][x] += b[step] * with;
            sums[2][x] += c[step] * with;
            sums[3][x] += d[step] * with;
        }
    for (int64_t row = 0; row < ROWS; row++)
        for (int64_t x = 0; x < columns; x++)
            to[row * p->n + x] = sums[row][x];
}

/* One row of the result, where fewer than a tile's are left. */
static void add_row(const struct product *p, int64_t i, int64_t j, int64_t l, int64_t depth,
                    const double *strip)
{
    int64_t columns = p->n - j < COLUMNS ? p->n - j : COLUMNS;
    for (int64_t x = 0; x < columns; x++) {
        double sum = p->to[i * p->n + j + x];
        for (int64_t step = 0; step < depth; step++)
            sum += p->a[i * p->k + l + step] * strip[step * COLUMNS + x];
        p->to[i * p->n + j + x] = sum;
    }
}

static void add_block(const struct product *p, int64_t l, int64_t depth, int64_t j, int64_t columns)
{
    pack(p, l, depth, j, columns);
    for (int64_t i = 0; i < p->m; i += i + ROWS <= p->m ? ROWS : 1)
        for (int64_t x = 0; x < columns; x += COLUMNS) {
            const double *strip = p->panel + x / COLUMNS * STRIP;
            if (i + ROWS <= p->m)
                add_tile(p, i, j + x, l, depth, strip);
            else
                add_row(p, i, j + x, l, depth, strip);
        }
}

void product_add(const struct product *p)
{
    for (int64_t l = 0; l < p->k; l += DEPTH)
        for (int64_t j = 0; j < p->n; j += BLOCK)
            add_block(p, l, p->k - l < DEPTH ? p->k - l : DEPTH, j,
                      p->n - j < BLOCK ? p->n - j : BLOCK);
}
