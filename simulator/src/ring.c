/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Set-up and vetting of the device's side of a split ring. Every address, index and length that the driver gives is read
 * once, checked, and then used from the copy; what breaks a rule stops this ring and harms nothing else (RNG-8). Runs on
 * whoever serves the device; sim_ring_set_up on the thread that writes queue_enable.
 */
#include "ring.h"

#include <stdlib.h>
#include <string.h>

#define CHAIN_BYTES_MAX (1ull << 32) /* virtio 1.2, 2.7.5.2 */

/* Twice the queue: room for buffers that cross from one region to the next, and are split there. */
static uint32_t segments_max(uint32_t size)
{
    return 2 * size + AERO_SIM_REGIONS_MAX;
}

struct sim_room *sim_room_create(uint32_t size)
{
    struct sim_room *room = calloc(1, sizeof *room + segments_max(size) * sizeof room->segments[0]);

    if (room)
        room->chain.segments = room->segments;
    return room;
}

void sim_room_destroy(struct sim_room *room)
{
    free(room);
}

static __attribute__((cold, noinline)) bool fault(struct sim_ring *ring, const char *clause, const char *what,
                                                  uint32_t index, uint64_t value)
{
    ring->fault = (struct sim_ring_fault){.clause = clause, .what = what, .index = index, .value = value};
    ring->broken = true;
    return false;
}

bool sim_ring_set_up(struct sim_ring *ring, const struct aero_sim_memory *memory, uint16_t size, uint64_t desc,
                     uint64_t avail, uint64_t used, bool indirect)
{
    struct sim_room *room = ring->room;

    memset(ring, 0, sizeof *ring);
    ring->room = room;
    ring->memory = memory;
    ring->mask = (uint16_t)(size - 1);
    ring->indirect = indirect;
    if (desc % 16)
        return fault(ring, "RNG-3", "queue_desc is not a multiple of 16", 0, desc);
    if (avail % 2)
        return fault(ring, "RNG-3", "queue_avail is not a multiple of 2", 0, avail);
    if (used % 4)
        return fault(ring, "RNG-3", "queue_used is not a multiple of 4", 0, used);
    ring->desc = aero_sim_memory_at(memory, desc, 16ull * size);
    if (!ring->desc)
        return fault(ring, "DMA-2", "the descriptor table does not lie in one region of guest memory", 0, desc);
    ring->avail = aero_sim_memory_at(memory, avail, 4 + 2ull * size);
    if (!ring->avail)
        return fault(ring, "DMA-2", "the available ring does not lie in one region of guest memory", 0, avail);
    ring->used = aero_sim_memory_at(memory, used, 4 + 8ull * size);
    if (!ring->used)
        return fault(ring, "DMA-2", "the used ring does not lie in one region of guest memory", 0, used);
    ring->region = sim_memory_find(memory, desc);
    return true;
}

bool sim_ring_see(struct sim_ring *ring)
{
    uint16_t waiting;

    if (ring->broken)
        return false;
    ring->avail_seen = __atomic_load_n(&ring->avail->idx, __ATOMIC_ACQUIRE); /* P1 */
    waiting = (uint16_t)(ring->avail_seen - ring->avail_next);
    if (waiting > ring->mask + 1u)
        return fault(ring, "RNG-8", "avail.idx moved by more entries than the queue has", 0, ring->avail_seen);
    return waiting != 0;
}

/* A chain as it grows: segments in the ring's room, and what is known of them so far. */
struct growth {
    struct aero_sim_segment *next, *end; /* in the room */
    uint64_t bytes;
    uint32_t descriptors;
    bool writing; /* the last descriptor was writable, be it empty: only such may follow (RNG-8) */
    struct aero_sim_segment *writable; /* the first writable segment, */
    uint64_t readable_bytes;           /* and what lies before it: both known once writing */
};

/* The room may be larger than what this queue's chains are allowed: others share it. */
static inline struct growth begin_chain(const struct sim_ring *ring)
{
    struct aero_sim_segment *segments = ring->room->segments;

    return (struct growth){.next = segments, .end = segments + segments_max(ring->mask + 1u)};
}

static inline bool end_chain(const struct growth *growth, struct sim_room *room)
{
    struct aero_sim_segment *writable = growth->writing ? growth->writable : growth->next;
    uint64_t readable_bytes = growth->writing ? growth->readable_bytes : growth->bytes;

    room->chain.descriptors = growth->descriptors;
    room->chain.readable_count = (uint32_t)(writable - room->segments);
    room->chain.readable_bytes = readable_bytes;
    room->chain.writable_count = (uint32_t)(growth->next - writable);
    room->chain.writable_bytes = growth->bytes - readable_bytes;
    return true;
}

