/* Random inputs, and comparing with the reference evaluator. */
#include "case.h"
#include "../../ir/scalar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- Numbers -------------------------------------------------------------------------------- */

static uint64_t random_bits(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state * 0x2545f4914f6cdd1dull >> 16;
}

static void set_element(const struct tensor *t, int64_t i, double x)
{
    unsigned char *at = (unsigned char *)t->data + (size_t)i * dtype_size(t->type);
    float f = (float)x;
    int64_t n = (int64_t)x;
    uint16_t half;
    uint8_t small;
    switch (t->type) {
    case DT_F32: memcpy(at, &f, 4); break;
    case DT_F64: memcpy(at, &x, 8); break;
    case DT_F16:
        half = float_to_f16(f);
        memcpy(at, &half, 2);
        break;
    case DT_BF16:
        half = float_to_bf16(f);
        memcpy(at, &half, 2);
        break;
    case DT_F8E4M3FN:
        small = (uint8_t)small_encode(f, small_f8e4m3fn, true);
        *at = small;
        break;
    case DT_F8E4M3FNUZ:
        small = (uint8_t)small_encode(f, small_f8e4m3fnuz, true);
        *at = small;
        break;
    case DT_F8E5M2:
        small = (uint8_t)small_encode(f, small_f8e5m2, true);
        *at = small;
        break;
    case DT_F8E5M2FNUZ:
        small = (uint8_t)small_encode(f, small_f8e5m2fnuz, true);
        *at = small;
        break;
    case DT_F4E2M1:
        small = (uint8_t)small_encode(f, small_f4e2m1, true);
        *at = small;
        break;
    default: memcpy(at, &n, dtype_size(t->type)); break; /* little-endian */
    }
}

/* Floats in [-2, 2), integers in [-8, 8) or [0, 16), small ones within their range. */
static void fill(struct tensor *t, uint64_t *state)
{
    int64_t n = tensor_elements(t);
    for (int64_t i = 0; i < n; i++) {
        uint64_t bits = random_bits(state);
        double x = (double)(bits % 4096) / 1024 - 2;
        if (dtype_info[t->type].cls == DC_B)
            x = (double)(bits % 2);
        else if (dtype_is_int(t->type)) {
            int64_t range = dtype_info[t->type].bits < 4 ? 4 : 16;
            x = (double)(bits % (uint64_t)range);
            x -= dtype_info[t->type].cls == DC_S ? (double)(range / 2) : 0;
        }
        set_element(t, i, x);
    }
}

/* Largest error allowed, relative to the element and to the largest element. */
static double tolerance(enum dtype type)
{
    switch (type) {
    case DT_F64: return 1e-12;
    case DT_F32: return 1e-5;
    case DT_F16: return 4e-3;
    case DT_BF16: return 3e-2;
    default: return dtype_is_float(type) ? 0.26 : 0;
    }
}

/* Attention in tf32 rounds the weights of values, too, which the evaluator keeps as they are. */
static double rounding_of(const struct graph *g)
{
    const double half_unit = 1.0 / (1 << 11);
    for (const struct node *node = g->first; node; node = node->next)
        if (node->op == OP_attention && node->math == MATH_TF32)
            return half_unit;
    return 0;
}

bool case_compare(const struct graph *g, const struct tensor *expected, const struct tensor *found,
                  const char *name)
{
    int64_t n = tensor_elements(expected);
    double largest = 0, allowed = fmax(tolerance(expected->type), rounding_of(g));
    for (int64_t i = 0; i < n; i++) {
        double x = fabs(tensor_get_float(expected, i));
        largest = isfinite(x) && x > largest ? x : largest;
    }
    for (int64_t i = 0; i < n; i++) {
        double x = tensor_get_float(expected, i), y = tensor_get_float(found, i);
        bool same =
            dtype_is_float(expected->type)
                ? (isnan(x) && isnan(y)) || x == y || fabs(x - y) <= allowed * (fabs(x) + largest)
                : tensor_get_int(expected, i) == tensor_get_int(found, i);
        if (!same) {
            fprintf(stderr, "%s: element %lld of %lld is %.9g, not %.9g\n", name, (long long)i,
                    (long long)n, y, x);
            return false;
        }
    }
    return true;
}

/* --- Symbols -------------------------------------------------------------------------------- */

/* Every free symbol becomes a dim of an input: one that has it, or a new one made for it. */
static void source_symbols(struct graph *g)
{
    for (int s = 0; s < g->root->n_symbols; s++) {
        const struct dim *d = dim_symbol_at(g->dims, s);
        for (int i = 0; i < g->n_inputs && g->root->symbols[s].kind == SYMBOL_FREE; i++)
            for (int axis = 0; axis < g->inputs[i]->rank; axis++)
                if (g->inputs[i]->shape[axis] == d)
                    g->root->symbols[s] =
                        (struct symbol_source){SYMBOL_INPUT_DIM, i, axis, NULL, 0};
        if (g->root->symbols[s].kind != SYMBOL_FREE)
            continue;
        struct value *v = graph_add_input(g, dim_symbol_name(g->dims, s), DT_BOOL, 1, &d);
        g->root->symbols[s] = (struct symbol_source){SYMBOL_INPUT_DIM, v->index, 0, NULL, 0};
    }
}

