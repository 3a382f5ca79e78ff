/*
 * The compile cache on disk: what NVRTC made of a source, under a hash of all that decides it.
 * Entries appear complete or not at all, so processes may share it; a damaged entry counts as
 * missing and is written anew.
 */
#ifndef GPUCC_CODEGEN_CACHE_H
#define GPUCC_CODEGEN_CACHE_H

#include "nvrtc.h"

struct cache {
    char *folder;
}; /* NULL: there is none, loads miss and stores do nothing */

/* $XDG_CACHE_HOME/gpucc or ~/.cache/gpucc. Made when the first entry is stored. */
void cache_open(struct cache *cache);
void cache_close(struct cache *cache);

struct cache_key {
    unsigned char bytes[16];
};

/* Key of a job: source, options, NVRTC's build and gpucc's version. False when memory is out. */
bool cache_key(const struct nvrtc *n, const struct nvrtc_job *job, struct cache_key *key);

bool cache_load(const struct cache *cache, struct cache_key key, struct binary *out);
/* A full disk or a folder that cannot be written is no error: the next build compiles again. */
void cache_store(const struct cache *cache, struct cache_key key, const struct binary *binary);

#endif
