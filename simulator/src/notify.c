/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The notify region: one doorbell of 4 bytes a queue (NTF-1), taken in 16 and 32 bits (NTF-3). Runs on the thread of the
 * bus call. What a ring of the bell sets off stands in service.c.
 */
#include "device.h"

#define DOORBELL_STRIDE 4u /* notify_off_multiplier (BAR-2) */

uint64_t sim_notify_read(struct aero_sim_device *device, uint32_t offset, uint32_t width)
{
    (void)device, (void)offset, (void)width;
    return 0; /* BAR-3: a doorbell has nothing to read */
}

void sim_notify_write(struct aero_sim_device *device, uint32_t offset, uint32_t width, uint64_t value)
{
    uint32_t queue = offset / DOORBELL_STRIDE;

    (void)value; /* any value schedules the queue that the address names (NTF-3) */
    if (offset % DOORBELL_STRIDE || (width != 2 && width != 4) || queue >= device->queue_count)
        return;
    atomic_fetch_add_explicit(&device->doorbells, 1, memory_order_relaxed);
    sim_bell_ring(device, queue);
}
