/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The device's side of a split ring (RNG-1..12), as single steps: see an index, take a chain, write a used element,
 * publish, decide on an interrupt. The worker strings them together in service.c, aero_sim_device_step does one a call;
 * the code is the same.
 *
 *     driver writes                        device writes
 *     desc[N]   {addr, len, flags, next}   used.flags, used.idx, used.ring[N] {id, len}
 *     avail.flags, avail.idx, avail.ring[N]
 *
 * Everything in here belongs to whoever serves the device: the worker, or the thread that steps it. Barriers:
 *     P1  avail.idx: the driver's store-release pairs with the load-acquire in sim_ring_see (RNG-9, RNG-10).
 *     P2  used.idx: the store-release in sim_ring_publish pairs with the driver's load-acquire.
 *     P3  used.idx, full barrier, avail.flags in sim_ring_wants_interrupt pairs with the driver's
 *         avail.flags, full barrier, used.idx: one of the two sees the other (quirk 10).
 *     P4  the doorbell: see service.c.
 */
#ifndef SIM_RING_H
#define SIM_RING_H

#include "aero_sim_model.h"
#include "memory.h"
#include "os.h"

#define SIM_DESC_F_NEXT 1u
#define SIM_DESC_F_WRITE 2u
#define SIM_DESC_F_INDIRECT 4u
#define SIM_AVAIL_F_NO_INTERRUPT 1u

struct sim_desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags;
    uint16_t next;
};
_Static_assert(sizeof(struct sim_desc) == 16, "RNG-2");

struct sim_avail {
    uint16_t flags;
    uint16_t idx;
    uint16_t ring[];
};

struct sim_used_element {
    uint32_t id;
    uint32_t len;
};

struct sim_used {
    uint16_t flags;
    uint16_t idx;
    struct sim_used_element ring[];
};
_Static_assert(sizeof(struct sim_avail) == 4 && sizeof(struct sim_used) == 4, "RNG-2");

/* Why the device stopped believing in a ring; the texts stand in ring.c. */
struct sim_ring_fault {
    const char *clause;
    const char *what;
    uint32_t index; /* descriptor index */
    uint64_t value;
};

/*
 * Where a vetted chain is put together. It holds one at a time, so a queue whose chains wait for the model's event function
 * has a room of its own, and all others of a device share one: with many queues, fewer cache lines to walk over.
 */
struct sim_room {
    struct aero_sim_chain chain; /* its segments are those below */
    struct aero_sim_segment segments[];
};

struct sim_ring {
    uint16_t mask; /* size - 1 */
    uint16_t avail_seen; /* avail.idx as last read */
    uint16_t avail_next; /* the next entry to take; avail_seen - avail_next of them wait */
    uint16_t used_next;  /* the next used element to write */
    uint16_t used_published;
    bool indirect; /* INDIRECT_DESC was negotiated (RNG-7) */
    bool broken;   /* the driver broke the ring's rules: nothing more is taken until a reset */
    bool held;     /* the chain at avail_next is vetted and waits for aero_sim_queue_complete */
    uint32_t taken; /* chains since the ring was set up */
    uint32_t unpublished_descriptors; /* of the chains whose elements are written and not published */
    const struct sim_desc *desc;
    const struct sim_avail *avail;
    struct sim_used *used;
    const struct sim_region *region; /* where the last buffer lay: most buffers lie beside each other */
    struct sim_room *room;
    const struct aero_sim_memory *memory;
    struct sim_ring_fault fault;
};

/* A room for chains of up to size descriptors. NULL: the host has no memory. */
struct sim_room *sim_room_create(uint32_t size);
void sim_room_destroy(struct sim_room *room);

/*
 * Sets the ring up over the driver's memory. False, with the reason in ring->fault, where an area is misaligned (RNG-3) or
 * isn't mapped in one piece (DMA-2).
 */
bool sim_ring_set_up(struct sim_ring *ring, const struct aero_sim_memory *memory, uint16_t size, uint64_t desc,
                     uint64_t avail, uint64_t used, bool indirect);

/* The step "see an index": true where entries wait. A jump by more than the ring holds breaks it (RNG-11's mirror). */
bool sim_ring_see(struct sim_ring *ring);

/* How many entries were seen and not taken. */
static inline uint16_t sim_ring_waiting(const struct sim_ring *ring)
{
    return ring->broken ? 0 : (uint16_t)(ring->avail_seen - ring->avail_next);
}

/* One read of each field: a driver that rewrites a descriptor under our eyes gets one or the other, never a mixture of
 * what was checked and what is used. The acquire of avail.idx (P1) orders these loads behind it. */
static inline struct sim_desc sim_desc_read(const struct sim_desc *desc)
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

/* Vets any chain into the ring's room; desc is what its head's descriptor says. False: broken, ring->fault says why. */
bool sim_ring_vet_chain(struct sim_ring *ring, uint16_t head, struct sim_desc desc);

/*
 * A row: chains that are taken one after another. The steps "take a chain" and "write an element" belong to a row, be it of
 * one chain alone, and find here all that they need of the ring: small enough for the compiler to keep it in registers,
 * whatever the model's function does in between. Only sim_row_end moves the ring's own indices.
 */
