/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * driver/kick: what ring/kick does, by the reference driver: throughput of requests that are submitted under
 * its queue's lock, noted, watched, reaped by its DPC and handed to their owner, who keeps free ones on a
 * stack. On queue 0 of loopback.
 */
#include "rig.h"

#include <stdlib.h>

#define SLOT_BYTES 64u /* a buffer has its own cache line */

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

bool driver_kick(struct bench_run *run)
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
