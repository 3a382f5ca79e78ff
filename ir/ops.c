/* op_info, generated from ops.def. */
#include "graph.h"

#include <stddef.h>

/* Within ATTRS_<op>(FIELD_OF(op)) each A(kind, field) becomes FIELD_OF(op)(kind, field): the first
 * half names the struct, FIELD then closes the offsetof. */
/* clang-format off */
#define FIELD_OF(op)       {.offset = __builtin_offsetof(struct attr_##op, FIELD
#define FIELD(k, f) f), .name = #f, .kind = AK_##k},
#define FIELDS(op) static const struct attr_field fields_##op[] = {ATTRS_##op(FIELD_OF(op))};

#define TENSOR(name, class, least, most, results) FIELDS(name)
#include "ops.def"
FIELDS(cast)
FIELDS(bitcast)

/* Scalar ops have attributes where their result type comes from one. */
#define COUNT(fields)         (int)(sizeof fields / sizeof *fields)
#define SCALAR_FIELDS_SAME(op) 0, NULL
#define SCALAR_FIELDS_BOOL(op) 0, NULL
#define SCALAR_FIELDS_ATTR(op) COUNT(fields_##op), fields_##op
#define DOMAIN_(letter)        (#letter)[0]

const struct op_info op_info[OP_COUNT] = {
#define SCALAR(name, operands, domain, result, expression)                                         \
    [OP_##name] = {#name, OC_SCALAR, operands, operands, 1, DOMAIN_(domain), RESULT_##result,      \
                   #expression, SCALAR_FIELDS_##result(name)},
#define TENSOR(name, class, least, most, results)                                                  \
    [OP_##name] = {#name, OC_##class, least, most, results, 0, RESULT_SAME, NULL,                  \
                   COUNT(fields_##name), fields_##name},
#include "ops.def"
};
/* clang-format on */
