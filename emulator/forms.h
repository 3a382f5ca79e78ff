/* The table of instruction forms; see forms.def. */
#ifndef EMU_FORMS_H
#define EMU_FORMS_H

#include <stdint.h>

#include "gpucc_emu.h"
#include "module.h"

enum form_class {
    FORM_ALU,   /* operands as the string says */
    FORM_SELF,  /* the same, and the handler looks at the mask itself */
    FORM_MEET,  /* the same; the last operand is the mask of lanes that must be here */
    FORM_CARRY, /* the same, with the carry flag */
    FORM_MOV,
    FORM_SPACE,
    FORM_CVT,
    FORM_SETP,
    FORM_SET,  /* a comparison to 0 or all ones */
    FORM_SETF, /* to 0.0 or 1.0 */
    FORM_LD,
    FORM_ST,
    FORM_ATOM,
    FORM_RED,
    FORM_SHFL,
    FORM_ALIGNED, /* as ALU; for the whole warp */
    FORM_POLICY,  /* createpolicy */
    FORM_MMA,
    FORM_MATRIX, /* ldmatrix, stmatrix */
    FORM_ASYNC,  /* cp.async */
    FORM_BRA,
    FORM_BRX,
    FORM_CALL,
    FORM_RET,
    FORM_EXIT,
    FORM_TRAP,
    FORM_BAR,
    FORM_NOP,
};

struct form {
    struct gpucc_emu_form public; /* name, ptx, sm */
    enum form_class class;
    const char *operands;
    uint8_t mod;
};

/* Index into the handlers of an isa is index into this table. */
extern const struct form form_table[];
extern const uint32_t form_count;

/* The form of exactly that name, or NULL. */
const struct form *form_find(struct slice name);

#endif
