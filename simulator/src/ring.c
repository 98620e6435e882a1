/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Set-up and vetting of the device's side of a split ring. Every address, index and length that the driver gives is read
 * once, checked, and then used from the copy; what breaks a rule stops this ring and harms nothing else (RNG-8). Runs on
 * whoever serves the device; sim_ring_set_up on the thread that writes queue_enable.
 */
#include "ring.h"

#include <stdlib.h>
#include <string.h>

bool sim_ring_allocate(struct sim_ring *ring, uint16_t size)
{
    /* Twice the queue: room for buffers that cross from one region to the next, and are split there. */
    ring->segment_max = 2u * size + AERO_SIM_REGIONS_MAX;
    ring->chain.segments = calloc(ring->segment_max, sizeof *ring->chain.segments);
    return ring->chain.segments != NULL;
}

void sim_ring_free(struct sim_ring *ring)
{
    free(ring->chain.segments);
    ring->chain.segments = NULL;
}

static bool fault(struct sim_ring *ring, const char *clause, const char *what, uint32_t index, uint64_t value)
{
    ring->fault = (struct sim_ring_fault){.clause = clause, .what = what, .index = index, .value = value};
    ring->broken = true;
    return false;
}

bool sim_ring_set_up(struct sim_ring *ring, const struct aero_sim_memory *memory, uint16_t size, uint64_t desc,
                     uint64_t avail, uint64_t used, bool indirect)
{
    struct aero_sim_segment *segments = ring->chain.segments;
    uint32_t segment_max = ring->segment_max;

    memset(ring, 0, sizeof *ring);
    ring->chain.segments = segments;
    ring->segment_max = segment_max;
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

/* One read of each field: a driver that rewrites a descriptor under our eyes gets one or the other, never a mixture of
 * what was checked and what is used. The acquire of avail.idx (P1) orders these loads behind it. */
static struct sim_desc read_desc(const struct sim_desc *desc)
{
    struct sim_desc copy;

#if UINTPTR_MAX > UINT32_MAX
    const uint64_t *words = (const uint64_t *)(const void *)desc;
    uint64_t second;

    copy.addr = __atomic_load_n(&words[0], __ATOMIC_RELAXED);
    second = __atomic_load_n(&words[1], __ATOMIC_RELAXED);
    copy.len = (uint32_t)second;
    copy.flags = (uint16_t)(second >> 32);
    copy.next = (uint16_t)(second >> 48);
#else
    const uint32_t *words = (const uint32_t *)(const void *)desc;
    uint32_t last;

    copy.addr = __atomic_load_n(&words[0], __ATOMIC_RELAXED);
    copy.addr |= (uint64_t)__atomic_load_n(&words[1], __ATOMIC_RELAXED) << 32;
    copy.len = __atomic_load_n(&words[2], __ATOMIC_RELAXED);
    last = __atomic_load_n(&words[3], __ATOMIC_RELAXED);
    copy.flags = (uint16_t)last;
    copy.next = (uint16_t)(last >> 16);
#endif
    return copy;
}

static bool add_segment(struct sim_ring *ring, uint8_t *data, uint32_t length, bool writable, uint16_t index)
{
    struct aero_sim_chain *chain = &ring->chain;
    uint32_t count = chain->readable_count + chain->writable_count;

    if (count == ring->segment_max)
        return fault(ring, "DMA-2", "the chain's buffers cross too many borders between memory regions", index, count);
    chain->segments[count].data = data;
    chain->segments[count].length = length;
    if (writable) {
        chain->writable_count++;
        chain->writable_bytes += length;
    } else {
        chain->readable_count++;
        chain->readable_bytes += length;
    }
    return true;
}

/* Adds the buffer of one descriptor, a region at a time (DMA-2, DMA-3, DMA-4). */
static bool add_buffer(struct sim_ring *ring, const struct sim_desc *desc, uint16_t index)
{
    bool writable = desc->flags & SIM_DESC_F_WRITE;
    uint64_t addr = desc->addr;
    uint32_t left = desc->len;

    if (!writable && ring->writing)
        return fault(ring, "RNG-8", "a readable descriptor stands behind a writable one", index, desc->addr);
    ring->writing = writable;
    if (left && addr + (left - 1) < addr)
        return fault(ring, "DMA-2", "a buffer's address and length run over 2^64", index, addr);
    if (ring->chain.readable_bytes + ring->chain.writable_bytes + left > 1ull << 32)
        return fault(ring, "RNG-8", "a chain's buffers hold more than 2^32 bytes (virtio 1.2, 2.7.5.2)", index, left);
    while (left) {
        const struct sim_region *region = ring->region;
        uint64_t offset = addr - region->gpa;
        uint32_t part;

        if (offset >= region->size) {
            region = sim_memory_find(ring->memory, addr);
            if (!region)
                return fault(ring, "DMA-2", "a buffer lies outside guest memory", index, addr);
            ring->region = region;
            offset = addr - region->gpa;
        }
        part = region->size - offset < left ? (uint32_t)(region->size - offset) : left;
        if (!add_segment(ring, region->host + offset, part, writable, index))
            return false;
        addr += part;
        left -= part;
    }
    return true;
}

/* The descriptors of an indirect table (RNG-6, RNG-7). used counts those that the chain has already. */
static bool walk_indirect(struct sim_ring *ring, const struct sim_desc *outer, uint16_t outer_index, uint32_t used)
{
    uint32_t entries = outer->len / 16;
    uint32_t index = 0;

    if (!ring->indirect)
        return fault(ring, "RNG-7", "INDIRECT is set, and was not negotiated", outer_index, outer->addr);
    if (outer->flags & SIM_DESC_F_NEXT)
        return fault(ring, "RNG-7", "INDIRECT is combined with NEXT", outer_index, outer->addr);
    if (!outer->len || outer->len % 16)
        return fault(ring, "RNG-6", "an indirect table's length is no multiple of 16, or is 0", outer_index, outer->len);
    if (outer->addr + (outer->len - 1) < outer->addr)
        return fault(ring, "DMA-2", "an indirect table's address and length run over 2^64", outer_index, outer->addr);
    for (;;) {
        struct sim_desc desc;

        if (used++ > ring->mask)
            return fault(ring, "RNG-8", "a chain is longer than the queue, or loops", index, used);
        if (!sim_memory_copy_from(ring->memory, outer->addr + 16ull * index, &desc, sizeof desc))
            return fault(ring, "DMA-2", "an indirect table lies outside guest memory", outer_index, outer->addr);
        if (desc.flags & SIM_DESC_F_INDIRECT)
            return fault(ring, "RNG-7", "an indirect table holds an INDIRECT descriptor", index, desc.addr);
        if (!add_buffer(ring, &desc, (uint16_t)index))
            return false;
        if (!(desc.flags & SIM_DESC_F_NEXT))
            break;
        if (desc.next >= entries)
            return fault(ring, "RNG-8", "a next index lies outside the indirect table", index, desc.next);
        index = desc.next;
    }
    ring->chain.descriptors = used;
    return true;
}

/*
 * The common chain in short: one descriptor, whose buffer isn't empty and lies in the region of the last one. That it lies
 * there is all that vet_chain would find out about it.
 */
static inline bool is_simple(const struct sim_ring *ring, const struct sim_desc *desc)
{
    return !(desc->flags & (SIM_DESC_F_NEXT | SIM_DESC_F_INDIRECT)) && desc->len &&
           sim_region_holds(ring->region, desc->addr, desc->len);
}

static void take_simple(struct sim_ring *ring, const struct sim_desc *desc)
{
    struct aero_sim_chain *chain = &ring->chain;
    bool writable = desc->flags & SIM_DESC_F_WRITE;

    chain->descriptors = 1;
    chain->readable_count = !writable;
    chain->writable_count = writable;
    chain->readable_bytes = writable ? 0 : desc->len;
    chain->writable_bytes = writable ? desc->len : 0;
    chain->segments[0].data = ring->region->host + (desc->addr - ring->region->gpa);
    chain->segments[0].length = desc->len;
}

static bool vet_chain(struct sim_ring *ring, uint16_t index, struct sim_desc desc)
{
    struct aero_sim_chain *chain = &ring->chain;
    uint32_t used = 0;

    chain->readable_count = chain->writable_count = 0;
    chain->readable_bytes = chain->writable_bytes = 0;
    ring->writing = false;
    for (;; desc = read_desc(&ring->desc[index])) {
        if (used > ring->mask)
            return fault(ring, "RNG-8", "a chain is longer than the queue, or loops", index, used);
        if (desc.flags & SIM_DESC_F_INDIRECT)
            return walk_indirect(ring, &desc, index, used);
        used++;
        if (!add_buffer(ring, &desc, index))
            return false;
        if (!(desc.flags & SIM_DESC_F_NEXT))
            break;
        if (desc.next > ring->mask)
            return fault(ring, "RNG-8", "a next index lies outside the descriptor table", index, desc.next);
        index = desc.next;
    }
    chain->descriptors = used;
    return true;
}

bool sim_ring_vet(struct sim_ring *ring)
{
    uint16_t head = __atomic_load_n(&ring->avail->ring[ring->avail_next & ring->mask], __ATOMIC_RELAXED);
    struct sim_desc desc;

    ring->chain.head = head;
    if (head > ring->mask)
        return fault(ring, "RNG-8", "an available entry names no descriptor of the queue", head, head);
    desc = read_desc(&ring->desc[head]);
    if (!is_simple(ring, &desc))
        return vet_chain(ring, head, desc);
    take_simple(ring, &desc);
    return true;
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
