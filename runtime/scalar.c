#include "scalar.h"

#include <inttypes.h>
#include <string.h>

/* Both round towards minus infinity; false for b = 0 and INT64_MIN / -1. */
static bool floor_divide(int64_t a, int64_t b, int64_t *quotient, int64_t *remainder)
{
    if (b == 0 || (a == INT64_MIN && b == -1))
        return false;
    *quotient = a / b;
    *remainder = a % b;
    if (*remainder != 0 && (*remainder < 0) != (b < 0)) {
        --*quotient;
        *remainder += b;
    }
    return true;
}

static bool holds(uint32_t op, int64_t a, int64_t b)
{
    return a == b || (op == PLAN_SC_MUST_BROADCAST && a == 1) ||
           (op == PLAN_SC_MUST_LESS_EQUAL && a < b);
}

/* False on an overflow or a division by zero. */
static bool compute(uint32_t op, int64_t a, int64_t b, int64_t *result)
{
    int64_t other;
    switch (op) {
    case PLAN_SC_ADD: return !__builtin_add_overflow(a, b, result);
    case PLAN_SC_SUB: return !__builtin_sub_overflow(a, b, result);
    case PLAN_SC_MUL: return !__builtin_mul_overflow(a, b, result);
    case PLAN_SC_FLOORDIV: return floor_divide(a, b, result, &other);
    case PLAN_SC_MOD: return floor_divide(a, b, &other, result);
    case PLAN_SC_MIN: *result = a < b ? a : b; return true;
    case PLAN_SC_MAX: *result = a > b ? a : b; return true;
    case PLAN_SC_EQ: *result = a == b; return true;
    case PLAN_SC_LT: *result = a < b; return true;
    default: /* MUST_*: checked by the caller */ *result = 0; return true;
    }
}

static enum gpucc_status broken(const char *text, uint32_t op, int64_t a, int64_t b)
{
    const char *rule = op == PLAN_SC_MUST_EQUAL       ? "equal"
                       : op == PLAN_SC_MUST_BROADCAST ? "be 1 or equal"
                                                      : "be at most";
    return rt_fail(GPUCC_USAGE, "%s: %" PRId64 " must %s %" PRId64, text, a, rule, b);
}

static enum gpucc_status failed(const struct plan_scalar *s, uint32_t slot, int64_t a, int64_t b)
{
    const char *sign = s->op == PLAN_SC_ADD   ? "+"
                       : s->op == PLAN_SC_SUB ? "-"
                       : s->op == PLAN_SC_MUL ? "*"
                       : s->op == PLAN_SC_MOD ? "%"
                                              : "/";
    if (b == 0)
        return rt_fail(GPUCC_LIMIT, "size arithmetic: %" PRId64 " is divided by zero (slot %u)", a,
                       slot);
    return rt_fail(GPUCC_LIMIT,
                   "size arithmetic: %" PRId64 " %s %" PRId64 " overflows 64 bits (slot %u)", a,
                   sign, b, slot);
}

/* The most an element can be: what the plan says, or sizes before it that it must not exceed. */
static int64_t largest_element(const struct program *program, struct segment segment,
                               const int64_t *slots, uint32_t element)
{
    int64_t most = program->scalars[element].value;
    for (uint32_t i = element + 1; i < segment.first + segment.n; i++) {
        const struct plan_scalar *s = &program->scalars[i];
        if (s->op == PLAN_SC_MUST_LESS_EQUAL && s->a == element && s->b < element &&
            slots[s->b] < most)
            most = slots[s->b];
    }
    return most;
}

enum gpucc_status rt_scalars_run(const struct gpucc_plan *plan, const struct program *program,
                                 struct segment segment, struct scalar_state *state,
                                 enum scalar_mode mode)
{
    int64_t *slots = state->slots;
    for (uint32_t i = segment.first; i < segment.first + segment.n; i++) {
        const struct plan_scalar *s = &program->scalars[i];
        switch (s->op) {
        case PLAN_SC_CONST: slots[i] = s->value; break;
        case PLAN_SC_INPUT_DIM: slots[i] = state->dims[s->a * PLAN_MAX_RANK + s->b]; break;
        case PLAN_SC_LOOP_INDEX: slots[i] = state->iteration[s->a]; break;
        case PLAN_SC_ELEMENT:
            slots[i] = mode == SCALARS_LARGEST ? largest_element(program, segment, slots, i)
                                               : state->elements[state->first_element[s->a] + s->b];
            if (mode == SCALARS_LARGEST && slots[i] == INT64_MAX)
                return rt_fail(GPUCC_LIMIT, "a size depends on data without a known bound");
            break;
        default: {
            int64_t a = slots[s->a], b = slots[s->b];
            if (!compute(s->op, a, b, &slots[i]))
                return failed(s, i, a, b);
            if (s->op >= PLAN_SC_MUST_EQUAL && mode == SCALARS_EXACT && !holds(s->op, a, b))
                return broken(rt_string(plan, s->text), s->op, a, b);
        }
        }
    }
    return GPUCC_OK;
}

#define WIDEN(type)                                                                                \
    for (uint32_t i = 0; i < n; i++) {                                                             \
        type element;                                                                              \
        memcpy(&element, (const char *)from + i * sizeof element, sizeof element);                 \
        to[i] = (int64_t)element;                                                                  \
    }                                                                                              \
    return true

bool rt_widen(uint32_t dtype, const void *from, uint32_t n, int64_t *to)
{
    switch (dtype) { /* ONNX's codes */
    case 2:
    case 9: WIDEN(uint8_t);
    case 3: WIDEN(int8_t);
    case 4: WIDEN(uint16_t);
    case 5: WIDEN(int16_t);
    case 6: WIDEN(int32_t);
    case 7: WIDEN(int64_t);
    case 12: WIDEN(uint32_t);
    case 13:
        for (uint32_t i = 0; i < n; i++) {
            uint64_t element;
            memcpy(&element, (const char *)from + i * sizeof element, sizeof element);
            if (element > INT64_MAX)
                return false;
            to[i] = (int64_t)element;
        }
        return true;
    default: return false;
    }
}
