/*
 * The plan file, version 1. docs/plan-format.md explains it; this header is what the compiler's
 * writer and the runtime's loader share.
 *
 *   plan_header | plan_target[n_targets] | plan_section[n_sections] | sections …
 *
 * Everything is little-endian. A section is an array of one kind of record (or bytes); sections lie
 * in the order of the section table, each at a multiple of its alignment, gaps filled with zeros, and
 * the last one ends the file. A string is the offset of a NUL-terminated UTF-8 text in STRINGS;
 * offset 0 is the empty string. PLAN_NONE in an index field means "none".
 *
 * Nothing in a plan depends on a path, a pointer, a clock or a host.
 */
#ifndef GPUCC_PLAN_FORMAT_H
#define GPUCC_PLAN_FORMAT_H

#include <stdint.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "plans are read in place: a little-endian host is needed"
#endif

#define PLAN_MAGIC "gpuccPLN"           /* 8 bytes, no NUL */

enum { PLAN_VERSION = 1 };

#define PLAN_NONE UINT32_MAX

enum {
    PLAN_MAX_TARGETS = 64,
    PLAN_MAX_RANK = 16,
    PLAN_MAX_ARGS = 1024,               /* of one launch */
    PLAN_MAX_DEPTH = 16,                /* IF and LOOP steps inside each other */
    PLAN_BUFFER_ALIGN = 256,            /* of every buffer in the arena, and at least of weights */
    PLAN_IO_ALIGN = 16,                 /* of inputs and outputs: what a kernel may assume of memory
                                           that a caller binds, the widest vector access */
    PLAN_WEIGHT_ALIGN = 4096            /* of the WEIGHT_DATA section in the file */
};

/* ---- the header: enough to say whether the plan runs here ---- */

struct plan_header {                    /* 128 bytes */
    char magic[8];
    uint32_t version;
    uint32_t header_bytes;              /* header + target table + section table */
    uint64_t file_bytes;
    uint64_t header_hash;               /* XXH3-64 of those header_bytes, with this field 0 */
    uint32_t n_targets, n_sections;
    uint32_t n_inputs, n_outputs;       /* VALUES: inputs first, then outputs, then element types */
    uint32_t nvrtc_version;             /* 13000 = 13.0 */
    uint32_t cubin_abi;                 /* EI_ABIVERSION of the cubins' ELF; 0: no cubins */
    char gpucc_version[24];             /* NUL-padded */
    char nvrtc_build[32];               /* build id of the NVRTC that compiled it, NUL-padded */
    uint32_t needs;                     /* PLAN_NEEDS_* of all programs together */
    uint32_t reserved[3];               /* 0 */
};

enum { PLAN_NEEDS_CUBLASLT = 1, PLAN_NEEDS_HOST_CALLS = 2 };

enum {
    PLAN_TARGET_PORTABLE = 1,           /* PTX only, for sm and everything above */
    PLAN_TARGET_EXACT = 2               /* "a" targets: runs on this sm and nothing else */
};

struct plan_target {                    /* 32 bytes; program i is that of target i */
    char name[16];                      /* "sm_90a", "portable"; NUL-padded */
    uint32_t sm;                        /* 90 */
    uint32_t flags;                     /* PLAN_TARGET_* */
    uint32_t min_driver;                /* as cuDriverGetVersion: 12040 */
    uint32_t ptx_isa;                   /* 90 = 9.0 */
};

struct plan_section {                   /* 40 bytes */
    uint32_t kind;                      /* PLAN_<name> below */
    uint32_t program;                   /* whose it is; PLAN_NONE: shared by all */
    uint64_t offset, bytes;             /* in the file */
    uint32_t alignment;                 /* power of two, at least 8 */
    uint32_t record_bytes;              /* sizeof the record; 1 for bytes */
    uint64_t hash;                      /* XXH3-64 of the section's bytes */
};

/*
 * Each kind appears exactly once (PLAN), or once for every program (PROGRAM); an empty section has
 * bytes 0. In the file: in this order, program by program.
 *        name         code  record                  whose    */
