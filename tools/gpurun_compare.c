/*
 * gpurun compare: a plan's run, value by value, against the reference evaluator of the model that
 * the plan was made from, or its outputs against a data set's.
 *
 * The evaluator gives the model's values in the order of the graph; the plan runs up to the step
 * that leaves the same value in memory. What it left before that is kept until its reference comes,
 * so that neither side's values are ever there all at once.
 */
#include "../frontend/frontend.h"
#include "gpurun.h"
#include "json_text.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* One value of the plan against its reference. */
struct divergence {
    bool compared;
    bool misshapen; /* its reference has other sizes */
    const char *name, *nodes;
    int step;                       /* -1: an output compared with a data set */
    struct text types;              /* "f16[1x64] (model f32)" */
    double usual;                   /* of the largest element: what rounding may do up to here */
    double limit;                   /* largest error allowed */
    double error, relative, cosine; /* largest |a - b|, of max |b|; of the angle */
    int64_t n, beyond;              /* elements, those with a larger error than allowed */
    int64_t first, worst;           /* the first of these (-1: none), and the one farthest off */
    double got[2], wanted[2];       /* of both */
};

struct compare {
    struct session *session;
    struct graph *reference;
    int n_taps, next;        /* taps run over */
    struct tensor *pending;  /* by tap: what it left, until the reference comes */
    bool *known;             /* by tap: the model has a value of that name */
    struct divergence *rows; /* by tap; or by output */
    int n_rows;
};

/* ---- numbers -------------------------------------------------------------------------------- */

/* What rounding to the type may do over the layers of a network, of the largest element. */
static double usual_error(enum dtype type)
{
    switch (type) {
    case DT_F64: return 1e-6;
    case DT_F32: return 1e-3;
    case DT_F16: return 2e-2;
    case DT_BF16: return 8e-2;
    default: return dtype_is_float(type) ? 0.25 : 0;
    }
}

static double distance(double a, double b)
{
    if (a == b || (isnan(a) && isnan(b)))
        return 0;
    double error = fabs(a - b);
    return isnan(error) ? INFINITY : error;
}

static void note_element(struct divergence *d, int which, int64_t i, double a, double b)
{
    *(which ? &d->worst : &d->first) = i;
    d->got[which] = a;
    d->wanted[which] = b;
}

static void measure(const struct gpurun_options *o, const struct tensor *got,
                    const struct tensor *wanted, struct divergence *d)
{
    double largest = 0, dot = 0, length_a = 0, length_b = 0;
    d->n = tensor_elements(got);
    d->first = d->worst = -1;
    for (int64_t i = 0; i < d->n; i++)
        if (isfinite(tensor_get_float(wanted, i)))
            largest = fmax(largest, fabs(tensor_get_float(wanted, i)));
    double step = dtype_is_float(got->type) ? 1e-7 : 1;
    d->limit = o->tolerance_given ? o->atol + o->rtol * largest : step + d->usual * largest;
    for (int64_t i = 0; i < d->n; i++) {
        double a = tensor_get_float(got, i), b = tensor_get_float(wanted, i);
        double error = distance(a, b);
        if (isfinite(a) && isfinite(b)) {
            dot += a * b;
            length_a += a * a;
            length_b += b * b;
        }
        if (error > d->limit && d->beyond++ == 0)
            note_element(d, 0, i, a, b);
        if (d->worst < 0 || error > d->error) {
            note_element(d, 1, i, a, b);
            d->error = error;
        }
    }
    d->relative = d->error == 0 ? 0 : largest > 0 ? d->error / largest : INFINITY;
    double lengths = sqrt(length_a) * sqrt(length_b);
    d->cosine = lengths > 0 ? dot / lengths : length_a == length_b ? 1 : 0;
    d->compared = true;
}

/* False, with the reason in types, where there is nothing to compare. */
static bool check_types(const struct tensor *got, const struct tensor *wanted, struct divergence *d)
{
    tensor_print_type(&d->types, got->type, got->rank, got->shape);
    bool same_shape = got->rank == wanted->rank &&
                      memcmp(got->shape, wanted->shape,
                             sizeof *got->shape * (size_t)(got->rank > 0 ? got->rank : 0)) == 0;
    if (same_shape && got->type == wanted->type)
        return true;
    text_printf(&d->types, ", model ");
    tensor_print_type(&d->types, wanted->type, wanted->rank, wanted->shape);
    d->misshapen = !same_shape;
    return same_shape;
}

/* ---- taps ----------------------------------------------------------------------------------- */

static bool read_tap(struct compare *c, int tap)
{
    struct gpucc_tap info;
    struct tensor *t = &c->pending[tap];
    enum gpucc_status status = gpucc_context_run_to_tap(c->session->context, tap);
    if (status == GPUCC_OK)
        status = gpucc_context_describe_tap(c->session->context, tap, &info);
    if (status != GPUCC_OK)
        return session_failed(c->session, status);
    if (!c->known[tap])
        return true;
    if (!tensor_make(c->session->diag, info.name, (enum dtype)info.dtype, info.rank, info.dims, t))
        return false;
    status = gpucc_context_read_tap(c->session->context, tap, t->data, t->size);
    return status == GPUCC_OK || session_failed(c->session, status);
}

