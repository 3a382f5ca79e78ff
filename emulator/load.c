/* Loading a module: text to kernels, variables to memory. */
#include "driver.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

static bool allocate_variable(CUmodule m, struct variable *v)
{
    if ((v->space != SPACE_GLOBAL && v->space != SPACE_CONST) || v->external) {
        return true;
    }
    uint64_t address = memory_alloc(v->size ? v->size : 1);
    uint64_t *grown = realloc(m->allocations, (m->n_allocations + 1) * sizeof *grown);
    if (grown) {
        m->allocations = grown;
    }
    if (!address || !grown) {
        driver_error(CUDA_ERROR_OUT_OF_MEMORY, "out of memory for variable %.*s", (int)v->name.n,
                     v->name.s);
        memory_free(address);
        return false;
    }
    m->allocations[m->n_allocations++] = address;
    v->offset = address;
    unsigned char *host = memory_table[address >> SLICE_BITS].host;
    memset(host, 0, v->size);
    if (v->init) {
        memcpy(host, v->init, v->size);
    }
    return true;
}

static bool relocate(CUmodule m, struct variable *v, const struct function *f)
{
    for (const struct relocation *r = v->relocations; r; r = r->next) {
        const struct variable *to = module_variable(m->module, f, v->scope, r->symbol);
        if (!to || (to->space != SPACE_GLOBAL && to->space != SPACE_CONST) || to->external) {
            driver_error(CUDA_ERROR_INVALID_PTX,
                         "PTX line %" PRIu32 ": initial value '%.*s' is not a variable here",
                         r->line, (int)r->symbol.n, r->symbol.s);
            return false;
        }
        uint64_t address = to->offset + (uint64_t)r->addend;
        memcpy(memory_table[v->offset >> SLICE_BITS].host + r->offset, &address, sizeof address);
    }
    memory_table[v->offset >> SLICE_BITS].read_only |= v->space == SPACE_CONST;
    return true;
}

/* Variables of the module and of its functions. */
static bool load_variables(CUmodule m)
{
    bool ok = true;
    for (int pass = 0; pass < 2; pass++) {
        const struct function *f = NULL;
        struct variable *v = m->module->variables;
        for (struct function *next = m->module->functions;; next = next->next) {
            for (; v && ok; v = v->next) {
                bool mine = (v->space == SPACE_GLOBAL || v->space == SPACE_CONST) && !v->external;
                ok = !mine || (pass == 0 ? allocate_variable(m, v) : relocate(m, v, f));
            }
            if (!next) {
                break;
            }
            f = next;
            v = next->variables;
        }
    }
    return ok;
}

static bool decode_kernels(CUmodule m, const struct isa *isa)
{
    char message[sizeof driver.error - 64];
    for (const struct function *f = m->module->functions; f; f = f->next) {
        if (!f->entry || !f->has_body) {
            continue;
        }
        struct kernel *k =
            kernel_decode(m->module, f, driver.options.sm, isa, message, sizeof message);
        if (!k) {
            driver_error(CUDA_ERROR_INVALID_PTX, "%s", message);
            return false;
        }
        k->next = m->kernels;
        m->kernels = k;
    }
    return true;
}

/* Does PTX for the module's target run on the device? */
static bool runs_here(const struct module *m, int sm)
{
    bool family = m->sm_suffix == 'f' && m->sm / 10 == sm / 10 && m->sm <= sm;
    return m->sm_suffix == 'a' ? m->sm == sm : m->sm_suffix ? family : m->sm <= sm;
}

CUresult module_load(const char *text, CUmodule *out)
{
    if (!strncmp(text, "\177ELF", 4)) {
        return driver_error(CUDA_ERROR_INVALID_IMAGE,
                            "the image is a cubin; the emulator runs PTX only");
    }
    CUmodule m = calloc(1, sizeof *m);
    char message[sizeof driver.error - 64] = "out of memory";
    if (m) {
        m->module = module_parse(text, message, sizeof message);
    }
    if (!m || !m->module) {
        free(m);
        return driver_error(CUDA_ERROR_INVALID_PTX, "%s", message);
    }
    CUresult rc = CUDA_SUCCESS;
    if (!runs_here(m->module, driver.options.sm)) {
        rc = driver_error(CUDA_ERROR_NO_BINARY_FOR_GPU,
                          "PTX for sm_%d%.1s does not run on sm_%d; set GPUCC_EMU_SM",
                          m->module->sm, &m->module->sm_suffix, driver.options.sm);
    } else if (!load_variables(m) || !decode_kernels(m, isa_choose(driver.options.isa))) {
        rc = CUDA_ERROR_INVALID_PTX;
    }
    if (rc) {
        module_unload(m);
        return rc;
    }
    m->next = driver.modules;
    driver.modules = m;
    *out = m;
    return CUDA_SUCCESS;
}

void module_unload(CUmodule m)
{
    for (struct kernel *k = m->kernels, *next; k; k = next) {
        next = k->next;
        kernel_free(k);
    }
    for (size_t i = 0; i < m->n_allocations; i++) {
        memory_free(m->allocations[i]);
    }
    free(m->allocations);
    module_free(m->module);
    free(m);
}