#define PLAN_SECTIONS(X)                                                                           \
    X(STRINGS,      1,  char,                        PLAN)                                         \
    X(VALUES,       2,  struct plan_value,           PLAN)                                         \
    X(DIMS,         3,  struct plan_dim,             PLAN)                                         \
    X(SYMBOLS,      4,  struct plan_symbol,          PLAN)                                         \
    X(PROGRAM,      5,  struct plan_program,         PROGRAM) /* one record */                     \
    X(SCALARS,      6,  struct plan_scalar,          PROGRAM)                                      \
    X(BUFFERS,      7,  struct plan_buffer,          PROGRAM)                                      \
    X(SHAPES,       8,  uint32_t,                    PROGRAM) /* slots of output dims */           \
    X(READS,        9,  struct plan_read,            PROGRAM)                                      \
    X(KERNELS,      10, struct plan_kernel,          PROGRAM)                                      \
    X(ARGS,         11, struct plan_arg,             PROGRAM)                                      \
    X(STEPS,        12, struct plan_step,            PROGRAM)                                      \
    X(TAPS,         13, struct plan_tap,             PROGRAM)                                      \
    X(WEIGHTS,      14, struct plan_weight,          PLAN)                                         \
    X(RECIPES,      15, char,                        PLAN)                                         \
    X(CODE,         16, uint8_t,                     PLAN)    /* cubins and PTX texts */           \
    X(WEIGHT_DATA,  17, uint8_t,                     PLAN)

enum plan_section_kind {
#define X(name, code, record, whose) PLAN_##name = code,
    PLAN_SECTIONS(X)
#undef X
    PLAN_SECTION_COUNT = 18             /* codes are below this */
};

/* ---- inputs, outputs, symbols ---- */

enum plan_value_kind { PLAN_TENSOR, PLAN_SEQUENCE, PLAN_OPTIONAL, PLAN_MAP, PLAN_STRING };

struct plan_value {                     /* 24 bytes */
    uint32_t name;                      /* string: ONNX's name */
    uint8_t kind;                       /* plan_value_kind */
    uint8_t dtype;                      /* TENSOR: ONNX's code; MAP: that of its keys */
    uint8_t rank;                       /* TENSOR */
    uint8_t reserved;                   /* 0 */
    uint32_t first_dim;                 /* TENSOR: rank records in DIMS */
    uint32_t element;                   /* SEQUENCE, OPTIONAL, MAP: a later VALUES record; else NONE */
    uint32_t alias;                     /* output: input in whose memory it lies, or NONE */
    uint32_t reserved2;                 /* 0 */
};

struct plan_dim {                       /* 16 bytes */
    int64_t value;                      /* -1: known at run time only */
    uint32_t text;                      /* string: symbol or formula of a free dim ("batch") */
    uint32_t symbol;                    /* index of SYMBOLS when the dim is just that, or NONE */
};

struct plan_symbol {                    /* 24 bytes */
    uint32_t name;                      /* string */
    uint32_t reserved;                  /* 0 */
    int64_t lower, upper;               /* known bounds; INT64_MAX: none */
};

/* ---- a program: what one target runs ---- */

struct plan_program {                   /* 40 bytes */
    uint32_t main_steps;                /* steps [0, main_steps) are the run; later ones are bodies */
    uint32_t bind_scalars;              /* scalars [0, bind_scalars) run when shapes are set */
    int64_t arena_bytes;                /* all buffers have offsets, within this; -1: placed at run */
    int64_t peak_bytes;                 /* activations alive at once, if results lie in operands wherever
                                           they may; -1 where dims are free */
    uint32_t peak_formula;              /* string; "" when peak_bytes is known */
    uint32_t reserved[3];               /* 0 */
};

/*
 * The scalar program: instruction i defines slot i, an int64. Operands a and b are slots below i,
 * except where the table says otherwise. An overflow or a division by zero fails the run.
 * [0, bind_scalars) runs when the input shapes are set; a READ step runs a range of its own.
 *        name          code   operands       meaning                                              */
