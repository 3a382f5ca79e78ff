#include "plan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static enum gpucc_status open_bytes(struct gpucc_plan *plan, unsigned flags)
{
    enum gpucc_status status = rt_plan_sections(plan, flags);
    return status == GPUCC_OK ? rt_plan_verify(plan) : status;
}

static struct gpucc_plan *plan_new(void)
{
    struct gpucc_plan *plan = calloc(1, sizeof *plan);
    if (plan == NULL)
        rt_fail(GPUCC_LIMIT, "out of memory");
    else
        pthread_mutex_init(&plan->lock, NULL);
    return plan;
}

static enum gpucc_status map_file(const char *path, struct gpucc_plan *plan)
{
    struct stat info;
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO may have no writer */
    if (file < 0)
        return rt_fail(GPUCC_IO, "%s: %s", path, strerror(errno));
    if (fstat(file, &info) != 0 || !S_ISREG(info.st_mode)) {
        close(file);
        return rt_fail(GPUCC_IO, "%s: not a regular file", path);
    }
    if (info.st_size <= 0) {
        close(file);
        return rt_fail(GPUCC_BAD_PLAN, "%s: the file is empty", path);
    }
    void *bytes = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    int error = errno;
    close(file);
    if (bytes == MAP_FAILED)
        return rt_fail(GPUCC_IO, "%s: cannot map: %s", path, strerror(error));
    plan->bytes = bytes;
    plan->size = (size_t)info.st_size;
    plan->mapped = true;
    return GPUCC_OK;
}

enum gpucc_status gpucc_plan_open(const char *path, unsigned flags, struct gpucc_plan **result)
{
    struct gpucc_plan *plan = plan_new();
    if (plan == NULL)
        return GPUCC_LIMIT;
    enum gpucc_status status = map_file(path, plan);
    if (status == GPUCC_OK) {
        status = open_bytes(plan, flags);
        if (status != GPUCC_OK)
            rt_fail_within("%s: ", path);
    }
    if (status != GPUCC_OK)
        gpucc_plan_close(plan);
    else
        *result = plan;
    return status;
}

enum gpucc_status gpucc_plan_open_memory(const void *bytes, size_t size, unsigned flags,
                                         struct gpucc_plan **result)
{
    struct gpucc_plan *plan = plan_new();
    if (plan == NULL)
        return GPUCC_LIMIT;
    plan->bytes = bytes;
    plan->size = size;
    if ((uintptr_t)bytes % 8 != 0) { /* sections are read in place */
        void *copy = malloc(size > 0 ? size : 1);
        if (copy == NULL) {
            gpucc_plan_close(plan);
            return rt_fail(GPUCC_LIMIT, "out of memory for a plan of %zu bytes", size);
        }
        plan->bytes = memcpy(copy, bytes, size);
        plan->copied = true;
    }
    enum gpucc_status status = open_bytes(plan, flags);
    if (status != GPUCC_OK)
        gpucc_plan_close(plan);
    else
        *result = plan;
    return status;
}

void gpucc_plan_close(struct gpucc_plan *plan)
{
    if (plan == NULL)
        return;
    if (plan->programs != NULL)
        for (uint32_t i = 0; i < plan->header->n_targets; i++)
            free(plan->programs[i].segments);
    free(plan->programs);
    if (plan->mapped)
        munmap((void *)plan->bytes, plan->size);
    if (plan->copied)
        free((void *)plan->bytes);
    pthread_mutex_destroy(&plan->lock);
    free(plan);
}
