/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The worker as the core sees it: who rings a bell alerts it; a device's start and stop put it on and take it off. */
#ifndef SIM_WORKER_H
#define SIM_WORKER_H

#include "aero_sim.h"
#include "os.h"

struct aero_sim_worker {
    /* What a doorbell looks at, and whoever sends mail. */
    _Alignas(SIM_LINE_BYTES) _Atomic uint32_t parked; /* 1: asleep, or about to be */
    _Atomic uint32_t mail;                            /* 1: a letter waits */

    /* The worker's own. */
    _Alignas(SIM_LINE_BYTES) uint32_t device_count;
    uint32_t polled_count;
    struct aero_sim_device *devices[AERO_SIM_DEVICES_MAX];
    struct aero_sim_device *polled[AERO_SIM_DEVICES_MAX]; /* those of them in poll mode */
    uint64_t spin_ns;

    /* Mail: one letter at a time, answered before the sender goes on. */
    struct sim_os_lock mail_lock;
    struct aero_sim_device *letter_device; /* NULL: end the thread */
    bool letter_adds;
    enum aero_sim_status letter_answer;

    struct sim_os_thread *thread;
    _Atomic uint32_t sleeps; /* counter */
};

/*
 * Puts the device on the worker, or takes it off. Both wait until the worker has done
 * it; after the removal the worker knows nothing of the device. LIMIT: too many devices.
 */
enum aero_sim_status sim_worker_add(struct aero_sim_worker *worker, struct aero_sim_device *device);
void sim_worker_remove(struct aero_sim_worker *worker, struct aero_sim_device *device);

void sim_worker_wake(struct aero_sim_worker *worker);

/*
 * After a bell was rung: wakes the worker where it sleeps. The caller's read-modify-write of the bell stands before this
 * load as the worker's store of `parked` stands before its last look at the bells (W, worker.c).
 */
static inline void sim_worker_alert(struct aero_sim_worker *worker)
{
    if (atomic_load_explicit(&worker->parked, memory_order_seq_cst)) /* W */
        sim_worker_wake(worker);
}

#endif
