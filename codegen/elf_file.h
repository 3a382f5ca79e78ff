/* What gpucc reads of ELF files: build ids of libraries, sections of cubins. Bounds are checked. */
#ifndef GPUCC_CODEGEN_ELF_FILE_H
#define GPUCC_CODEGEN_ELF_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct elf_section {
    const char *name;
    const unsigned char
        *bytes; /* NULL for a section without bytes in the file (.bss and its like) */
    uint64_t size;
    uint32_t type, info;
};

/* Section number `index` of a 64-bit little-endian ELF image; false past the last or when the image
 * is damaged. */
bool elf_section(const void *image, size_t size, unsigned index, struct elf_section *out);

/* The GNU build id's bytes, or NULL. */
const unsigned char *elf_build_id(const void *image, size_t size, size_t *length);

#endif
