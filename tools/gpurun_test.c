/* gpurun test: data sets against their references; gpurun bench: how long runs take. */
#include "gpurun.h"

#include <dirent.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- comparison ---- */

/* How far apart two elements are. Equal ones, infinities and NaN included, are 0 apart. */
static double distance(double got, double wanted)
{
    if (got == wanted || (isnan(got) && isnan(wanted)))
        return 0;
    double error = fabs(got - wanted);
    return isnan(error) ? INFINITY : error;
}

struct comparison tensor_compare(const struct tensor *got, const struct tensor *wanted, double rtol,
                                 double atol)
{
    struct comparison result = {0, 0, 0, 0};
    struct tensor a = *got, b = *wanted;
    if (a.type == DT_C64 || a.type == DT_C128) /* the real and the imaginary part by themselves */
        a.type = b.type = a.type == DT_C64 ? DT_F32 : DT_F64;
    int64_t n = (int64_t)(a.size / dtype_size(a.type));
    bool integers = !dtype_is_float(a.type);
    double worst = -INFINITY; /* how far beyond what is allowed */
    for (int64_t i = 0; i < n; i++) {
        double x = tensor_get_float(&a, i), y = tensor_get_float(&b, i);
        double error = distance(x, y);
        if (error == 0 && integers) /* 64-bit integers do not all fit a double */
            error = tensor_get_int(&a, i) != tensor_get_int(&b, i);
        double allowed = atol + (isfinite(y) ? rtol * fabs(y) : 0);
        if (error > allowed)
            result.wrong++;
        if (error - allowed > worst) {
            worst = error - allowed;
            result.worst = i;
        }
        if (error > result.error)
            result.error = error;
        if (y != 0 && isfinite(y) && error / fabs(y) > result.relative)
            result.relative = error / fabs(y);
    }
    return result;
}

static bool same_type(const struct tensor *a, const struct tensor *b)
{
    return a->type == b->type && a->rank == b->rank &&
           memcmp(a->shape, b->shape, sizeof *a->shape * (size_t)a->rank) == 0;
}

/* name: "output 'y'", or that of an element of it. */
static bool test_tensor(struct session *session, const char *folder, const char *name,
                        const struct tensor *got, const struct tensor *wanted)
{
    if (!same_type(got, wanted)) {
        struct text is = {0}, should = {0};
        tensor_print_type(&is, got->type, got->rank, got->shape);
        tensor_print_type(&should, wanted->type, wanted->rank, wanted->shape);
        diag_error(session->diag, STATUS_TOLERANCE, folder, "%s is %s, not %s", name, is.data,
                   should.data);
        text_free(&is);
        text_free(&should);
        return false;
    }
    struct comparison c =
        tensor_compare(got, wanted, session->options->rtol, session->options->atol);
    gpurun_print("%s: %s: worst error %.3g, relative %.3g\n", folder, name, c.error, c.relative);
    if (c.wrong > 0 && got->type != DT_C64 && got->type != DT_C128)
        diag_error(session->diag, STATUS_TOLERANCE, folder,
                   "%s: %" PRId64 " of %" PRId64 " elements are wrong; element %" PRId64
                   " is %.9g, not %.9g",
                   name, c.wrong, tensor_elements(got), c.worst, tensor_get_float(got, c.worst),
                   tensor_get_float(wanted, c.worst));
    else if (c.wrong > 0)
        diag_error(session->diag, STATUS_TOLERANCE, folder,
                   "%s: %" PRId64 " numbers are wrong, by %.9g at most", name, c.wrong, c.error);
    return c.wrong == 0;
}

static bool test_list(struct session *session, const char *folder, const char *name,
                      const struct tensor *got, const struct tensor *wanted)
{
    int64_t n = tensor_list_length(got), should = tensor_list_length(wanted);
    if (n != should) {
        diag_error(session->diag, STATUS_TOLERANCE, folder,
                   "%s has %" PRId64 " elements, not %" PRId64, name, n, should);
        return false;
    }
    bool right = true;
    for (int64_t i = 0; i < n; i++) {
        struct tensor a = tensor_list_at(got, i), b = tensor_list_at(wanted, i);
        struct text element = {0};
        text_printf(&element, "%s, element %" PRId64, name, i);
        right = test_tensor(session, folder, element.failed ? name : element.data, &a, &b) && right;
        text_free(&element);
    }
    return right;
}

