/* Rounding as lower precisions do, with the conversions of scalar.h. */
#include "eval_round.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 1024 };

/* Ties away from zero, as cvt.rna.tf32.f32 does. */
static void round_tf32(float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        if ((bits >> 23 & 0xff) != 0xff)
            bits = (bits + 0x1000) & ~UINT32_C(0x1fff);
        memcpy(&x[i], &bits, sizeof bits);
    }
}

static void round_floats(float *x, int64_t n, enum eval_rounding rounding)
{
    static const enum dtype types[] = {[ROUND_F16] = DT_F16,
                                       [ROUND_BF16] = DT_BF16,
                                       [ROUND_F8] = DT_F8E4M3FN,
                                       [ROUND_F8_WEIGHTS] = DT_F8E4M3FN};
    uint16_t narrow[BLOCK];
    if (rounding == ROUND_TF32) {
        round_tf32(x, n);
        return;
    }
    enum dtype type = types[rounding];
    store_floats(narrow, type, x, n, true);
    load_floats(x, narrow, type, (int64_t)dtype_size(type), n);
}

/* Which channel of the contraction's result a weight belongs to. */
static int64_t channel_of(const struct node *node, const struct array *w, int64_t i)
{
    int64_t columns = w->shape[w->rank - 1];
    if (node->op != OP_matmul)
        return i / span(w, 1, w->rank);
    return i / (columns * w->shape[w->rank - 2]) * columns + i % columns;
}

static void round_weights(struct eval_call *c, struct array *w)
{
    int64_t n = array_elements(w), width = (int64_t)dtype_size(w->type);
    double *most = scratch_reals(c, n + 1); /* more channels than weights there are not */
    for (int64_t i = 0; i < n; i++) {
        float x;
        load_floats(&x, w->data + i * width, w->type, width, 1);
        int64_t channel = channel_of(c->node, w, i);
        most[channel] = fmax(most[channel], fabs((double)x));
    }
    for (int64_t i = 0; i < n; i++) {
        float x;
        load_floats(&x, w->data + i * width, w->type, width, 1);
        float scale = (float)fmax(most[channel_of(c->node, w, i)], 0x1p-100) * (float)(1 / 448.0);
        x /= scale;
        round_floats(&x, 1, ROUND_F8);
        x *= scale;
        store_floats(w->data + i * width, w->type, &x, 1, true);
    }
}

void array_round(struct eval_call *c, struct array *a, enum eval_rounding rounding)
{
    int64_t n = array_elements(a), width = (int64_t)dtype_size(a->type);
    float block[BLOCK];
    if (rounding == ROUND_NONE || !dtype_is_float(a->type) || a->type == DT_F64)
        return;
    if (!a->buffer->owned || a->buffer->arrays > 1 || !array_is_dense(a)) {
        struct array copy = *a;
        array_set_dense(&copy);
        copy.buffer = NULL;
        array_alloc(c, &copy);
        array_copy(&copy, a);
        array_release(a);
        *a = copy;
    }
    if (rounding == ROUND_F8_WEIGHTS && a->rank >= 2) {
        round_weights(c, a);
        return;
    }
    for (int64_t i = 0; i < n; i += BLOCK) {
        int64_t length = n - i < BLOCK ? n - i : BLOCK;
        load_floats(block, a->data + i * width, a->type, width, length);
        round_floats(block, length, rounding);
        store_floats(a->data + i * width, a->type, block, length, true);
    }
}
