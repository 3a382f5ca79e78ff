/*
 * Bodies of control flow, while they are built, and the loops that are made of them.
 *
 * What a body sees of the graph around it comes through its inputs. A value of an outer graph that
 * is used inside is brought in through each level between: what is known at compile time is made
 * again in the body, all else becomes an operand of the control node and an input of its body.
 */
#include "import.h"
#include "list.h"

#include <string.h>

enum { MOST_REBUILT = 64 }; /* nodes over a constant that are made again in a body */

/* A value of the graph around a body, and what stands for it inside. */
struct capture {
    const struct value *outside;
    struct value *inside;
    struct capture *next;
};

static void enter(struct import *im, struct body *body)
{
    im->body = body;
    im->graph = body->graph;
    im->b.g = body->graph;
}

void body_begin(struct call *c, struct body *body)
{
    struct import *im = c->import;
    *body = (struct body){.graph = graph_create_body(im->graph), .outer = im->body};
    enter(im, body);
}

void body_end(struct call *c, struct body *body)
{
    struct import *im = c->import;
    im->body = body->outer;
    im->graph = body->graph->outer;
    im->b.g = im->graph;
}

struct value *body_input(struct call *c, struct body *body, struct value *outside)
{
    if (!outside)
        return NULL;
    struct arena *arena = c->import->arena;
    if (body->n_operands == body->capacity) {
        body->capacity = body->capacity ? 2 * body->capacity : 8;
        struct value **grown = ARENA_ARRAY(arena, (size_t)body->capacity, struct value *);
        if (body->n_operands)
            memcpy(grown, body->operands, (size_t)body->n_operands * sizeof *grown);
        body->operands = grown;
    }
    body->operands[body->n_operands++] = outside;
    struct value *inside =
        graph_add_input(body->graph, outside->name, outside->type, outside->rank, outside->shape);
    if (is_list(outside))
        list_set_rank(c, inside, list_rank(c, outside));
    return inside;
}

/* v's elements as dims, if they are known in the graph around the body. */
static int known_elements(struct import *im, struct graph *g, struct value *v,
                          const struct dim *d[MAX_ELEMENTS])
{
    int64_t n;
    if (!value_elements_const(v, &n) || n < 1 || n > MAX_ELEMENTS)
        return 0;
    if (graph_known_elements(g, v, d, MAX_ELEMENTS))
        return (int)n;
    const struct element_list *e = import_elements(im, v);
    if (e)
        memcpy(d, e->d, (size_t)n * sizeof *d);
    return e ? (int)n : 0;
}

/* Counts the nodes that make v; more than the limit when it depends on more than constants. */
static int count_constant_nodes(const struct value *v)
{
    if (!v->def ||
        (op_info[v->def->op].class != OC_VIEW && v->def->op != OP_cast &&
         v->def->op != OP_constant) ||
        v->def->op == OP_expand)
        return MOST_REBUILT + 1;
    int n = 1;
    for (int i = 0; i < v->def->n_in && n <= MOST_REBUILT; i++)
        n += count_constant_nodes(v->def->in[i]);
    return n;
}

static struct value *rebuild(struct builder *b, const struct value *v)
{
    const struct node *node = v->def;
    struct value **in = ARENA_ARRAY(b->g->arena, (size_t)node->n_in, struct value *);
    for (int i = 0; i < node->n_in; i++)
        if (!(in[i] = rebuild(b, node->in[i])))
            return NULL;
    struct value *made = build_tensor(b, node->op, node->n_in, in, &node->attr);
    if (made)
        made->name = v->name;
    return made;
}

/* v, a value of the graph around the body, inside it. */
static struct value *bring_in(struct call *c, struct body *body, struct value *v)
{
    struct import *im = c->import;
    const struct dim *d[MAX_ELEMENTS];
    for (struct capture *p = body->captures; p; p = p->next)
        if (p->outside == v)
            return p->inside;
    struct builder b = {body->graph, NULL};
    struct value *inside;
    int n = 0;
    if (count_constant_nodes(v) <= MOST_REBUILT)
        inside = rebuild(&b, v);
    else if ((n = known_elements(im, body->graph->outer, v, d)) > 0)
        inside =
            build_reshape(&b, build_cast(&b, build_dims(&b, n, d), v->type), v->rank, v->shape);
    else
        inside = body_input(c, body, v);
    struct capture *p = ARENA_NEW(im->arena, struct capture);
    *p = (struct capture){v, inside, body->captures};
    body->captures = p;
    return inside;
}