/* One output against its reference file. */
static bool test_output(struct session *session, const char *folder, int output)
{
    struct gpucc_value_info info;
    char path[PATH_MAX];
    struct tensor got, wanted;
    gpucc_plan_describe_output(session->plan, output, &info);
    snprintf(path, sizeof path, "%s/output_%d.pb", folder, output);
    if (output > 0 && access(path, F_OK) != 0)
        return true; /* data sets may leave outputs out at the end */
    if (!session_output(session, output, &got))
        return false;
    /* The file's type and shape are compared below, not demanded; but it does not say whether it
     * holds a tensor or a list. */
    bool is_list = dtype_is_list(got.type);
    struct tensor_want want = {info.name, is_list ? got.type : DT_NONE, -1, NULL};
    if (!tensor_read(session->diag, path, &want, &wanted)) {
        tensor_free(&got);
        return false;
    }
    struct text name = {0};
    text_printf(&name, "output '%s'", info.name);
    bool right = (is_list ? test_list : test_tensor)(
        session, folder, name.failed ? "output" : name.data, &got, &wanted);
    text_free(&name);
    tensor_free(&got);
    tensor_free(&wanted);
    return right;
}

static bool test_data_set(struct session *session, const char *folder)
{
    if (!session_inputs_from_folder(session, folder) || !session_run(session))
        return false;
    bool right = true;
    for (int i = 0; i < session->n_outputs; i++)
        right = test_output(session, folder, i) && right;
    return right;
}

static int is_data_set(const struct dirent *entry)
{
    return strncmp(entry->d_name, "test_data_set_", strlen("test_data_set_")) == 0;
}

/* A data set itself, or all test_data_set_* in the folder. */
static bool test_folder(struct session *session, const char *folder)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/output_0.pb", folder);
    if (access(path, F_OK) == 0)
        return test_data_set(session, folder);
    struct dirent **entries;
    int n = scandir(folder, &entries, is_data_set, alphasort);
    if (n <= 0) {
        if (n == 0)
            free(entries);
        diag_error(session->diag, STATUS_IO, folder, "neither a data set nor a folder of such");
        return false;
    }
    bool right = true;
    for (int i = 0; i < n; i++) {
        int length = snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        right = length > 0 && length < (int)sizeof path && test_data_set(session, path) && right;
        free(entries[i]);
    }
    free(entries);
    return right;
}

bool gpurun_test(struct session *session)
{
    bool right = true;
    for (int i = 0; i < session->options->n_folders; i++)
        right = test_folder(session, session->options->folders[i]) && right;
    return right;
}

/* ---- bench ---- */

enum { MOST_RUNS = 100000, SECONDS = 1 };

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_seconds(const char *label, double seconds)
{
    if (seconds < 1e-3)
        printf("%s %.2f us\n", label, 1e6 * seconds);
    else
        printf("%s %.3f ms\n", label, 1e3 * seconds);
}

bool gpurun_bench(struct session *session)
{
    const struct gpurun_options *o = session->options;
    if (!session_inputs_from_options(session, true) || !session_run(session) ||
        !session_keep_inputs(session))
        return false;
    int most = o->runs > 0 ? o->runs : MOST_RUNS, n = 0;
    double *times = malloc(sizeof *times * (size_t)most);
    if (times == NULL) {
        diag_error(session->diag, STATUS_LIMIT, NULL, "out of memory");
        return false;
    }
    double start = now(), begin;
    bool done = true;
    for (int i = 0; i < o->warm_up && done && now() - start < SECONDS; i++)
        done = session_run(session);
    for (start = now(); done && n < most && (o->runs > 0 || n < 3 || now() - start < SECONDS);
         n++) {
        begin = now();
        done = session_run(session);
        times[n] = now() - begin;
    }
    if (done) {
        double total = now() - start;
        qsort(times, (size_t)n, sizeof *times, by_value);
        printf("runs:       %d, with inputs and outputs on the device\n", n);
        print_seconds("median:    ", n % 2 ? times[n / 2] : (times[n / 2 - 1] + times[n / 2]) / 2);
        print_seconds("p99:       ", times[n - 1 - n / 100]); /* 99 of 100 take no longer */
        printf("throughput: %.4g runs/s\n", (double)n / total);
        if (o->emulator)
            printf("These are times of the emulator, not of a GPU.\n");
    }
    free(times);
    return done;
}
