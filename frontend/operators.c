#include "frontend.h"
#include "import.h"

#include <string.h>

enum { NEW = 1 << 20, MANY = -1, ANY = ANY_INPUTS };

static const struct operator operators[] = {
#define OPERATOR(domain, name, since, until, least, most, lower, variant)                          \
    {domain, #name, since, until, least, most, lower, variant, false},
#define LIST_OPERATOR(domain, name, since, until, least, most, lower, variant)                     \
    {domain, #name, since, until, least, most, lower, variant, true},
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

int frontend_operator_count(void)
{
    return (int)(sizeof operators / sizeof *operators);
}

struct frontend_operator frontend_operator(int i)
{
    const struct operator* row = & operators[i];
    bool one_op = row->lower == lower_unary || row->lower == lower_binary;
    return (struct frontend_operator){.domain = row->domain,
                                      .name = row->name,
                                      .since = row->since,
                                      .until = row->until == NEW ? 0 : row->until,
                                      .least = row->least,
                                      .most = row->most < 0 ? -1 : row->most,
                                      .types = one_op ? op_info[row->variant].domain : 0};
}
