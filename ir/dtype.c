#include "dtype.h"

#include <string.h>

const struct dtype_info dtype_info[DT_END] = {
#define X(name, code, text, bits, cls)                                                             \
    [DT_##name] = {text, bits, DC_##cls},                                                          \
    [DT_SEQUENCE + code] = {"seq_" text, 0, DC_LIST},                                              \
    [DT_OPTIONAL + code] = {"opt_" text, 0, DC_LIST},                                              \
    [DT_OPTIONAL_SEQUENCE + code] = {"opt_seq_" text, 0, DC_LIST},
    DTYPES(X)
#undef X
};

size_t dtype_size(enum dtype type)
{
    return ((size_t)dtype_info[type].bits + 7) / 8;
}

bool dtype_is_float(enum dtype type)
{
    return dtype_info[type].cls == DC_F;
}

bool dtype_can_be_size(enum dtype type)
{
    return type == DT_BOOL || (dtype_is_int(type) && dtype_info[type].bits >= 8);
}

bool dtype_is_int(enum dtype type)
{
    return dtype_info[type].cls == DC_S || dtype_info[type].cls == DC_U;
}

bool dtype_is_list(enum dtype type)
{
    return dtype_info[type].cls == DC_LIST;
}

enum dtype dtype_element(enum dtype list)
{
    return (enum dtype)((int)list % DT_SEQUENCE);
}

enum dtype dtype_list_kind(enum dtype list)
{
    return (enum dtype)((int)list - (int)list % DT_SEQUENCE);
}

enum dtype dtype_parse(const char *text, size_t length)
{
    for (int i = 0; i < DT_END; i++) {
        const char *name = dtype_info[i].text;
        if (name && strlen(name) == length && memcmp(name, text, length) == 0)
            return (enum dtype)i;
    }
    return DT_NONE;
}
