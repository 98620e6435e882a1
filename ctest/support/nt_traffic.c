/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Random traffic and its judge: see nt_traffic.h. */
#include "nt_traffic.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define ARENA_GPA    UINT64_C(0x2000000000)
#define REGION_BYTES 0x10000u
#define REGIONS      8u
#define CANARY       0xC5
#define PAINT        0x3A
#define GAP_MAX      9u

enum { SLOT_FREE, SLOT_FILLING, SLOT_IN_FLIGHT, SLOT_BACK };

/* ---- Verdict ---- */

void nt_traffic_fail(struct nt_traffic_verdict *verdict, const char *format, ...)
{
    va_list arguments;

    if (atomic_exchange(&verdict->failed, 1) != 0)
        return;
    va_start(arguments, format);
    vsnprintf(verdict->text, sizeof verdict->text, format, arguments);
    va_end(arguments);
}

bool nt_traffic_failed(const struct nt_traffic_verdict *verdict)
{
    return atomic_load_explicit(&verdict->failed, memory_order_relaxed) != 0;
}

/* ---- Memory ---- */

/*
 * Regions that touch as the device sees them lie in the opposite order in the host: no copy may run from one
 * into the next.
 */
static uint8_t *host_of(const struct nt_traffic_arena *arena, uint64_t gpa, uint32_t *left_out)
{
    uint32_t offset = (uint32_t)(gpa - ARENA_GPA);

    *left_out = REGION_BYTES - offset % REGION_BYTES;
    return arena->host + (REGIONS - 1 - offset / REGION_BYTES) * REGION_BYTES + offset % REGION_BYTES;
}

bool nt_traffic_arena_create(struct nt_traffic_arena *arena, struct nt_rig *rig)
{
    uint32_t left;

    arena->taken = 0;
    arena->host = sim_os_memory_map(REGIONS * REGION_BYTES);
    for (uint32_t i = 0; arena->host && i < REGIONS; i++) {
        uint64_t gpa = ARENA_GPA + (uint64_t)i * REGION_BYTES;

        if (aero_sim_memory_map(aero_nt_memory(rig->nt), gpa, REGION_BYTES, host_of(arena, gpa, &left)))
            return false;
    }
    return arena->host != NULL;
}

void nt_traffic_arena_destroy(struct nt_traffic_arena *arena)
{
    sim_os_memory_unmap(arena->host, REGIONS * REGION_BYTES);
    arena->host = NULL;
}

static void copy(struct nt_traffic_arena *arena, uint64_t gpa, uint8_t *bytes, uint32_t length, bool to_guest)
{
    while (length) {
        uint32_t part;
        uint8_t *host = host_of(arena, gpa, &part);

        if (part > length)
            part = length;
        if (to_guest)
            memcpy(host, bytes, part);
        else
            memcpy(bytes, host, part);
        gpa += part;
        bytes += part;
        length -= part;
    }
}

static uint64_t slot_gpa(const struct nt_traffic *traffic, uint32_t slot)
{
    return traffic->first_gpa + (uint64_t)slot * traffic->slot_bytes;
}

/* ---- What a slot's bytes are ---- */

static uint64_t cookie_of(const struct nt_traffic *traffic, const struct nt_traffic_slot *slot)
{
    return (uint64_t)slot->sequence * NT_TRAFFIC_SLOTS_MAX + (uint64_t)(slot - traffic->slots);
}

/* Bytes of the payload, from `at` on: the same for the same seed and cookie. */
static void payload(uint64_t key, uint32_t at, uint8_t *to, uint32_t length)
{
    uint64_t word = 0;

    for (uint32_t i = 0; i < length; i++, at++) {
        if (i == 0 || at % 8 == 0) {
            uint64_t state = key + at / 8;

            word = nt_rig_random(&state);
        }
        to[i] = (uint8_t)(word >> at % 8 * 8);
    }
}

/* The payload laid over some of the slot's segments, in order; `length` bytes of it. */
static void lay(const struct nt_traffic *traffic, const struct nt_traffic_slot *slot, uint8_t *image,
                bool writable, uint32_t length)
{
    uint64_t first = slot_gpa(traffic, (uint32_t)(slot - traffic->slots));
    uint64_t state = traffic->seed ^ cookie_of(traffic, slot) * 0x9E3779B97F4A7C15u;
    uint64_t key = nt_rig_random(&state);
    uint32_t from = writable ? slot->readable_count : 0;
    uint32_t count = writable ? slot->writable_count : slot->readable_count;
    uint32_t at = 0;

    for (uint32_t i = from; i < from + count && at < length; i++) {
        uint32_t part = slot->segments[i].Length < length - at ? slot->segments[i].Length : length - at;

        payload(key, at, image + (slot->segments[i].Address - first), part);
        at += part;
    }
}

