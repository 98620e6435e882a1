/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Serving a device: from a bell to the interrupt, on the worker's thread or, without a worker, a step a call. And the two
 * handshakes between the bus and the server:
 *
 * Bells (P4). A bell is two counts: `rung`, which whoever rings adds to, and `taken`, up to where the server has taken it.
 * Where they differ the server notes the first as the second and only then looks at avail.idx. A ring that it noted happened
 * before the look, which sees what was published before it; one that comes later makes the two differ again. So no ring is
 * lost; and the server never writes to the line that doorbells write to, which travels one way.
 *
 * Running (Q). The server says that it is inside and then asks whether the device still runs; who ends that (a reset, bus
 * mastering switched off, a stop) says so and then waits until nobody is inside. A full barrier lies between the two
 * halves on both sides, so they can't miss each other: once the wait is over, nothing of the device touches memory.
 */
#include "device.h"
#include "worker.h"

/*
 * Elements are published when there are so many, or their chains have so many descriptors: enough for used.idx to travel
 * seldom, and few enough for the driver to have work while the device has, be its chains short or long.
 */
#define PUBLISH_CHAINS 32u
#define PUBLISH_DESCRIPTORS 128u

/* How long a stop waits for bells to be taken. */
#define DRAIN_NS 10000000000ull

void sim_bell_ring(struct aero_sim_device *device, uint32_t bell)
{
    atomic_fetch_add_explicit(&device->rung[bell], 1, memory_order_seq_cst); /* P4 */
    if (device->worker)
        sim_worker_alert(device->worker);
}

void aero_sim_device_wake(struct aero_sim_device *device)
{
    sim_bell_ring(device, device->queue_count);
}

static bool runs(const struct aero_sim_device *device)
{
    return atomic_load_explicit(&device->running, memory_order_seq_cst);
}

/*
 * Waits until the server is outside; what it did inside happens before what follows (Q). That takes as long as the model
 * takes for what it is at: blk's may be waiting for the host's disk.
 */
static void wait_until_out(struct aero_sim_device *device)
{
    for (uint32_t turns = 0; atomic_load_explicit(&device->in_service, memory_order_acquire); turns++) {
        if (turns < 1000)
            sim_os_pause();
        else
            sim_os_yield();
    }
}

void sim_service_halt(struct aero_sim_device *device)
{
    atomic_store_explicit(&device->running, 0, memory_order_seq_cst);
    sim_os_full_barrier(); /* Q */
    wait_until_out(device);
}

void sim_service_abandon(struct aero_sim_device *device)
{
    atomic_store_explicit(&device->abandon, 1, memory_order_relaxed);
    sim_service_halt(device);
    atomic_store_explicit(&device->abandon, 0, memory_order_relaxed);
    device->step_phase = SIM_PHASE_IDLE;
}

void sim_service_update(struct aero_sim_device *device)
{
    bool live = sim_device_status(device) & SIM_STATUS_DRIVER_OK;
    bool absent = atomic_load_explicit(&device->watch, memory_order_relaxed) & SIM_WATCH_ABSENT;
    bool wanted = live && !absent && sim_pci_bus_master(device);

    if (wanted == runs(device))
        return;
    if (!wanted) {
        sim_service_halt(device);
        return;
    }
    /* Running before the bells: a server that takes one of these sees that the device runs. */
    atomic_store_explicit(&device->running, 1, memory_order_seq_cst);
    for (uint32_t bell = 0; bell <= device->queue_count; bell++)
        sim_bell_ring(device, bell);
}

void sim_service_leave(struct aero_sim_device *device)
{
    atomic_store_explicit(&device->in_service, 0, memory_order_release);
}

void sim_service_drain(struct aero_sim_device *device)
{
    uint64_t end = sim_os_now_ns() + DRAIN_NS;

    if (!device->worker)
        return;
    /* Not the event bell: a model's threads may ring it all the time until they are told to stop. */
    for (uint32_t bell = 0; bell < device->queue_count; bell++) {
        while (sim_bell_is_rung(device, bell) && sim_os_now_ns() < end)
            sim_os_yield();
    }
    /* The server is inside and saw that the device runs before it took a bell, so what the last bells asked for is
     * done, or will be before the halt that comes next is over. */
}

/* ---- The steps ---- */

