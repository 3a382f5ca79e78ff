/* The CUDA driver API: streams, events; no graphs. Everything is done when a call returns. */
#include "driver.h"

#include <stdlib.h>
#include <time.h>

struct CUstream_st {
    unsigned flags;
};

struct CUevent_st {
    double milliseconds; /* of the host's clock when it was recorded */
    bool recorded;
};

API CUresult cuStreamCreate(CUstream *stream, unsigned flags)
{
    CUresult rc = driver_enter();
    struct CUstream_st *s = rc ? NULL : malloc(sizeof *s);
    if (!rc && !s) {
        rc = driver_error(CUDA_ERROR_OUT_OF_MEMORY, "out of memory");
    } else if (!rc) {
        s->flags = flags;
        *stream = s;
        driver.streams++;
    }
    return driver_leave(rc);
}

API CUresult cuStreamDestroy_v2(CUstream stream)
{
    driver_lock();
    driver.streams--;
    free(stream);
    return driver_leave(CUDA_SUCCESS);
}

API CUresult cuStreamSynchronize(CUstream stream)
{
    (void)stream;
    return driver_leave(driver_enter());
}

API CUresult cuStreamQuery(CUstream stream)
{
    (void)stream;
    return driver_leave(driver_enter());
}

API CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned flags)
{
    (void)stream;
    (void)event;
    (void)flags;
    return driver_leave(driver_enter());
}

API CUresult cuEventCreate(CUevent *event, unsigned flags)
{
    CUresult rc = driver_enter();
    (void)flags;
    struct CUevent_st *e = rc ? NULL : calloc(1, sizeof *e);
    if (!rc && !e) {
        rc = driver_error(CUDA_ERROR_OUT_OF_MEMORY, "out of memory");
    } else if (!rc) {
        *event = e;
        driver.events++;
    }
    return driver_leave(rc);
}

API CUresult cuEventDestroy_v2(CUevent event)
{
    driver_lock();
    driver.events--;
    free(event);
    return driver_leave(CUDA_SUCCESS);
}

API CUresult cuEventRecord(CUevent event, CUstream stream)
{
    CUresult rc = driver_enter();
    struct timespec t;
    (void)stream;
    clock_gettime(CLOCK_MONOTONIC, &t);
    event->milliseconds = (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
    event->recorded = true;
    return driver_leave(rc);
}

API CUresult cuEventSynchronize(CUevent event)
{
    (void)event;
    return driver_leave(driver_enter());
}

API CUresult cuEventQuery(CUevent event)
{
    (void)event;
    return driver_leave(driver_enter());
}

API CUresult cuEventElapsedTime(float *milliseconds, CUevent from, CUevent to)
{
    CUresult rc = driver_enter();
    if (!rc && (!from->recorded || !to->recorded)) {
        rc = driver_error(CUDA_ERROR_INVALID_HANDLE, "cuEventElapsedTime: an event not recorded");
    } else if (!rc) {
        *milliseconds = (float)(to->milliseconds - from->milliseconds);
    }
    return driver_leave(rc);
}

/* ---- Graphs are not there: the caller issues the steps one by one ---- */

static CUresult no_graphs(void)
{
    driver_lock();
    return driver_leave(driver_error(CUDA_ERROR_NOT_SUPPORTED, "the emulator has no graphs"));
}

API CUresult cuStreamBeginCapture_v2(CUstream stream, int mode)
{
    (void)stream;
    (void)mode;
    return no_graphs();
}

API CUresult cuStreamEndCapture(CUstream stream, void **graph)
{
    (void)stream;
    *graph = NULL;
    return no_graphs();
}

API CUresult cuGraphInstantiateWithFlags(void **executable, void *graph, unsigned long long flags)
{
    (void)graph;
    (void)flags;
    *executable = NULL;
    return no_graphs();
}

API CUresult cuGraphLaunch(void *executable, CUstream stream)
{
    (void)executable;
    (void)stream;
    return no_graphs();
}

API CUresult cuGraphDestroy(void *graph)
{
    (void)graph;
    return no_graphs();
}

API CUresult cuGraphExecDestroy(void *executable)
{
    (void)executable;
    return no_graphs();
}
