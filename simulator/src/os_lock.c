/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * os.h's lock: the same on every host, made of its wait and wake. For slow paths only; any thread, not
 * recursive, and whoever acquired it releases it.
 */
#include "os.h"

enum { FREE, HELD, WANTED };

void sim_os_lock_acquire(struct sim_os_lock *lock)
{
    uint32_t seen = FREE;

    if (atomic_compare_exchange_strong_explicit(&lock->state, &seen, HELD, memory_order_acquire,
                                                memory_order_relaxed))
        return;
    /* WANTED even once it is ours: others may sleep, nobody counts them. A wake too many is harmless. */
    while (atomic_exchange_explicit(&lock->state, WANTED, memory_order_acquire) != FREE)
        sim_os_wait(&lock->state, WANTED, UINT64_MAX);
}

void sim_os_lock_release(struct sim_os_lock *lock)
{
    if (atomic_exchange_explicit(&lock->state, FREE, memory_order_release) == WANTED)
        sim_os_wake_one(&lock->state);
}
