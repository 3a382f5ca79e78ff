/* Which handlers: the widest that this CPU has. */
#include "gpucc_emu.h"
#include "machine.h"

extern const struct isa isa_base;
#ifdef EMU_X86
extern const struct isa isa_v3, isa_v4;
#endif

const struct isa *isa_choose(int widest)
{
#ifdef EMU_X86
    if (widest == EMU_ISA_BEST && __builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512cd")) {
        return &isa_v4;
    }
    if (widest != EMU_ISA_PLAIN && __builtin_cpu_supports("avx2") &&
        __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2") &&
        __builtin_cpu_supports("bmi")) {
        return &isa_v3; /* every CPU with AVX2 and FMA has F16C */
    }
#endif
    (void)widest;
    return &isa_base;
}
