/* Which elements count: places of true elements, boxes that no better one overlaps. */
#include "eval_array.h"

#include <math.h>
#include <string.h>

bool eval_op_compact(struct eval_call *c)
{
    const bool *x = (const bool *)c->in[0].data;
    int64_t *places = (int64_t *)c->out[0].data, *count = (int64_t *)c->out[1].data;
    int64_t n = array_elements(&c->in[0]), most = c->out[0].shape[0], found = 0;
    for (int64_t i = 0; i < n; i++) {
        if (!x[i])
            continue;
        if (found == most)
            return eval_fails(c, STATUS_BAD_MODEL, "more elements count than there is room for");
        places[found++] = i;
    }
    if (found < most)
        memset(places + found, 0, (size_t)(most - found) * sizeof *places);
    *count = found;
    return true;
}

/* A box's sides, low ones first. */
struct box {
    float y[2], x[2];
};

static struct box box_at(const float *at, bool center)
{
    if (center) {
        float half_width = at[2] / 2, half_height = at[3] / 2;
        return (struct box){{at[1] - half_height, at[1] + half_height},
                            {at[0] - half_width, at[0] + half_width}};
    }
    return (struct box){{fminf(at[0], at[2]), fmaxf(at[0], at[2])},
                        {fminf(at[1], at[3]), fmaxf(at[1], at[3])}};
}

static float area(struct box b)
{
    return (b.y[1] - b.y[0]) * (b.x[1] - b.x[0]);
}

/* In single precision, one operation after the other, as the kernel does it: boxes at the threshold
 * must not depend on where they are compared. */
static bool overlap(struct box a, struct box b, float threshold)
{
    float height = fminf(a.y[1], b.y[1]) - fmaxf(a.y[0], b.y[0]);
    float width = fminf(a.x[1], b.x[1]) - fmaxf(a.x[0], b.x[0]);
    if (!(height > 0) || !(width > 0))
        return false;
    float both = height * width, either = area(a) + area(b) - both;
    return area(a) > 0 && area(b) > 0 && either > 0 && both / either > threshold;
}

static void suppress_line(bool *alive, const float *boxes, int64_t n, int64_t limit,
                          float threshold, bool center)
{
    for (int64_t i = 0; i < n; i++) {
        if (!alive[i])
            continue;
        if (limit <= 0) {
            alive[i] = false;
            continue;
        }
        limit--;
        struct box best = box_at(boxes + 4 * i, center);
        for (int64_t k = i + 1; k < n; k++)
            if (alive[k] && overlap(best, box_at(boxes + 4 * k, center), threshold))
                alive[k] = false;
    }
}

bool eval_op_suppress(struct eval_call *c)
{
    const float *boxes = (const float *)c->in[0].data;
    bool *alive = (bool *)c->out[0].data;
    int64_t lines = c->in[1].shape[0], n = c->in[1].shape[1];
    int64_t limit = *(const int64_t *)c->in[2].data;
    float threshold = *(const float *)c->in[3].data;
    if (lines * n > 0)
        memcpy(alive, c->in[1].data, (size_t)(lines * n));
    for (int64_t line = 0; line < lines; line++)
        suppress_line(alive + line * n, boxes + line * n * 4, n, limit, threshold,
                      c->node->attr.suppress.center);
    return true;
}