#define PLAN_SCALAR_OPS(X)                                                                         \
    X(CONST,        0,  0)      /* value */                                                        \
    X(INPUT_DIM,    1,  0)      /* dim b of input a */                                             \
    X(ELEMENT,      2,  0)      /* element b of READS record a; value: upper bound or INT64_MAX */ \
    X(LOOP_INDEX,   3,  0)      /* iteration of LOOP step a, from 0 */                             \
    X(ADD,          4,  2)                                                                         \
    X(SUB,          5,  2)                                                                         \
    X(MUL,          6,  2)                                                                         \
    X(FLOORDIV,     7,  2)      /* towards minus infinity */                                       \
    X(MOD,          8,  2)      /* sign of b */                                                    \
    X(MIN,          9,  2)                                                                         \
    X(MAX,          10, 2)                                                                         \
    X(EQ,           11, 2)      /* 1 or 0 */                                                       \
    X(LT,           12, 2)      /* 1 or 0 */                                                       \
    X(MUST_EQUAL,   13, 2)      /* a == b, else the run fails with text */                         \
    X(MUST_BROADCAST, 14, 2)    /* a == b, or a == 1 */                                            \
    X(MUST_LESS_EQUAL, 15, 2)   /* a <= b */

enum plan_scalar_op {
#define X(name, code, operands) PLAN_SC_##name = code,
    PLAN_SCALAR_OPS(X)
#undef X
    PLAN_SC_COUNT = 16
};

struct plan_scalar {                    /* 24 bytes */
    uint32_t op;                        /* plan_scalar_op */
    uint32_t a, b;
    uint32_t text;                      /* MUST_*: string; it names node, inputs, axes. Else 0 */
    int64_t value;                      /* CONST, ELEMENT; else 0 */
};

/*
 * Memory of the run. Buffers live from step `first` to step `last`, both included, counted in an order
 * in which bodies lie right behind the steps that own them; what an iteration of a LOOP finds there
 * from before lives from the LOOP to the end of its body. An ARENA buffer's bytes are
 * PLAN_BUFFER_ALIGN-aligned and rounded up to that, so a kernel may read past the end up to there.
 * A buffer may stand for a list, which the host keeps, and whose elements have memory of their own:
 * then it has 0 bytes, and LIST steps alone use it.
 * A ZEROED buffer's memory is its own: all zero when a context takes it, and kept from run to run. The
 * kernels that write it leave zeros behind, so that it is zero again at the end of a run.
 * alias: an ARENA buffer that lies in the memory of another ARENA buffer, at its start. That one is no
 * alias itself, is at least as large, and its lifetime covers the alias's.
 */
enum plan_buffer_kind { PLAN_BUFFER_ARENA, PLAN_BUFFER_INPUT, PLAN_BUFFER_OUTPUT,
                        PLAN_BUFFER_WEIGHT, PLAN_BUFFER_ZEROED };

struct plan_buffer {                    /* 40 bytes */
    uint32_t kind;                      /* plan_buffer_kind */
    uint32_t index;                     /* which input, output or WEIGHTS record; else 0 */
    uint32_t size;                      /* slot: bytes */
    uint32_t alignment;                 /* power of two <= PLAN_BUFFER_ALIGN */
    uint32_t first, last;               /* in that order; last >= first */
    int64_t offset;                     /* ARENA with arena_bytes >= 0: where; else -1 */
    uint32_t alias;                     /* ARENA: buffer or NONE */
    uint32_t reserved;                  /* 0 */
};

/* SHAPES: for each output tensor in order, `rank` slots. */

struct plan_read {                      /* 16 bytes: a small tensor that scalars need on the host */
    uint32_t buffer;
    uint32_t dtype;                     /* integers and BOOL only */
    uint32_t elements;                  /* read from the start of the buffer; 1 … 65536 */
    uint32_t reserved;                  /* 0 */
};

