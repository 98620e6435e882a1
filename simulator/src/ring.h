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

struct sim_ring {
    uint16_t mask; /* size - 1 */
    uint16_t avail_seen; /* avail.idx as last read */
    uint16_t avail_next; /* the next entry to take; avail_seen - avail_next of them wait */
    uint16_t used_next;  /* the next used element to write */
    uint16_t used_published;
    bool indirect; /* INDIRECT_DESC was negotiated (RNG-7) */
    bool broken;   /* the driver broke the ring's rules: nothing more is taken until a reset */
    bool held;     /* the chain at avail_next is vetted and waits for aero_sim_queue_complete */
    bool writing;  /* the chain's last descriptor was writable, be it empty: only such may follow (RNG-8) */
    const struct sim_desc *desc;
    const struct sim_avail *avail;
    struct sim_used *used;
    const struct sim_region *region; /* where the last buffer lay: most buffers lie beside each other */
    const struct aero_sim_memory *memory;
    struct aero_sim_chain chain;
    uint32_t segment_max;
    uint32_t taken; /* chains since the ring was set up */
    struct sim_ring_fault fault;
};

/* Memory for chains of up to size descriptors. False: the host has none. */
bool sim_ring_allocate(struct sim_ring *ring, uint16_t size);
void sim_ring_free(struct sim_ring *ring);

/*
 * Sets the ring up over the driver's memory. False, with the reason in ring->fault, where an area is misaligned (RNG-3) or
 * isn't mapped in one piece (DMA-2).
 */
bool sim_ring_set_up(struct sim_ring *ring, const struct aero_sim_memory *memory, uint16_t size, uint64_t desc,
                     uint64_t avail, uint64_t used, bool indirect);

/* Vets the chain at avail_next into ring->chain. False: the ring is broken, ring->fault says why. */
bool sim_ring_vet(struct sim_ring *ring);

/* The step "see an index": true where entries wait. A jump by more than the ring holds breaks it (RNG-11's mirror). */
bool sim_ring_see(struct sim_ring *ring);

static inline bool sim_ring_waits(const struct sim_ring *ring)
{
    return ring->avail_next != ring->avail_seen && !ring->broken;
}

/* The step "take a chain": legal while sim_ring_waits. False: broken. */
static inline bool sim_ring_take(struct sim_ring *ring)
{
    if (!sim_ring_vet(ring))
        return false;
    ring->avail_next++;
    ring->taken++;
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
static inline void sim_ring_put(struct sim_ring *ring, uint32_t id, uint32_t length)
{
    struct sim_used_element *element = &ring->used->ring[ring->used_next & ring->mask];

    sim_ring_settle(&element->id, id);
    sim_ring_settle(&element->len, length);
    ring->used_next++;
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
    __atomic_store_n(&ring->used->idx, ring->used_next, __ATOMIC_RELEASE); /* P2 */
}

/* The first half of the step "interrupt": does the driver want one for what was published (INT-5)? */
static inline bool sim_ring_wants_interrupt(const struct sim_ring *ring)
{
    sim_os_full_barrier(); /* P3 */
    return !(__atomic_load_n(&ring->avail->flags, __ATOMIC_RELAXED) & SIM_AVAIL_F_NO_INTERRUPT);
}

#endif
