/*
 * Runs plans that gpucc made. Needs the C library and an NVIDIA driver; no toolkit, no C++.
 *
 * Objects    plan      an opened plan file. Immutable: any number of threads may use it at once.
 *            device    a GPU of a driver. Shared like a plan; keeps the device's primary context, so
 *                      pointers of other users of that context (PyTorch, say) may be bound.
 *            context   a plan being executed on a device, with its own activations. Belongs to one
 *                      thread at a time; several contexts may run at once. Weights are uploaded once
 *                      per plan and device and shared by its contexts.
 * Lifetimes  close contexts before their plan and their device.
 * Errors     every call that can fail returns a status; gpucc_last_error() says why, for the calling
 *            thread. Results are written on success only.
 * Memory     a plan whose dims are all fixed, and one that gpucc_context_reserve prepared, allocates
 *            nothing, on host or device, after the context's creation or the reservation.
 *
 *     struct gpucc_plan *plan;
 *     struct gpucc_device *device;
 *     struct gpucc_context *context;
 *     float image[64] = {0}, logits[10];
 *     int64_t shape[] = {1, 1, 8, 8};
 *     if (gpucc_plan_open("digits.plan", 0, &plan) != GPUCC_OK ||
 *         gpucc_device_open(NULL, 0, &device) != GPUCC_OK ||
 *         gpucc_context_create(plan, device, &context) != GPUCC_OK ||
 *         gpucc_context_set_input_shape(context, 0, 4, shape) != GPUCC_OK ||
 *         gpucc_context_bind_input(context, 0, GPUCC_HOST, image, sizeof image) != GPUCC_OK ||
 *         gpucc_context_bind_output(context, 0, GPUCC_HOST, logits, sizeof logits) != GPUCC_OK ||
 *         gpucc_context_run_sync(context) != GPUCC_OK)
 *         fprintf(stderr, "%s\n", gpucc_last_error());
 */
#ifndef GPUCC_RUNTIME_H
#define GPUCC_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GPUCC_API __attribute__((visibility("default")))

enum gpucc_status {
    GPUCC_OK = 0,
    GPUCC_USAGE = 2,            /* a call is wrong: an index, a shape, an unbound or short buffer */
    GPUCC_UNSUPPORTED = 3,      /* the plan has a step that this runtime cannot execute */
    GPUCC_LIMIT = 5,            /* out of memory on host or device, or a size beyond a limit */
    GPUCC_ENVIRONMENT = 6,      /* no driver, no device, or the driver failed */
    GPUCC_IO = 7,               /* the plan file cannot be read */
    GPUCC_BAD_PLAN = 8          /* the plan is damaged, or does not fit the device */
};

/* Why the last failed call of this thread failed. Never NULL; valid until the next failure. */
GPUCC_API const char *gpucc_last_error(void);

/* ---- plans ---- */

struct gpucc_plan;

enum { GPUCC_SKIP_HASH = 1 };   /* do not check the hashes (all other checks are made) */

/* Maps the file and checks it. The file must not be changed or cut while the plan is open. */
GPUCC_API enum gpucc_status gpucc_plan_open(const char *path, unsigned flags,
                                            struct gpucc_plan **plan);
/* The bytes stay the caller's and must live, unchanged, until the plan is closed. They are copied
 * when they are not 8-byte aligned. */
GPUCC_API enum gpucc_status gpucc_plan_open_memory(const void *bytes, size_t size, unsigned flags,
                                                   struct gpucc_plan **plan);
GPUCC_API void gpucc_plan_close(struct gpucc_plan *plan);   /* NULL is allowed */

enum gpucc_kind { GPUCC_TENSOR, GPUCC_SEQUENCE, GPUCC_OPTIONAL, GPUCC_MAP, GPUCC_STRING };

enum { GPUCC_MAX_RANK = 16 };

struct gpucc_value_info {
    const char *name;                           /* ONNX's; lives as long as the plan */
    enum gpucc_kind kind;
    int holds_sequence;                         /* of an optional: it holds a sequence */
    int dtype;                                  /* ONNX's TensorProto.DataType code; of a sequence or
                                                   optional: that of its elements, whose shapes are
                                                   their own */
    size_t element_bytes;                       /* in a buffer: types below a byte take one */
    int rank;
    int64_t dims[GPUCC_MAX_RANK];               /* -1: free */
    const char *dim_names[GPUCC_MAX_RANK];      /* of a free dim, "batch" or a formula; else "" */
    int shared_input;                           /* an output that lies in an input's memory, which
                                                   a run so overwrites: that input; else -1 */
};

