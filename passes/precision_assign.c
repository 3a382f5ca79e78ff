/* What was asked for, node by node; and which constants fit a type. */
#include "precision_rules.h"

#include "passes.h"

#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

const char *const precision_names[PRECISION_COUNT] = {"model", "fp32", "fp32x3", "tf32",
                                                      "fp16",  "bf16", "fp8",    "auto"};

enum precision_level precision_parse(const char *name)
{
    for (int i = PRECISION_FP32; i < PRECISION_COUNT; i++)
        if (!strcmp(name, precision_names[i]))
            return (enum precision_level)i;
    return PRECISION_COUNT;
}

bool precision_changes(const struct precision *precision)
{
    return precision && ((precision->wanted != PRECISION_MODEL || precision->n_rules ||
                          precision->load || precision->save));
}

bool precision_is_float(enum dtype type)
{
    return type == DT_F32 || type == DT_F16 || type == DT_BF16;
}

int narrow_index(enum dtype type)
{
    return type == DT_F16 ? 1 : type == DT_BF16 ? 2 : 0;
}

enum dtype precision_type(enum precision_level precision, enum dtype original)
{
    switch (precision) {
    case PRECISION_FP32:
    case PRECISION_FP32X3:
    case PRECISION_TF32: return DT_F32;
    case PRECISION_FP16:
    case PRECISION_FP8: return DT_F16;
    case PRECISION_BF16: return DT_BF16;
    default: return original;
    }
}

bool precision_lowers(enum dtype type, enum dtype original)
{
    return dtype_info[type].bits < dtype_info[original].bits;
}

const char *precision_kept_type(const struct assignment *a)
{
    return a->raised ? "f32" : "the model's type";
}

bool is_contraction(const struct node *node)
{
    return op_info[node->op].class == OC_CONTRACT;
}

bool multiplies(const struct node *node)
{
    return is_contraction(node) || node->op == OP_attention;
}

bool precision_rounds(const struct assignment *a, const struct node *node)
{
    enum precision_level precision = choice_of(a, node)->precision;
    enum dtype original = node_float_type(a, node);
    if (original == DT_NONE)
        return false;
    return precision_lowers(precision_type(precision, original), original) ||
           (precision == PRECISION_TF32 && original == DT_F32 && multiplies(node));
}

bool precision_keeps_operand(const struct node *node, int operand)
{
    return node->op == OP_attention && operand == 3;
}

struct value_facts *facts_of(const struct assignment *a, const struct value *v)
{
    return &a->facts[v->id];
}

struct choice *choice_of(const struct assignment *a, const struct node *node)
{
    return node->n_out && !node->body[0] ? &a->choices[node->out[0]->id] : NULL;
}

enum dtype node_float_type(const struct assignment *a, const struct node *node)
{
    for (int i = 0; i < node->n_out; i++)
        if (precision_is_float(facts_of(a, node->out[i])->original))
            return facts_of(a, node->out[i])->original;
    for (int i = 0; i < node->n_in; i++)
        if (precision_is_float(facts_of(a, node->in[i])->original))
            return facts_of(a, node->in[i])->original;
    return DT_NONE;
}

enum dtype node_type(const struct assignment *a, const struct node *node)
{
    const struct choice *choice = choice_of(a, node);
    enum dtype original = node_float_type(a, node);
    if (!choice || choice->natural || original == DT_NONE)
        return original;
    return precision_type(choice->precision, original);
}

/* ---- Constants ----------------------------------------------------------------------------- */

/* Below views, whose elements are the operand's: what is to be evaluated. */
static struct value *under_views(struct value *v)
{
    while (v->def && op_info[v->def->op].class == OC_VIEW && v->def->n_in == 1)
        v = v->def->in[0];
    return v;
}

static double greatest_magnitude(const struct tensor *t)
{
    double most = 0;
    for (int64_t i = 0, n = tensor_elements(t); i < n; i++) {
        double x = fabs(tensor_get_float(t, i));
        if (isfinite(x) && x > most)
            most = x;
    }
    return most;
}

/* Can it be evaluated before the plan runs? */
static bool is_evaluable(const struct value *v)
{
    int64_t n;
    const struct node *node = v->def;
    if (!node || node->body[0] || !value_elements_const(v, &n) || !pass_knows_attributes(node))
        return false;
    if (node->op == OP_constant)
        return node->attr.constant.data->bytes || node->attr.constant.data->file;
    for (int i = 0; i < node->n_in; i++)
        if (!is_evaluable(node->in[i]))
            return false;
    return true;
}

static enum fit fit_of_magnitude(double magnitude, enum dtype type)
{
    static const double most[NARROW_TYPES] = {INFINITY, 65504, 3.3895313892515355e38};
    static const double least[NARROW_TYPES] = {0, 0x1p-14, 0x1p-126};
    int i = narrow_index(type);
    if (magnitude > most[i])
        return FIT_TOO_LARGE;
    return magnitude > 0 && magnitude < least[i] ? FIT_TOO_SMALL : FIT_GOOD;
}