/* The slot as it must be with `echoed` bytes of answer. */
static void picture(const struct nt_traffic *traffic, const struct nt_traffic_slot *slot, uint8_t *image,
                    uint32_t echoed)
{
    memset(image, CANARY, traffic->slot_bytes);
    lay(traffic, slot, image, false, slot->readable_bytes);
    lay(traffic, slot, image, true, echoed);
}

/* ---- Hooks: under the queue's lock, on any CPU ---- */

static void slot_check(struct nt_traffic *traffic, struct nt_traffic_queue *queue,
                       struct nt_traffic_slot *slot, ULONG length)
{
    uint32_t echoed =
        slot->readable_bytes < slot->writable_bytes ? slot->readable_bytes : slot->writable_bytes;
    uint32_t number = (uint32_t)(slot - traffic->slots);

    if (length != echoed) {
        nt_traffic_fail(traffic->verdict, "slot %u: used length %u instead of %u", (unsigned)number,
                        (unsigned)length, (unsigned)echoed);
        return;
    }
    picture(traffic, slot, queue->expected, echoed);
    copy(traffic->arena, slot_gpa(traffic, number), queue->found, traffic->slot_bytes, false);
    for (uint32_t i = 0; i < traffic->slot_bytes; i++) {
        if (queue->found[i] != queue->expected[i]) {
            nt_traffic_fail(traffic->verdict, "slot %u, use %u: byte %u is 0x%02X instead of 0x%02X",
                            (unsigned)number, (unsigned)slot->sequence, (unsigned)i, queue->found[i],
                            queue->expected[i]);
            return;
        }
    }
}

/* The reset is confirmed: from here on the device has no business in this slot (quirk 6). */
static void slot_paint(struct nt_traffic *traffic, struct nt_traffic_queue *queue,
                       struct nt_traffic_slot *slot)
{
    memset(queue->found, PAINT, traffic->slot_bytes);
    copy(traffic->arena, slot_gpa(traffic, (uint32_t)(slot - traffic->slots)), queue->found,
         traffic->slot_bytes, true);
    slot->painted = true;
}

static struct nt_traffic_slot *slot_of_cookie(struct nt_traffic *traffic, uint32_t queue, PVOID cookie)
{
    uint64_t value = (uintptr_t)cookie;
    uint32_t number = (uint32_t)(value % NT_TRAFFIC_SLOTS_MAX);

    if (number >= traffic->slot_count || number % traffic->queue_count != queue ||
        traffic->slots[number].sequence != value / NT_TRAFFIC_SLOTS_MAX) {
        nt_traffic_fail(traffic->verdict, "queue %u: cookie 0x%llx was never added there, or long ago",
                        (unsigned)queue, (unsigned long long)value);
        return NULL;
    }
    return &traffic->slots[number];
}

static VOID on_complete(PVOID context, ULONG index, PVOID cookie, ULONG length, NTSTATUS status)
{
    struct nt_traffic *traffic = context;
    struct nt_traffic_queue *queue = &traffic->queues[index];
    struct nt_traffic_slot *slot = slot_of_cookie(traffic, index, cookie);
    uint32_t expected = SLOT_IN_FLIGHT;

    if (slot == NULL)
        return;
    if (!atomic_compare_exchange_strong(&slot->state, &expected, SLOT_BACK)) {
        nt_traffic_fail(traffic->verdict, "queue %u: cookie 0x%llx is back, and was not in flight (%u)",
                        (unsigned)index, (unsigned long long)(uintptr_t)cookie, (unsigned)expected);
        return;
    }
    if (status == STATUS_SUCCESS) {
        slot_check(traffic, queue, slot, length);
        queue->completed++;
    } else {
        slot_paint(traffic, queue, slot);
        queue->cancelled++;
    }
    queue->in_flight--;
    queue->descriptors -= slot->descriptors;
    atomic_store_explicit(&slot->state, SLOT_FREE, memory_order_release);
}

static VOID on_added(PVOID context, ULONG index, PVOID cookie)
{
    struct nt_traffic *traffic = context;
    struct nt_traffic_slot *slot = slot_of_cookie(traffic, index, cookie);

    if (slot == NULL)
        return;
    traffic->queues[index].in_flight++;
    traffic->queues[index].descriptors += slot->descriptors;
}

