/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The ring rows: throughput. Queue 0 of loopback is kept full of readable buffers, as Linux's ringtest keeps
 * its own: what comes back is made available again at once. A sample is the time of the next batch
 * completions, from one stamp to the next; stamps follow each other without a gap, so samples add up to the
 * whole time.
 */
#include "rig.h"

#include <stdlib.h>

#define AT_ONCE    32u
#define SLOT_BYTES 64u /* a buffer has its own cache line */

/*
 * A buffer: as a request of the driver's, and by its segment, which is the cookie where the ring is used
 * directly.
 */
struct slot {
    REFERENCE_REQUEST request;
    AERO_VIRTIO_SEGMENT segment;
};

struct slots {
    struct slot *all;
    struct slot **free;
    uint32_t free_count;
};

static bool make_slots(struct rig *rig, struct slots *slots, const struct bench_parameters *with)
{
    uint32_t i;

    if (!rig_allocate(rig, with->queue_size * SLOT_BYTES))
        return false;
    slots->all = calloc(with->queue_size, sizeof *slots->all);
    slots->free = calloc(with->queue_size, sizeof *slots->free);
    if (slots->all == NULL || slots->free == NULL)
        return bench_fail(rig->run, "no memory");
    for (i = 0; i < with->queue_size; i++) {
        slots->all[i].segment.Address = rig->memory_gpa + i * SLOT_BYTES;
        slots->all[i].segment.Length = with->bytes;
        slots->free[slots->free_count++] = &slots->all[i];
    }
    return true;
}

static void free_slots(struct slots *slots)
{
    free(slots->all);
    free(slots->free);
}

/* ---- Both sides poll ---- */

/* Reaps up to max completions, once there are any. 0: status_out says why there never were. */
static uint32_t reap_some(AERO_VIRTIO_SPLIT_RING *ring, AERO_VIRTIO_COMPLETION *completions, uint32_t max,
                          NTSTATUS *status_out)
{
    struct rig_patience patience = {0, 0};
    uint32_t count;

    while ((count = AeroVirtioSplitRingReapMany(ring, completions, max, status_out)) == 0) {
        if (*status_out != STATUS_NO_MORE_ENTRIES)
            return 0;
        if (!rig_patient(&patience)) {
            *status_out = STATUS_IO_TIMEOUT;
            return 0;
        }
    }
    return count;
}

/* Has wanted chains completed and replaced by new ones. */
static NTSTATUS turn_over(AERO_VIRTIO_SPLIT_RING *ring, uint32_t wanted, uint32_t publish)
{
    AERO_VIRTIO_COMPLETION completions[AT_ONCE];
    uint32_t count, i, unpublished = 0;
    NTSTATUS status;

    while (wanted > 0) {
        count = reap_some(ring, completions, wanted < AT_ONCE ? wanted : AT_ONCE, &status);
        if (count == 0)
            return status;
        for (i = 0; i < count; i++) {
            status = AeroVirtioSplitRingAdd(ring, completions[i].Cookie, 1, 0, completions[i].Cookie);
            if (!NT_SUCCESS(status))
                return status;
            if (++unpublished == publish) {
                AeroVirtioSplitRingPublish(ring);
                unpublished = 0;
            }
        }
        if (unpublished > 0)
            AeroVirtioSplitRingPublish(ring);
        unpublished = 0;
        wanted -= count;
    }
    return STATUS_SUCCESS;
}

/* Nothing is added any more: all that is in flight must come back. */
static NTSTATUS drain(AERO_VIRTIO_SPLIT_RING *ring)
{
    AERO_VIRTIO_COMPLETION completions[AT_ONCE];
    NTSTATUS status = STATUS_SUCCESS;

    while (AeroVirtioSplitRingInFlightCount(ring) > 0) {
        if (reap_some(ring, completions, AT_ONCE, &status) == 0)
            return status;
    }
    return STATUS_SUCCESS;
}

