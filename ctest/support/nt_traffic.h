/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Random traffic over an NT_DRIVER on an echoing device, and its judge. Every chain has a slot of guest
 * memory, filled with bytes that follow from the seed and its cookie; when the cookie is back each byte of
 * the slot is compared with what it must be, the gaps between segments included. A slot taken back after a
 * reset is painted, and must stay so until its next use. The memory consists of regions that touch and whose
 * host memory does not, so that slots cross borders of pages and regions.
 *
 * Whatever is wrong is latched in the verdict, on any thread, and for the test's thread to assert: the first
 * finding counts.
 */
#ifndef NT_TRAFFIC_H
#define NT_TRAFFIC_H

#include "nt_rig.h"

#define NT_TRAFFIC_SLOT_BYTES_MAX 6000u
#define NT_TRAFFIC_SLOTS_MAX      1024u /* a device */
#define NT_TRAFFIC_SEGMENTS_MAX   16u

struct nt_traffic_verdict {
    _Atomic uint32_t failed;
    char text[200];
};

void nt_traffic_fail(struct nt_traffic_verdict *verdict, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
bool nt_traffic_failed(const struct nt_traffic_verdict *verdict);

/*
 * The slots' memory, shared by the devices of a rig. Made before the rig is powered on, freed after it is
 * destroyed.
 */
struct nt_traffic_arena {
    uint8_t *host;
    uint32_t taken; /* bytes */
};

bool nt_traffic_arena_create(struct nt_traffic_arena *arena, struct nt_rig *rig);
void nt_traffic_arena_destroy(struct nt_traffic_arena *arena);

struct nt_traffic_slot {
    _Atomic uint32_t state;
    uint32_t sequence; /* of its uses: part of the cookie */
    uint32_t readable_bytes;
    uint32_t writable_bytes;
    uint16_t readable_count;
    uint16_t writable_count;
    uint32_t descriptors; /* that the chain takes of the ring */
    bool painted;         /* it came back by TakeBack, and nobody may have written to it since */
    AERO_VIRTIO_SEGMENT segments[NT_TRAFFIC_SEGMENTS_MAX];
};

/* Under the queue's lock. */
struct nt_traffic_queue {
    uint32_t in_flight;
    uint32_t descriptors; /* in flight */
    uint64_t completed;
    uint64_t cancelled;
    uint8_t expected[NT_TRAFFIC_SLOT_BYTES_MAX]; /* the judge's, here and not on a stack at DISPATCH_LEVEL */
    uint8_t found[NT_TRAFFIC_SLOT_BYTES_MAX];
};

struct nt_traffic {
    NT_DRIVER driver;
    struct nt_traffic_verdict *verdict;
    struct nt_traffic_arena *arena;
    uint64_t seed;
    uint64_t first_gpa; /* of slot 0 */
    uint32_t slot_bytes;
    uint32_t slot_count; /* queue q uses those whose number is q modulo the count of queues */
    uint32_t segments_max;
    uint32_t queue_count;
    uint16_t indirect;
    struct nt_traffic_queue queues[NT_DRIVER_QUEUES_MAX];
    uint32_t next_slot[NT_DRIVER_QUEUES_MAX]; /* the submitter's, as the next */
    uint8_t image[NT_TRAFFIC_SLOT_BYTES_MAX];
    struct nt_traffic_slot slots[NT_TRAFFIC_SLOTS_MAX];
};

struct nt_traffic_options {
    uint32_t queue_count;
    uint16_t indirect;
    uint32_t slot_bytes;   /* 16 to NT_TRAFFIC_SLOT_BYTES_MAX */
    uint32_t slots;        /* wanted; fewer where the arena has less room */
    uint32_t segments_max; /* a chain; 1 to NT_TRAFFIC_SEGMENTS_MAX */
    bool one_by_one;       /* Reap instead of ReapMany */
};

/*
 * Takes its part of the arena and starts the driver with hooks of its own. seed differs from device to
 * device.
 */
NTSTATUS nt_traffic_start(struct nt_traffic *traffic, const NT_DRIVER_RESOURCES *resources,
                          const struct nt_traffic_options *options, struct nt_traffic_arena *arena,
                          struct nt_traffic_verdict *verdict, uint64_t seed);

/*
 * Adds one random chain to the queue; nothing is published. One thread at a time. STATUS_SUCCESS;
 * INSUFFICIENT_RESOURCES: the ring is full, or all slots are in use; DEVICE_NOT_READY: a reset is under way.
 */
NTSTATUS nt_traffic_add(struct nt_traffic *traffic, uint32_t queue, uint64_t *random);

/* At the end, with nothing in flight: sums, used.idx and avail.idx, and that all slots are free. */
void nt_traffic_judge(struct nt_traffic *traffic);

#endif
