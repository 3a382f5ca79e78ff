/* RNN, GRU and LSTM: what their lowering (lower_recurrent.c) and their cells (cells.c) share. */
#ifndef GPUCC_FRONTEND_RECURRENT_H
#define GPUCC_FRONTEND_RECURRENT_H

#include "lower.h"

struct activation {
    int kind; /* row of the table in cells.c */
    double alpha, beta;
};

struct recurrence {
    int gates;      /* GATES_… */
    int directions; /* 1 or 2 */
    bool backwards[2];
    bool batch_first; /* layout 1 */
    bool linear_before_reset, input_forget, clips;
    double clip;
    struct activation activations[2][3]; /* of each direction */
    enum dtype type, wide;               /* of the tensors; of the gates */
    const struct dim *steps, *batch, *hidden;
    struct value *lengths;    /* of the sequences, or NULL: all steps */
    struct value *reset_bias; /* GRU with linear_before_reset: [directions, 1, hidden], or NULL */
};

/* One step, inside the loop. All is [directions, batch, …]. */
struct step {
    struct value *x;          /* in: what the inputs and biases add to the gates */
    struct value *r;          /* in: [directions, hidden, rows] */
    struct value *reset_bias; /* in, or NULL */
    struct value *peephole;   /* in: LSTM's P, [directions, 3 * hidden], or NULL */
    struct value *h, *c;      /* in and out: states; c for LSTM alone */
};

/* The node's activation functions. */
bool read_activations(struct call *c, struct recurrence *r);

/* Replaces the states by those after the step; h is of the wide type then. NULL after an error. */
void recurrent_step(struct call *c, const struct recurrence *r, struct step *s);

#endif