static enum fit worse(enum fit a, enum fit b)
{
    return a > b ? a : b;
}

enum fit constant_fit(struct assignment *a, struct value *v, enum dtype type)
{
    struct value_facts *f = facts_of(a, v);
    enum fit *known = &f->fit[narrow_index(type)];
    struct value *source = under_views(v);
    if (*known != FIT_UNASKED)
        return *known;
    *known = FIT_GOOD;
    const struct node *node = source->def;
    bool parts =
        node && (op_info[node->op].class == OC_VIEW || op_info[node->op].class == OC_GATHER);
    if (source != v || parts) { /* no part is worse than the whole */
        int n = source != v ? 1 : node->op == OP_concat || node->op == OP_pad ? node->n_in : 1;
        for (int i = 0; i < n; i++) {
            struct value *part = source != v ? source : node->in[i];
            enum fit fit = constant_fit(a, part, type);
            *known = worse(*known, fit);
            f->magnitude = fmax(f->magnitude, facts_of(a, part)->magnitude);
        }
        return *known;
    }
    struct tensor t;
    if (!is_evaluable(v))
        return *known = FIT_UNDECIDED;
    if (!eval_constant(a->g, v, &t))
        return *known = FIT_UNDECIDED;
    f->magnitude = greatest_magnitude(&t);
    tensor_free(&t);
    for (enum dtype each = 0; each < DT_COUNT; each++)
        if (precision_is_float(each))
            f->fit[narrow_index(each)] = fit_of_magnitude(f->magnitude, each);
    return *known;
}

/* ---- --keep -------------------------------------------------------------------------------- */

/* Does the pattern match a node or an operator of "conv1 (Conv), relu1 (Relu)"? */
static bool matches_origin(const char *pattern, const char *origin, char *word)
{
    while (origin && *origin) {
        const char *end = strstr(origin, "), ");
        size_t length = end ? (size_t)(end - origin) + 1 : strlen(origin);
        const char *open = NULL;
        for (size_t i = 0; i + 1 < length; i++)
            if (origin[i] == ' ' && origin[i + 1] == '(')
                open = origin + i;
        size_t name = open ? (size_t)(open - origin) : length;
        snprintf(word, name + 1, "%s", origin);
        if (!fnmatch(pattern, word, 0))
            return true;
        if (open && length > name + 3) {
            snprintf(word, length - name - 2, "%s", open + 2);
            if (!fnmatch(pattern, word, 0))
                return true;
        }
        origin += length + (end ? 2 : 0);
    }
    return false;
}

static bool rule_matches(const struct precision_rule *rule, const struct node *node, char *word)
{
    return !fnmatch(rule->pattern, op_info[node->op].name, 0) ||
           matches_origin(rule->pattern, node->origin, word);
}

static void choose_graph(struct assignment *a, const struct graph *g, bool *matched, char *word)
{
    for (struct node *node = g->first; node; node = node->next) {
        struct choice *choice = choice_of(a, node);
        for (int i = 0; i < a->wanted->n_rules; i++) {
            const struct precision_rule *rule = &a->wanted->rules[i];
            if (!rule_matches(rule, node, word))
                continue;
            matched[i] = true;
            if (choice) {
                choice->precision = rule->precision;
                choice->explicit = true;
                choice->pattern = rule->pattern;
            }
        }
        for (int i = 0; i < 2; i++)
            if (node->body[i])
                choose_graph(a, node->body[i], matched, word);
    }
}

static size_t longest_origin(const struct graph *g)
{
    size_t most = 0;
    for (const struct node *node = g->first; node; node = node->next) {
        size_t length = node->origin ? strlen(node->origin) : 0;
        most = length > most ? length : most;
        for (int i = 0; i < 2; i++)
            if (node->body[i] && (length = longest_origin(node->body[i])) > most)
                most = length;
    }
    return most;
}

struct assignment *precision_assign(struct graph *g)
{
    struct assignment *a = ARENA_NEW(g->arena, struct assignment);
    const struct precision *wanted = g->precision;
    graph_renumber(g);
    *a = (struct assignment){.g = g, .wanted = wanted, .n = g->next_id};
    a->facts = ARENA_ARRAY(g->arena, (size_t)a->n + 1, struct value_facts);
    a->choices = ARENA_ARRAY(g->arena, (size_t)a->n + 1, struct choice);
    for (uint32_t i = 0; i < a->n; i++)
        a->choices[i] = (struct choice){.precision = wanted->wanted, .layer = -1};
    bool *matched = ARENA_ARRAY(g->arena, (size_t)wanted->n_rules + 1, bool);
    char *word = ARENA_ARRAY(g->arena, longest_origin(g) + 2, char);
    choose_graph(a, g, matched, word);
    for (int i = 0; i < wanted->n_rules; i++)
        if (!matched[i]) {
            diag_error(g->diag, STATUS_USAGE, NULL, "--keep: no node, operator or op matches '%s'",
                       wanted->rules[i].pattern);
            a = NULL;
        }
    return a;
}
