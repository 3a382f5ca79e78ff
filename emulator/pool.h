/* Host threads that wait for work. */
#ifndef EMU_POOL_H
#define EMU_POOL_H

/* Calls work(argument) n times at once, one of them here; returns when all have returned. Only one
 * caller at a time. If no thread can be had, fewer calls are made, at least one. */
void pool_run(void (*work)(void *), void *argument, int n);

#endif
