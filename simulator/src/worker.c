/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The worker: a thread that looks for bells, serves them, spins for a bounded time when there are none, and then sleeps. Its
 * tables are its own; devices come and go by mail, so that the loop needs no lock.
 */
#include "worker.h"

#include "device.h"

#include <stdlib.h>
#include <string.h>

#define SPIN_NS_DEFAULT 50000u
#define PAUSES_A_CLOCK_READ 32u

/* ---- Mail ---- */

static enum aero_sim_status add(struct aero_sim_worker *worker, struct aero_sim_device *device)
{
    if (worker->device_count == AERO_SIM_DEVICES_MAX)
        return AERO_SIM_LIMIT;
    worker->devices[worker->device_count++] = device;
    if (device->poll_mode)
        worker->polled[worker->polled_count++] = device;
    return AERO_SIM_OK;
}

/* Answers how many are left of count. */
static uint32_t remove_from(struct aero_sim_device **table, uint32_t count, const struct aero_sim_device *device)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < count; i++) {
        if (table[i] != device)
            table[kept++] = table[i];
    }
    return kept;
}

static enum aero_sim_status take_off(struct aero_sim_worker *worker, struct aero_sim_device *device)
{
    if (device->poll_mode)
        sim_service_leave(device);
    worker->device_count = remove_from(worker->devices, worker->device_count, device);
    worker->polled_count = remove_from(worker->polled, worker->polled_count, device);
    return AERO_SIM_OK;
}

/* Does what the letter asks; false: it asked the thread to end. */
static bool open_mail(struct aero_sim_worker *worker)
{
    struct aero_sim_device *device = worker->letter_device;

    if (device)
        worker->letter_answer = worker->letter_adds ? add(worker, device) : take_off(worker, device);
    atomic_store_explicit(&worker->mail, 0, memory_order_release); /* pairs with the acquire in post */
    sim_os_wake_all(&worker->mail);
    return device != NULL;
}

static enum aero_sim_status post(struct aero_sim_worker *worker, struct aero_sim_device *device, bool adds)
{
    enum aero_sim_status answer;

    sim_os_lock_acquire(&worker->mail_lock);
    worker->letter_device = device;
    worker->letter_adds = adds;
    atomic_store_explicit(&worker->mail, 1, memory_order_seq_cst);
    sim_os_full_barrier(); /* W */
    sim_worker_alert(worker);
    while (atomic_load_explicit(&worker->mail, memory_order_acquire))
        sim_os_wait(&worker->mail, 1, UINT64_MAX);
    answer = worker->letter_answer;
    sim_os_lock_release(&worker->mail_lock);
    return answer;
}

enum aero_sim_status sim_worker_add(struct aero_sim_worker *worker, struct aero_sim_device *device)
{
    return post(worker, device, true);
}

void sim_worker_remove(struct aero_sim_worker *worker, struct aero_sim_device *device)
{
    post(worker, device, false);
}

/* ---- The thread ---- */

void sim_worker_wake(struct aero_sim_worker *worker)
{
    if (atomic_exchange_explicit(&worker->parked, 0, memory_order_seq_cst))
        sim_os_wake_one(&worker->parked);
}

static bool something_waits(struct aero_sim_worker *worker)
{
    if (atomic_load_explicit(&worker->mail, memory_order_seq_cst))
        return true;
    for (uint32_t i = 0; i < worker->device_count; i++) {
        if (sim_bells_are_rung(worker->devices[i]))
            return true;
    }
    return false;
}

/*
 * W: `parked` is set, and then the bells are looked at once more; a doorbell rings its bell, and then looks at `parked`. With
 * a full barrier between the two halves on both sides, one of them sees the other: no doorbell is slept through.
 */
static void sleep_until_alerted(struct aero_sim_worker *worker)
{
    atomic_store_explicit(&worker->parked, 1, memory_order_seq_cst);
    sim_os_full_barrier(); /* W */
    if (something_waits(worker)) {
        atomic_store_explicit(&worker->parked, 0, memory_order_relaxed);
        return;
    }
    atomic_fetch_add_explicit(&worker->sleeps, 1, memory_order_relaxed);
    while (atomic_load_explicit(&worker->parked, memory_order_acquire))
        sim_os_wait(&worker->parked, 1, UINT64_MAX);
}

/* One look at everything; true where there was something to do, or a running device is to be polled. */
static bool pass(struct aero_sim_worker *worker)
{
    bool worked = false;

    for (uint32_t i = 0; i < worker->device_count; i++) {
        if (sim_bells_are_rung(worker->devices[i])) {
            sim_service_bells(worker->devices[i]);
            worked = true;
        }
    }
    for (uint32_t i = 0; i < worker->polled_count; i++)
        worked |= sim_service_poll(worker->polled[i]);
    return worked;
}

static void run(void *context)
{
    struct aero_sim_worker *worker = context;
    uint64_t idle_since = 0; /* 0: not idle */
    uint32_t pauses = 0;

    for (;;) {
        uint64_t now;

        if (atomic_load_explicit(&worker->mail, memory_order_acquire) && !open_mail(worker))
            return;
        if (pass(worker)) {
            idle_since = 0;
            continue;
        }
        if (worker->spin_ns && (!idle_since || ++pauses % PAUSES_A_CLOCK_READ)) {
            if (!idle_since)
                idle_since = sim_os_now_ns();
            sim_os_pause();
            continue;
        }
        now = worker->spin_ns ? sim_os_now_ns() : UINT64_MAX;
        if (now - idle_since >= worker->spin_ns) {
            sleep_until_alerted(worker);
            idle_since = 0;
        }
    }
}

enum aero_sim_status aero_sim_worker_create(const struct aero_sim_worker_options *options,
                                            struct aero_sim_worker **worker_out)
{
    static const struct aero_sim_worker_options defaults = {.spin_ns = SPIN_NS_DEFAULT, .cpu = -1};
    struct aero_sim_worker *worker;

    if (!worker_out)
        return AERO_SIM_BAD_ARGUMENT;
    *worker_out = NULL;
    if (!options)
        options = &defaults;
    if (options->cpu != -1 && !sim_os_cpu_usable(options->cpu))
        return AERO_SIM_BAD_ARGUMENT;
    worker = sim_os_memory_map(sizeof *worker);
    if (!worker)
        return AERO_SIM_NO_MEMORY;
    worker->spin_ns = options->spin_ns;
    worker->thread = sim_os_thread_start(run, worker, options->cpu);
    if (!worker->thread) {
        sim_os_memory_unmap(worker, sizeof *worker);
        return AERO_SIM_NO_MEMORY;
    }
    *worker_out = worker;
    return AERO_SIM_OK;
}

void aero_sim_worker_destroy(struct aero_sim_worker *worker)
{
    if (!worker)
        return;
    post(worker, NULL, false);
    sim_os_thread_join(worker->thread);
    sim_os_memory_unmap(worker, sizeof *worker);
}
