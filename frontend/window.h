/* Where windows of convolutions and pools lie: attributes of ONNX → dims. Inside frontend/ only. */
#ifndef GPUCC_FRONTEND_WINDOW_H
#define GPUCC_FRONTEND_WINDOW_H

#include "lower.h"

enum auto_pad { AUTO_NOTSET, AUTO_SAME_UPPER, AUTO_SAME_LOWER, AUTO_VALID };

struct window {
    int n; /* spatial axes */
    enum auto_pad auto_pad;
    struct ints stride, dilation;
    int64_t pads[2 * MAX_RANK];         /* as given: all begins, then all ends */
    const struct dim *extent[MAX_RANK]; /* (kernel - 1) * dilation + 1 */
    const struct dim *low[MAX_RANK], *high[MAX_RANK], *size[MAX_RANK];
};

/* Reads strides, dilations, pads and auto_pad for n spatial axes; extent from the kernel's dims. */
bool window_attributes(struct call *c, int n, const struct dim *const *kernel, struct window *w);

/* low, high and size for a window that slides over x's axes from the third on. ceil: ONNX's
 * ceil_mode. */
bool window_slide(struct call *c, const struct value *x, bool ceil, struct window *w);

/* An attribute's list of dims, in the arena. */
struct dims call_dims_copy(struct call *c, int n, const struct dim *const *d);

/* The convolution that c's attributes describe, of these operands and with this result type. */
struct value *convolve(struct call *c, struct value *x, struct value *w, enum dtype to);

#endif
