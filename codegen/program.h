/* The program being made: what families append launches to. Private to codegen. */
#ifndef GPUCC_CODEGEN_PROGRAM_H
#define GPUCC_CODEGEN_PROGRAM_H

#include "families.h"

struct codegen {
    struct graph *g;
    const struct target *target;
    struct program *program;
    int cap_steps;
    bool failed;                    /* something was reported; goes on to report more */
};

void codegen_append(struct codegen *c, struct step step);

#endif