void aero_sim_device_fail(struct aero_sim_device *device)
{
    uint32_t old = atomic_fetch_or_explicit(&device->registers[SIM_REG_DEVICE_STATUS], SIM_STATUS_NEEDS_RESET,
                                            memory_order_seq_cst);

    if (old & SIM_STATUS_DRIVER_OK)
        sim_interrupt_raise(device, SIM_ISR_CONFIG);
}

/* The driver broke the rules of this ring: it is reported, the ring stops, the other queues go on (RNG-8, COM-20). */
static void stop_queue(struct aero_sim_device *device, uint32_t index)
{
    struct sim_ring *ring = &device->queues[index].ring;

    sim_device_breach(device, ring->fault.clause, ring->fault.what, index, ring->fault.index, ring->fault.value,
                      ring->taken);
    aero_sim_device_fail(device);
}

static bool see(struct aero_sim_device *device, uint32_t index)
{
    struct sim_ring *ring = &device->queues[index].ring;
    bool was_broken = ring->broken;

    if (sim_ring_see(ring))
        return true;
    if (ring->broken && !was_broken)
        stop_queue(device, index);
    return false;
}

/* watched is a constant wherever this is expanded: may trace or quirks be on? */
static inline __attribute__((always_inline)) void put(struct aero_sim_device *device, uint32_t index,
                                                      struct sim_row *row, uint32_t length, bool watched)
{
    uint32_t id = row->room->chain.head;

    if (watched && sim_quirk_acts(&device->quirks, SIM_QUIRK_USED_ID_OUT_OF_RANGE))
        id = (uint32_t)sim_quirk_value(&device->quirks, SIM_QUIRK_USED_ID_OUT_OF_RANGE);
    sim_row_put(row, id, length);
    if (watched)
        sim_device_trace(device, SIM_TRACE_PUT, index, 0, id | (uint64_t)length << 32);
}

/* A reset waits, and takes the ring away: what is left of it, even unpublished, is nobody's any more. */
static bool abandoned(const struct aero_sim_device *device)
{
    return atomic_load_explicit(&device->abandon, memory_order_relaxed);
}

static void end_row(struct sim_queue *queue, const struct sim_row *row)
{
    uint32_t taken = queue->ring.taken;

    sim_row_end(row, &queue->ring);
    taken = queue->ring.taken - taken;
    atomic_store_explicit(&queue->chains, atomic_load_explicit(&queue->chains, memory_order_relaxed) + taken,
                          memory_order_relaxed);
}

/* Up to count times of those that wait, and no longer than to a full batch: takes a chain, has it served, writes its
 * element. */
static inline __attribute__((always_inline)) void serve(struct aero_sim_device *device, uint32_t index, uint32_t count,
                                                        bool watched)
{
    struct sim_queue *queue = &device->queues[index];
    uint32_t (*const serve_chain)(void *state, const struct aero_sim_chain *chain) = queue->serve;
    void *const state = device->state;
    struct sim_row row = sim_row_begin(&queue->ring);

    do {
        if (!sim_row_take(&row, &queue->ring)) {
            end_row(queue, &row);
            stop_queue(device, index);
            return;
        }
        if (watched)
            sim_device_trace(device, SIM_TRACE_TAKE, index, 0, row.room->chain.head);
        put(device, index, &row, serve_chain(state, &row.room->chain), watched);
    } while (--count && row.descriptors < PUBLISH_DESCRIPTORS && !abandoned(device));
    end_row(queue, &row);
}

static void publish(struct aero_sim_device *device, uint32_t index)
{
    struct sim_ring *ring = &device->queues[index].ring;

    sim_ring_publish(ring);
    sim_device_trace(device, SIM_TRACE_PUBLISH, index, 0, ring->used_published);
}

static void interrupt(struct aero_sim_device *device, uint32_t index)
{
    uint64_t only = sim_quirk_value(&device->quirks, SIM_QUIRK_LOST_INTX);

    if (!sim_ring_wants_interrupt(&device->queues[index].ring))
        return;
    if ((only == SIM_QUIRK_ANY || only == index) && sim_quirk_acts(&device->quirks, SIM_QUIRK_LOST_INTX))
        return;
    sim_interrupt_raise(device, SIM_ISR_QUEUE);
}

/* ---- A whole queue, for the worker ---- */

