/*
 * libgpucc_emu: a CUDA driver that runs PTX on the CPU.
 *
 * The library exports the cu* functions of the CUDA driver API that gpucc's runtime loads, so a
 * caller that opens it in place of libcuda needs no second path. What it adds is declared here.
 *
 * It is a checker: an access out of bounds, misaligned, to freed or read-only memory, a read of
 * shared memory that was never written, a divergent barrier, a shuffle naming exited lanes, and a
 * deadlock, a cp.async whose place is read or written before a wait covers its group, and an
 * instruction for a whole warp that not all of it reaches each fail the launch with a CUDA error
 * code, and gpucc_emu_last_error() says kernel, PTX line (CUDA line with -lineinfo), block, thread,
 * address and what. Races on shared memory, by copies too, are looked for on request.
 *
 * What it does not do: it tests PTX, not the machine code that ptxas makes of it; it knows no time.
 *
 * Numerics: IEEE operations are exact (round to nearest even, or as the instruction says).
 * The approximations (ex2, lg2, rcp, rsqrt, sqrt, div, sin, cos, tanh .approx) return the true
 * value rounded once, up to an error far below an ulp; a GPU's are up to 2 ulp away from it.
 * mma: products are exact and added one after the other, each sum rounded to nearest even in f32
 * (f64; integers exactly); a GPU adds those of one instruction in an order of its own.
 * Cache hints and prefetches are checked for form and have no effect. It knows no mma of sparse
 * matrices, no wgmma, no bulk copies and no mbarrier.
 *
 * Threads: every call may come from any thread; the library works on one at a time. A launch runs
 * to its end before the call returns (streams are in order, and synchronous).
 */
#ifndef GPUCC_EMU_H
#define GPUCC_EMU_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { EMU_ISA_BEST, EMU_ISA_PLAIN, EMU_ISA_AVX2 }; /* what the CPU has; plain C; AVX2 and FMA */

/* Fields at zero mean the default; the environment (GPUCC_EMU_SM, …) is read at the first call. */
struct gpucc_emu_options {
    int sm;           /* compute capability to take on, 10 * major + minor; default 90.
                         GPUCC_EMU_SM */
    int threads;      /* host threads for the blocks of a launch; default all cores.
                         GPUCC_EMU_THREADS */
    int race;         /* 1: look for races on shared memory, and on global memory within a
                         launch (up to 15 times slower). GPUCC_EMU_RACE */
    int isa;          /* widest vectors to use: EMU_ISA_… GPUCC_EMU_ISA, as a number */
    int statistics;   /* 1: count global sectors and shared wavefronts. GPUCC_EMU_STATISTICS */
    int lazy;         /* 1: cp.async moves its data when it is waited for, not when it is issued;
                         so it does with race, too. GPUCC_EMU_LAZY */
    uint32_t shuffle; /* not 0: seed for the order in which blocks and warps run.
                         GPUCC_EMU_SHUFFLE */
};

/* "0.1.0"; static. */
const char *gpucc_emu_version(void);

/*
 * Sets all options. Takes effect for modules loaded and kernels launched afterwards.
 * 0, or a CUresult: 1 (CUDA_ERROR_INVALID_VALUE) if an option is out of range; nothing is set.
 */
int gpucc_emu_configure(const struct gpucc_emu_options *options);

/*
 * What went wrong in the last call that failed, one or more lines; "" if none did.
 * Valid until the next call into the library.
 */
const char *gpucc_emu_last_error(void);

/*
 * A launch that failed leaves the context unusable: every later call returns its error, as with a
 * GPU. This makes the device usable again; memory and modules stay.
 */
void gpucc_emu_forgive(void);

struct gpucc_emu_counters {
    uint64_t launches, copies, fills; /* device operations; a zero-sized one counts, too */
    uint64_t copied_bytes, filled_bytes;
    uint64_t warp_instructions;   /* PTX instructions, once per warp (per split) */
    uint64_t divergences;         /* branches on which a warp split up */
    uint64_t global_requests;     /* with statistics: global loads, stores, atomics */
    uint64_t global_sectors;      /* with statistics: 32-byte sectors they touched */
    uint64_t shared_requests;     /* with statistics: shared loads, stores, atomics */
    uint64_t shared_wavefronts;   /* with statistics: passes, 1 a request if no conflict; 16 bytes
                                     a lane go by quarters of a warp and need 4 */
    uint64_t tensor_instructions; /* of warp_instructions: mma; by form: the instruction mix */
    uint64_t global_bytes;        /* with statistics: bytes of these that lanes asked for: what is
                                     useful of 32 each */
    /* With statistics: 32 for each sector that a launch reads, or writes, however often it does:
     * what memory moves if repetitions hit caches. */
    uint64_t read_bytes, written_bytes;
    uint64_t load_conflicts;   /* with statistics: passes over the banks of shared memory beyond */
    uint64_t matrix_conflicts; /*   one for each group of lanes, of ld, of ldmatrix, of st, atom */
    uint64_t store_conflicts;  /*   and stmatrix, of cp.async */
    uint64_t async_conflicts;
    uint64_t main_loop_conflicts; /* of all these, those in innermost loops that have an mma */
};

/* Counts since the start or the last reset: of everything if kernel is NULL, else of the kernels
 * of that name (launches and what they executed). 0, or 500 (CUDA_ERROR_NOT_FOUND). */
int gpucc_emu_counters(const char *kernel, struct gpucc_emu_counters *out);
void gpucc_emu_counters_reset(void);

/* The name of the i-th kernel that was loaded (one of several of a name), or NULL past the last. */
const char *gpucc_emu_kernel(size_t i);

/*
 * How often each instruction form ran, as lines "count form\n", most frequent first, of the
 * kernels of that name. Writes at most size bytes with the final NUL; returns the length needed.
 */
size_t gpucc_emu_instruction_mix(const char *kernel, char *out, size_t size);

/* The i-th instruction form that the emulator knows, or NULL past the last. */
struct gpucc_emu_form {
    const char *name; /* "add.rn.f32" */
    int ptx;          /* minimum PTX ISA, 10 * major + minor */
    int sm;           /* minimum SM */
};
const struct gpucc_emu_form *gpucc_emu_form(size_t i);

#ifdef __cplusplus
}
#endif
#endif
