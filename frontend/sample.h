/* Sampling of images between their elements. Inside frontend/ only. */
#ifndef GPUCC_FRONTEND_SAMPLE_H
#define GPUCC_FRONTEND_SAMPLE_H

#include "lower.h"

enum sample_mode { SAMPLE_LINEAR, SAMPLE_NEAREST, SAMPLE_CUBIC };
enum sample_padding { PADDING_ZEROS, PADDING_BORDER, PADDING_REFLECTION };

struct sampling {
    enum sample_mode mode;
    enum sample_padding padding;
    bool corners;             /* -1 and 1 are the centres of the outer elements, not their edges */
    bool greatest;            /* of the weighted taps, the greatest instead of their sum */
    int n;                    /* spatial axes */
    struct value *flat;       /* X as [N, C, all spatial] */
    const struct dim *points; /* per image */
    const struct dim *size[MAX_RANK];
    struct value *at[MAX_RANK]; /* f32 [N, points]: position along each spatial axis */
};

/* flat sampled at all points: f32 [N, C, points]. Modes linear and cubic. */
struct value *sample_between(struct call *c, const struct sampling *s);

#endif
