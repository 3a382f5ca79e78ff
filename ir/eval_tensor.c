/* Tensors, as the evaluator is given and gives them. */
#include "eval_array.h"

#include "scalar.h"

#include <stdlib.h>

void tensor_free(struct tensor *t)
{
    free(t->data);
    *t = (struct tensor){0};
}

int64_t tensor_elements(const struct tensor *t)
{
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++)
        n *= t->shape[i];
    return n;
}

double tensor_get_float(const struct tensor *t, int64_t i)
{
    const char *at = (const char *)t->data + i * (int64_t)dtype_size(t->type);
    double real = 0;
    int64_t integer = 0;
    if (dtype_is_float(t->type)) {
        load_reals(&real, at, t->type, 0, 1);
        return real;
    }
    load_ints(&integer, at, t->type, 0, 1);
    return t->type == DT_U64 ? (double)(uint64_t)integer : (double)integer;
}

int64_t tensor_get_int(const struct tensor *t, int64_t i)
{
    const char *at = (const char *)t->data + i * (int64_t)dtype_size(t->type);
    int64_t integer = 0;
    if (dtype_is_float(t->type))
        return float_to_i64(tensor_get_float(t, i));
    load_ints(&integer, at, t->type, 0, 1);
    return integer;
}
