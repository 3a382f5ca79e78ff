#include "pool.h"

#include <pthread.h>
#include <stdbool.h>

enum { MAX_THREADS = 256 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t begin = PTHREAD_COND_INITIALIZER, end = PTHREAD_COND_INITIALIZER;
static pthread_t threads[MAX_THREADS];
static int n_threads, wanted, running;
static bool stop;
static void (*job)(void *);
static void *job_argument;

static void *serve(void *nothing)
{
    pthread_mutex_lock(&mutex);
    for (;;) {
        while (!wanted && !stop) {
            pthread_cond_wait(&begin, &mutex);
        }
        if (stop) {
            break;
        }
        wanted--;
        void (*work)(void *) = job;
        void *argument = job_argument;
        pthread_mutex_unlock(&mutex);
        work(argument);
        pthread_mutex_lock(&mutex);
        if (--running == 0) {
            pthread_cond_signal(&end);
        }
    }
    pthread_mutex_unlock(&mutex);
    return nothing;
}

void pool_run(void (*work)(void *), void *argument, int n)
{
    if (n > 1) {
        pthread_mutex_lock(&mutex);
        while (n_threads < n - 1 && n_threads < MAX_THREADS &&
               !pthread_create(&threads[n_threads], NULL, serve, NULL)) {
            n_threads++;
        }
        job = work;
        job_argument = argument;
        wanted = running = n - 1 < n_threads ? n - 1 : n_threads;
        pthread_cond_broadcast(&begin);
        pthread_mutex_unlock(&mutex);
    }
    work(argument);
    if (n > 1) {
        pthread_mutex_lock(&mutex);
        while (running) {
            pthread_cond_wait(&end, &mutex);
        }
        pthread_mutex_unlock(&mutex);
    }
}

/* The code of the threads goes away with the library. */
__attribute__((destructor)) static void pool_stop(void)
{
    pthread_mutex_lock(&mutex);
    stop = true;
    pthread_cond_broadcast(&begin);
    pthread_mutex_unlock(&mutex);
    for (int i = 0; i < n_threads; i++) {
        pthread_join(threads[i], NULL);
    }
    n_threads = 0;
}
