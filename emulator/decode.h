/* Decoding: from statements to instructions on numbered registers, then registers to slots. */
#ifndef EMU_DECODE_H
#define EMU_DECODE_H

#include "forms.h"
#include "machine.h"

enum field { FIELD_D, FIELD_A, FIELD_B, FIELD_C, FIELD_E, FIELD_D2, FIELD_GUARD, FIELD_V };

struct reference { /* an instruction's field holds a register */
    uint32_t insn;
    enum field field;
    bool write;
    uint32_t reg;
    uint32_t *element; /* FIELD_V: where the slot goes */
};

struct vreg {
    enum reg_class cls;
    bool pinned; /* has its slot to itself: constants, special registers */
    uint32_t slot;
    uint32_t first, last; /* instructions between which it lives; first > last: never */
};

struct instance { /* a function where it is inlined, or the kernel itself */
    const struct function *f;
    const struct instance *caller;
    uint32_t depth;
    uint32_t first_reg; /* of its registers among the decoder's */
    uint64_t frame;     /* of its local variables and call parameters */
    uint64_t *formals;  /* local address of each parameter; NULL for a kernel */
    uint64_t result;
    uint32_t *starts; /* instruction at which each statement begins */
};

struct fixup {
    uint32_t insn;
    const struct instance *instance;
    uint32_t statement; /* target; n_statements: the end of the function */
    uint32_t *element;  /* of a table of targets, or NULL: insn.target */
};

struct shared_variable {
    const struct variable *v;
    uint64_t offset;
};

struct decoder {
    struct kernel *k;
    const struct module *m;
    int sm;
    struct arena scratch;
    struct vreg *regs;
    struct reference *refs;
    struct fixup *fixups;
    struct shared_variable *shared;
    size_t n_regs, regs_cap, n_refs, refs_cap, n_fixups, fixups_cap, n_shared, shared_cap;
    size_t code_cap, constants_cap, statements_cap, forms_cap;
    uint32_t *constant_regs;
    size_t constant_regs_cap;
    uint32_t special[SPECIALS]; /* register of each, NO_SLOT if not used */
    uint32_t carry;             /* register of the carry flag, NO_SLOT if not used */
    const struct statement *s;  /* being decoded */
    const char *form;
    bool failed;
    char *message;
    size_t size;
};

__attribute__((format(printf, 2, 3))) void decode_fail(struct decoder *d, const char *format, ...);

/* Gives every register a slot; registers that are never alive together share. */
void decode_assign_slots(struct decoder *d);

/* Bytes that a register of a class takes. */
uint32_t decode_class_bytes(enum reg_class cls);

#endif
