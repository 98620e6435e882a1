/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The roundtrip rows: one chain outstanding, from its Add to its completion in the driver's hands. The chain
 * is a readable buffer that loopback takes note of and no more, so what is measured is the way there and
 * back.
 */
#include "rig.h"

static NTSTATUS poll_one(AERO_VIRTIO_SPLIT_RING *ring)
{
    struct rig_patience patience = {0, 0};
    void *cookie;
    ULONG length;
    NTSTATUS status;

    while ((status = AeroVirtioSplitRingReap(ring, &cookie, &length)) == STATUS_NO_MORE_ENTRIES) {
        if (!rig_patient(&patience))
            return STATUS_IO_TIMEOUT;
    }
    return status;
}

bool roundtrip_poll(struct bench_run *run)
{
    struct rig_options options = {
        .model = "loopback", .poll = true, .spin_ns = RIG_SPIN, .queue_size = run->row->with.queue_size};
    AERO_VIRTIO_SEGMENT segment = {.Length = run->row->with.bytes};
    struct rig rig;
    AERO_VIRTIO_SPLIT_RING *ring;
    NTSTATUS status = STATUS_SUCCESS;
    uint32_t i;
    bool ok = rig_start(&rig, run, &options, false) && rig_allocate(&rig, run->row->with.bytes);

    if (ok) {
        segment.Address = rig.memory_gpa;
        ring = &rig.driver.Queues[0].Ring;
        AeroVirtioSplitRingSuppressInterrupts(ring);
        bench_begin(run, rig.device);
        while (NT_SUCCESS(status) && bench_more(run)) {
            uint64_t start = clock_now();

            for (i = 0; i < run->batch && NT_SUCCESS(status); i++) {
                status = AeroVirtioSplitRingAdd(ring, &segment, 1, 0, &segment);
                AeroVirtioSplitRingPublish(ring);
                if (NT_SUCCESS(status))
                    status = poll_one(ring);
            }
            bench_sample(run, start, clock_now());
        }
        ok = NT_SUCCESS(status) || rig_fail(&rig, "polling for the completion", status);
    }
    return rig_close(&rig, ok);
}

/* ---- Doorbell and interrupt ---- */

/*
 * Add, publish, doorbell; the device's interrupt; the service routine reads ISR and queues the DPC, which
 * reaps and sets the event that the thread waits for.
 */
static bool kick_isr(struct bench_run *run, uint32_t spin_ns)
{
    struct rig_options options = {
        .model = "loopback", .spin_ns = spin_ns, .queue_size = run->row->with.queue_size};
    AERO_VIRTIO_SEGMENT segment = {.Length = run->row->with.bytes};
    REFERENCE_REQUEST request = {.Limit = 0};
    struct rig rig;
    NTSTATUS status = STATUS_SUCCESS;
    ULONGLONG sent = 0;
    bool ok = rig_start(&rig, run, &options, true) && rig_allocate(&rig, run->row->with.bytes);

    if (ok) {
        segment.Address = rig.memory_gpa;
        bench_begin(run, rig.device);
        while (NT_SUCCESS(status) && bench_more(run)) {
            uint64_t start = clock_now();

            status = rig_submit(&rig, &request, &segment, 1, 0);
            if (NT_SUCCESS(status))
                status = rig_wait(&rig, ++sent);
            bench_sample(run, start, clock_now());
        }
        ok = NT_SUCCESS(status) || rig_fail(&rig, rig.failed_in, status);
    }
    return rig_close(&rig, ok);
}

bool roundtrip_kick_isr_spin(struct bench_run *run)
{
    return kick_isr(run, RIG_SPIN);
}

bool roundtrip_kick_isr_sleep(struct bench_run *run)
{
    return kick_isr(run, 0);
}
