/*
 * A parsed PTX module: what the text says, before any instruction is looked up in the table of
 * forms. Everything lives in the module's arena.
 */
#ifndef EMU_MODULE_H
#define EMU_MODULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"

enum reg_class { REG_PRED, REG_16, REG_32, REG_64, REG_CLASSES };

enum space {
    SPACE_GENERIC,
    SPACE_GLOBAL,
    SPACE_CONST,
    SPACE_SHARED,
    SPACE_LOCAL,
    SPACE_PARAM, /* of a kernel, or of a call: the decoder tells them apart */
};

struct slice { /* a piece of the module's text */
    const char *s;
    uint32_t n;
};

/* Special registers; x, y, z follow each other. */
#define SPECIAL_REGISTERS(X)                                                                       \
    X(TID_X, "%tid.x")                                                                             \
    X(TID_Y, "%tid.y")                                                                             \
    X(TID_Z, "%tid.z")                                                                             \
    X(NTID_X, "%ntid.x")                                                                           \
    X(NTID_Y, "%ntid.y")                                                                           \
    X(NTID_Z, "%ntid.z")                                                                           \
    X(CTAID_X, "%ctaid.x") X(CTAID_Y, "%ctaid.y") X(CTAID_Z, "%ctaid.z") X(NCTAID_X, "%nctaid.x")  \
        X(NCTAID_Y, "%nctaid.y") X(NCTAID_Z, "%nctaid.z") X(LANEID, "%laneid")                     \
            X(WARPID, "%warpid") X(NWARPID, "%nwarpid") X(LANEMASK_EQ, "%lanemask_eq")             \
                X(LANEMASK_LE, "%lanemask_le") X(LANEMASK_LT, "%lanemask_lt")                      \
                    X(LANEMASK_GE, "%lanemask_ge") X(LANEMASK_GT, "%lanemask_gt") X(SMID, "%smid") \
                        X(NSMID, "%nsmid") X(DYNAMIC_SMEM, "%dynamic_smem_size")                   \
                            X(TOTAL_SMEM, "%total_smem_size") X(CLOCK, "%clock")                   \
                                X(CLOCK64, "%clock64") X(GLOBALTIMER, "%globaltimer")

enum special {
#define X(id, name) SPECIAL_##id,
    SPECIAL_REGISTERS(X)
#undef X
        SPECIALS
};

enum operand_kind {
    OPERAND_REG,
    OPERAND_SPECIAL,
    OPERAND_INT,    /* imm: integer bits, sign-extended */
    OPERAND_F32,    /* imm: bits of 0fXXXXXXXX */
    OPERAND_F64,    /* imm: bits of 0dX…X or of a decimal number */
    OPERAND_SYMBOL, /* variable, function or label, plus offset */
    OPERAND_VECTOR, /* {a, b, …} or (a, b, …): elements */
    OPERAND_MEMORY, /* [base + offset]: elements[0] is the base */
    OPERAND_SINK,   /* _ */
};

struct operand {
    enum operand_kind kind;
    bool negate;  /* !%p */
    uint32_t reg; /* REG: index into the function's registers; SPECIAL: enum special */
    uint64_t imm;
    int64_t offset; /* SYMBOL, MEMORY */
    struct slice symbol;
    struct operand *elements; /* VECTOR, MEMORY */
    uint32_t n_elements;
    struct operand *second; /* the q of p|q, or NULL */
};

struct variable {
    struct slice name;
    enum space space;
    bool external;
    uint32_t scope;       /* scope of the function it is declared in; 0: whole function */
    uint64_t size, align; /* bytes; size 0: extern array */
    uint64_t offset;      /* LOCAL and PARAM of a function: in its frame; params of an entry:
                             in the parameter block; GLOBAL, CONST: device address once loaded */
    unsigned char *init;  /* size bytes, or NULL for zeros */
    struct relocation *relocations;
    struct variable *next;
};

struct relocation { /* 8 bytes at offset hold the address of a symbol */
    uint64_t offset;
    struct slice symbol;
    int64_t addend;
    uint32_t line;
    struct relocation *next;
};

struct statement {
    struct slice op;      /* "add.s32" */
    uint32_t line;        /* of the PTX text */
    uint32_t source_line; /* of the CUDA text, from .loc; 0 if unknown */
    uint32_t scope;
    struct operand *guard; /* the predicate of @p, or NULL */
    struct operand *operands;
    uint32_t n_operands;
};

struct label {
    struct slice name;
    uint32_t scope;
    uint32_t statement;    /* index of the statement that follows */
    struct slice *targets; /* of .branchtargets, or NULL */
    uint32_t n_targets;
};

struct reg_range { /* .reg .b32 %r<count>; a single register has count 0 */
    struct slice prefix;
    uint32_t scope, first, count;
    enum reg_class cls;
};

struct function {
    struct slice name;
    bool entry, has_body;
    uint32_t line;
    struct variable *formals; /* parameters in order, declared types */
    struct variable *result;  /* of a .func, or NULL */
    uint32_t n_formals;
    uint64_t param_bytes; /* of an entry */
    uint64_t frame_bytes; /* local variables and call parameters of one instance */
    uint32_t max_threads; /* product of .maxntid or .reqntid, 0 if none */
    uint32_t required[3]; /* .reqntid, zeros if none */
    struct variable *variables;
    struct reg_range *ranges;
    uint32_t n_ranges, n_registers;
    enum reg_class *classes; /* by register */
    uint32_t *scopes;        /* parent of each scope */
    uint32_t n_scopes;
    struct statement *statements;
    uint32_t n_statements;
    struct label *labels;
    uint32_t n_labels;
    struct function *next;
};

struct module {
    struct arena arena;
    const char *text; /* own copy */
    int ptx;          /* 10 * major + minor of .version */
    int sm;           /* of .target */
    char sm_suffix;   /* 'a', 'f' or 0 */
    struct variable *variables;
    struct function *functions;
};

/*
 * Parses text. NULL on an error, which is written to message ("line 12: …"); the caller frees the
 * module with module_free().
 */
struct module *module_parse(const char *text, char *message, size_t size);
void module_free(struct module *m);

/* The variable or function called name at that scope of f (f may be NULL), or NULL. */
struct variable *module_variable(const struct module *m, const struct function *f, uint32_t scope,
                                 struct slice name);
struct function *module_function(const struct module *m, struct slice name);

/* The label called name seen from scope, or NULL. */
const struct label *function_label(const struct function *f, uint32_t scope, struct slice name);

bool slice_is(struct slice a, const char *s);
bool slice_equal(struct slice a, struct slice b);

#endif