struct value *body_value(struct call *c, struct body *owner, struct value *v)
{
    return import_capture(c, c->import->body, owner, v);
}

/* A static list is not brought in, but its elements are. */
static struct value *capture_list(struct call *c, struct body *body, const struct body *owner,
                                  const struct list *outside)
{
    struct list *inside = list_create(c, outside->n, outside->type);
    for (int i = 0; inside && i < inside->n; i++)
        if (!(inside->v[i] = import_capture(c, body, owner, outside->v[i])))
            return NULL;
    return inside ? &inside->handle : NULL;
}

struct value *import_capture(struct call *c, struct body *body, const struct body *owner,
                             struct value *v)
{
    if (!v || body == owner || !body)
        return v;
    if (as_static(v))
        return capture_list(c, body, owner, as_static(v));
    v = import_capture(c, body->outer, owner, v);
    return v ? bring_in(c, body, v) : NULL;
}

void body_share_inputs(struct call *c, struct body *body, const struct body *with)
{
    for (int i = body->n_operands; i < with->n_operands; i++) {
        struct value *outside = with->operands[i];
        struct capture *p = ARENA_NEW(c->import->arena, struct capture);
        *p = (struct capture){outside, body_input(c, body, outside), body->captures};
        body->captures = p;
    }
}

/* --- Loops ----------------------------------------------------------------------------------- */

bool loop_begin(struct call *c, struct loop *loop, const struct dim *trips, int states,
                struct value *const *initial, struct value **inside)
{
    *loop = (struct loop){.trips = trips, .states = states, .owner = c->import->body};
    if (!trips)
        return false;
    for (int i = 0; i < states; i++)
        if (!initial[i])
            return false;
    loop->initial = initial;
    loop->in_place = dim_is(trips, 1);
    if (loop->in_place) {
        loop->index = d_const(c, 0);
        for (int i = 0; i < states; i++)
            inside[i] = initial[i];
        return true;
    }
    int64_t lower, upper;
    dim_bounds(trips, &lower, &upper);
    struct symbol_source source = {.kind = SYMBOL_LOOP_INDEX};
    loop->index = graph_symbol(c->b->g, "index", source, 0, upper > 0 ? upper - 1 : 0);
    body_begin(c, &loop->body);
    for (int i = 0; i < states; i++)
        inside[i] = body_input(c, &loop->body, initial[i]);
    return true;
}

struct value *loop_value(struct call *c, struct loop *loop, struct value *v)
{
    return body_value(c, loop->owner, v);
}

void loop_abandon(struct call *c, struct loop *loop)
{
    if (loop->in_place)
        return;
    body_end(c, &loop->body);
    graph_forget_body(loop->body.graph);
    c->b->g->root->symbols[loop->index->symbol].kind = SYMBOL_FREE;
}

bool loop_end(struct call *c, struct loop *loop, const struct dim *again, int n,
              struct value *const *inside, struct value **out)
{
    bool ok = again;
    for (int i = 0; i < n; i++)
        ok &= inside[i] != NULL;
    if (loop->in_place) {
        for (int i = 0; i < n && ok; i++) {
            out[i] = i < loop->states ? inside[i] : build_unsqueeze(c->b, inside[i], 1);
            ok &= out[i] != NULL;
        }
        return ok;
    }
    for (int i = 0; i < n && ok; i++)
        graph_add_output(loop->body.graph, inside[i], NULL);
    body_end(c, &loop->body);
    if (!ok)
        return false;
    union attr attr = {.loop = {loop->trips, loop->index, again, loop->states}};
    struct node *node = graph_insert_control(c->b->g, c->b->before, OP_loop, loop->body.n_operands,
                                             loop->body.operands, &attr, loop->body.graph, NULL);
    for (int i = 0; node && i < n; i++)
        out[i] = node->out[i];
    return node;
}
