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

/* ---- Registers, instructions and operands (operands.c) ---- */

/* Room for one more element, as arena_grow; fails the decoder if there is none. */
bool decode_grow(struct decoder *d, struct arena *a, void *array, size_t n, size_t *cap,
                 size_t size);

/* A new register; pinned ones keep a slot to themselves. */
uint32_t new_reg(struct decoder *d, enum reg_class cls, bool pinned);

/* The register that holds value in all lanes. */
uint32_t constant(struct decoder *d, enum reg_class cls, uint64_t value);

/* Appends an instruction without operands. */
struct insn *emit(struct decoder *d, exec_fn fn, enum insn_kind kind);

/* The instruction emitted last has a register in that field. */
void refer(struct decoder *d, enum field field, uint32_t reg, bool write, uint32_t *element);

/* A basic block starts here. */
void begin_block(struct decoder *d);

/* What runs a form. */
exec_fn handler(struct decoder *d, const struct form *f);

/* The same for a form known to be in the table. */
exec_fn named_handler(struct decoder *d, const char *name);

/* How a destination of that class is kept under a mask. */
enum dest dest_of(enum reg_class cls);

/* A helper: to = fn(from), imm as the handler wants it. Returns to. */
uint32_t move(struct decoder *d, exec_fn fn, uint32_t to, uint32_t from, int64_t imm);

/* Address of a variable, in *space. */
uint64_t symbol_address(struct decoder *d, const struct instance *at, struct slice name,
                        enum space *space);

/* The class that a letter of an operand string stands for. */
enum reg_class letter_class(char letter);

/* For messages. */
const char *class_name(enum reg_class cls);

/* The register that holds a source operand; its class is what it is. */
uint32_t source_register(struct decoder *d, const struct instance *at, const struct operand *o,
                         char letter);

/* The same, and the class is checked. */
uint32_t source(struct decoder *d, const struct instance *at, const struct operand *o, char letter);

/* The register to write; a fresh one for _. */
uint32_t destination(struct decoder *d, const struct instance *at, const struct operand *o,
                     char letter);

/* Fails unless the statement has that many operands. */
void want_operands(struct decoder *d, uint32_t low, uint32_t high);

/* ---- forms.def by class (decode_forms.c): the statement at hand to instructions ---- */

void decode_alu(struct decoder *d, const struct instance *at, const struct form *f);
void decode_mov(struct decoder *d, const struct instance *at, const struct form *f);
void decode_space(struct decoder *d, const struct instance *at, const struct form *f);
void decode_cvt(struct decoder *d, const struct instance *at, const struct form *f);
void decode_setp(struct decoder *d, const struct instance *at, const struct form *f);
void decode_set(struct decoder *d, const struct instance *at, const struct form *f);
void decode_memory(struct decoder *d, const struct instance *at, const struct form *f);
void decode_atomic(struct decoder *d, const struct instance *at, const struct form *f);
void decode_shfl(struct decoder *d, const struct instance *at, const struct form *f);
void decode_barrier(struct decoder *d, const struct instance *at, const struct form *f);

/* An address in brackets. */
struct address {
    uint32_t reg;
    int64_t offset;
    bool bits32;
    enum space space; /* of a symbol; GENERIC for a register */
};
struct address decode_address(struct decoder *d, const struct instance *at,
                              const struct operand *o);

/* Can what is at an address of a space be accessed as if it were in another? */
bool space_fits(enum space wanted, enum space have);

/* ---- Forms of the tensor cores (decode_tensor.c) ---- */

void decode_mma(struct decoder *d, const struct instance *at, const struct form *f);
void decode_matrix(struct decoder *d, const struct instance *at, const struct form *f);
void decode_async(struct decoder *d, const struct instance *at, const struct form *f);

void decode_policy(struct decoder *d, const struct instance *at);

/* Is it an mma? */
bool is_mma(const struct kernel *k, uint32_t insn);

/* Says how many mma (and other instructions for a whole warp) may run in one call. */
void decode_mma_runs(struct kernel *k);

/* Marks the innermost loops that have an mma. */
void decode_main_loops(struct kernel *k);

/* ---- Slots (slots.c) ---- */

/* Gives every register a slot; registers that are never alive together share. */
void decode_assign_slots(struct decoder *d);

/* Bytes that a register of a class takes. */
uint32_t decode_class_bytes(enum reg_class cls);

#endif