static bool enabled(const struct sim_queue *queue)
{
    return atomic_load_explicit(&queue->enabled, memory_order_acquire);
}

static void flush(struct aero_sim_device *device, uint32_t index)
{
    if (!sim_ring_unpublished(&device->queues[index].ring))
        return;
    publish(device, index);
    interrupt(device, index);
}

static void run_event(struct aero_sim_device *device)
{
    if (!device->model->event)
        return;
    device->model->event(device->state);
    for (uint32_t index = 0; index < device->queue_count; index++) {
        if (!device->queues[index].serve && enabled(&device->queues[index]))
            flush(device, index);
    }
}

/* What comes behind the step "serve". */
static enum sim_phase after_serve(const struct sim_ring *ring)
{
    if (sim_ring_waiting(ring) && sim_ring_unpublished(ring) < PUBLISH_CHAINS &&
        ring->unpublished_descriptors < PUBLISH_DESCRIPTORS)
        return SIM_PHASE_SERVE;
    return sim_ring_unpublished(ring) ? SIM_PHASE_PUBLISH : SIM_PHASE_IDLE;
}

/*
 * One step of a queue whose entries were seen, and the phase that comes next. The worker strings these together and a device
 * that is stepped does one a call: the order of things is the same.
 */
static enum sim_phase step_queue(struct aero_sim_device *device, uint32_t index, enum sim_phase phase)
{
    struct sim_ring *ring = &device->queues[index].ring;

    switch (phase) {
    case SIM_PHASE_SERVE:
        serve(device, index, 1, true);
        return after_serve(ring);
    case SIM_PHASE_PUBLISH:
        publish(device, index);
        return SIM_PHASE_INTERRUPT;
    case SIM_PHASE_INTERRUPT:
        interrupt(device, index);
        return sim_ring_waiting(ring) ? SIM_PHASE_SERVE : SIM_PHASE_IDLE;
    case SIM_PHASE_IDLE:
        break;
    }
    return SIM_PHASE_IDLE;
}

/* As many steps "serve" as come in a row, where nobody watches: the same code, and what it would say of itself left out. */
static enum sim_phase serve_row(struct aero_sim_device *device, uint32_t index)
{
    const struct sim_ring *ring = &device->queues[index].ring;
    uint32_t waiting = sim_ring_waiting(ring);
    uint32_t most = PUBLISH_CHAINS - sim_ring_unpublished(ring);

    serve(device, index, waiting < most ? waiting : most, false);
    return after_serve(ring);
}

/*
 * The interrupt that the chains will end in has to take three lines from the driver: used.idx, the ISR byte, and what its
 * machine is told by. Asked for here, they come while the chains are served. Where the driver wants no interrupt it is
 * polling, and would fetch used.idx back before it is written.
 */
static void expect_interrupt(struct aero_sim_device *device, const struct sim_ring *ring)
{
    if (__atomic_load_n(&ring->avail->flags, __ATOMIC_RELAXED) & SIM_AVAIL_F_NO_INTERRUPT)
        return;
    sim_os_prefetch_write(&ring->used->idx);
    sim_os_prefetch_write(&device->interrupts.isr);
    if (device->interrupts.written)
        sim_os_prefetch_write(device->interrupts.written);
}

/* Serves what waits in the queue now; what comes meanwhile rings again. */
static void run_queue(struct aero_sim_device *device, uint32_t index)
{
    struct sim_queue *queue = &device->queues[index];
    enum sim_phase phase = SIM_PHASE_SERVE;

    if (!enabled(queue))
        return;
    if (!queue->serve) {
        run_event(device);
        return;
    }
    if (!see(device, index))
        return;
    expect_interrupt(device, &queue->ring);
    while (phase != SIM_PHASE_IDLE && !abandoned(device)) {
        if (phase == SIM_PHASE_SERVE && !device->trace && !device->quirks.mask)
            phase = serve_row(device, index);
        else
            phase = step_queue(device, index, phase);
    }
}

/* Takes the bell, if it was rung: what stands before the ring is seen by what follows. */
static bool take_bell(struct aero_sim_device *device, uint32_t bell)
{
    uint32_t rung = atomic_load_explicit(&device->rung[bell], memory_order_acquire); /* P4 */

    if (rung == atomic_load_explicit(&device->taken[bell], memory_order_relaxed))
        return false;
    /* Release pairs with sim_service_drain: it sees that the server is inside. */
    atomic_store_explicit(&device->taken[bell], rung, memory_order_release);
    return true;
}