/*
 * A buffer that isn't simply where the last one was: it may be empty, out of memory, or lie in several regions, with a
 * segment for each (DMA-2, DMA-3, DMA-4). The chain's bytes count it already.
 */
static __attribute__((noinline)) bool add_odd_buffer(struct sim_ring *ring, struct growth *growth, struct sim_desc desc,
                                                     uint16_t index)
{
    uint64_t addr = desc.addr;
    uint32_t left = desc.len;

    if (left && addr + (left - 1) < addr)
        return fault(ring, "DMA-2", "a buffer's address and length run over 2^64", index, addr);
    if (growth->bytes > CHAIN_BYTES_MAX)
        return fault(ring, "RNG-8", "a chain's buffers hold more than 2^32 bytes (virtio 1.2, 2.7.5.2)", index, left);
    while (left) {
        const struct sim_region *region = sim_memory_find(ring->memory, addr);
        uint32_t part;

        if (!region)
            return fault(ring, "DMA-2", "a buffer lies outside guest memory", index, addr);
        if (growth->next == growth->end)
            return fault(ring, "DMA-2", "the chain's buffers cross too many borders between memory regions", index,
                         (uint64_t)(growth->end - ring->room->segments));
        ring->region = region;
        part = region->size - (addr - region->gpa) < left ? (uint32_t)(region->size - (addr - region->gpa)) : left;
        *growth->next++ = (struct aero_sim_segment){.data = region->host + (addr - region->gpa), .length = part};
        addr += part;
        left -= part;
    }
    return true;
}

/* Adds the buffer of one descriptor. */
static inline __attribute__((always_inline)) bool add_buffer(struct sim_ring *ring, struct growth *growth,
                                                             struct sim_desc desc, uint16_t index)
{
    const struct sim_region *region = ring->region;
    bool writable = desc.flags & SIM_DESC_F_WRITE;

    if (writable != growth->writing) {
        if (!writable)
            return fault(ring, "RNG-8", "a readable descriptor stands behind a writable one", index, desc.addr);
        growth->writing = true;
        growth->writable = growth->next;
        growth->readable_bytes = growth->bytes;
    }
    growth->bytes += desc.len;
    if (SIM_UNLIKELY(!desc.len) || SIM_UNLIKELY(!sim_region_holds(region, desc.addr, desc.len)) ||
        SIM_UNLIKELY(growth->next == growth->end) || SIM_UNLIKELY(growth->bytes > CHAIN_BYTES_MAX)) {
        /* A copy goes there, so that the chain's own can stay in registers. */
        struct growth odd = *growth;
        bool ok = add_odd_buffer(ring, &odd, desc, index);

        *growth = odd;
        return ok;
    }
    *growth->next++ =
        (struct aero_sim_segment){.data = region->host + (desc.addr - region->gpa), .length = desc.len};
    return true;
}

/* ---- Indirect tables (RNG-6, RNG-7) ---- */

/*
 * Where the table lies in the host's memory, or NULL where it isn't all in one region and each descriptor has to be looked
 * up.
 */
static const uint8_t *find_table(const struct sim_ring *ring, const struct sim_desc *outer)
{
    if (sim_region_holds(ring->region, outer->addr, outer->len))
        return ring->region->host + (outer->addr - ring->region->gpa);
    return aero_sim_memory_at(ring->memory, outer->addr, outer->len);
}

/* Like sim_desc_read: each field is read once. A table may be aligned to nothing. */
static bool read_entry(const struct sim_ring *ring, const struct sim_desc *outer, const uint8_t *table, uint32_t index,
                       struct sim_desc *desc_out)
{
    if (table && (uintptr_t)table % _Alignof(struct sim_desc) == 0) {
        *desc_out = sim_desc_read((const struct sim_desc *)(const void *)table + index);
        return true;
    }
    if (table)
        memcpy(desc_out, table + 16 * (size_t)index, sizeof *desc_out);
    else if (!sim_memory_copy_from(ring->memory, outer->addr + 16ull * index, desc_out, sizeof *desc_out))
        return false;
    __asm__ volatile("" : "+m"(*desc_out)); /* the copy is what counts: the compiler must not look again */
    return true;
}