static bool run_to(struct compare *c, int tap)
{
    while (c->next <= tap)
        if (!read_tap(c, c->next++))
            return false;
    return true;
}

/* A value of the model is there. */
static bool compare_value(void *context, const struct value *v, const struct tensor *wanted)
{
    struct compare *c = context;
    for (int tap = 0; tap < c->n_taps; tap++) {
        struct divergence *d = &c->rows[tap];
        if (d->compared || strcmp(d->name, v->name) != 0)
            continue;
        if (!run_to(c, tap))
            return false;
        if (check_types(&c->pending[tap], wanted, d))
            measure(c->session->options, &c->pending[tap], wanted, d);
        tensor_free(&c->pending[tap]);
        c->pending[tap] = (struct tensor){0};
    }
    return true;
}

static void mark_known(struct compare *c)
{
    for (const struct node *node = c->reference->first; node; node = node->next)
        for (int i = 0; i < node->n_out; i++)
            for (int tap = 0; tap < c->n_taps && node->out[i]->name; tap++)
                c->known[tap] |= strcmp(c->rows[tap].name, node->out[i]->name) == 0;
}

static bool prepare_taps(struct compare *c)
{
    size_t n = (size_t)gpucc_context_tap_count(c->session->context);
    c->pending = calloc(n + 1, sizeof *c->pending);
    c->known = calloc(n + 1, sizeof *c->known);
    c->rows = calloc(n + 1, sizeof *c->rows);
    if (!c->pending || !c->known || !c->rows) {
        diag_error(c->session->diag, STATUS_LIMIT, NULL, "out of memory");
        return false;
    }
    c->n_taps = c->n_rows = (int)n;
    for (int i = 0; i < c->n_taps; i++) {
        struct gpucc_tap info;
        enum gpucc_status status = gpucc_context_describe_tap(c->session->context, i, &info);
        if (status != GPUCC_OK)
            return session_failed(c->session, status);
        c->rows[i].name = info.name;
        c->rows[i].nodes = info.nodes;
        c->rows[i].step = info.step;
        c->rows[i].usual = usual_error((enum dtype)info.dtype);
        if (i > 0 && c->rows[i - 1].usual > c->rows[i].usual) /* what narrower types did before */
            c->rows[i].usual = c->rows[i - 1].usual;
    }
    mark_known(c);
    return true;
}

/* The plan's inputs in the order of the model's. */
static bool order_inputs(struct compare *c, struct tensor *inputs)
{
    const struct graph *g = c->reference;
    for (int i = 0; i < g->n_inputs; i++) {
        const char *name = g->inputs[i]->name ? g->inputs[i]->name : "";
        int at = gpucc_plan_find_input(c->session->plan, name);
        if (at < 0 || c->session->inputs[at].type != g->inputs[i]->type) {
            diag_error(c->session->diag, STATUS_USAGE, c->session->options->reference,
                       "the plan has no input '%s' of its type: was it made of this model, without "
                       "--freeze and --io?",
                       name);
            return false;
        }
        inputs[i] = c->session->inputs[at];
    }
    return true;
}

static bool compare_values(struct compare *c)
{
    struct tensor *inputs = calloc((size_t)c->reference->n_inputs + 1, sizeof *inputs);
    bool done = inputs != NULL;
    if (!done)
        diag_error(c->session->diag, STATUS_LIMIT, NULL, "out of memory");
    done = done && order_inputs(c, inputs) && prepare_taps(c) &&
           eval_visit(c->reference, inputs, compare_value, c);
    free(inputs);
    return done;
}

/* ---- outputs against a data set ------------------------------------------------------------- */

static bool compare_output(struct compare *c, int output)
{
    struct divergence *d = &c->rows[output];
    struct gpucc_value_info info;
    struct text path = {0};
    struct tensor got = {0}, wanted = {0};
    gpucc_plan_describe_output(c->session->plan, output, &info);
    *d = (struct divergence){.name = info.name, .nodes = "", .step = -1};
    text_printf(&path, "%s/output_%d.pb", c->session->options->reference, output);
    struct tensor_want want = {info.name, DT_NONE, -1, NULL};
    bool done = !path.failed && session_output(c->session, output, &got) &&
                tensor_read(c->session->diag, path.data, &want, &wanted);
    d->usual = usual_error(got.type);
    if (done && check_types(&got, &wanted, d))
        measure(c->session->options, &got, &wanted, d);
    tensor_free(&got);
    tensor_free(&wanted);
    text_free(&path);
    return done;
}

static bool compare_outputs(struct compare *c)
{
    c->n_rows = c->session->n_outputs;
    c->rows = calloc((size_t)c->n_rows + 1, sizeof *c->rows);
    if (!c->rows) {
        diag_error(c->session->diag, STATUS_LIMIT, NULL, "out of memory");
        return false;
    }
    bool done = session_run(c->session);
    for (int i = 0; i < c->n_rows && done; i++)
        done = compare_output(c, i);
    return done;
}

/* ---- report --------------------------------------------------------------------------------- */

