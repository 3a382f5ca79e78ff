#include "import.h"

#include <string.h>

enum { NEW = 1 << 20, MANY = -1 };

static const struct operator operators[] = {
#define OPERATOR(domain, name, since, until, least, most, lower, variant)                          \
    {domain, #name, since, until, least, most, lower, variant},
#include "operators.def"
};

const struct operator*
    operator_find(const char *domain, const char *name, int64_t opset, bool *known)
{
    *known = false;
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
        const struct operator* row = & operators[i];
        if (strcmp(row->name, name) != 0 || strcmp(row->domain, domain) != 0)
            continue;
        *known = true;
        if (opset >= row->since && opset <= row->until)
            return row;
    }
    return NULL;
}