GPUCC_API int gpucc_plan_input_count(const struct gpucc_plan *plan);
GPUCC_API int gpucc_plan_output_count(const struct gpucc_plan *plan);
GPUCC_API enum gpucc_status gpucc_plan_describe_input(const struct gpucc_plan *plan, int input,
                                                      struct gpucc_value_info *info);
GPUCC_API enum gpucc_status gpucc_plan_describe_output(const struct gpucc_plan *plan, int output,
                                                       struct gpucc_value_info *info);
/* The input or output called name, or -1. */
GPUCC_API int gpucc_plan_find_input(const struct gpucc_plan *plan, const char *name);
GPUCC_API int gpucc_plan_find_output(const struct gpucc_plan *plan, const char *name);

/* ---- devices ---- */

struct gpucc_device;

/* driver: path of a driver library, NULL for the system's libcuda.so.1. Retains the primary context
 * of device number `ordinal`; the calling thread's current context stays as it was. */
GPUCC_API enum gpucc_status gpucc_device_open(const char *driver, int ordinal,
                                              struct gpucc_device **device);
GPUCC_API void gpucc_device_close(struct gpucc_device *device);     /* NULL is allowed */

struct gpucc_device_info {
    char name[128];
    int sm;                     /* compute capability: 90 = 9.0 */
    int driver_version;         /* 13000 = supports CUDA 13.0 */
};

GPUCC_API void gpucc_device_describe(const struct gpucc_device *device,
                                     struct gpucc_device_info *info);

/* Does the plan run on the device? If so, *target is the name of the plan's target that will be used
 * ("sm_90a"; lives as long as the plan). If not: BAD_PLAN, or UNSUPPORTED for a step that this runtime
 * refuses, and gpucc_last_error() gives the reason and the flag to rebuild the plan with. */
GPUCC_API enum gpucc_status gpucc_plan_fits(const struct gpucc_plan *plan,
                                            const struct gpucc_device *device, const char **target);

/* ---- contexts ---- */

struct gpucc_context;

/* Loads the kernels and uploads the weights, unless another context of this plan and device did. */
GPUCC_API enum gpucc_status gpucc_context_create(struct gpucc_plan *plan,
                                                 struct gpucc_device *device,
                                                 struct gpucc_context **context);
GPUCC_API void gpucc_context_destroy(struct gpucc_context *context); /* waits; NULL is allowed */

/* Sets the shape of an input. Fixed dims must be what the plan says; inputs without free dims need no
 * call. Waits for an earlier run only when memory must grow. */
GPUCC_API enum gpucc_status gpucc_context_set_input_shape(struct gpucc_context *context, int input,
                                                          int rank, const int64_t *dims);
/* Takes memory for the shapes that are set now as the largest to come. Sizes that depend on data are
 * covered where the plan knows a bound. */
GPUCC_API enum gpucc_status gpucc_context_reserve(struct gpucc_context *context);
/* dims has room for GPUCC_MAX_RANK. Known once all input shapes are set; where it depends on data
 * the dims are -1 until a run has finished. */
GPUCC_API enum gpucc_status gpucc_context_output_shape(struct gpucc_context *context, int output,
                                                       int *rank, int64_t *dims);

/* The most bytes that an output can take with the input shapes that are set: what to bind where the
 * shape depends on data. After a run gpucc_context_output_shape tells how much of the buffer is the
 * output; the rest of it is left alone. LIMIT where the plan knows no bound; then leave the output
 * unbound, and the context keeps it. */
GPUCC_API enum gpucc_status gpucc_context_output_bound(struct gpucc_context *context, int output,
                                                       size_t *bytes);

enum gpucc_memory { GPUCC_HOST, GPUCC_DEVICE /* address of the device's primary context */ };

/* The buffer stays the caller's and is used by every run until it is bound anew; bytes is its size,
 * checked when a run starts (where the size depends on data: once that is known), as is the alignment
 * of device memory (16 bytes as a rule; what cuMemAlloc gives is always enough). NULL is allowed for
 * tensors without elements. Where an output lies in the memory of an input (shared_input), device
 * memory bound to the input needs room for the larger of the two, is written to, and is the only one
 * that may be bound to the output. An output needs no buffer: then the context keeps it (below). Unbind an
 * output by binding NULL with 0 bytes. */