/* Conservation: descriptors are free or in flight, chains are added or back. */
static VOID on_settled(PVOID context, ULONG index, const AERO_VIRTIO_SPLIT_RING *ring)
{
    struct nt_traffic *traffic = context;
    const struct nt_traffic_queue *queue = &traffic->queues[index];

    if (AeroVirtioSplitRingFreeCount(ring) + queue->descriptors != ring->QueueSize)
        nt_traffic_fail(traffic->verdict, "queue %u: %u descriptors free and %u in flight, of %u",
                        (unsigned)index, (unsigned)AeroVirtioSplitRingFreeCount(ring),
                        (unsigned)queue->descriptors, (unsigned)ring->QueueSize);
    if (AeroVirtioSplitRingInFlightCount(ring) != queue->in_flight)
        nt_traffic_fail(traffic->verdict, "queue %u: the ring says %u in flight instead of %u",
                        (unsigned)index, (unsigned)AeroVirtioSplitRingInFlightCount(ring),
                        (unsigned)queue->in_flight);
    if (AeroVirtioSplitRingIsPoisoned(ring))
        nt_traffic_fail(traffic->verdict, "queue %u: poisoned, reason %d, value 0x%x", (unsigned)index,
                        (int)ring->PoisonReason, (unsigned)ring->PoisonValue);
}

/* ---- Submission ---- */

NTSTATUS nt_traffic_start(struct nt_traffic *traffic, const NT_DRIVER_RESOURCES *resources,
                          const struct nt_traffic_options *options, struct nt_traffic_arena *arena,
                          struct nt_traffic_verdict *verdict, uint64_t seed)
{
    uint32_t room = (REGIONS * REGION_BYTES - arena->taken) / options->slot_bytes;
    NT_DRIVER_CONFIG config;

    memset(traffic, 0, sizeof *traffic);
    traffic->verdict = verdict;
    traffic->arena = arena;
    traffic->seed = seed;
    traffic->first_gpa = ARENA_GPA + arena->taken;
    traffic->slot_bytes = options->slot_bytes;
    traffic->slot_count = options->slots < room ? options->slots : room;
    if (traffic->slot_count > NT_TRAFFIC_SLOTS_MAX)
        traffic->slot_count = NT_TRAFFIC_SLOTS_MAX;
    arena->taken += traffic->slot_count * traffic->slot_bytes;
    traffic->segments_max = options->segments_max;
    traffic->queue_count = options->queue_count;
    traffic->indirect = options->indirect;
    memset(&config, 0, sizeof config);
    config.QueueCount = options->queue_count;
    config.IndirectEntries = options->indirect;
    config.ReapOneByOne = options->one_by_one;
    config.Complete = on_complete;
    config.Added = on_added;
    config.Settled = on_settled;
    config.Context = traffic;
    return NtDriverStart(&traffic->driver, resources, &config);
}

/* A free slot of the queue's, or NULL. They come back on any CPU, and are taken by one thread. */
static struct nt_traffic_slot *slot_take(struct nt_traffic *traffic, uint32_t queue)
{
    uint32_t per_queue = (traffic->slot_count - queue + traffic->queue_count - 1) / traffic->queue_count;

    for (uint32_t tries = 0; tries < per_queue; tries++) {
        uint32_t number = traffic->next_slot[queue]++ % per_queue * traffic->queue_count + queue;
        struct nt_traffic_slot *slot = &traffic->slots[number];

        if (atomic_load_explicit(&slot->state, memory_order_acquire) == SLOT_FREE) {
            atomic_store_explicit(&slot->state, SLOT_FILLING, memory_order_relaxed);
            slot->sequence++;
            return slot;
        }
    }
    return NULL;
}

/* By the submitter, before the slot's next use; and at the end. */
static void slot_check_paint(struct nt_traffic *traffic, struct nt_traffic_slot *slot)
{
    uint32_t number = (uint32_t)(slot - traffic->slots);

    if (!slot->painted)
        return;
    slot->painted = false;
    copy(traffic->arena, slot_gpa(traffic, number), traffic->image, traffic->slot_bytes, false);
    for (uint32_t i = 0; i < traffic->slot_bytes; i++) {
        if (traffic->image[i] != PAINT) {
            nt_traffic_fail(traffic->verdict, "slot %u: byte %u was written after the reset was confirmed",
                            (unsigned)number, (unsigned)i);
            return;
        }
    }
}

