/* Constants, and tensors made from shapes. */
#include "lower.h"

#include <string.h>

/* Lists of numbers as constants: floats become f32, ints i64. */
static struct value *number_list(struct call *c, const Onnx__AttributeProto *a, bool floats,
                                 bool scalar)
{
    int64_t n = scalar ? 1 : (int64_t)(floats ? a->n_floats : a->n_ints);
    const void *from = floats ? (scalar ? (const void *)&a->f : a->floats)
                              : (scalar ? (const void *)&a->i : a->ints);
    return build_constant(c->b, floats ? DT_F32 : DT_I64, scalar ? 0 : 1, &n, n ? from : "", NULL);
}

bool lower_constant(struct call *c)
{
    static const struct {
        const char *name;
        int type;
        bool floats, scalar;
    } forms[] = {
        {"value_float", ONNX__ATTRIBUTE_PROTO__TYPE__FLOAT, true, true},
        {"value_floats", ONNX__ATTRIBUTE_PROTO__TYPE__FLOATS, true, false},
        {"value_int", ONNX__ATTRIBUTE_PROTO__TYPE__INT, false, true},
        {"value_ints", ONNX__ATTRIBUTE_PROTO__TYPE__INTS, false, false},
    };
    const Onnx__AttributeProto *a;
    if (attr_given(c, "value")) {
        a = call_attr(c, "value", ONNX__ATTRIBUTE_PROTO__TYPE__TENSOR);
        return a && call_result(c, call_tensor(c, a->t));
    }
    if (attr_given(c, "sparse_value")) {
        a = call_attr(c, "sparse_value", ONNX__ATTRIBUTE_PROTO__TYPE__SPARSE_TENSOR);
        if (a && !a->sparse_tensor)
            return call_error(c, "sparse_value is empty");
        return a && call_result(c, call_sparse_tensor(c, a->sparse_tensor));
    }
    if (attr_given(c, "value_string") || attr_given(c, "value_strings"))
        return call_unsupported(c, "strings");
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (attr_given(c, forms[i].name)) {
            a = call_attr(c, forms[i].name, forms[i].type);
            return a && call_result(c, number_list(c, a, forms[i].floats, forms[i].scalar));
        }
    return call_error(c, "it has no value");
}

bool lower_constant_of_shape(struct call *c)
{
    const struct dim *d[MAX_ELEMENTS];
    int n = call_dims(c, 0, d);
    if (n < 0)
        return false;
    if (n > MAX_RANK)
        return call_unsupported(c, "rank %d", n);
    const Onnx__AttributeProto *a = call_attr(c, "value", ONNX__ATTRIBUTE_PROTO__TYPE__TENSOR);
    struct value *fill = a ? call_tensor(c, a->t) : build_float(c->b, DT_F32, 0);
    if (!fill)
        return false;
    int64_t elements;
    if (!value_elements_const(fill, &elements) || elements != 1)
        return call_error(c, "its value has not one element");
    return call_result(c, build_expand(c->b, build_reshape(c->b, fill, 0, NULL), n, d));
}

bool lower_shape(struct call *c)
{
    struct value *x = c->in[0];
    int64_t start = attr_int(c, "start", 0), end = attr_int(c, "end", x->rank);
    start = start < 0 ? start + x->rank : start;
    end = end < 0 ? end + x->rank : end;
    start = start < 0 ? 0 : start > x->rank ? x->rank : start;
    end = end < start ? start : end > x->rank ? x->rank : end;
    const struct dim *const *shape = start < end ? x->shape + start : NULL; /* a scalar has none */
    return call_result(c, build_dims(c->b, (int)(end - start), shape));
}

bool lower_size(struct call *c)
{
    return call_result(c, build_dim(c->b, value_elements(c->b->g, c->in[0])));
}
