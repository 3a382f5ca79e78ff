/* The cells of RNN, GRU and LSTM: one step's gates, and the functions that shape them. */
#include "recurrent.h"

#include <string.h>
#include <strings.h>

/* --- Activations ----------------------------------------------------------------------------- */

enum kind {
    RELU,
    TANH,
    SIGMOID,
    AFFINE,
    LEAKY_RELU,
    THRESHOLDED_RELU,
    SCALED_TANH,
    HARD_SIGMOID,
    ELU,
    SOFTSIGN,
    SOFTPLUS,
};

static const struct {
    const char *name;
    bool alpha, beta; /* takes one of activation_alpha, of activation_beta */
    float values[2];  /* when there is none */
} kinds[] = {
    [RELU] = {"Relu", false, false, {0, 0}},
    [TANH] = {"Tanh", false, false, {0, 0}},
    [SIGMOID] = {"Sigmoid", false, false, {0, 0}},
    [AFFINE] = {"Affine", true, true, {1, 0}},
    [LEAKY_RELU] = {"LeakyRelu", true, false, {0.01f, 0}},
    [THRESHOLDED_RELU] = {"ThresholdedRelu", true, false, {1, 0}},
    [SCALED_TANH] = {"ScaledTanh", true, true, {1, 1}},
    [HARD_SIGMOID] = {"HardSigmoid", true, true, {0.2f, 0.5f}},
    [ELU] = {"Elu", true, false, {1, 0}},
    [SOFTSIGN] = {"Softsign", false, false, {0, 0}},
    [SOFTPLUS] = {"Softplus", false, false, {0, 0}},
};

static bool find_kind(struct call *c, const ProtobufCBinaryData *name, int *kind)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strlen(kinds[i].name) == name->len &&
            strncasecmp(kinds[i].name, (const char *)name->data, name->len) == 0) {
            *kind = (int)i;
            return true;
        }
    return call_error(c, "its activation '%.*s' is unknown", (int)name->len,
                      name->len ? (const char *)name->data : "");
}

bool read_activations(struct call *c, struct recurrence *r)
{
    static const int usual[][3] = {
        [GATES_RNN] = {TANH}, [GATES_GRU] = {SIGMOID, TANH}, [GATES_LSTM] = {SIGMOID, TANH, TANH}};
    const Onnx__AttributeProto *names =
        call_attr(c, "activations", ONNX__ATTRIBUTE_PROTO__TYPE__STRINGS);
    const Onnx__AttributeProto *list[2] = {
        call_attr(c, "activation_alpha", ONNX__ATTRIBUTE_PROTO__TYPE__FLOATS),
        call_attr(c, "activation_beta", ONNX__ATTRIBUTE_PROTO__TYPE__FLOATS)};
    size_t each = r->gates == GATES_LSTM ? 3 : r->gates == GATES_GRU ? 2 : 1, used[2] = {0, 0};
    size_t n = each * (size_t)r->directions;
    if (c->failed)
        return false;
    if (names && names->n_strings != n)
        return call_error(c, "%zu activations where %zu belong", names->n_strings, n);
    for (size_t i = 0; i < n; i++) {
        struct activation *a = &r->activations[i / each][i % each];
        a->kind = usual[r->gates][i % each];
        if (names && !find_kind(c, &names->strings[i], &a->kind))
            return false;
        /* The lists have entries only for functions that take one, in order. */
        const bool takes[2] = {kinds[a->kind].alpha, kinds[a->kind].beta};
        double *to[2] = {&a->alpha, &a->beta};
        for (int k = 0; k < 2; k++) {
            *to[k] = (double)kinds[a->kind].values[k];
            if (takes[k] && list[k] && used[k] < list[k]->n_floats)
                *to[k] = (double)list[k]->floats[used[k]++];
        }
    }
    return true;
}

static struct value *negative(struct call *c, struct value *x)
{
    return v_lt(c, x, v_number(c, x, 0));
}

static struct value *activate(struct call *c, const struct activation *a, struct value *x)
{
    struct builder *b = c->b;
    switch ((enum kind)a->kind) {
    case RELU: return v_max(c, x, v_number(c, x, 0));
    case TANH: return build_unary(b, OP_tanh, x);
    case SIGMOID: return build_unary(b, OP_sigmoid, x);
    case AFFINE: return v_add_number(c, v_mul_number(c, x, a->alpha), a->beta);
    case LEAKY_RELU: {
        struct value *bent = v_mul_number(c, x, a->alpha);
        return build_select(b, negative(c, x), bent, x);
    }
    case THRESHOLDED_RELU: {
        struct value *zero = v_number(c, x, 0);
        return build_select(b, v_lt(c, v_number(c, x, a->alpha), x), x, zero);
    }
    case SCALED_TANH:
        return v_mul_number(c, build_unary(b, OP_tanh, v_mul_number(c, x, a->beta)), a->alpha);
    case HARD_SIGMOID: {
        struct value *v = v_add_number(c, v_mul_number(c, x, a->alpha), a->beta);
        struct value *one = v_number(c, x, 1);
        return v_min(c, v_max(c, v, v_number(c, x, 0)), one);
    }
    case ELU: {
        struct value *bent = v_mul_number(c, build_unary(b, OP_expm1, x), a->alpha);
        return build_select(b, negative(c, x), bent, x);
    }
    case SOFTSIGN: return v_div(c, x, v_add_number(c, build_unary(b, OP_abs, x), 1));
    case SOFTPLUS: return build_unary(b, OP_softplus, x);
    }
    return NULL;
}