static bool vet_table(struct sim_ring *ring, const struct sim_desc *outer, uint16_t outer_index)
{
    if (!ring->indirect)
        return fault(ring, "RNG-7", "INDIRECT is set, and was not negotiated", outer_index, outer->addr);
    if (outer->flags & SIM_DESC_F_NEXT)
        return fault(ring, "RNG-7", "INDIRECT is combined with NEXT", outer_index, outer->addr);
    if (!outer->len || outer->len % 16)
        return fault(ring, "RNG-6", "an indirect table's length is no multiple of 16, or is 0", outer_index, outer->len);
    if (outer->addr + (outer->len - 1) < outer->addr)
        return fault(ring, "DMA-2", "an indirect table's address and length run over 2^64", outer_index, outer->addr);
    return true;
}

/* The descriptors of a table, behind those that the chain has already. */
static bool walk_indirect(struct sim_ring *ring, struct growth *growth, struct sim_desc outer, uint16_t outer_index)
{
    uint32_t entries = outer.len / 16;
    uint32_t index = 0;
    const uint8_t *table;

    if (!vet_table(ring, &outer, outer_index))
        return false;
    table = find_table(ring, &outer);
    for (;;) {
        struct sim_desc desc;

        if (growth->descriptors++ > ring->mask)
            return fault(ring, "RNG-8", "a chain is longer than the queue, or loops", index, growth->descriptors);
        if (!read_entry(ring, &outer, table, index, &desc))
            return fault(ring, "DMA-2", "an indirect table lies outside guest memory", outer_index, outer.addr);
        if (desc.flags & SIM_DESC_F_INDIRECT)
            return fault(ring, "RNG-7", "an indirect table holds an INDIRECT descriptor", index, desc.addr);
        if (!add_buffer(ring, growth, desc, (uint16_t)index))
            return false;
        if (!(desc.flags & SIM_DESC_F_NEXT))
            return true;
        if (desc.next >= entries)
            return fault(ring, "RNG-8", "a next index lies outside the indirect table", index, desc.next);
        index = desc.next;
    }
}

/* ---- Chains ---- */

bool sim_ring_vet_chain(struct sim_ring *ring, uint16_t head, struct sim_desc desc)
{
    struct growth growth = begin_chain(ring);
    uint16_t index = head;

    if (head > ring->mask)
        return fault(ring, "RNG-8", "an available entry names no descriptor of the queue", head, head);
    for (;; desc = sim_desc_read(&ring->desc[index])) {
        if (growth.descriptors > ring->mask)
            return fault(ring, "RNG-8", "a chain is longer than the queue, or loops", index, growth.descriptors);
        if (desc.flags & SIM_DESC_F_INDIRECT)
            return walk_indirect(ring, &growth, desc, index) && end_chain(&growth, ring->room);
        growth.descriptors++;
        if (!add_buffer(ring, &growth, desc, index))
            return false;
        if (!(desc.flags & SIM_DESC_F_NEXT))
            return end_chain(&growth, ring->room);
        if (desc.next > ring->mask)
            return fault(ring, "RNG-8", "a next index lies outside the descriptor table", index, desc.next);
        index = desc.next;
    }
}

static size_t copy_over(const struct aero_sim_segment *segments, uint32_t count, uint64_t offset, uint8_t *buffer,
                        size_t length, bool to_guest)
{
    size_t done = 0;

    for (uint32_t i = 0; i < count && done < length; i++) {
        size_t part;

        if (offset >= segments[i].length) {
            offset -= segments[i].length;
            continue;
        }
        part = segments[i].length - (size_t)offset;
        if (part > length - done)
            part = length - done;
        if (to_guest)
            memcpy(segments[i].data + offset, buffer + done, part);
        else
            memcpy(buffer + done, segments[i].data + offset, part);
        done += part;
        offset = 0;
    }
    return done;
}

size_t aero_sim_chain_read(const struct aero_sim_chain *chain, uint64_t offset, void *to, size_t length)
{
    return copy_over(chain->segments, chain->readable_count, offset, to, length, false);
}

size_t aero_sim_chain_write(const struct aero_sim_chain *chain, uint64_t offset, const void *from, size_t length)
{
    const struct aero_sim_segment *writable = chain->segments + chain->readable_count;

    /* The cast drops const only for copy_over's shared signature: with to_guest it reads the buffer. */
    return copy_over(writable, chain->writable_count, offset, (uint8_t *)(uintptr_t)from, length, true);
}
