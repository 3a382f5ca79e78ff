/* PTX into the emulator: parsed, its variables allocated, every kernel decoded. Nothing is run. */
#include "cu.h"
#include "fuzz.h"
#include "gpucc_emu.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool started;
    if (!started && cuInit(0) != 0)
        fuzz_broken("the emulator starts", gpucc_emu_last_error());
    started = true;
    char *text = malloc(size + 1); /* of its own size, so that a read behind it is seen */
    CUmodule module;
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = 0;
    bool loaded = cuModuleLoadData(&module, text) == 0;
    fuzz_reason(loaded, gpucc_emu_last_error());
    fuzz_result(size, loaded, gpucc_emu_last_error());
    if (loaded)
        cuModuleUnload(module);
    free(text);
    return 0;
}
