/* One plan and one device, used by several threads, each with a context of its own. */
#include "check.h"
#include "gpucc_runtime.h"
#include "plan_builder.h"

#include <pthread.h>
#include <stdio.h>

enum { THREADS = 16, RUNS = 12, MOST = 64 };

struct worker {
    pthread_t thread;
    struct gpucc_plan *plan;
    struct gpucc_device *device;
    int number, right;
    char error[128];
};

static bool runs_right(struct gpucc_context *context, int number, int run)
{
    float x[MOST], y[MOST];
    int64_t n = 1 + (number * 7 + run) % MOST;
    for (int i = 0; i < n; i++)
        x[i] = (float)(1000 * number + run + i);
    if (gpucc_context_set_input_shape(context, 0, 1, &n) != GPUCC_OK ||
        gpucc_context_bind_input(context, 0, GPUCC_HOST, x, sizeof x) != GPUCC_OK ||
        gpucc_context_bind_output(context, 0, GPUCC_HOST, y, sizeof y) != GPUCC_OK ||
        gpucc_context_run_sync(context) != GPUCC_OK)
        return false;
    for (int i = 0; i < n; i++)
        if (y[i] != x[i] + 2)
            return false;
    return true;
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    for (int run = 0; run < RUNS; run++) {
        struct gpucc_context *context; /* a new one each time: loading and unloading race, too */
        if (gpucc_context_create(worker->plan, worker->device, &context) == GPUCC_OK) {
            worker->right += runs_right(context, worker->number, run);
            gpucc_context_destroy(context);
        }
    }
    /* Each thread has an error of its own. */
    int64_t bad = -1 - worker->number;
    struct gpucc_context *context;
    if (gpucc_context_create(worker->plan, worker->device, &context) == GPUCC_OK) {
        gpucc_context_set_input_shape(context, 0, 1, &bad);
        strncpy(worker->error, gpucc_last_error(), sizeof worker->error - 1);
        gpucc_context_destroy(context);
    }
    return NULL;
}

static void threads_share_a_plan_and_a_device(void **state)
{
    (void)state;
    size_t size;
    unsigned char *bytes = plan_add_two(-1, "sm_90a", 90, &size);
    struct gpucc_plan *plan;
    struct gpucc_device *device;
    assert_int_equal(gpucc_plan_open_memory(bytes, size, 0, &plan), GPUCC_OK);
    if (gpucc_device_open(EMULATOR, 0, &device) != GPUCC_OK)
        fail_msg("%s", gpucc_last_error());
    struct worker workers[THREADS];
    memset(workers, 0, sizeof workers);
    for (int i = 0; i < THREADS; i++) {
        workers[i].plan = plan;
        workers[i].device = device;
        workers[i].number = i;
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        char wanted[64];
        snprintf(wanted, sizeof wanted, "dim 0 of input 'x' cannot be %d", -1 - i);
        pthread_join(workers[i].thread, NULL);
        assert_int_equal(workers[i].right, RUNS);
        assert_string_equal(workers[i].error, wanted);
    }
    gpucc_device_close(device);
    gpucc_plan_close(plan);
    free(bytes);
}

/* ---- weights, which all contexts share while there are any ---- */

struct reader {
    pthread_t thread;
    pthread_barrier_t *start;
    struct gpucc_plan *plan;
    struct gpucc_device *device;
    int right;
};

static void *multiply(void *argument)
{
    struct reader *reader = argument;
    for (int run = 0; run < RUNS; run++) {
        struct gpucc_context *context;
        float x[6] = {(float)run, 1, 2, 3, 4, 5}, y[6] = {0};
        pthread_barrier_wait(reader->start); /* all load at once; the last to leave unloads */
        if (gpucc_context_create(reader->plan, reader->device, &context) != GPUCC_OK)
            continue;
        gpucc_context_bind_input(context, 0, GPUCC_HOST, x, sizeof x);
        gpucc_context_bind_output(context, 0, GPUCC_HOST, y, sizeof y);
        bool right = gpucc_context_run_sync(context) == GPUCC_OK;
        for (int i = 0; i < 6; i++)
            right = right && y[i] == x[i] * (float)(i + 1);
        reader->right += right;
        gpucc_context_destroy(context);
    }
    return NULL;
}

static void threads_share_weights(void **state)
{
    (void)state;
    struct gpucc_plan *plan;
    struct gpucc_device *device;
    struct reader readers[THREADS];
    pthread_barrier_t start;
    assert_int_equal(gpucc_plan_open(WEIGHTS_PLAN, 0, &plan), GPUCC_OK);
    assert_int_equal(gpucc_device_open(EMULATOR, 0, &device), GPUCC_OK);
    pthread_barrier_init(&start, NULL, THREADS);
    for (int i = 0; i < THREADS; i++) {
        readers[i] = (struct reader){.start = &start, .plan = plan, .device = device};
        assert_int_equal(pthread_create(&readers[i].thread, NULL, multiply, &readers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(readers[i].thread, NULL);
        assert_int_equal(readers[i].right, RUNS);
    }
    pthread_barrier_destroy(&start);
    gpucc_device_close(device);
    gpucc_plan_close(plan);
}

RUN_TESTS(TEST(threads_share_a_plan_and_a_device), TEST(threads_share_weights))
