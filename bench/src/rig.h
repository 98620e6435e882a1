/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The scene of a row: a simulated machine with one virtual CPU, a worker, a device on it, and the reference
 * driver (examples/). The calling thread is the virtual CPU from rig_open to rig_close.
 */
#ifndef BENCH_RIG_H
#define BENCH_RIG_H

#include "aero_nt.h"
#include "bench.h"
#include "reference_driver.h"
#include "status.h"

/* How long a device may be silent that owes an answer. */
#define RIG_PATIENCE_SECONDS 3

#define RIG_SPIN UINT32_C(1000000000) /* a second: longer than anything that a row waits for */

struct rig_options {
    const char *model;
    const struct aero_sim_model *own_model; /* in place of it, or NULL */
    const char *image; /* the backend, or NULL: the rig makes a small one where the model needs it */
    bool read_only;
    bool poll;                    /* the device looks at avail.idx unasked */
    uint32_t spin_ns;             /* of worker and virtual CPU, before they sleep */
    uint16_t queue_size;          /* of the queues in use; 0: the model's own */
    uint16_t queue_count;         /* in use: 0, 1, ...; 0: one */
    uint16_t indirect;            /* descriptors in each indirect table; 0: none */
    uint64_t features;            /* wanted, beyond what every driver wants */
    bool moderate;                /* the DPC keeps interrupts off while it reaps */
    REFERENCE_COMPLETE *complete; /* NULL: completions are only counted */
    void *context;
    /* Called when the device is attached and not yet started; NULL: not. */
    enum aero_sim_status (*attached)(struct aero_sim_device *device, void *context);
    void *attached_context;
    /* Rigs that are open and outlive this one, whose machine and whose worker it is on; NULL: its own. */
    struct rig *machine_of, *worker_of;
    uint32_t instance; /* which of the machine's devices of its kind it is, from 0 */
};

struct rig {
    struct bench_run *run; /* to which failures are noted */
    struct aero_nt *nt;
    struct aero_sim_worker *worker;
    bool owns_nt, owns_worker;
    struct aero_sim_device *device;
    bool attached, entered;
    REFERENCE_LOCATION location;
    REFERENCE_RESOURCES resources;
    REFERENCE_CONFIG config;
    REFERENCE_DEVICE driver;
    const char *failed_in;     /* what rig_submit's or rig_wait's failure was in */
    uint32_t patience_seconds; /* of rig_wait */

    PUCHAR memory; /* rig_allocate's */
    ULONGLONG memory_gpa;

    /* The first breach of each kind; written by whichever thread finds it. */
    _Atomic uint32_t breached;
    char breach[200];
};

/*
 * Everything up to a started, enabled device; the driver is still to start. false: bench_fail has the reason.
 */
bool rig_open(struct rig *rig, struct bench_run *run, const struct rig_options *options);

/*
 * rig_open, and ReferenceStart. Without connect nobody but the row takes completions from the rings, which it
 * may then use directly, with cookies of its own.
 */
bool rig_start(struct rig *rig, struct bench_run *run, const struct rig_options *options, bool connect);

/* ReferenceSubmit on queue 0. */
NTSTATUS rig_submit(struct rig *rig, REFERENCE_REQUEST *request, const AERO_VIRTIO_SEGMENT *segments,
                    USHORT readable_count, USHORT writable_count);

/* Waits until queue 0 has completed so many. STATUS_IO_TIMEOUT: no interrupt came for patience_seconds. */
NTSTATUS rig_wait(struct rig *rig, ULONGLONG target);

/*
 * Contiguous memory for a row's buffers, page-aligned, with random contents of the seed's; once a rig. It is
 * freed by rig_close.
 */
bool rig_allocate(struct rig *rig, uint32_t bytes);

/*
 * Resets the device, unplugs it, frees all. Each thing that was wrong or left behind fails the run. Answers
 * ok, or false where something was found. Works on a rig that was opened in part (by a call of the above that
 * failed).
 */
bool rig_close(struct rig *rig, bool ok);

/*
 * For a thread with several machines, which is a virtual CPU of one at a time: leaves that of this rig, whose
 * own it is, and comes back.
 */
void rig_leave(struct rig *rig);
void rig_enter(struct rig *rig);

/* bench_fail with a status: "AeroVirtioSetupQueue: STATUS_IO_DEVICE_ERROR (0xC0000185)". */
bool rig_fail(struct rig *rig, const char *function, NTSTATUS status);

/* The same for a failure of the driver's start or stop, which knows its function. */
bool rig_driver_fail(struct rig *rig, NTSTATUS status);

/* ---- Polling ---- */

/*
 * For a loop that polls for something: the clock is asked only after more looks than anything normal takes.
 */
struct rig_patience {
    uint64_t since;
    uint32_t looks;
};

#define RIG_LOOKS_BEFORE_CLOCK (1u << 20)

/* Call after each look that found nothing; false: it has been too long, or a signal came. */
static inline bool rig_patient(struct rig_patience *patience)
{
    uint64_t now;

    if (++patience->looks % RIG_LOOKS_BEFORE_CLOCK != 0)
        return true;
    now = sim_os_now_ns();
    if (patience->since == 0)
        patience->since = now;
    return now - patience->since < RIG_PATIENCE_SECONDS * UINT64_C(1000000000) && !host_interrupted;
}

#endif
