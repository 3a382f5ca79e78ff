/* repair PLAN…: makes the hashes of damaged plans right again, in place. */
#include "plan_builder.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        FILE *file = fopen(argv[i], "r+b");
        long size = file && fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
        unsigned char *bytes = size >= 0 ? calloc(1, (size_t)size + 1) : NULL;
        if (!bytes || fseek(file, 0, SEEK_SET) != 0 ||
            fread(bytes, 1, (size_t)size, file) != (size_t)size)
            return perror(argv[i]), 1;
        repair_hashes(bytes, (size_t)size);
        rewind(file);
        bool written = fwrite(bytes, 1, (size_t)size, file) == (size_t)size;
        if (fclose(file) != 0 || !written)
            return perror(argv[i]), 1;
        free(bytes);
    }
    return 0;
}