void sim_service_bells(struct aero_sim_device *device)
{
    bool ran;

    atomic_store_explicit(&device->in_service, 1, memory_order_seq_cst);
    sim_os_full_barrier(); /* Q */
    ran = runs(device);
    for (uint32_t bell = 0; bell <= device->queue_count; bell++) {
        if (!take_bell(device, bell))
            continue;
        /* NTF-6. Asked before bells are taken, so that a halt can't drop what sim_service_drain saw taken, and again behind
         * it, so that those of sim_service_update can't be lost. Where it ran at first all bells are served, one that is
         * rung behind a halt's store as well: the halt waits until the server is out. */
        ran = ran || runs(device);
        if (!ran)
            continue;
        if (bell == device->queue_count)
            run_event(device);
        else
            run_queue(device, bell);
    }
    sim_service_leave(device);
}

/* The worker stays inside a polled device from pass to pass, for entering costs a full barrier. */
static bool inside_polled(struct aero_sim_device *device)
{
    if (!runs(device)) {
        sim_service_leave(device);
        return false;
    }
    if (atomic_load_explicit(&device->in_service, memory_order_relaxed))
        return true;
    atomic_store_explicit(&device->in_service, 1, memory_order_seq_cst);
    sim_os_full_barrier(); /* Q */
    return runs(device);
}

bool sim_service_poll(struct aero_sim_device *device)
{
    if (!inside_polled(device))
        return false;
    for (uint32_t index = 0; index < device->queue_count; index++) {
        struct sim_queue *queue = &device->queues[index];

        if (enabled(queue) && (queue->serve || see(device, index)))
            run_queue(device, index);
    }
    return true;
}

/* ---- A step at a time, without a worker ---- */

/* The next bell of a device that steps, or false. */
static bool next_bell(struct aero_sim_device *device, uint32_t *bell_out)
{
    for (uint32_t bell = 0; bell <= device->queue_count; bell++) {
        if (take_bell(device, bell)) {
            *bell_out = bell;
            return true;
        }
    }
    return false;
}

static bool step_bell(struct aero_sim_device *device)
{
    uint32_t bell;

    if (!next_bell(device, &bell))
        return false;
    if (bell == device->queue_count || !device->queues[bell].serve) {
        run_event(device);
    } else if (enabled(&device->queues[bell]) && see(device, bell)) {
        device->step_queue = bell;
        device->step_phase = SIM_PHASE_SERVE;
    }
    return true;
}

bool aero_sim_device_step(struct aero_sim_device *device)
{
    if (!device || device->worker || !runs(device))
        return false;
    if (device->step_phase == SIM_PHASE_IDLE)
        return step_bell(device);
    device->step_phase = step_queue(device, device->step_queue, device->step_phase);
    return true;
}

/* ---- The verbs of a model's event function ---- */

const struct aero_sim_chain *aero_sim_queue_peek(struct aero_sim_device *device, uint16_t index)
{
    struct sim_queue *queue;
    struct sim_row row;

    if (index >= device->queue_count || !enabled(&device->queues[index]) || device->queues[index].serve)
        return NULL;
    queue = &device->queues[index];
    if (queue->ring.held)
        return &queue->ring.room->chain;
    if (!sim_ring_waiting(&queue->ring) && !see(device, index))
        return NULL;
    row = sim_row_begin(&queue->ring);
    if (!sim_row_vet(&row, &queue->ring)) {
        stop_queue(device, index);
        return NULL;
    }
    queue->ring.held = true;
    return &queue->ring.room->chain;
}

void aero_sim_queue_complete(struct aero_sim_device *device, uint16_t index, uint32_t used_length)
{
    struct sim_queue *queue;
    struct sim_row row;

    if (index >= device->queue_count || !enabled(&device->queues[index]) || !device->queues[index].ring.held)
        return;
    queue = &device->queues[index];
    queue->ring.held = false;
    row = sim_row_begin(&queue->ring);
    sim_row_pass(&row);
    sim_device_trace(device, SIM_TRACE_TAKE, index, 0, row.room->chain.head);
    put(device, index, &row, used_length, true);
    end_row(queue, &row);
}
