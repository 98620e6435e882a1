/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The rows of lifecycle, config, notify and isr: the transport's verbs, one by one and in order, on an
 * otherwise idle device. What a row needs to have happened before (a reset before negotiating, say) happens
 * between its samples.
 */
#include "rig.h"

static struct rig_options any_device(const struct bench_run *run)
{
    return (struct rig_options){.model = run->session->options.device, .spin_ns = RIG_SPIN};
}

/* A device that has been negotiated with, and memory for its queue 0. */
static bool open_negotiated(struct rig *rig, struct bench_run *run)
{
    struct rig_options options = any_device(run);
    NTSTATUS status;

    if (!rig_open(rig, run, &options))
        return false;
    status = ReferenceMap(&rig->driver, &rig->location, &rig->resources, &rig->config);
    if (NT_SUCCESS(status))
        status = ReferenceNegotiate(&rig->driver);
    if (NT_SUCCESS(status))
        status = ReferenceAllocate(&rig->driver);
    return NT_SUCCESS(status) || rig_driver_fail(rig, status);
}

bool lifecycle_init(struct bench_run *run)
{
    struct rig_options options = any_device(run);
    AERO_VIRTIO_PCI_MODERN_DEVICE device;
    struct rig rig;
    NTSTATUS status;
    bool ok = rig_open(&rig, run, &options);
    uint32_t i;

    if (ok) {
        status = ReferenceMap(&rig.driver, &rig.location, &rig.resources, &rig.config);
        ok = NT_SUCCESS(status) || rig_driver_fail(&rig, status);
    }
    if (ok) {
        bench_begin(run, rig.device);
        while (bench_more(run)) {
            uint64_t start = clock_now();

            for (i = 0; i < run->batch; i++) {
                (void)AeroVirtioPciModernInitFromBar0(&device, rig.driver.Bar0, rig.resources.Bar0Length);
                __asm__ volatile("" : : "r"(&device) : "memory");
            }
            bench_sample(run, start, clock_now());
        }
        run->digest += (uintptr_t)device.CommonCfg;
    }
    return rig_close(&rig, ok);
}

bool lifecycle_negotiate(struct bench_run *run)
{
    struct rig rig;
    NTSTATUS status = STATUS_SUCCESS;
    bool ok = open_negotiated(&rig, run);
    uint32_t i;

    if (ok) {
        bench_begin(run, rig.device);
        while (NT_SUCCESS(status) && bench_more(run)) {
            uint64_t start = clock_now();

            for (i = 0; i < run->batch && NT_SUCCESS(status); i++)
                status = ReferenceNegotiate(&rig.driver);
            bench_sample(run, start, clock_now());
        }
        run->digest += rig.driver.Features;
        ok = NT_SUCCESS(status) || rig_driver_fail(&rig, status);
    }
    return rig_close(&rig, ok);
}

/* Queue 0's memory will do for all of them: without DRIVER_OK the device touches none of it. */
static NTSTATUS set_up_queue(REFERENCE_DEVICE *driver, USHORT queue)
{
    const REFERENCE_QUEUE *first = &driver->Queues[0];
    ULONGLONG shared = (ULONGLONG)first->SharedPa.QuadPart;
    USHORT size, notify_off;
    NTSTATUS status;

    driver->FailedIn = "AeroVirtioQueryQueue";
    status = AeroVirtioQueryQueue(&driver->Transport, queue, &size, &notify_off);
    if (!NT_SUCCESS(status))
        return status;
    driver->FailedIn = "AeroVirtioSetupQueue";
    return AeroVirtioSetupQueue(&driver->Transport, queue, shared + first->Layout.DescOffset,
                                shared + first->Layout.AvailOffset, shared + first->Layout.UsedOffset);
}

/* A queue can be set up once between two resets, so a sample takes as many queues as the device has. */
bool lifecycle_setup_queue(struct bench_run *run)
{
    struct rig rig;
    NTSTATUS status = STATUS_SUCCESS;
    bool ok = open_negotiated(&rig, run);
    uint32_t i;

    if (ok) {
        run->batch = AeroVirtioGetNumQueues(&rig.driver.Transport);
        bench_begin(run, rig.device);
        while (NT_SUCCESS(status) && bench_more(run)) {
            uint64_t start = clock_now();

            for (i = 0; i < run->batch && NT_SUCCESS(status); i++)
                status = set_up_queue(&rig.driver, (USHORT)i);
            bench_sample(run, start, clock_now());
            if (NT_SUCCESS(status))
                status = ReferenceNegotiate(&rig.driver);
        }
        ok = NT_SUCCESS(status) || rig_driver_fail(&rig, status);
    }
    return rig_close(&rig, ok);
}

bool lifecycle_full(struct bench_run *run)
{
    struct rig rig;
    NTSTATUS status = STATUS_SUCCESS;
    bool ok = open_negotiated(&rig, run);

    if (ok) {
        bench_begin(run, rig.device);
        while (NT_SUCCESS(status) && bench_more(run)) {
            uint64_t start = clock_now();

            status = ReferenceNegotiate(&rig.driver);
            if (NT_SUCCESS(status))
                status = ReferenceGo(&rig.driver);
            bench_sample(run, start, clock_now());
        }
        run->digest += AeroVirtioGetStatus(&rig.driver.Transport);
        ok = NT_SUCCESS(status) || rig_driver_fail(&rig, status);
    }
    return rig_close(&rig, ok);
}

/* ---- Single verbs of a running device ---- */

/* BODY is one verb, batch times a sample; it may set status. */
#define VERB_ROW(NAME, FUNCTION, BODY)                                   \
    bool NAME(struct bench_run *run)                                     \
    {                                                                    \
        struct rig_options options = any_device(run);                    \
        struct rig rig;                                                  \
        AERO_VIRTIO_PCI_MODERN_DEVICE *device = &rig.driver.Transport;   \
        NTSTATUS status = STATUS_SUCCESS;                                \
        bool ok = rig_start(&rig, run, &options, false);                 \
        uint64_t digest = 0;                                             \
        uint32_t i;                                                      \
                                                                         \
        if (ok) {                                                        \
            bench_begin(run, rig.device);                                \
            while (NT_SUCCESS(status) && bench_more(run)) {              \
                uint64_t start = clock_now();                            \
                                                                         \
                for (i = 0; i < run->batch; i++) {                       \
                    BODY;                                                \
                }                                                        \
                bench_sample(run, start, clock_now());                   \
            }                                                            \
            run->digest += digest;                                       \
            ok = NT_SUCCESS(status) || rig_fail(&rig, FUNCTION, status); \
        }                                                                \
        return rig_close(&rig, ok);                                      \
    }

VERB_ROW(config_read, "AeroVirtioReadDeviceConfig", {
    ULONG field;
    NTSTATUS one = AeroVirtioReadDeviceConfig(device, 0, &field, sizeof field);

    if (!NT_SUCCESS(one))
        status = one;
    digest += field;
})

VERB_ROW(notify_doorbell, "AeroVirtioNotifyQueue", {
    NTSTATUS one = AeroVirtioNotifyQueue(device, 0, rig.driver.Queues[0].NotifyOff);

    if (!NT_SUCCESS(one))
        status = one;
})

VERB_ROW(isr_read, "AeroVirtioReadIsr", digest += AeroVirtioReadIsr(device))
