/* The handlers of one kind of CPU, in the order of the table of forms. */
#include "exec.h"
#include "forms.h"

#define FORM(name, class, operands, handler, mod, ptx, sm) HANDLER(handler);
#include "forms.def"
#undef FORM

static const exec_fn handlers[] = {
#define FORM(name, class, operands, handler, mod, ptx, sm) EMU_NAME(exec_##handler),
#include "forms.def"
#undef FORM
};

/* Handlers that the decoder uses beside the forms; see decode.c. */
HANDLER(pack_16);
HANDLER(pack_32);
HANDLER(pack_16x4);
HANDLER(part_16);
HANDLER(part_16_64);
HANDLER(part_32);
HANDLER(clock_32);
HANDLER(clock_64);

static const exec_fn extra[] = {
#define EXTRA(name) EMU_NAME(exec_##name),
    EXTRA_HANDLERS(EXTRA)
#undef EXTRA
};

/*
 * Runs one instruction for some lanes only: into the scratch slot at the start of the registers,
 * then blended into the destination. Handlers that look at w->mask write for themselves.
 */
static void masked(struct warp *w, const struct insn *in, uint32_t mask)
{
    w->mask = mask;
    if (in->dest == DEST_SELF) {
        in->fn(w, in, in + 1);
        return;
    }
    struct insn aside = *in;
    aside.d = 0;
    in->fn(w, &aside, &aside + 1);
    switch (in->dest) {
    case DEST_16: {
        u16 *d = REG(u16, in->d);
        const u16 *s = REG(u16, 0);
        EACH_LANE d[i] = mask >> i & 1 ? s[i] : d[i];
        break;
    }
    case DEST_32: {
        u32 *d = REG(u32, in->d);
        const u32 *s = REG(u32, 0);
        EACH_LANE d[i] = mask >> i & 1 ? s[i] : d[i];
        break;
    }
    default: {
        u64 *d = REG(u64, in->d);
        const u64 *s = REG(u64, 0);
        EACH_LANE d[i] = mask >> i & 1 ? s[i] : d[i];
        break;
    }
    }
}

const struct isa EMU_NAME(isa) = {
    .name = EMU_ISA_TEXT,
    .handlers = handlers,
    .extra = extra,
    .masked = masked,
};
