/* gpurun: runs plans, tests and times them, and shows what is in them. */
#include "gpurun.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

void gpurun_print(const char *format, ...)
{
    struct text line = {0};
    va_list args;
    va_start(args, format);
    text_vprintf(&line, format, args);
    va_end(args);
    disarm(line.data, "");
    if (line.length > 0 && format[strlen(format) - 1] == '\n')
        line.data[line.length - 1] = '\n';
    fputs(line.failed || !line.data ? "" : line.data, stdout);
    text_free(&line);
}

static bool write_output(struct session *session, int output, const struct tensor *tensor,
                         const char *name)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/output_%d.pb", session->options->outputs_folder, output) >=
        (int)sizeof path) {
        diag_error(session->diag, STATUS_USAGE, NULL, "the path of --outputs is too long");
        return false;
    }
    return tensor_write_pb(session->diag, path, name, tensor);
}

/* The first elements, for people. */
static void print_tensor(const struct tensor *tensor, const char *name)
{
    enum { SHOWN = 8 };
    struct text type = {0};
    tensor_print_type(&type, tensor->type, tensor->rank, tensor->shape);
    gpurun_print("%s: %s", name, type.data);
    text_free(&type);
    int64_t n = tensor_elements(tensor);
    for (int64_t i = 0; i < n && i < SHOWN && dtype_info[tensor->type].cls != DC_O; i++)
        if (dtype_is_float(tensor->type))
            printf("%s%.6g", i > 0 ? ", " : " = ", tensor_get_float(tensor, i));
        else
            printf("%s%" PRId64, i > 0 ? ", " : " = ", tensor_get_int(tensor, i));
    printf("%s\n", n > SHOWN ? ", …" : "");
}

static void print_output(const struct tensor *tensor, const char *name)
{
    if (!dtype_is_list(tensor->type)) {
        print_tensor(tensor, name);
        return;
    }
    int64_t n = tensor_list_length(tensor);
    gpurun_print("%s: %s", name, dtype_info[tensor->type].text);
    if (n < 0)
        printf(", not there\n");
    else
        printf(" of %" PRId64 "\n", n);
    for (int64_t i = 0; i < n; i++) {
        struct tensor element = tensor_list_at(tensor, i);
        print_tensor(&element, "   ");
    }
}

static bool run_once(struct session *session)
{
    const char *folder = session->options->outputs_folder;
    if (folder != NULL && mkdir(folder, 0777) != 0 && errno != EEXIST) {
        diag_error(session->diag, STATUS_IO, folder, "%s", strerror(errno));
        return false;
    }
    if (!session_inputs_from_options(session, false) || !session_run(session))
        return false;
    bool done = true;
    for (int i = 0; i < session->n_outputs && done; i++) {
        struct gpucc_value_info info;
        struct tensor tensor;
        gpucc_plan_describe_output(session->plan, i, &info);
        if (!session_output(session, i, &tensor))
            return false;
        if (folder != NULL)
            done = write_output(session, i, &tensor, info.name);
        else
            print_output(&tensor, info.name);
        tensor_free(&tensor);
    }
    return done;
}

static void on_device(struct diag *diag, const struct gpurun_options *options)
{
    struct session session;
    bool done = session_open(&session, diag, options);
    if (done)
        done = options->command == COMMAND_RUN       ? run_once(&session)
               : options->command == COMMAND_TEST    ? gpurun_test(&session)
               : options->command == COMMAND_COMPARE ? gpurun_compare(&session)
                                                     : gpurun_bench(&session);
    if (done && options->statistics)
        done = gpurun_statistics(&session);
    if (!done && diag->status == STATUS_OK)
        diag_error(diag, STATUS_INTERNAL, options->plan, "failed without a reason");
    session_close(&session);
}

int main(int argc, char **argv)
{
    struct diag diag = {0};
    struct gpurun_options options;
    if (gpurun_options_parse(&diag, argc, argv, &options)) {
        if (options.help)
            gpurun_help();
        else if (options.version)
            printf("gpurun %s\n", GPUCC_VERSION);
        else if (options.command == COMMAND_INSPECT)
            gpurun_inspect(&diag, &options);
        else
            on_device(&diag, &options);
    }
    if ((fflush(stdout) != 0 || ferror(stdout)) && diag.status == STATUS_OK)
        diag_error(&diag, STATUS_IO, "stdout", "%s", strerror(errno));
    for (const struct diag_message *m = diag.first; m != NULL; m = m->next)
        fprintf(stderr, "gpurun: %s%s%s\n", m->where != NULL ? m->where : "",
                m->where != NULL ? ": " : "", m->text);
    if (diag.status != STATUS_OK && diag.first == NULL)
        fprintf(stderr, "gpurun: out of memory\n");
    int code = (int)diag.status;
    gpurun_options_free(&options);
    diag_free(&diag);
    return code;
}