struct sim_row {
    const struct sim_desc *desc;
    const uint16_t *slots;
    struct sim_used_element *elements;
    struct sim_region region; /* *ring->region */
    struct sim_room *room;
    uint32_t mask;
    uint32_t avail_next, used_next; /* before masking */
    uint32_t descriptors;           /* of the chains whose elements aren't published */
};

static inline struct sim_row sim_row_begin(const struct sim_ring *ring)
{
    return (struct sim_row){
        .desc = ring->desc,
        .slots = ring->avail->ring,
        .elements = ring->used->ring,
        .region = *ring->region,
        .room = ring->room,
        .mask = ring->mask,
        .avail_next = ring->avail_next,
        .used_next = ring->used_next,
        .descriptors = ring->unpublished_descriptors,
    };
}

static inline void sim_row_end(const struct sim_row *row, struct sim_ring *ring)
{
    ring->taken += (uint16_t)(row->avail_next - ring->avail_next);
    ring->avail_next = (uint16_t)row->avail_next;
    ring->used_next = (uint16_t)row->used_next;
    ring->unpublished_descriptors = row->descriptors;
}

/*
 * The common chain in short: one descriptor, whose buffer isn't empty and lies in the region of the last one. That it lies
 * there is all that sim_ring_vet_chain would find out about it. False: it must be asked.
 */
static inline bool sim_row_vet_simple(const struct sim_row *row, struct sim_desc desc)
{
    struct aero_sim_chain *chain = &row->room->chain;
    struct aero_sim_segment *segment = row->room->segments;
    bool writable = desc.flags & SIM_DESC_F_WRITE;

    if ((desc.flags & (SIM_DESC_F_NEXT | SIM_DESC_F_INDIRECT)) || !desc.len ||
        !sim_region_holds(&row->region, desc.addr, desc.len))
        return false;
    chain->descriptors = 1;
    chain->readable_count = !writable;
    chain->writable_count = writable;
    chain->readable_bytes = writable ? 0 : desc.len;
    chain->writable_bytes = writable ? desc.len : 0;
    segment->data = row->region.host + (desc.addr - row->region.gpa);
    segment->length = desc.len;
    return true;
}

/* Vets the next chain, of those that wait, into the room. False: the ring is broken, ring->fault says why. */
static inline bool sim_row_vet(struct sim_row *row, struct sim_ring *ring)
{
    uint32_t head = __atomic_load_n(&row->slots[row->avail_next & row->mask], __ATOMIC_RELAXED);
    struct sim_desc desc = sim_desc_read(&row->desc[head & row->mask]);

    row->room->chain.head = (uint16_t)head;
    if (SIM_UNLIKELY(head > row->mask) || SIM_UNLIKELY(!sim_row_vet_simple(row, desc))) {
        if (!sim_ring_vet_chain(ring, (uint16_t)head, desc))
            return false;
        row->region = *ring->region;
    }
    return true;
}

/* The vetted chain is taken. */
static inline void sim_row_pass(struct sim_row *row)
{
    row->descriptors += row->room->chain.descriptors;
    row->avail_next++;
}

/* The step "take a chain". */
static inline bool sim_row_take(struct sim_row *row, struct sim_ring *ring)
{
    if (!sim_row_vet(row, ring))
        return false;
    sim_row_pass(row);
    return true;
}

/*
 * A store takes the line out of the driver's cache, and the driver has to fetch it again. So what stands there already is
 * left alone: where buffers go round in order, each element says what it said a lap ago. What is read decides this and
 * nothing more.
 */
static inline void sim_ring_settle(uint32_t *word, uint32_t value)
{
    if (__atomic_load_n(word, __ATOMIC_RELAXED) != value)
        __atomic_store_n(word, value, __ATOMIC_RELAXED);
}

/* The step "write an element". */
static inline void sim_row_put(struct sim_row *row, uint32_t id, uint32_t length)
{
    struct sim_used_element *element = &row->elements[row->used_next & row->mask];

    sim_ring_settle(&element->id, id);
    sim_ring_settle(&element->len, length);
    row->used_next++;
}

/* How many used elements are written and not published. */
static inline uint16_t sim_ring_unpublished(const struct sim_ring *ring)
{
    return (uint16_t)(ring->used_next - ring->used_published);
}

/* The step "publish". */
static inline void sim_ring_publish(struct sim_ring *ring)
{
    ring->used_published = ring->used_next;
    ring->unpublished_descriptors = 0;
    __atomic_store_n(&ring->used->idx, ring->used_next, __ATOMIC_RELEASE); /* P2 */
}

/* The first half of the step "interrupt": does the driver want one for what was published (INT-5)? */
static inline bool sim_ring_wants_interrupt(const struct sim_ring *ring)
{
    sim_os_full_barrier(); /* P3 */
    return !(__atomic_load_n(&ring->avail->flags, __ATOMIC_RELAXED) & SIM_AVAIL_F_NO_INTERRUPT);
}

#endif