bool ring_poll(struct bench_run *run)
{
    const struct bench_parameters *with = &run->row->with;
    struct rig_options options = {
        .model = "loopback", .poll = true, .spin_ns = RIG_SPIN, .queue_size = with->queue_size};
    struct slots slots = {.free_count = 0};
    struct rig rig;
    AERO_VIRTIO_SPLIT_RING *ring;
    NTSTATUS status = STATUS_SUCCESS;
    bool ok = rig_start(&rig, run, &options, false) && make_slots(&rig, &slots, with);

    if (ok) {
        ring = &rig.driver.Queues[0].Ring;
        AeroVirtioSplitRingSuppressInterrupts(ring);
        while (NT_SUCCESS(status) && slots.free_count > 0) {
            AERO_VIRTIO_SEGMENT *segment = &slots.free[--slots.free_count]->segment;

            status = AeroVirtioSplitRingAdd(ring, segment, 1, 0, segment);
        }
        AeroVirtioSplitRingPublish(ring);
        bench_begin(run, rig.device);
        while (NT_SUCCESS(status) && bench_more(run)) {
            uint64_t start = run->last;

            status = turn_over(ring, run->batch, with->publish);
            bench_sample(run, start, clock_now());
        }
        if (NT_SUCCESS(status))
            status = drain(ring);
        ok = NT_SUCCESS(status) || rig_fail(&rig, "polling for completions", status);
    }
    ok = rig_close(&rig, ok);
    free_slots(&slots);
    return ok;
}

/* ---- Doorbells and interrupts ---- */

/* DISPATCH_LEVEL */
static VOID slot_is_free(PVOID context, REFERENCE_REQUEST *request, ULONG length, NTSTATUS status)
{
    struct slots *slots = context;

    (void)length;
    (void)status;
    slots->free[slots->free_count++] = CONTAINING_RECORD(request, struct slot, request);
}

/*
 * Makes count free slots available and rings the doorbell. Interrupts are taken at the doorbell and at the
 * release.
 */
static NTSTATUS submit(struct rig *rig, struct slots *slots, uint32_t count)
{
    REFERENCE_QUEUE *queue = &rig->driver.Queues[0];
    NTSTATUS status = STATUS_SUCCESS;
    KIRQL irql;

    rig->failed_in = "ReferenceAdd";
    KeAcquireSpinLock(&queue->Lock, &irql);
    for (; count > 0 && NT_SUCCESS(status); count--) {
        struct slot *slot = slots->free[--slots->free_count];

        status = ReferenceAdd(queue, &slot->request, &slot->segment, 1, 0);
    }
    ReferenceKick(queue);
    KeReleaseSpinLock(&queue->Lock, irql);
    return status;
}

/*
 * Goes on until the driver has seen target completions: where there is room submits, else waits for an
 * interrupt.
 */
static NTSTATUS work_until(struct rig *rig, struct slots *slots, ULONGLONG target, uint32_t publish)
{
    const REFERENCE_QUEUE *queue = &rig->driver.Queues[0];
    NTSTATUS status = STATUS_SUCCESS;

    while (NT_SUCCESS(status) && queue->Completed < target) {
        if (slots->free_count >= publish)
            status = submit(rig, slots, publish);
        else
            status = rig_wait(rig, queue->Completed + 1);
    }
    return status;
}

bool ring_kick(struct bench_run *run)
{
    const struct bench_parameters *with = &run->row->with;
    struct slots slots = {.free_count = 0};
    struct rig_options options = {.model = "loopback",
                                  .spin_ns = RIG_SPIN,
                                  .queue_size = with->queue_size,
                                  .moderate = true,
                                  .complete = slot_is_free,
                                  .context = &slots};
    struct rig rig;
    NTSTATUS status = STATUS_SUCCESS;
    ULONGLONG target = 0;
    bool ok = rig_start(&rig, run, &options, true) && make_slots(&rig, &slots, with);

    if (ok) {
        bench_begin(run, rig.device);
        while (NT_SUCCESS(status) && bench_more(run)) {
            uint64_t start = run->last;

            target += run->batch;
            status = work_until(&rig, &slots, target, with->publish);
            bench_sample(run, start, clock_now());
        }
        if (NT_SUCCESS(status))
            status = rig_wait(&rig, rig.driver.Queues[0].Completed + ReferenceInFlight(&rig.driver));
        ok = NT_SUCCESS(status) || rig_fail(&rig, rig.failed_in, status);
    }
    ok = rig_close(&rig, ok);
    free_slots(&slots);
    return ok;
}
