/* The inputs on which --precision=auto measures errors. */
#ifndef GPUCC_TOOLS_CALIBRATION_H
#define GPUCC_TOOLS_CALIBRATION_H

#include "../ir/eval.h"

struct calibration {
    int n, n_inputs;
    struct tensor **runs; /* n times n_inputs */
    const char *warning;  /* what is to be said where they are used, or NULL */
};

/*
 * Inputs for g from a folder: a data set (input_0.pb or .npy, …, or NAME.pb or .npy), or a folder
 * of test_data_set_*; whatever else lies there is ignored. NULL: numbers from a seed, with a
 * warning to be given. False after reporting; free it all the same.
 */
bool calibration_make(struct calibration *c, struct graph *g, const char *folder);
void calibration_free(struct calibration *c);

#endif