struct plan_kernel {                    /* 88 bytes */
    uint32_t symbol;                    /* string: the function's name in the module */
    uint32_t family;                    /* string: "map", "contract", … */
    uint64_t cubin_offset, cubin_bytes; /* in CODE; bytes 0: none (portable) */
    uint64_t ptx_offset, ptx_bytes;     /* in CODE; NUL-terminated, the NUL counted; 0: none */
    uint32_t block[3];                  /* threads, each >= 1, 1024 together at most */
    uint32_t cluster[3];                /* blocks; 0 0 0 = no cluster */
    uint32_t shared_bytes;              /* dynamic, of a launch */
    uint32_t registers;                 /* facts for inspect: a thread's registers, … */
    uint32_t static_shared_bytes;       /* … static shared memory … */
    uint32_t spill_bytes;               /* … and local memory; all 0 where there is no cubin */
    uint32_t flags;                     /* PLAN_KERNEL_* */
    uint32_t reserved;                  /* 0 */
};

enum { PLAN_KERNEL_COOPERATIVE = 1 };   /* all blocks run at once: grid-wide barriers */

enum plan_arg_kind { PLAN_ARG_BUFFER, PLAN_ARG_I32, PLAN_ARG_I64, PLAN_ARG_TENSOR_MAP };

struct plan_arg {                       /* 16 bytes */
    uint32_t kind;                      /* plan_arg_kind; TENSOR_MAP is refused by version 1 */
    uint32_t index;                     /* BUFFER: buffer; I32, I64: slot; I32 must fit, or fails */
    uint32_t offset;                    /* BUFFER: slot of a byte offset, or NONE */
    uint32_t reserved;                  /* 0 */
};

/*
 * Steps. `u` by kind; sizes are bytes in slots. A range of bodies lies behind the step that owns it
 * and belongs to that step alone.
 *        name         code  what it does                                                          */
#define PLAN_STEPS_KINDS(X)                                                                        \
    X(LAUNCH,       0)  /* a kernel; skipped when a grid dim is 0 */                               \
    X(COPY,         1)  /* device to device */                                                     \
    X(FILL,         2)  /* a 32-bit pattern repeated, cut off at the end */                        \
    X(GEMM,         3)  /* cuBLASLt; refused by this runtime */                                    \
    X(READ_DIM,     4)  /* read a tensor to the host, then run scalars */                          \
    X(IF,           5)                                                                             \
    X(LOOP,         6)                                                                             \
    X(LIST_NEW,     7)  /* an empty list */                                                        \
    X(LIST_COPY,    8)  /* another list's elements */                                              \
    X(LIST_INSERT,  9)  /* … and a tensor between or behind them */                                \
    X(LIST_ERASE,   10) /* … but one */                                                            \
    X(LIST_AT,      11) /* an element to a tensor */                                               \
    X(LIST_LENGTH,  12) /* the number of elements to an I64 scalar */                              \
    X(HOST_CALL,    13) /* a named function of the host; refused by this runtime */                \
    X(LIST_SHAPE,   14) /* an element's dims to an I64 tensor */

enum plan_step_kind {
#define X(name, code) PLAN_STEP_##name = code,
    PLAN_STEPS_KINDS(X)
#undef X
    PLAN_STEP_COUNT = 15
};

