/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The ring rows: throughput, by polling on both sides or with doorbells and interrupts. Every ring is
 * kept full of readable buffers, as Linux's ringtest keeps its own: what comes back is made available
 * again at once. A sample is the time of the next batch completions, from one stamp to the next; stamps
 * follow each other without a gap, so samples add up to the whole time.
 */
#include "fleet.h"
#include "sink.h"
#include "waiter.h"

#include <stdlib.h>
#include <string.h>

#define OUTSTANDING_MAX 256u /* chains a ring */
#define REAPED_AT_ONCE  32u  /* or what is published at once, if that's more */
#define REAPED_MAX      128u
#define LINE_BYTES      64u /* a buffer has cache lines of its own */

/*
 * Long chains are published before there are 32 of them, for the ring holds few: both sides should have
 * work.
 */
#define PUBLISHED_DESCRIPTORS 128u

/* How often a driver looks, some 40 ns each, before it asks for an interrupt and sleeps. */
#define LOOKS_BEFORE_WAIT 64u

/* A ring that is kept full. */
struct lane {
    AERO_VIRTIO_SPLIT_RING *ring;
    REFERENCE_QUEUE *queue; /* whose ring it is: for its doorbell */
    uint32_t unpublished;
    uint64_t gpa;  /* of its buffers */
    uint32_t next; /* fresh: the buffer that moves next goes there, counted in buffers */
};

struct traffic {
    struct bench_run *run;
    const struct bench_parameters *with;
    uint32_t queues, devices, segments_a_chain;
    uint32_t chains;         /* a lane */
    uint32_t buffer_bytes;   /* from one buffer to the next */
    uint32_t places;         /* for buffers, a lane: as many as there are, or one more (fresh) */
    uint32_t publish;        /* chains that are published at once, up to */
    uint32_t reaped_at_once; /* up to */
    struct fleet fleet;
    struct waiter waiter; /* with kick: for the interrupts of the only device */
    struct lane *lanes;
    uint32_t lane_count, turn; /* turn: the lane that comes next */
    /* Chain by chain, lane by lane; a chain's first is its cookie. */
    AERO_VIRTIO_SEGMENT *segments;
};

/* ---- The scene ---- */

static uint32_t or_one(uint32_t number)
{
    return number != 0 ? number : 1;
}

static uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static void plan(struct traffic *traffic, struct bench_run *run)
{
    const struct bench_parameters *with = &run->row->with;

    memset(traffic, 0, sizeof *traffic);
    traffic->run = run;
    traffic->with = with;
    traffic->queues = or_one(with->queues);
    traffic->devices = or_one(with->devices);
    traffic->segments_a_chain = or_one(with->chain);
    traffic->chains = smaller(with->queue_size, OUTSTANDING_MAX);
    if (!with->indirect)
        traffic->chains /= traffic->segments_a_chain; /* as many as there are descriptors for */
    traffic->buffer_bytes = (with->bytes + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
    traffic->places = traffic->chains * traffic->segments_a_chain + with->fresh;
    traffic->publish = smaller(with->publish, or_one(PUBLISHED_DESCRIPTORS / traffic->segments_a_chain));
    traffic->reaped_at_once = with->publish > REAPED_AT_ONCE ? with->publish : REAPED_AT_ONCE;
    traffic->lane_count = traffic->devices * traffic->queues;
}

static bool open_fleet(struct traffic *traffic)
{
    const struct bench_parameters *with = traffic->with;
    struct rig_options options = {.model = "loopback",
                                  .poll = !with->kick,
                                  .spin_ns = RIG_SPIN,
                                  .queue_size = with->queue_size,
                                  .queue_count = (uint16_t)traffic->queues,
                                  .indirect = with->indirect ? with->chain : 0};

    if (with->copy)
        options.own_model = &sink_copy_model;
    if (traffic->queues > 1)
        options.own_model = &sink_model;
    return fleet_open(&traffic->fleet, traffic->run, &options, traffic->devices,
                      traffic->queues * traffic->places * traffic->buffer_bytes);
}

static void publish(const struct traffic *traffic, struct lane *lane)
{
    AeroVirtioSplitRingPublish(lane->ring);
    lane->unpublished = 0;
    if (traffic->with->kick)
        (void)AeroVirtioNotifyQueue(&lane->queue->Device->Transport, lane->queue->Index,
                                    lane->queue->NotifyOff);
}

/* Puts all chains of the lane on its ring, unpublished. segments: the lane's. */
static NTSTATUS fill(const struct traffic *traffic, struct lane *lane, AERO_VIRTIO_SEGMENT *segments)
{
    NTSTATUS status = STATUS_SUCCESS;
    uint32_t i;

    for (i = 0; i < traffic->chains * traffic->segments_a_chain; i++) {
        segments[i].Address = lane->gpa + (uint64_t)i * traffic->buffer_bytes;
        segments[i].Length = traffic->with->bytes;
    }
    lane->next = i;
    for (i = 0; i < traffic->chains && NT_SUCCESS(status); i++) {
        status = AeroVirtioSplitRingAdd(lane->ring, segments, (USHORT)traffic->segments_a_chain, 0, segments);
        segments += traffic->segments_a_chain;
    }
    return status;
}

static bool make_lanes(struct traffic *traffic)
{
    uint32_t segments = traffic->chains * traffic->segments_a_chain, i;
    NTSTATUS status = STATUS_SUCCESS;

    traffic->lanes = calloc(traffic->lane_count, sizeof *traffic->lanes);
    traffic->segments = calloc((size_t)traffic->lane_count * segments, sizeof *traffic->segments);
    if (traffic->lanes == NULL || traffic->segments == NULL)
        return bench_fail(traffic->run, "no memory");
    for (i = 0; i < traffic->lane_count && NT_SUCCESS(status); i++) {
        struct rig *rig = &traffic->fleet.rigs[i / traffic->queues];
        uint32_t queue = i % traffic->queues;

        traffic->lanes[i].queue = &rig->driver.Queues[queue];
        traffic->lanes[i].ring = &traffic->lanes[i].queue->Ring;
        traffic->lanes[i].gpa = rig->memory_gpa + (uint64_t)queue * traffic->places * traffic->buffer_bytes;
        status = fill(traffic, &traffic->lanes[i], &traffic->segments[(size_t)i * segments]);
        AeroVirtioSplitRingSuppressInterrupts(traffic->lanes[i].ring);
    }
    if (!NT_SUCCESS(status))
        return rig_fail(traffic->fleet.rigs, "AeroVirtioSplitRingAdd", status);
    if (traffic->with->kick && !waiter_connect(&traffic->waiter, traffic->fleet.rigs))
        return false;
    for (i = 0; i < traffic->lane_count; i++)
        publish(traffic, &traffic->lanes[i]);
    return true;
}

/* ---- The rings ---- */

/*
 * Sleeps until there may be something to reap: asks for an interrupt, looks once more, waits for it
 * (INT-5, quirk 10).
 */
static NTSTATUS await_interrupt(struct traffic *traffic, AERO_VIRTIO_SPLIT_RING *ring)
{
    NTSTATUS status = STATUS_SUCCESS;

    if (!AeroVirtioSplitRingRearmInterrupts(ring))
        status = waiter_wait(&traffic->waiter);
    AeroVirtioSplitRingSuppressInterrupts(ring);
    return status;
}

/* Reaps up to max completions, once there are any. 0: status_out says why there never were. */
static uint32_t reap_some(struct traffic *traffic, AERO_VIRTIO_SPLIT_RING *ring,
                          AERO_VIRTIO_COMPLETION *completions, uint32_t max, NTSTATUS *status_out)
{
    struct rig_patience patience = {0, 0};
    uint32_t count;

    while ((count = AeroVirtioSplitRingReapMany(ring, completions, max, status_out)) == 0) {
        if (*status_out != STATUS_NO_MORE_ENTRIES)
            return 0;
        *status_out = rig_patient(&patience) ? STATUS_SUCCESS : STATUS_IO_TIMEOUT;
        if (traffic->with->kick && *status_out == STATUS_SUCCESS && patience.looks % LOOKS_BEFORE_WAIT == 0)
            *status_out = await_interrupt(traffic, ring);
        if (*status_out != STATUS_SUCCESS)
            return 0;
    }
    return count;
}

/*
 * Moves a buffer that is back to where none is: with one place more than buffers, to another in each lap.
 */
static void move(const struct traffic *traffic, struct lane *lane, AERO_VIRTIO_SEGMENT *segment)
{
    segment->Address = lane->gpa + (uint64_t)lane->next * traffic->buffer_bytes;
    lane->next = lane->next + 1 < traffic->places ? lane->next + 1 : 0;
}

/*
 * Has up to max chains of a lane completed and replaced by new ones; 0: status_out says why there are
 * none.
 */
static uint32_t visit(struct traffic *traffic, struct lane *lane, uint32_t max, NTSTATUS *status_out)
{
    AERO_VIRTIO_COMPLETION completions[REAPED_MAX];
    uint32_t count = reap_some(traffic, lane->ring, completions, max, status_out), i;

    for (i = 0; i < count; i++) {
        if (traffic->with->fresh)
            move(traffic, lane, completions[i].Cookie);
        *status_out = AeroVirtioSplitRingAdd(lane->ring, completions[i].Cookie,
                                             (USHORT)traffic->segments_a_chain, 0, completions[i].Cookie);
        if (!NT_SUCCESS(*status_out))
            return 0;
        if (++lane->unpublished == traffic->publish)
            publish(traffic, lane);
    }
    if (lane->unpublished > 0 && !traffic->with->exactly)
        publish(traffic, lane);
    return count;
}

/* Wanted more chains, of the lanes in turn. */
static NTSTATUS turn_over(struct traffic *traffic, uint32_t wanted)
{
    NTSTATUS status = STATUS_SUCCESS;
    uint32_t count;

    while (wanted > 0) {
        count =
            visit(traffic, &traffic->lanes[traffic->turn], smaller(wanted, traffic->reaped_at_once), &status);
        if (count == 0)
            return status;
        if (++traffic->turn == traffic->lane_count)
            traffic->turn = 0;
        wanted -= count;
    }
    return STATUS_SUCCESS;
}

/* Nothing is added any more: all that is in flight must come back. */
static NTSTATUS drain(struct traffic *traffic)
{
    AERO_VIRTIO_COMPLETION completions[REAPED_AT_ONCE];
    NTSTATUS status = STATUS_SUCCESS;
    uint32_t i;

    for (i = 0; i < traffic->lane_count; i++) {
        publish(traffic, &traffic->lanes[i]);
        while (AeroVirtioSplitRingInFlightCount(traffic->lanes[i].ring) > 0) {
            if (reap_some(traffic, traffic->lanes[i].ring, completions, REAPED_AT_ONCE, &status) == 0)
                return status;
        }
    }
    return STATUS_SUCCESS;
}

/* Does the device really copy? One more chain with a new payload, and it should have that. */
static bool check_copy(struct traffic *traffic)
{
    struct rig *rig = &traffic->fleet.rigs[0];
    uint64_t state = ~traffic->run->session->options.seed;
    AERO_VIRTIO_COMPLETION completion;
    const uint8_t *copied;
    NTSTATUS status;
    size_t length, i;

    for (i = 0; i < traffic->with->bytes; i++)
        rig->memory[i] = (UCHAR)bench_random(&state);
    status = AeroVirtioSplitRingAdd(traffic->lanes[0].ring, traffic->segments, 1, 0, traffic->segments);
    publish(traffic, &traffic->lanes[0]);
    if (!NT_SUCCESS(status) || reap_some(traffic, traffic->lanes[0].ring, &completion, 1, &status) == 0)
        return rig_fail(rig, "checking the copy", status);
    copied = sink_copied(&length);
    return (length == traffic->with->bytes && memcmp(copied, rig->memory, length) == 0) ||
           bench_fail(traffic->run, "what the device has copied isn't what the buffer holds");
}

static bool measure(struct traffic *traffic)
{
    struct bench_run *run = traffic->run;
    NTSTATUS status = STATUS_SUCCESS;

    bench_begin(run, traffic->fleet.rigs[0].device);
    while (NT_SUCCESS(status) && bench_more(run)) {
        uint64_t start = run->last;

        status = turn_over(traffic, run->batch);
        bench_sample(run, start, clock_now());
    }
    if (NT_SUCCESS(status))
        status = drain(traffic);
    if (!NT_SUCCESS(status))
        return rig_fail(traffic->fleet.rigs, "waiting for completions", status);
    return !traffic->with->copy || check_copy(traffic);
}

bool ring(struct bench_run *run)
{
    struct traffic traffic;
    bool ok;

    plan(&traffic, run);
    ok = open_fleet(&traffic) && make_lanes(&traffic) && measure(&traffic);
    waiter_disconnect(&traffic.waiter);
    ok = fleet_close(&traffic.fleet, ok);
    free(traffic.lanes);
    free(traffic.segments);
    return ok;
}
