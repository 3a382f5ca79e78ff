#include "elf_file.h"

#include <elf.h>
#include <string.h>

static bool inside(size_t size, uint64_t offset, uint64_t length)
{
    return offset <= size && length <= size - offset;
}

/* Copies, since an image from a cache file need not be aligned. */
static bool read_section_header(const unsigned char *image, size_t size, const Elf64_Ehdr *header,
                                unsigned index, Elf64_Shdr *out)
{
    uint64_t at = (uint64_t)index * sizeof *out;
    if (index >= header->e_shnum || header->e_shentsize != sizeof *out ||
        !inside(size, header->e_shoff, at + sizeof *out))
        return false;
    memcpy(out, image + header->e_shoff + at, sizeof *out);
    return true;
}

static bool read_header(const unsigned char *image, size_t size, Elf64_Ehdr *out)
{
    if (size < sizeof *out)
        return false;
    memcpy(out, image, sizeof *out);
    return !memcmp(out->e_ident, ELFMAG, SELFMAG) && out->e_ident[EI_CLASS] == ELFCLASS64 &&
           out->e_ident[EI_DATA] == ELFDATA2LSB;
}

bool elf_section(const void *image, size_t size, unsigned index, struct elf_section *out)
{
    const unsigned char *bytes = image;
    Elf64_Ehdr header;
    Elf64_Shdr section, strings;
    if (!read_header(bytes, size, &header) ||
        !read_section_header(bytes, size, &header, index, &section) ||
        !read_section_header(bytes, size, &header, header.e_shstrndx, &strings) ||
        !inside(size, strings.sh_offset, strings.sh_size) || section.sh_name >= strings.sh_size)
        return false;
    const char *name = (const char *)bytes + strings.sh_offset + section.sh_name;
    if (!memchr(name, 0, strings.sh_size - section.sh_name))
        return false;
    bool stored = section.sh_type != SHT_NOBITS;
    if (stored && !inside(size, section.sh_offset, section.sh_size))
        return false;
    *out = (struct elf_section){.name = name,
                                .bytes = stored ? bytes + section.sh_offset : NULL,
                                .size = section.sh_size,
                                .type = section.sh_type,
                                .info = section.sh_info};
    return true;
}

/* A note is {name size, descriptor size, type}, then name and descriptor, each padded to 4 bytes.
 */
static const unsigned char *find_build_id(const unsigned char *note, uint64_t size, size_t *length)
{
    while (size >= 12) {
        uint32_t head[3];
        memcpy(head, note, sizeof head);
        uint64_t name = ((uint64_t)head[0] + 3) & ~UINT64_C(3);
        uint64_t descriptor = ((uint64_t)head[1] + 3) & ~UINT64_C(3);
        if (name + descriptor > size - 12)
            return NULL;
        if (head[2] == NT_GNU_BUILD_ID && head[0] == 4 && !memcmp(note + 12, "GNU", 4) && head[1]) {
            *length = head[1];
            return note + 12 + name;
        }
        note += 12 + name + descriptor;
        size -= 12 + name + descriptor;
    }
    return NULL;
}

const unsigned char *elf_build_id(const void *image, size_t size, size_t *length)
{
    struct elf_section section;
    for (unsigned i = 1; elf_section(image, size, i, &section); i++) {
        const unsigned char *id =
            section.type == SHT_NOTE ? find_build_id(section.bytes, section.size, length) : NULL;
        if (id)
            return id;
    }
    return NULL;
}