/*
 * Random segments one behind the other, gaps between them, some empty, not all; the rest of the slot stays
 * unused.
 */
static void slot_cut(struct nt_traffic *traffic, struct nt_traffic_slot *slot, uint32_t segments,
                     uint64_t *random)
{
    uint64_t at = slot_gpa(traffic, (uint32_t)(slot - traffic->slots));
    uint32_t share = traffic->slot_bytes / segments;
    uint32_t count = 0;

    slot->readable_count = (uint16_t)nt_rig_below(random, segments + 1);
    slot->writable_count = (uint16_t)(segments - slot->readable_count);
    slot->readable_bytes = slot->writable_bytes = 0;
    for (uint32_t i = 0; i < segments; i++) {
        uint32_t gap = share > 2 * GAP_MAX ? nt_rig_below(random, GAP_MAX + 1) : 0;
        uint32_t length = 1 + nt_rig_below(random, share - gap);

        if (nt_rig_below(random, 16) == 0 && (count != 0 || i + 1 < segments))
            length = 0;
        slot->segments[i] = (AERO_VIRTIO_SEGMENT){at + gap, length, 0};
        at += share;
        count += length != 0;
        if (i < slot->readable_count)
            slot->readable_bytes += length;
        else
            slot->writable_bytes += length;
    }
    slot->descriptors = count >= 2 && count <= traffic->indirect ? 1 : count;
}

NTSTATUS nt_traffic_add(struct nt_traffic *traffic, uint32_t queue, uint64_t *random)
{
    uint32_t size = traffic->driver.Queues[queue].Size;
    uint32_t most = traffic->segments_max < size ? traffic->segments_max : size;
    struct nt_traffic_slot *slot = slot_take(traffic, queue);
    NTSTATUS status;

    if (slot == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    slot_check_paint(traffic, slot);
    slot_cut(traffic, slot, 1 + nt_rig_below(random, most), random);
    picture(traffic, slot, traffic->image, 0);
    copy(traffic->arena, slot_gpa(traffic, (uint32_t)(slot - traffic->slots)), traffic->image,
         traffic->slot_bytes, true);
    atomic_store_explicit(&slot->state, SLOT_IN_FLIGHT, memory_order_release);
    status = NtDriverAdd(&traffic->driver, queue, slot->segments, slot->readable_count, slot->writable_count,
                         (PVOID)(uintptr_t)cookie_of(traffic, slot));
    if (status != STATUS_SUCCESS)
        atomic_store_explicit(&slot->state, SLOT_FREE, memory_order_relaxed);
    if (!NT_SUCCESS(status) && status != STATUS_INSUFFICIENT_RESOURCES && status != STATUS_DEVICE_NOT_READY)
        nt_traffic_fail(traffic->verdict, "queue %u: Add says 0x%08X", (unsigned)queue, (unsigned)status);
    return status;
}

/* ---- The end ---- */

void nt_traffic_judge(struct nt_traffic *traffic)
{
    for (uint32_t i = 0; i < traffic->slot_count; i++) {
        if (atomic_load(&traffic->slots[i].state) != SLOT_FREE)
            nt_traffic_fail(traffic->verdict, "slot %u is still in flight", (unsigned)i);
        slot_check_paint(traffic, &traffic->slots[i]);
    }
    for (uint32_t i = 0; i < traffic->queue_count; i++) {
        const NT_DRIVER_QUEUE *queue = &traffic->driver.Queues[i];
        const struct nt_traffic_queue *counted = &traffic->queues[i];
        const uint8_t *shared = queue->Shared;
        USHORT avail =
            AERO_VIRTIO_SHARED_READ16((const USHORT *)(const void *)(shared + queue->Layout.AvailOffset) + 1);
        USHORT used =
            AERO_VIRTIO_SHARED_READ16((const USHORT *)(const void *)(shared + queue->Layout.UsedOffset) + 1);

        if (queue->Added != counted->completed + counted->cancelled ||
            queue->Completed != counted->completed || queue->TakenBack != counted->cancelled)
            nt_traffic_fail(traffic->verdict, "queue %u: %llu added, %llu completed, %llu taken back",
                            (unsigned)i, queue->Added, queue->Completed, queue->TakenBack);
        if (used != (USHORT)queue->CompletedHere || avail != used)
            nt_traffic_fail(traffic->verdict, "queue %u: avail.idx %u, used.idx %u, completed %llu",
                            (unsigned)i, avail, used, queue->CompletedHere);
    }
}