GPUCC_API enum gpucc_status gpucc_context_bind_input(struct gpucc_context *context, int input,
                                                     enum gpucc_memory memory, const void *buffer,
                                                     size_t bytes);
GPUCC_API enum gpucc_status gpucc_context_bind_output(struct gpucc_context *context, int output,
                                                      enum gpucc_memory memory, void *buffer,
                                                      size_t bytes);

/* Queues a run on a CUstream of the primary context (NULL: its default stream) and returns. Host
 * buffers are read and written while the stream gets there, so they must live and be left alone till
 * then. Where a plan's shapes depend on data, the call waits for that data. Runs of one context must
 * not overlap: use one stream, or wait between. */
GPUCC_API enum gpucc_status gpucc_context_run(struct gpucc_context *context, void *stream);
/* Runs on a stream of the context's own and waits for the end. */
GPUCC_API enum gpucc_status gpucc_context_run_sync(struct gpucc_context *context);
/* Waits for the last run. */
GPUCC_API enum gpucc_status gpucc_context_wait(struct gpucc_context *context);

/* Where an output lies on the device after a run, and its bytes. It is the context's memory unless
 * device memory was bound; the next run overwrites it. */
GPUCC_API enum gpucc_status gpucc_context_output_data(struct gpucc_context *context, int output,
                                                      void **device_pointer, size_t *bytes);
/* Waits for the last run and copies an output, of exactly `bytes`, to the host. */
GPUCC_API enum gpucc_status gpucc_context_read_output(struct gpucc_context *context, int output,
                                                      void *buffer, size_t bytes);

/* ---- sequences and optionals ---- */

/* A tensor in a list. An optional is a list of one element or none; one that holds a sequence is the
 * list of the sequence's elements, or is not there: then its length is -1. */
struct gpucc_list_item {
    const void *data;           /* as for gpucc_context_bind_input */
    size_t bytes;
    int rank;
    const int64_t *dims;
};

/* The records are copied, the elements' data stays the caller's and is read by every run. */
GPUCC_API enum gpucc_status gpucc_context_bind_input_list(struct gpucc_context *context, int input,
                                                          enum gpucc_memory memory, int n,
                                                          const struct gpucc_list_item *items);
/* After a run. */
GPUCC_API enum gpucc_status gpucc_context_output_length(struct gpucc_context *context, int output,
                                                        int *n);
/* An element: dims has room for GPUCC_MAX_RANK; the memory is the context's and valid until the next
 * run. */
GPUCC_API enum gpucc_status gpucc_context_output_item(struct gpucc_context *context, int output,
                                                      int item, int *rank, int64_t *dims,
                                                      void **device_pointer, size_t *bytes);
/* Waits for the last run and copies an element, of exactly `bytes`, to the host. */
GPUCC_API enum gpucc_status gpucc_context_read_item(struct gpucc_context *context, int output,
                                                    int item, void *buffer, size_t bytes);

/* ---- looking into a run ---- */

/* A value of the model that a step leaves in memory for the steps behind it. */
struct gpucc_tap {
    const char *name;           /* ONNX's name of it; lives as long as the plan */
    const char *nodes;          /* ONNX nodes that its step computes */
    int step;
    int dtype;                  /* ONNX's code: of what is in memory, perhaps not the model's */
    int element_bytes;
    int rank;
    int64_t dims[GPUCC_MAX_RANK]; /* -1: not known before its step has run */
};

/* Taps are numbered in the order of the steps. */
GPUCC_API int gpucc_context_tap_count(const struct gpucc_context *context);
GPUCC_API enum gpucc_status gpucc_context_describe_tap(const struct gpucc_context *context, int tap,
                                                       struct gpucc_tap *result);
/* Runs up to the step of a tap and waits: from where the last such call stopped, or from the start where
 * that step was passed already. The number of taps: to the end, outputs included. */
GPUCC_API enum gpucc_status gpucc_context_run_to_tap(struct gpucc_context *context, int tap);
/* Copies the value to the host, row-major, of exactly `bytes`: right behind its step; later steps
 * may overwrite it. */
GPUCC_API enum gpucc_status gpucc_context_read_tap(struct gpucc_context *context, int tap,
                                                   void *buffer, size_t bytes);

#ifdef __cplusplus
}
#endif
#endif
