/* Which tensor-core instruction suits a contraction, and how its operands lie in memory. */
#include "contract_mma.h"
#include "emit_state.h"

#include <string.h>

/* --- Instructions --------------------------------------------------------------------------- */

struct instruction {
    enum dtype a, b;
    int sm; /* the first that has it; before, see `old` */
    const char *text;
    const char *old; /* for sm_75: half of it, or a quarter */
};

#define MMA(shape, types) "mma.sync.aligned." shape ".row.col." types
/* clang-format off */
static const struct instruction instructions[] = {
    {DT_F16, DT_F16, 80, MMA("m16n8k16", "f32.f16.f16.f32"), MMA("m16n8k8", "f32.f16.f16.f32")},
    {DT_BF16, DT_BF16, 80, MMA("m16n8k16", "f32.bf16.bf16.f32"), NULL},
    {DT_F32, DT_F32, 80, MMA("m16n8k8", "f32.tf32.tf32.f32"), NULL},
    {DT_I8, DT_I8, 80, MMA("m16n8k32", "s32.s8.s8.s32"), MMA("m8n8k16", "s32.s8.s8.s32")},
    {DT_I8, DT_U8, 80, MMA("m16n8k32", "s32.s8.u8.s32"), MMA("m8n8k16", "s32.s8.u8.s32")},
    {DT_U8, DT_I8, 80, MMA("m16n8k32", "s32.u8.s8.s32"), MMA("m8n8k16", "s32.u8.s8.s32")},
    {DT_U8, DT_U8, 80, MMA("m16n8k32", "s32.u8.u8.s32"), MMA("m8n8k16", "s32.u8.u8.s32")},
    {DT_F8E4M3FN, DT_F8E4M3FN, 89, MMA("m16n8k32", "f32.e4m3.e4m3.f32"), NULL},
    {DT_F8E4M3FN, DT_F8E5M2, 89, MMA("m16n8k32", "f32.e4m3.e5m2.f32"), NULL},
    {DT_F8E5M2, DT_F8E4M3FN, 89, MMA("m16n8k32", "f32.e5m2.e4m3.f32"), NULL},
    {DT_F8E5M2, DT_F8E5M2, 89, MMA("m16n8k32", "f32.e5m2.e5m2.f32"), NULL},
};
/* clang-format on */

/* Between sm_90 and sm_120 the tensor cores take bytes of floats by wgmma only, and mma is made of
 * instructions for f16. Unpacked here, operands are unpacked once, and sums need no registers of
 * their own to be added from. */
static const char *unpacking(const struct target *target, enum dtype type)
{
    if (target->sm < 90 || target->sm >= 120)
        return NULL;
    return type == DT_F8E4M3FN ? "e4m3x2" : type == DT_F8E5M2 ? "e5m2x2" : NULL;
}

/* Operations per nanosecond of the device's tensor cores on these operands. */
static int64_t peak_of(const struct target *target, enum dtype type)
{
    const struct peak *p = &target->peak;
    if (dtype_size(type) == 1 && !unpacking(target, type))
        return dtype_is_float(type) ? p->f8 : p->i8;
    return type == DT_F32 ? p->tf32 : p->half;
}

/* The instruction for these operands, if the target has it and the sums may be kept as it does. */
bool plan_instruction(struct mma_plan *p)
{
    const struct contraction *c = p->c;
    const struct target *target = c->e->target;
    enum dtype a = p->a.v->type, b = p->b.v->type;
    bool floats = dtype_is_float(a);
    if (floats ? !dtype_is_float(c->y->type) || c->y->type == DT_F64 : c->y->type != DT_I32)
        return false;
    if (a == DT_F32 && c->core->math == MATH_EXACT)
        return false;
    for (size_t i = 0; i < sizeof instructions / sizeof *instructions; i++) {
        const struct instruction *in = &instructions[i];
        if (in->a != a || in->b != b || (target->sm < in->sm && !(in->old && target->sm >= 75)))
            continue;
        bool old = target->sm < in->sm;
        p->unpack_a = unpacking(target, a);
        p->unpack_b = unpacking(target, b);
        p->mma = old ? in->old : p->unpack_a ? instructions[0].text : in->text;
        p->shape = old ? 16 : 32;
        p->element = (int)dtype_size(a);
        p->sum = floats ? "float" : "int";
        p->round = a != DT_F32 ? 0 : c->core->math == MATH_TF32 ? 1 : 2;
        p->peak = peak_of(target, a);
        return true;
    }
    return false;
}