/* "[0, 3, 1]" of a tensor whose type text ends in "[1x4x2]". */
static void print_element(const struct divergence *d, const char *what, int which)
{
    printf("        %s: element %" PRId64 " is %.7g, not %.7g\n", what, which ? d->worst : d->first,
           d->got[which], d->wanted[which]);
}

static void print_row(const struct divergence *d)
{
    if (d->step >= 0)
        gpurun_print("%4d  ", d->step);
    else
        gpurun_print("      ");
    gpurun_print("%s %s", d->name, d->types.data ? d->types.data : "");
    if (!d->compared) {
        gpurun_print(": not compared%s\n", d->types.data ? "" : ", the model has no such value");
        return;
    }
    gpurun_print(": absolute %.3g, relative %.3g, cosine %.7f%s%s\n", d->error, d->relative,
                 d->cosine, *d->nodes ? "; " : "", d->nodes);
    if (d->beyond > 0) {
        gpurun_print("        %" PRId64 " of %" PRId64 " elements are off by more than %.3g\n",
                     d->beyond, d->n, d->limit);
        print_element(d, "first", 0);
    }
    if (d->error > 0)
        print_element(d, "worst", 1);
}

static void print_json(const struct compare *c)
{
    struct json json = {0};
    json_open(&json, NULL, '[');
    for (int i = 0; i < c->n_rows; i++) {
        const struct divergence *d = &c->rows[i];
        json_open(&json, NULL, '{');
        json_int(&json, "step", d->step);
        json_string(&json, "value", d->name);
        json_string(&json, "nodes", d->nodes);
        json_string(&json, "type", d->types.data ? d->types.data : "");
        json_bool(&json, "compared", d->compared);
        json_real(&json, "absolute", d->error);
        json_real(&json, "relative", d->relative);
        json_real(&json, "cosine", d->cosine);
        json_int(&json, "beyond", d->beyond);
        json_int(&json, "first", d->first);
        json_int(&json, "worst", d->worst);
        json_close(&json, '}');
    }
    json_close(&json, ']');
    fputs(json.text.failed ? "" : json.text.data, stdout);
    text_free(&json.text);
}

static void report(struct compare *c)
{
    const struct gpurun_options *o = c->session->options;
    const struct divergence *first = NULL, *worst = NULL;
    int compared = 0;
    for (int i = 0; i < c->n_rows; i++) {
        const struct divergence *d = &c->rows[i];
        if (!o->json)
            print_row(d);
        first = !first && (d->beyond > 0 || d->misshapen) ? d : first;
        if (!d->compared)
            continue;
        compared++;
        worst = !worst || d->relative > worst->relative ? d : worst;
    }
    if (o->json) {
        print_json(c);
    } else {
        gpurun_print("%d of %d values compared\n", compared, c->n_rows);
        if (worst && worst->error > 0)
            gpurun_print("worst: %s, relative %.3g%s%s\n", worst->name, worst->relative,
                         *worst->nodes ? ", by " : "", worst->nodes);
        if (first)
            gpurun_print("first that diverges: %s%s%s\n", first->name, *first->nodes ? ", by " : "",
                         first->nodes);
        else if (compared > 0)
            gpurun_print("nothing diverges\n");
    }
    if (compared == 0)
        diag_error(c->session->diag, STATUS_USAGE, o->reference, "no value of it is in the plan");
    else if (first && o->tolerance_given && first->misshapen)
        diag_error(c->session->diag, STATUS_TOLERANCE, o->plan, "'%s' has other sizes: %s",
                   first->name, first->types.data ? first->types.data : "");
    else if (first && o->tolerance_given)
        diag_error(c->session->diag, STATUS_TOLERANCE, o->plan,
                   "'%s' is off by %.3g, more than %.3g", first->name, first->error, first->limit);
}

static bool against_model(struct compare *c)
{
    struct session *session = c->session;
    jmp_buf oom;
    struct arena arena = {.on_oom = &oom};
    struct model *model = model_open(session->diag, session->options->reference);
    bool done = false;
    if (setjmp(oom))
        diag_error(session->diag, STATUS_LIMIT, NULL, "out of memory");
    else if (model)
        c->reference = frontend_load(&arena, session->diag, model, NULL);
    if (c->reference && session->diag->errors == 0)
        done = session_inputs_from_options(session, true) && compare_values(c);
    arena_free(&arena);
    model_close(model);
    return done;
}

bool gpurun_compare(struct session *session)
{
    struct compare c = {.session = session};
    struct stat status;
    const char *reference = session->options->reference;
    bool folder = stat(reference, &status) == 0 && S_ISDIR(status.st_mode);
    bool done = folder ? session_inputs_from_folder(session, reference) && compare_outputs(&c)
                       : against_model(&c);
    if (done)
        report(&c);
    for (int i = 0; i < c.n_rows && c.rows; i++)
        text_free(&c.rows[i].types);
    for (int i = 0; i < c.n_taps && c.pending; i++)
        tensor_free(&c.pending[i]);
    free(c.pending);
    free(c.known);
    free(c.rows);
    return done && session->diag->status == STATUS_OK;
}
