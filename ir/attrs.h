/* Attribute structs from ops.def, and the union of them all. Included by graph.h only. */
#ifndef GPUCC_IR_ATTRS_H
#define GPUCC_IR_ATTRS_H

/* clang-format off */
#define ATTR_FIELD(kind, field) ATTR_TYPE_##kind field;

#define TENSOR(name, class, least, most, results) struct attr_##name { ATTRS_##name(ATTR_FIELD) };
#include "ops.def"
struct attr_cast { ATTRS_cast(ATTR_FIELD) };        /* the two scalar ops that have any */
struct attr_bitcast { ATTRS_bitcast(ATTR_FIELD) };

union attr {
#define TENSOR(name, class, least, most, results) struct attr_##name name;
#include "ops.def"
    struct attr_cast cast;
    struct attr_bitcast bitcast;
};

#undef ATTR_FIELD
/* clang-format on */

#endif
