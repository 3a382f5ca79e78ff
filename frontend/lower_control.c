/* Control flow. Only what is decided at compile time is lowered so far. */
#include "lower.h"

/* A branch that is known at compile time takes the node's place. */
bool lower_if(struct call *c)
{
    int64_t condition[MAX_ELEMENTS];
    if (call_known(c, 0, condition) != 1)
        return call_unsupported(c, "a condition that is not known at compile time");
    const Onnx__AttributeProto *a = call_attr(c, condition[0] ? "then_branch" : "else_branch",
                                              ONNX__ATTRIBUTE_PROTO__TYPE__GRAPH);
    if (!a)
        return c->failed ? false : call_error(c, "a branch is missing");
    return call_inline_graph(c, a->g, c->n_out, c->out);
}
