/* A model file, decoded, and the files that its tensors lie in. Inside frontend/ only. */
#ifndef GPUCC_FRONTEND_MODEL_H
#define GPUCC_FRONTEND_MODEL_H

#include "frontend.h"
#include "onnx.pb-c.h"

struct mapping {
    char *path;           /* as opened; owned */
    const uint8_t *bytes; /* NULL when the file is empty */
    size_t size;
};

struct model {
    char *folder;          /* real path of the folder the model lies in; owned */
    const char *name;      /* last part of the model's path: starts every message */
    struct mapping *files; /* [0] is the model */
    int n_files, cap_files;
    Onnx__ModelProto *proto; /* raw data of WIRE_MAPPED_SIZE or more stays in files[0] */
};

/*
 * Maps the external data file at `location`, once. The location must stay in the model's folder: no
 * absolute path, no "..", no symlink that leads out. NULL after reporting an error at `where`.
 */
const struct mapping *model_external(struct model *model, struct diag *diag, const char *where,
                                     const char *location);

#endif