static void choose_symbols(const struct graph *g, int64_t base, int64_t *symbols)
{
    for (int s = 0; s < g->root->n_symbols; s++) {
        int64_t least, most, size = base > 1 ? base + 3 * s : base;
        dim_bounds(dim_symbol_at(g->dims, s), &least, &most);
        symbols[s] = size < least ? least : size > most ? most : size;
    }
}

/* Inputs whose elements are symbols hold the values chosen for them. */
static void set_elements(const struct graph *g, const int64_t *symbols, struct tensor *inputs)
{
    for (int s = 0; s < g->root->n_symbols; s++) {
        const struct symbol_source *source = &g->root->symbols[s];
        if (source->kind == SYMBOL_ELEMENT && !source->value->def &&
            source->element < tensor_elements(&inputs[source->value->index]))
            set_element(&inputs[source->value->index], source->element, (double)symbols[s]);
    }
}

static bool constraints_hold(const struct graph *g, const int64_t *symbols)
{
    for (const struct constraint *c = g->constraints; c; c = c->next) {
        int64_t a, b;
        if (!dim_eval(c->a, symbols, &a) || !dim_eval(c->b, symbols, &b))
            return false;
        bool holds = c->kind == MUST_LESS_EQUAL ? a <= b
                     : c->kind == MUST_EQUAL    ? a == b
                                                : a == b || a == 1;
        if (!holds)
            return false;
    }
    return true;
}

/* --- A case --------------------------------------------------------------------------------- */

bool case_shape(const struct graph_case *c, const struct value *v, struct tensor *t)
{
    size_t n = 1;
    *t = (struct tensor){.type = v->type, .rank = v->rank};
    for (int i = 0; i < v->rank; i++) {
        if (!dim_eval(v->shape[i], c->symbols, &t->shape[i]) || t->shape[i] < 0)
            return false;
        n *= (size_t)t->shape[i];
    }
    t->size = n * dtype_size(v->type);
    return true;
}

static bool make_inputs(struct graph_case *c)
{
    uint64_t state = 88172645463325252ull;
    c->inputs = ARENA_ARRAY(c->g->arena, (size_t)c->g->n_inputs + 1, struct tensor);
    for (int i = 0; i < c->g->n_inputs; i++) {
        if (!case_shape(c, c->g->inputs[i], &c->inputs[i]))
            return false;
        c->inputs[i].data = calloc(c->inputs[i].size + 1, 1);
        if (!c->inputs[i].data)
            return false;
        fill(&c->inputs[i], &state);
    }
    set_elements(c->g, c->symbols, c->inputs);
    return true;
}

bool case_make(struct graph_case *c, struct arena *arena, struct diag *diag, const char *file,
               const struct text *text, int64_t base, bool *possible)
{
    *c = (struct graph_case){.g = graph_parse(arena, diag, file, text->data, text->length)};
    if (!c->g)
        return false;
    source_symbols(c->g);
    c->symbols = ARENA_ARRAY(arena, (size_t)c->g->root->n_symbols + 64, int64_t);
    choose_symbols(c->g, base, c->symbols);
    *possible = constraints_hold(c->g, c->symbols);
    if (!*possible)
        return true;
    struct tensor *expected = ARENA_ARRAY(arena, (size_t)c->g->n_outputs + 1, struct tensor);
    if (!make_inputs(c) || !eval_graph(c->g, c->inputs, expected))
        return false;
    c->expected = expected;
    return true;
}

void case_free(struct graph_case *c)
{
    for (int i = 0; c->inputs && i < c->g->n_inputs; i++)
        free(c->inputs[i].data);
    for (int i = 0; c->expected && i < c->g->n_outputs; i++)
        tensor_free(&c->expected[i]);
}

/* --- Files and faults ----------------------------------------------------------------------- */

bool case_read_file(const char *path, struct text *text)
{
    char chunk[4096];
    FILE *file = fopen(path, "rb");
    if (!file)
        return false;
    for (size_t n; (n = fread(chunk, 1, sizeof chunk, file)) > 0;)
        text_append(text, chunk, n);
    bool ok = !ferror(file) && text->length > 0;
    fclose(file);
    return ok;
}

void case_print_diag(const struct diag *diag)
{
    for (const struct diag_message *m = diag->first; m; m = m->next)
        fprintf(stderr, "%s: %s\n", m->where ? m->where : "error", m->text);
}