/* Function `which` of the cell of x [directions, batch, hidden]. */
static struct value *function(struct call *c, const struct recurrence *r, int which,
                              struct value *x)
{
    const struct activation *a = &r->activations[0][which], *b = &r->activations[1][which];
    struct value *one[2];
    if (r->directions == 1 || (a->kind == b->kind && a->alpha == b->alpha && a->beta == b->beta))
        return activate(c, a, x);
    for (int i = 0; i < 2; i++) {
        one[i] = build_slice_axis(c->b, x, 0, d_const(c, i), d_const(c, 1));
        one[i] = activate(c, i ? b : a, one[i]);
    }
    return build_concat(c->b, 2, one, 0);
}

/* The same for a gate: clipped before. */
static struct value *shaped(struct call *c, const struct recurrence *r, int which, struct value *x)
{
    if (r->clips) {
        struct value *most = v_number(c, x, r->clip);
        x = v_min(c, v_max(c, x, v_number(c, x, -r->clip)), most);
    }
    return function(c, r, which, x);
}

/* --- Cells ----------------------------------------------------------------------------------- */

/* Gates i to i + n of the last axis. */
static struct value *gates(struct call *c, const struct recurrence *r, struct value *x, int i,
                           int n)
{
    return x ? build_slice_axis(c->b, x, x->rank - 1, D(mul, d_const(c, i), r->hidden),
                                D(mul, d_const(c, n), r->hidden))
             : NULL;
}

static struct value *gate(struct call *c, const struct recurrence *r, struct value *x, int i)
{
    return gates(c, r, x, i, 1);
}

static struct value *product(struct call *c, const struct recurrence *r, struct value *h,
                             struct value *weights)
{
    return build_matmul(c->b, h, weights, r->wide);
}

static struct value *one_minus(struct call *c, struct value *x)
{
    return v_sub(c, v_number(c, x, 1), x);
}

static void rnn_step(struct call *c, const struct recurrence *r, struct step *s)
{
    s->h = shaped(c, r, 0, v_add(c, s->x, product(c, r, s->h, s->r)));
}

/* Gates z, r, h. */
static void gru_step(struct call *c, const struct recurrence *r, struct step *s)
{
    struct value *h = build_cast(c->b, s->h, r->wide), *candidate;
    /* The candidate's product is made of what the reset gate leaves, or reset itself. */
    struct value *weights = r->linear_before_reset ? s->r : gates(c, r, s->r, 0, 2);
    struct value *hr = product(c, r, s->h, weights);
    struct value *update_h = gate(c, r, hr, 0);
    struct value *update = shaped(c, r, 0, v_add(c, gate(c, r, s->x, 0), update_h));
    struct value *reset_h = gate(c, r, hr, 1);
    struct value *reset = shaped(c, r, 0, v_add(c, gate(c, r, s->x, 1), reset_h));
    if (r->linear_before_reset) {
        candidate = gate(c, r, hr, 2);
        if (s->reset_bias)
            candidate = v_add(c, candidate, s->reset_bias);
        candidate = v_mul(c, reset, candidate);
    } else {
        struct value *left = build_cast(c->b, v_mul(c, reset, h), r->type);
        candidate = product(c, r, left, gate(c, r, s->r, 2));
    }
    candidate = shaped(c, r, 1, v_add(c, gate(c, r, s->x, 2), candidate));
    struct value *kept = v_mul(c, update, h);
    s->h = v_add(c, v_mul(c, one_minus(c, update), candidate), kept);
}

/* v plus the cell's state weighted by row `which` (i, o, f) of the peepholes. */
static struct value *peep(struct call *c, const struct recurrence *r, const struct step *s,
                          struct value *v, int which, struct value *cell)
{
    if (!s->peephole)
        return v;
    struct value *weights = build_unsqueeze(c->b, gate(c, r, s->peephole, which), 1u << 1);
    return v_add(c, v, v_mul(c, weights, cell));
}

/* Gates i, o, f, c. The cell's new state is not clipped on its way to the output, as it is not in
 * ONNX Runtime; ONNX's text ("the input of activations") can be read either way. */
static void lstm_step(struct call *c, const struct recurrence *r, struct step *s)
{
    struct value *sum = v_add(c, s->x, product(c, r, s->h, s->r));
    struct value *in = shaped(c, r, 0, peep(c, r, s, gate(c, r, sum, 0), 0, s->c));
    struct value *forget = r->input_forget
                               ? one_minus(c, in)
                               : shaped(c, r, 0, peep(c, r, s, gate(c, r, sum, 2), 2, s->c));
    struct value *candidate = shaped(c, r, 1, gate(c, r, sum, 3));
    struct value *added = v_mul(c, in, candidate);
    s->c = v_add(c, v_mul(c, forget, s->c), added);
    struct value *out = shaped(c, r, 0, peep(c, r, s, gate(c, r, sum, 1), 1, s->c));
    s->h = v_mul(c, out, function(c, r, 2, s->c));
}

void recurrent_step(struct call *c, const struct recurrence *r, struct step *s)
{
    switch (r->gates) {
    case GATES_RNN: rnn_step(c, r, s); break;
    case GATES_GRU: gru_step(c, r, s); break;
    default: lstm_step(c, r, s); break;
    }
}
