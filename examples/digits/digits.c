/*
 * Classifies the held-back digits by a compiled plan and compares the accuracy with that at training.
 *
 *   digits PLAN HELD_BACK [DRIVER]
 *
 * HELD_BACK: the folder with images.u8, labels.u8 and accuracy.txt that train.py wrote. DRIVER: a CUDA
 * driver library, such as the emulator's; the system's libcuda.so.1 when it is left out.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gpucc_runtime.h"

enum { PIXELS = 64, CLASSES = 10, BATCH = 60, MOST_IMAGES = 10000 };

/* Reads a whole small file; the bytes are the caller's. Exits with 7 when it cannot. */
static unsigned char *read_file(const char *folder, const char *name, size_t *size)
{
    char path[4096];
    unsigned char *bytes = malloc(MOST_IMAGES * PIXELS);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (!file || !bytes) {
        fprintf(stderr, "digits: cannot read %s\n", path);
        exit(7);
    }
    *size = fread(bytes, 1, MOST_IMAGES * PIXELS, file);
    fclose(file);
    return bytes;
}

/* Says why the last call failed and exits with its status, which is an exit code of the tools. */
static void must(enum gpucc_status status)
{
    if (status == GPUCC_OK)
        return;
    fprintf(stderr, "digits: %s\n", gpucc_last_error());
    exit(status);
}

static int best_class(const float *logits)
{
    int best = 0;
    for (int i = 1; i < CLASSES; i++)
        if (logits[i] > logits[best])
            best = i;
    return best;
}

/* Runs `count` images and returns how many of them are classified as their label says. */
static int classify(struct gpucc_context *context, const unsigned char *pixels,
                    const unsigned char *labels, int count)
{
    float images[BATCH * PIXELS], logits[BATCH * CLASSES];
    int64_t shape[] = {count, 1, 8, 8};
    int correct = 0;
    for (int i = 0; i < count * PIXELS; i++)
        images[i] = (float)pixels[i] / 16;
    must(gpucc_context_set_input_shape(context, 0, 4, shape));
    must(gpucc_context_bind_input(context, 0, GPUCC_HOST, images,
                                  (size_t)count * PIXELS * sizeof(float)));
    must(gpucc_context_bind_output(context, 0, GPUCC_HOST, logits,
                                   (size_t)count * CLASSES * sizeof(float)));
    must(gpucc_context_run_sync(context));
    for (int i = 0; i < count; i++)
        correct += best_class(logits + (size_t)i * CLASSES) == labels[i];
    return correct;
}

int main(int argc, char **argv)
{
    struct gpucc_plan *plan;
    struct gpucc_device *device;
    struct gpucc_context *context;
    struct gpucc_device_info info;
    size_t image_bytes, total, text_bytes;
    int correct = 0, correct_at_training = 0;
    if (argc < 3 || argc > 4) {
        fprintf(stderr, "usage: digits PLAN HELD_BACK [DRIVER]\n");
        return 2;
    }
    unsigned char *images = read_file(argv[2], "images.u8", &image_bytes);
    unsigned char *labels = read_file(argv[2], "labels.u8", &total);
    unsigned char *text = read_file(argv[2], "accuracy.txt", &text_bytes);
    text[text_bytes < 63 ? text_bytes : 63] = 0;
    if (image_bytes != total * PIXELS || sscanf((char *)text, "%d", &correct_at_training) != 1) {
        fprintf(stderr, "digits: the files of %s do not belong together\n", argv[2]);
        return 7;
    }
    must(gpucc_plan_open(argv[1], 0, &plan));
    must(gpucc_device_open(argc == 4 ? argv[3] : NULL, 0, &device));
    must(gpucc_context_create(plan, device, &context));
    gpucc_device_describe(device, &info);

    for (size_t done = 0; done < total; done += BATCH) {
        int count = (int)(total - done < BATCH ? total - done : BATCH);
        correct += classify(context, images + done * PIXELS, labels + done, count);
        if (isatty(STDOUT_FILENO))
            printf("\r   %zu of %zu images", done + (size_t)count, total);
        fflush(stdout);
    }
    printf("%s   %s: %d of %zu correct (%.2f %%); at training %d (%.2f %%)\n",
           isatty(STDOUT_FILENO) ? "\r" : "", info.name, correct, total,
           100.0 * correct / (double)total, correct_at_training,
           100.0 * correct_at_training / (double)total);

    gpucc_context_destroy(context);
    gpucc_device_close(device);
    gpucc_plan_close(plan);
    free(images);
    free(labels);
    free(text);
    return correct == correct_at_training ? 0 : 4;
}
