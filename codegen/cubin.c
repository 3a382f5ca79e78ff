/*
 * What a cubin says of its kernel. Sections: .nv.shared.KERNEL is the static shared memory (from
 * sm_90 on with 1 KiB of the system's), .nv.constant0.KERNEL the parameter bank. Registers and the
 * stack frame are attributes of .nv.info, a list of
 *   {format u8, attribute u8, size u16, payload}      format 4: size bytes follow, else none
 * where the payload of these two is {symbol u32, value u32}.
 */
#include "elf_file.h"
#include "nvrtc.h"

#include <string.h>

enum { FORMAT_SIZED = 4, ATTRIBUTE_FRAME_SIZE = 0x11, ATTRIBUTE_REGISTERS = 0x2f };

/* ".text.k" with prefix ".text." and symbol "k". */
static bool is_section_of(const char *name, const char *prefix, const char *symbol)
{
    size_t length = strlen(prefix);
    return !strncmp(name, prefix, length) && !strcmp(name + length, symbol);
}

/* The largest value of an attribute of any function in the cubin: the kernel's, or of one it calls.
 */
static int largest_attribute(const unsigned char *info, uint64_t size, unsigned attribute)
{
    uint32_t largest = 0;
    while (size >= 4) {
        uint64_t payload = info[0] == FORMAT_SIZED ? (uint64_t)info[2] | (uint64_t)info[3] << 8 : 0;
        if (payload > size - 4)
            break;
        if (info[1] == attribute && payload == 8) {
            uint32_t value;
            memcpy(&value, info + 8, sizeof value);
            largest = value > largest ? value : largest;
        }
        info += 4 + payload;
        size -= 4 + payload;
    }
    return (int)largest;
}

bool cubin_resources(const void *cubin, size_t size, const char *symbol, struct resources *out)
{
    struct resources found = {0};
    bool has_text = false;
    struct elf_section s;
    for (unsigned i = 1; elf_section(cubin, size, i, &s); i++) {
        if (is_section_of(s.name, ".text.", symbol)) {
            has_text = true;
        } else if (is_section_of(s.name, ".nv.shared.", symbol)) {
            found.shared_bytes = (int)s.size;
        } else if (is_section_of(s.name, ".nv.constant0.", symbol)) {
            found.constant_bytes = (int)s.size;
        } else if (!strcmp(s.name, ".nv.info") && s.bytes) {
            found.local_bytes = largest_attribute(s.bytes, s.size, ATTRIBUTE_FRAME_SIZE);
            found.registers = largest_attribute(s.bytes, s.size, ATTRIBUTE_REGISTERS);
        }
    }
    if (has_text)
        *out = found;
    return has_text;
}