/* --- Indices -------------------------------------------------------------------------------- */

/* The result's index at row `row` of this side. */
void side_result(const struct contraction *c, const struct side *s, const struct index *batch,
                 const struct index *row, const struct index **y)
{
    struct index_table *ix = c->e->ix;
    const struct index *zero = index_const(ix, 0);
    if (s->image) {
        const struct index *pixel = index_mod(ix, row, c->pixels);
        contraction_result(c, batch, zero, index_div(ix, row, c->pixels), pixel, y);
    } else if (s->letter == 'a' || c->spatial)
        contraction_result(c, batch, row, zero, zero, y);
    else
        contraction_result(c, batch, zero, zero, row, y);
}

/* Index of the operand's element; returns the condition under which it exists, or NULL. */
const char *side_element(const struct contraction *c, const struct side *s,
                         const struct index *batch, const struct index *row, const struct index *k,
                         const struct index **at)
{
    const struct index *y[MAX_RANK];
    side_result(c, s, batch, row, y);
    if (s->image || (s->letter == 'b' && !c->spatial))
        return contraction_b(c, y, k, at);
    contraction_a(c, y, k, at);
    return NULL;
}

/* --- How operands lie in memory -------------------------------------------------------------- */

static const struct index *without(struct emitter *e, const struct index *x,
                                   const struct index *variable, const struct dim *times)
{
    return index_sub(e->ix, x, index_mul(e->ix, variable, times));
}

static bool divisible(struct emitter *e, const struct index *x, int n)
{
    return index_terms_divisible(e->ix, x, n) &&
           dim_is(dim_mod(e->g->dims, x->constant, dim_const(e->g->dims, n)), 0);
}

bool dim_in_pieces(struct emitter *e, const struct dim *d, int n)
{
    return dim_is(dim_mod(e->g->dims, d, dim_const(e->g->dims, n)), 0);
}

static const char *const position_name[] = {"p0", "p1", "p2"};
enum { MOST_AXES = sizeof position_name / sizeof *position_name };

static bool is_own_name(const char *name)
{
    for (int i = 0; i < MOST_AXES; i++)
        if (!strcmp(name, position_name[i]))
            return true;
    return !strcmp(name, "batch") || !strcmp(name, "row") || !strcmp(name, "k");
}

/* Do all variables of the index stand in the text where it is printed, so that rows differ by their
 * number only? A gathered row's does not, nor does a position reflected at the image's edge. */
static bool is_own(const struct index *x)
{
    for (int i = 0; i < x->n_terms; i++) {
        const struct atom *atom = x->terms[i].atom;
        if (atom->of ? !is_own(atom->of) : !is_own_name(atom->name))
            return false;
    }
    return true;
}

struct looking {
    struct mma_plan *plan;
    struct side *side;
};

/* Along k: pieces of so many bytes. */
static int pieces_along_k(const struct mma_plan *p, const struct index *rest)
{
    struct emitter *e = p->c->e;
    for (int bytes = 16; bytes >= 4; bytes /= 2) {
        int n = bytes / p->element;
        if (n > 0 && dim_in_pieces(e, p->c->k, n) && divisible(e, rest, n))
            return bytes;
    }
    return 0;
}

