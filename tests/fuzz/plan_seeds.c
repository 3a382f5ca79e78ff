/* plan_seeds FOLDER: writes the plans of tests/runtime as files, whose kernels the mock driver has.
 */
#include "plan_builder.h"

#include <stdio.h>
#include <stdlib.h>

static void write_plan(const char *folder, const char *name, unsigned char *bytes, size_t size)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.plan", folder, name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, size, file) != size || fclose(file) != 0) {
        perror(path);
        exit(1);
    }
    free(bytes);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: plan_seeds FOLDER\n");
        return 2;
    }
    size_t size;
    unsigned char *plan = plan_add_two(-1, "sm_90a", 90, &size);
    write_plan(argv[1], "free_dim", plan, size);
    plan = plan_add_two(40, "portable", 80, &size);
    write_plan(argv[1], "fixed_dim", plan, size);
    plan = plan_positive(&size);
    write_plan(argv[1], "data_dependent", plan, size);
    plan = plan_loop(&size);
    write_plan(argv[1], "loop_and_branch", plan, size);
    return 0;
}