struct plan_step {                      /* 64 bytes */
    uint32_t kind;                      /* plan_step_kind */
    uint32_t nodes;                     /* string: ONNX nodes it computes: "conv1 (Conv)" */
    union {
        struct {
            uint32_t kernel;
            uint32_t first_arg, n_args; /* ARGS, in the order of the function's parameters */
            uint32_t grid[3];           /* slots: blocks */
        } launch;
        struct {
            uint32_t to, to_offset;     /* buffer; slot of a byte offset or NONE */
            uint32_t from, from_offset;
            uint32_t bytes;             /* slot */
        } copy;
        struct {
            uint32_t to, to_offset;     /* to_offset: a multiple of 4 */
            uint32_t bytes;             /* slot */
            uint32_t pattern;
        } fill;
        struct {
            uint32_t a, b, c;           /* buffers: c = a * b */
            uint32_t dtype;             /* of a, b and c */
            uint32_t m, n, k, batch;    /* slots */
            uint32_t stride_a, stride_b; /* slots: elements between batches */
            uint32_t transpose;         /* bit 0: a, bit 1: b */
        } gemm;
        struct {
            uint32_t read;              /* READS record; NONE: run the scalars only */
            uint32_t first_scalar, n_scalars; /* behind bind_scalars */
        } read;
        struct {
            uint32_t condition;         /* slot: not 0 = then */
            uint32_t first_then, n_then; /* steps */
            uint32_t first_else, n_else;
        } branch;                       /* IF */
        struct {
            uint32_t trips;             /* slot: most iterations; NONE: no bound */
            uint32_t again;             /* slot: after a body, 0 ends the loop; NONE: never */
            uint32_t first, n;          /* steps of the body */
        } loop;
        struct {                        /* what a kind does not have is NONE, or 0 behind position */
            uint32_t to, from;          /* buffers of lists: the one that is made, the one read */
            uint32_t tensor;            /* buffer: INSERT: source; AT, LENGTH, SHAPE: destination */
            uint32_t position;          /* slot: INSERT (-1: behind the last), ERASE, AT, SHAPE */
            uint32_t dtype;             /* INSERT, AT: of the element */
            uint32_t first_arg, n_args; /* INSERT, AT: the element's dims, as I64 ARGS; SHAPE: its rank
                                           as n_args */
            uint32_t optional;          /* 1: of an optional sequence. NEW: it is not there; COPY: it
                                           must be there; LENGTH: 1 if it is there, else 0 */
        } list;
        struct {
            uint32_t function;          /* string */
            uint32_t first_arg, n_args;
        } call;
        uint32_t words[14];             /* the rest of a kind's words are 0 */
    } u;
};

/*
 * A value of the model that a main step leaves in memory: for those who compare a run step by step.
 * Element i lies `offset` bytes and the sum of i's indices times their strides behind the start of the
 * buffer. In the order of the steps. A run needs none of it.
 */
struct plan_tap {                       /* 32 bytes */
    uint32_t step;                      /* main step behind which the value is there */
    uint32_t buffer, offset;            /* offset: slot of a byte offset or NONE */
    uint32_t name;                      /* string: ONNX's name of the value */
    uint32_t dtype;                     /* ONNX's code: of the buffer's elements */
    uint32_t rank, first_arg;           /* ARGS of kind I64: rank dims, then as many strides */
    uint32_t reserved;                  /* 0 */
};

/* ---- constants ---- */

struct plan_weight {                    /* 40 bytes; identical bytes are stored once */
    uint64_t hash;                      /* XXH3-64 of the bytes */
    uint64_t offset, bytes;             /* in WEIGHT_DATA; offset a multiple of PLAN_BUFFER_ALIGN */
    uint64_t recipe_offset;             /* in RECIPES: text, how the bytes came from the model */
    uint32_t recipe_bytes;
    uint32_t reserved;                  /* 0 */
};

/* The layout is the contract: no compiler may pad it. */
#define PLAN_SIZE(type, bytes)                                                                     \
    _Static_assert(sizeof(struct type) == (bytes), "layout of " #type " in a plan file")
PLAN_SIZE(plan_header, 128);
PLAN_SIZE(plan_target, 32);
PLAN_SIZE(plan_section, 40);
PLAN_SIZE(plan_value, 24);
PLAN_SIZE(plan_dim, 16);
PLAN_SIZE(plan_symbol, 24);
PLAN_SIZE(plan_program, 40);
PLAN_SIZE(plan_scalar, 24);
PLAN_SIZE(plan_buffer, 40);
PLAN_SIZE(plan_read, 16);
PLAN_SIZE(plan_kernel, 88);
PLAN_SIZE(plan_arg, 16);
PLAN_SIZE(plan_step, 64);
PLAN_SIZE(plan_tap, 32);
PLAN_SIZE(plan_weight, 40);
#undef PLAN_SIZE

#endif