/* Along the rows: whole chunks of neighbours. */
static bool chunks_along_rows(struct mma_plan *p, const struct side *s, const struct index *k)
{
    struct emitter *e = p->c->e;
    struct access x;
    const struct index *at[MAX_RANK];
    const int n = 16 / p->element;
    const struct dim *wide = dim_const(e->g->dims, n);
    const struct index *batch = index_var(e->ix, "batch", p->c->batches);
    const struct index *lane = index_var(e->ix, "lane", wide);
    const struct index *q = index_var(e->ix, "row", dim_floordiv(e->g->dims, s->rows, wide));
    if (!dim_in_pieces(e, s->rows, n))
        return false;
    side_element(p->c, s, batch, index_add(e->ix, index_mul(e->ix, q, wide), lane), k, at);
    emit_access(e, s->v, at, &x);
    if (x.kind != ACCESS_VIEWED || x.guard)
        return false;
    const struct dim *by = index_coefficient(e->ix, x.offset, lane);
    return by && dim_is(by, 1) && divisible(e, without(e, x.offset, lane, by), n);
}

/* Sees whether the operand can be copied, and how. */
static void look(struct emitter *e, void *context)
{
    const struct looking *l = context;
    struct side *s = l->side;
    struct mma_plan *p = l->plan;
    struct access x, first;
    const struct index *at[MAX_RANK];
    const struct index *batch = index_var(e->ix, "batch", p->c->batches);
    const struct index *row = index_var(e->ix, "row", s->rows);
    const struct index *k = index_var(e->ix, "k", p->c->k);
    side_element(p->c, s, batch, row, k, at);
    emit_access(e, s->v, at, &x);
    if (x.kind != ACCESS_VIEWED)
        return;
    const struct dim *k_stride = index_coefficient(e->ix, x.offset, k);
    const struct dim *row_stride = index_coefficient(e->ix, x.offset, row);
    s->along_k = k_stride && dim_is(k_stride, 1);
    if (x.guard || !k_stride || x.buffer->type != s->v->type)
        return;
    /* What is loaded to find the row must not depend on k. */
    side_element(p->c, s, batch, row, index_const(e->ix, 0), at);
    emit_access(e, s->v, at, &first);
    const struct index *rest = without(e, x.offset, k, k_stride);
    if (rest != first.offset)
        return;
    s->linear = row_stride && is_own(x.offset);
    s->row_stride = row_stride;
    s->k_stride = k_stride;
    s->buffer = x.buffer;
    s->bytes = s->along_k ? pieces_along_k(p, rest) : 0;
    if (s->bytes == 0 && p->element == 2 && chunks_along_rows(p, s, k)) {
        s->bytes = 16;
        s->along_k = false;
    }
    s->way = s->bytes ? WAY_COPIED : WAY_CARRIED;
}

/* The image at a channel and a position of its own along each axis. */
void side_image(const struct contraction *c, const struct index *batch, const struct index *image,
                const struct index *channel, const struct index *const *position,
                const struct index **at)
{
    struct index_table *ix = c->e->ix;
    at[0] = image;
    at[1] = index_add(ix, index_mul(ix, batch, c->group_in), channel);
    memcpy(at + 2, position, (size_t)c->spatial * sizeof *at);
}

enum { MOST_TAPS = 8 }; /* along an axis, see contract_taps.cuh */

/* Sees whether an image can be tapped. */
static void look_at_image(struct emitter *e, void *context)
{
    const struct looking *l = context;
    struct side *s = l->side;
    const struct contraction *c = l->plan->c;
    const struct index *position[MAX_RANK], *at[MAX_RANK];
    const struct index *channel = index_var(e->ix, "k", c->group_in);
    const struct index *batch = index_var(e->ix, "batch", c->batches);
    const struct index *image = index_var(e->ix, "row", c->images);
    const int n = 16 / l->plan->element;
    struct access x;
    for (int i = 0; i < c->spatial; i++)
        position[i] = index_var(e->ix, position_name[i], c->b->shape[2 + i]);
    side_image(c, batch, image, channel, position, at);
    emit_access(e, s->v, at, &x);
    if (x.kind != ACCESS_VIEWED)
        return;
    const struct dim *along = index_coefficient(e->ix, x.offset, channel);
    s->along_k = along && (dim_is(along, 1) || dim_is(c->group_in, 1));
    if (x.guard || !s->along_k || x.buffer->type != s->v->type || !is_own(x.offset) ||
        !dim_divisible(c->group_in, n))
        return;
    const struct index *rest = without(e, x.offset, channel, along);
    if (!divisible(e, rest, n))
        return;
    for (int i = 0; i < c->spatial; i++) {
        int64_t taps;
        s->tap_stride[i] = index_coefficient(e->ix, x.offset, position[i]);
        if (!s->tap_stride[i] || !dim_is_const(c->depth[1 + i], &taps) || taps > MOST_TAPS)
            return;
    }
    s->buffer = x.buffer;
    s->bytes = 16;
    s->way = WAY_TAPPED;
}

