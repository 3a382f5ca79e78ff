/*
 * Decoded kernels and the machine that runs them.
 *
 * A warp runs in lockstep: a register is 32 lanes side by side (of 2, 4 or 8 bytes), a predicate a
 * 32-bit mask, and a handler works on all lanes in a loop that the compiler vectorizes. A warp that
 * diverged is a set of splits (pc, mask). Blocks are spread over host threads; the warps of a block
 * share one host thread and take turns at barriers.
 */
#ifndef EMU_MACHINE_H
#define EMU_MACHINE_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gpucc_emu.h"
#include "module.h"

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error                                                                                             \
    "a GPU's memory is little-endian, and lanes work on it in place: a little-endian host is needed"
#endif

enum {
    LANES = 32,
    MAX_WARPS = 32,    /* of a block */
    MAX_BARRIERS = 16, /* of a block */
    POISON = 0xf5,     /* byte of shared memory that nobody wrote */
};
#define ALL_LANES UINT32_MAX
#define NO_SLOT   UINT32_MAX

/* Windows of the generic address space; allocations lie below them. */
#define WINDOW_SHARED (UINT64_C(1) << 62)
#define WINDOW_LOCAL  (UINT64_C(3) << 61)
#define WINDOW_PARAM  (UINT64_C(1) << 63)
#define WINDOW_BYTES  (UINT64_C(1) << 32)

struct warp;
struct insn;

/* Runs the instructions [in, end), all of one form, for the lanes of w->mask. */
typedef void (*exec_fn)(struct warp *w, const struct insn *in, const struct insn *end);

enum insn_kind {
    KIND_EXEC,     /* fn does it */
    KIND_CONVERGE, /* fn does it once the lanes it names are here */
    KIND_ALIGNED,  /* fn does it once all lanes of the warp are here */
    KIND_BLOCK,    /* start of a basic block: counts */
    KIND_BRANCH,
    KIND_BRANCH_INDEX,
    KIND_EXIT,
    KIND_BARRIER,
    KIND_TRAP,
};

enum dest {            /* what a masked execution must keep of the old destination */
            DEST_SELF, /* nothing: the handler itself looks at w->mask */
            DEST_16,
            DEST_32,
            DEST_64,
};

/* Meanings of insn.mod; which of them apply depends on the handler. */
enum {
    MOD_FTZ = 1, /* arithmetic */
    MOD_SAT = 2,
    MOD_RZ = 4, /* rounding, nearest even if none */
    MOD_RM = 8,
    MOD_RP = 12,
    MOD_ROUND = 12,
    MOD_RELU = 16,
    MOD_AND = 4, /* setp combined with a third predicate */
    MOD_OR = 8,
    MOD_XOR = 12,
    MOD_COMBINE = 12,
    MOD_CLAMP = 1,    /* shf */
    MOD_SHIFTAMT = 1, /* bfind */
    MOD_SIGNED_A = 1, /* mma of integers */
    MOD_SIGNED_B = 2,
    MOD_SATURATE = 4,
    MOD_E5M2_A = 1, /* mma of f8, the others are e4m3 */
    MOD_E5M2_B = 2,
    MOD_B1_AND = 1,    /* mma of bits: and, not xor */
    MOD_COLUMNS_A = 1, /* mma m8n8k4 of f16 */
    MOD_ROWS_B = 2,
    MOD_HALF_C = 4,
    MOD_TRANS = 1, /* ldmatrix, stmatrix */
};

/*
 * Consecutive mma run in one call, which keeps the expanded fragments of so many A and B. imm of
 * an mma: the entry of A, of B times 256, and whether the entry is to be filled anew.
 */
enum { MMA_A_ENTRIES = 4, MMA_B_ENTRIES = 16, MMA_NEW_A = 1 << 16, MMA_NEW_B = 1 << 17 };

struct insn {
    exec_fn fn;
    uint32_t d, a, b, c, e; /* slots: byte offsets into the warp's registers */
    uint32_t d2;            /* second destination, a predicate; NO_SLOT if none */
    int64_t imm;
    const uint32_t *v; /* slots of a vector's elements */
    uint32_t guard;    /* slot of the guard predicate; NO_SLOT if none */
    uint32_t target;   /* of a branch: index of an instruction; BLOCK: number of the block */
    uint16_t run;      /* so many instructions from here on may run in one call of fn */
    uint8_t kind, dest;
    uint8_t guard_not; /* 1: runs where the guard is false */
    uint8_t mod;
    uint8_t n;         /* memory: elements of the vector; mma: registers of D, and of C */
    uint8_t size;      /* memory: bytes of an element; mma: registers of A */
    uint8_t width;     /* memory: bytes of a register; mma: registers of B */
    uint8_t sign;      /* memory: sign-extend into a wider register */
    uint8_t address32; /* memory: the address register has 32 bits */
    uint8_t generic;   /* memory: the address may lie in any space */
    uint8_t main_loop; /* in an innermost loop that has an mma */
    uint8_t op;        /* atomics and the like: enum atomic_op; BARRIER: enum barrier_op */
};

enum barrier_op { BARRIER_SYNC, BARRIER_ARRIVE };

struct constant { /* a register that holds the same value in all lanes, always */
    uint32_t slot;
    uint8_t cls;
    uint64_t value;
};

