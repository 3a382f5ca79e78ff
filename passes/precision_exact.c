/*
 * What is needed exactly, found from its readers back to what makes it: angles, whose fraction is
 * lost with their size; places to read from or write to, which a rounding moves to the neighbour;
 * what becomes an integer or f64; what scales sums of integers.
 *
 * The need goes through maps, views and gathers, and through one product: its operands are needed
 * exactly, too, but not the products that they come from (or whole networks would stay).
 */
#include "precision_rules.h"

static const char *const reasons[] = {
    [NEED_F64] = "it becomes f64",
    [NEED_INTEGER] = "it becomes an integer",
    [NEED_PLACE] = "it becomes a place to read or write, whose fraction is lost with its size",
    [NEED_ANGLE] = "an angle's fraction is lost with its size",
    [NEED_SCALE] = "it scales sums of integers",
};

static bool is_float_value(const struct assignment *a, const struct value *v)
{
    return precision_is_float(facts_of(a, v)->original);
}

/* A map, or moves elements: the result is made of elements of the operands. */
static bool passes_on(const struct node *node)
{
    return op_info[node->op].class == OC_SCALAR || moves_elements(node);
}

static bool is_map_or_view(const struct node *node)
{
    return op_info[node->op].class == OC_SCALAR || op_info[node->op].class == OC_VIEW;
}

static bool reads_as_index(const struct node *reader, int operand)
{
    enum op_class class = op_info[reader->op].class;
    return operand == 1 && (class == OC_GATHER || class == OC_SCATTER);
}

static bool scales_sum(const struct assignment *a, const struct node *reader, int operand)
{
    return (reader->op == OP_mul || (reader->op == OP_div && operand == 1)) &&
           facts_of(a, reader->in[1 - operand])->reach == REACH_SUM;
}

/* What a reader needs of a float; *product is set where a product lies between. */
static enum need need_of_reader(const struct assignment *a, const struct use *use, bool *product)
{
    const struct node *reader = use->node;
    const struct value_facts *out = reader->n_out ? facts_of(a, reader->out[0]) : NULL;
    if (reader->op == OP_sin || reader->op == OP_cos || reader->op == OP_tan)
        return NEED_ANGLE;
    if (!out || reader->body[0])
        return NEED_NOTHING;
    if (scales_sum(a, reader, use->operand))
        return NEED_SCALE;
    if (reader->op == OP_cast && dtype_is_int(out->original))
        return out->need == NEED_PLACE ? NEED_PLACE : NEED_INTEGER;
    if (reader->op == OP_cast && out->original == DT_F64)
        return NEED_F64;
    if (!is_float_value(a, reader->out[0]) || !(passes_on(reader) || is_contraction(reader)))
        return NEED_NOTHING;
    if (out->need == NEED_SCALE) /* not of the activations that it is found from */
        return is_map_or_view(reader) ? NEED_SCALE : NEED_NOTHING;
    *product = out->before_product || is_contraction(reader);
    return out->need;
}

/* Has to be exact for one reader that needs it, whatever the others do. */
static bool is_for_one(enum need need)
{
    return need == NEED_PLACE || need == NEED_SCALE;
}

/* Of a float: what all readers need, or what one of them needs for itself, a place first. */
static void find_need(const struct assignment *a, const struct value *v)
{
    struct value_facts *f = facts_of(a, v);
    bool all = v->uses && !v->is_output, products = false;
    enum need first = NEED_NOTHING, one = NEED_NOTHING;
    for (const struct use *use = v->uses; use; use = use->next) {
        bool product = false;
        enum need need = need_of_reader(a, use, &product);
        if (is_for_one(need) && !product && one != NEED_PLACE)
            one = need;
        all &= need != NEED_NOTHING;
        products |= product;
        first = first == NEED_NOTHING ? need : first;
    }
    f->need = one ? one : all ? first : NEED_NOTHING;
    f->before_product = f->need && !one && products;
}

/* Of an integer: whether an index is made of it. */
static void find_index(const struct assignment *a, const struct value *v)
{
    struct value_facts *f = facts_of(a, v);
    f->need = NEED_NOTHING;
    for (const struct use *use = v->uses; use; use = use->next) {
        const struct node *reader = use->node;
        bool made = passes_on(reader) && !reader->body[0] &&
                    dtype_is_int(facts_of(a, reader->out[0])->original) &&
                    facts_of(a, reader->out[0])->need == NEED_PLACE;
        if (made || reads_as_index(reader, use->operand))
            f->need = NEED_PLACE;
    }
}

static void find_value(const struct assignment *a, const struct value *v)
{
    enum dtype original = facts_of(a, v)->original;
    if (precision_is_float(original))
        find_need(a, v);
    else if (dtype_is_int(original))
        find_index(a, v);
}

/* The node stays for its result's sake, unless it says itself why it does. */
static void keep_for_readers(struct assignment *a, const struct node *node)
{
    struct choice *choice = choice_of(a, node);
    const struct value_facts *f = facts_of(a, node->out[0]);
    bool product = is_contraction(node);
    if (choice->natural || choice->explicit || f->constant || f->need == NEED_NOTHING ||
        !is_float_value(a, node->out[0]) || !(passes_on(node) || product) ||
        (product && f->before_product) || !precision_rounds(a, node))
        return;
    choice->natural = true;
    choice->why = arena_printf(a->g->arena, "%s %s",
                               is_for_one(f->need) ? "it is read where" : "it is only read where",
                               reasons[f->need]);
}

static void find_graph(struct assignment *a, struct graph *g)
{
    for (struct node *node = g->last; node; node = node->prev) {
        for (int i = 0; i < node->n_out; i++)
            find_value(a, node->out[i]);
        if (choice_of(a, node))
            keep_for_readers(a, node);
        for (int i = 0; i < 2; i++)
            if (node->body[i])
                find_graph(a, node->body[i]);
    }
    for (int i = 0; i < g->n_inputs; i++)
        find_value(a, g->inputs[i]);
}

/* A place less its floor, a place within its bounds: exact operands need exact maps. */
static void keep_readers(struct assignment *a, struct graph *g)
{
    for (struct node *node = g->first; node; node = node->next) {
        struct choice *choice = choice_of(a, node);
        bool reads = false;
        for (int i = 0; i < node->n_in; i++) {
            const struct value_facts *f = facts_of(a, node->in[i]);
            reads |= precision_is_float(f->original) && f->need == NEED_PLACE &&
                     !f->before_product && !f->constant;
        }
        for (int i = 0; i < 2; i++)
            if (node->body[i])
                keep_readers(a, node->body[i]);
        if (!choice || !reads || choice->natural || choice->explicit ||
            op_info[node->op].class != OC_SCALAR || facts_of(a, node->out[0])->constant ||
            !precision_rounds(a, node))
            continue;
        choice->natural = true;
        choice->why = "it reads a place, whose fraction is lost with its size";
    }
}

void precision_find_exact(struct assignment *a)
{
    find_graph(a, a->g);
    keep_readers(a, a->g);
}