/* Is the convolution a matmul of the image's pixels? */
static bool is_pointwise(const struct contraction *c)
{
    bool plain = c->core->op == OP_conv;
    for (int i = 0; plain && i < c->spatial; i++)
        plain = dim_is(c->depth[1 + i], 1) && !contraction_sticks_out(c, i);
    return plain;
}

/* A position along such an axis is always 0, so there is no variable to ask about. */
static bool has_narrow_axis(const struct contraction *c)
{
    for (int i = 0; i < c->spatial; i++)
        if (dim_is(c->b->shape[2 + i], 1))
            return true;
    return false;
}

/* Is v made of numbers rounded to tf32 already? See passes/round_operands.c. */
static bool is_rounded(const struct value *v, int views)
{
    const struct node *node = v->def;
    if (!node || node->op == OP_round_tf32)
        return node != NULL;
    if (op_info[node->op].class != OC_VIEW || views == 0)
        return false;
    for (int i = 0; i < node->n_in; i++)
        if (!is_rounded(node->in[i], views - 1))
            return false;
    return true;
}

/* A matrix that is computed, or whose depth is made of several axes: along which of its axes is it
 * loaded in vectors? */
static bool runs_along_k(const struct contraction *c, const struct side *s)
{
    int rank = s->v->rank, axis = s->letter == 'a' ? rank - 1 : rank - 2;
    int along = emit_vector_width(c->e, s->v, axis);
    int across = emit_vector_width(c->e, s->v, 2 * rank - 3 - axis);
    return along == across ? s->along_k : along > across;
}

/* The widest type of what this kernel computes v from, element by element. */
static enum dtype widest(const struct emitter *e, const struct value *v, int depth)
{
    enum dtype type = v->type;
    if (!emit_is_inner(e, v) || emit_is_core(e, v->def) || depth == 0)
        return type;
    for (int i = 0; i < v->def->n_in; i++) {
        const struct value *x = v->def->in[i];
        bool repeated =
            x->def && (x->def->op == OP_expand || op_info[x->def->op].class == OC_CONST);
        enum dtype of = repeated ? type : widest(e, x, depth - 1);
        type = dtype_size(of) > dtype_size(type) ? of : type;
    }
    return type;
}

void plan_way(struct mma_plan *p, struct side *s)
{
    enum { MOST_VIEWS = 16 };
    struct contraction *c = p->c;
    struct emitter *e = c->e;
    struct looking l = {p, s};
    const struct index *lane = index_var(e->ix, "lane", dim_const(e->g->dims, 2));
    s->way = WAY_CARRIED;
    s->rounded = p->round == 1 && is_rounded(s->v, MOST_VIEWS);
    if (!s->image || is_pointwise(c))
        emit_probe(e, 2, lane, look, &l);
    else if (c->core->op == OP_conv && c->spatial <= MOST_AXES && !has_narrow_axis(c))
        emit_probe(e, 2, lane, look_at_image, &l);
    if (s->way == WAY_CARRIED && !c->spatial)
        s->along_k = runs_along_k(c, s);
    s->tile_along_k = s->along_k || p->element != 2;
    s->piece = 16 / p->element;
    if (s->along_k && !c->spatial)
        s->piece = emit_lanes_at_once(widest(e, s->v, 8), s->piece);
    if (s->piece * p->element < 4) /* a word at least */
        s->piece = 4 / p->element;
}