struct kernel {
    const struct module *module;
    const struct function *function;
    char *name;
    struct arena arena;
    struct insn *code;
    uint32_t n_code;
    const struct statement **statements; /* what each instruction came from */
    const char **forms;                  /* name of each instruction's form */
    uint32_t register_bytes;             /* of a warp */
    uint32_t special[SPECIALS];          /* slots, NO_SLOT if not used */
    struct constant *constants;
    uint32_t n_constants;
    uint32_t n_blocks;
    uint32_t *block_length; /* instructions of each basic block */
    uint32_t *block_tensor; /* mma among them */
    uint64_t *block_runs;   /* how often each ran, over all launches */
    uint32_t shared_bytes;  /* static */
    uint32_t local_bytes;   /* of a lane */
    int max_dynamic_shared; /* attribute, set by cuFuncSetAttribute */
    struct gpucc_emu_counters counters;
    const struct isa *isa;
    struct kernel *next;
};

struct split {
    uint32_t pc, mask;
    bool blocked; /* waits for other lanes of the warp */
    bool yielded; /* spun for long: lets the others go first */
};

enum warp_state { WARP_READY, WARP_BARRIER, WARP_DONE };

struct warp {
    char *regs;
    struct block *block;
    uint32_t mask;  /* lanes that the current instruction runs for */
    uint32_t live;  /* lanes that have not exited */
    uint32_t born;  /* lanes that the block has in this warp */
    uint32_t index; /* in the block */
    enum warp_state state;
    struct split splits[LANES + 1];
    uint32_t n_splits;
    uint32_t barrier;     /* it waits at, if state is BARRIER */
    unsigned char *local; /* of lane 0; the lanes' memories follow each other */
    uint64_t *runs;       /* of each basic block */
    uint64_t divergences;
    int64_t fuel;              /* backward branches until a yield */
    uint64_t ticks;            /* of %clock */
    uint32_t clock[MAX_WARPS]; /* race mode: what it knows of each warp; what of that is fenced */
    uint32_t fenced[MAX_WARPS];
    struct async_copy *copies; /* under way, in the order of issue */
    uint32_t first_copy, n_copies, copies_cap;
    uint32_t commit;    /* groups of copies that its lanes have committed, all the same */
    bool commits_apart; /* not all the same: see commits */
    uint32_t commits[LANES];
};

struct barrier {
    uint32_t arrived;                             /* warps */
    uint32_t expected;                            /* warps; 0: all that have not exited */
    uint32_t clock[MAX_WARPS], fenced[MAX_WARPS]; /* race mode: of those that arrived */
};

/* Race mode: a block did an atomic operation at a place where others may have said what they did.
 */
struct acquired {
    const struct place *place;
    uint32_t n;           /* of those that had said something there */
    uint32_t warp, clock; /* who, and when */
};

struct statistics {
    uint64_t global_requests, global_sectors, global_bytes, shared_requests, shared_wavefronts;
    uint64_t conflicts[4], loop_conflicts; /* by enum shared_kind; those in main loops */
};

struct block {
    const struct kernel *kernel;
    struct launch *launch; /* where faults are noted */
    struct warp *warps;
    uint32_t n_warps;
    uint32_t id[3];
    uint32_t number; /* among the blocks of the launch */
    unsigned char *shared;
    unsigned char *written; /* by byte of shared memory: has it been written? */
    uint32_t shared_bytes;
    unsigned char *pending; /* by 4 bytes of shared memory: is a cp.async into it under way? */
    uint32_t n_pending;     /* such copies, of all warps */
    bool lazy;              /* they arrive when they are waited for, not at once */
    const unsigned char *params;
    uint32_t param_bytes;
    struct barrier barriers[MAX_BARRIERS];
    struct race *race;               /* or NULL: */
    struct global_race *global_race; /* of the launch */
    struct acquired *acquired;       /* what the block heard of others, in order */
    uint32_t n_acquired, acquired_cap;
    bool count;              /* statistics wanted */
    struct touched *touched; /* … then the launch's sectors */
    struct statistics statistics;
    uint64_t spins;      /* yields since the last barrier */
    uint32_t first_warp; /* starts */
    uint32_t shuffle;    /* not 0: state of the random order of warps */
    jmp_buf fault;       /* where a failed check goes, once noted */
};

/* Handlers that no form names: moves of parts of registers, and the clock. */
#define EXTRA_HANDLERS(X)                                                                          \
    X(pack_16) X(pack_32) X(pack_16x4) X(part_16) X(part_16_64) X(part_32) X(clock_32) X(clock_64)
enum extra_handler {
#define X(name) EXTRA_##name,
    EXTRA_HANDLERS(X)
#undef X
};

/* A set of handlers compiled for one kind of CPU. */
struct isa {
    const char *name;
    const exec_fn *handlers; /* by index of the form */
    const exec_fn *extra;    /* by enum extra_handler */
    void (*masked)(struct warp *w, const struct insn *in, uint32_t mask);
};

/* The handlers for this CPU, or the ones in plain C. */
const struct isa *isa_choose(int widest);

/* Notes what went wrong at in (one lane, or -1) and leaves the block; does not return. */
_Noreturn __attribute__((format(printf, 4, 5))) void fault(struct warp *w, const struct insn *in,
                                                           int lane, const char *format, ...);

/* Runs w until it waits at a barrier, is done, or spins. */
void warp_run(struct warp *w);

/* Runs all warps of b to their end. */
void block_run(struct block *b);

/*
 * Looks up every instruction in the table of forms and resolves operands, inlining the functions
 * that it calls. NULL on an error, which is written to message.
 */
struct kernel *kernel_decode(const struct module *m, const struct function *f, int sm,
                             const struct isa *isa, char *message, size_t size);
void kernel_free(struct kernel *k);

#endif
