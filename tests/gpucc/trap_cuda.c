/* Stands in for libcuda.so.1 and ends the process that loads it. */
#include <stdio.h>
#include <stdlib.h>

__attribute__((constructor)) static void loaded(void)
{
    fprintf(stderr, "libcuda.so.1 was loaded\n");
    abort();
}
