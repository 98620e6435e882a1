/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A driver for tests, straight on aero_sim.h: it negotiates, sets queues up, adds chains, rings and waits,
 * without NT and without the transport. It trusts the device as little as it must and hides nothing:
 * descriptors and rings lie open, so that a test can break any rule it likes. It knows no model and no test
 * framework: calls answer whether they succeeded. All calls on the thread of the test.
 *
 *     struct ring_driver driver;
 *     struct ring_driver_queue queue;
 *     ring_driver_create(&driver, model, stepped);
 *     ... configure driver.device ...
 *     ring_driver_start(&driver);
 *     ring_driver_bring_up(&driver, RING_DRIVER_ALL_FEATURES);      reset ... FEATURES_OK
 *     ring_driver_queue_create(&queue, &driver, 0);
 *     ring_driver_add_status(&driver, RING_DRIVER_DRIVER_OK);
 *     ring_driver_add(&queue, buffers, count);
 *     ring_driver_kick(&queue);
 *     ring_driver_wait(&queue, &id, &length);
 */
#ifndef RING_DRIVER_H
#define RING_DRIVER_H

#include "aero_sim.h"

/* Guest memory: two regions that touch, so that a buffer may cross the border, and one above 4 GiB. */
#define RING_DRIVER_LOW_GPA    0x00100000ull
#define RING_DRIVER_LOW_BYTES  0x00400000ull
#define RING_DRIVER_NEXT_GPA   (RING_DRIVER_LOW_GPA + RING_DRIVER_LOW_BYTES)
#define RING_DRIVER_NEXT_BYTES 0x00010000ull
#define RING_DRIVER_HIGH_GPA   0x123400000ull
#define RING_DRIVER_HIGH_BYTES 0x00100000ull

#define RING_DRIVER_ALL_FEATURES UINT64_MAX /* all that the device offers */

/* device_status bits */
#define RING_DRIVER_ACKNOWLEDGE 0x01u
#define RING_DRIVER_DRIVER      0x02u
#define RING_DRIVER_DRIVER_OK   0x04u
#define RING_DRIVER_FEATURES_OK 0x08u
#define RING_DRIVER_NEEDS_RESET 0x40u

/* Offsets in BAR0 */
#define RING_DRIVER_STATUS    0x14u
#define RING_DRIVER_DOORBELLS 0x1000u
#define RING_DRIVER_ISR       0x2000u
#define RING_DRIVER_CONFIG    0x3000u

struct ring_driver {
    struct aero_sim_memory *memory;
    struct aero_sim_worker *worker; /* NULL: the device moves where ring_driver_wait steps it */
    struct aero_sim_device *device;
    uint64_t allocated; /* bytes of the low region; given back by nobody before destroy */
    uint32_t breaches;  /* kept by the callback; read it with ring_driver_breaches */
    const char *breach_clause;
};

struct ring_driver_desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags;
    uint16_t next;
};
#define RING_DRIVER_F_NEXT     1u
#define RING_DRIVER_F_WRITE    2u
#define RING_DRIVER_F_INDIRECT 4u

struct ring_driver_queue {
    struct ring_driver *driver;
    uint16_t index;
    uint16_t size;
    uint64_t desc_gpa, avail_gpa, used_gpa;
    struct ring_driver_desc *desc; /* the rings themselves, in guest memory */
    uint16_t *avail;               /* flags, idx, ring */
    uint16_t *used;                /* flags, idx, then le32 id, le32 len each */
    uint16_t avail_idx;            /* added, not all published yet */
    uint16_t used_idx;             /* taken by ring_driver_wait */
    uint16_t free_head, free_count;
    uint16_t *link;  /* the driver's own copy of the chains and of the free list */
    uint16_t *count; /* descriptors of the chain that begins here; 0: not in flight */
};

struct ring_driver_buffer {
    uint64_t gpa;
    uint32_t length;
    bool writable;
};

/* ---- The device ---- */

/* Guest memory, a worker unless stepped, and a device that counts breaches, not started. False: no memory. */
bool ring_driver_create(struct ring_driver *driver, const struct aero_sim_model *model, bool stepped);
/* Starts the device and sets memory decode and bus master. */
enum aero_sim_status ring_driver_start(struct ring_driver *driver);
/* Stops and frees all but queues. After a failed create as well. */
void ring_driver_destroy(struct ring_driver *driver);

uint32_t ring_driver_read(struct ring_driver *driver, uint32_t offset, uint32_t width);
void ring_driver_write(struct ring_driver *driver, uint32_t offset, uint32_t width, uint32_t value);
void ring_driver_add_status(struct ring_driver *driver, uint32_t bits);
uint64_t ring_driver_offered(struct ring_driver *driver);
/* Reset, ACKNOWLEDGE, DRIVER, features, FEATURES_OK. False where the device refused. */
bool ring_driver_bring_up(struct ring_driver *driver, uint64_t features);
/* How many breaches the device reported; clause_out, where not NULL, gets the last one's clause, or NULL. */
uint32_t ring_driver_breaches(const struct ring_driver *driver, const char **clause_out);

/* Zeroed guest memory below 4 GiB; 0: the region is full. And the host's address of any guest memory. */
uint64_t ring_driver_allocate(struct ring_driver *driver, uint32_t bytes, uint32_t alignment);
void *ring_driver_at(const struct ring_driver *driver, uint64_t gpa, uint64_t bytes);

/* ---- A queue ---- */

/* Rings of the size that the device reports, programmed and enabled. False: no such queue, or not enabled. */
bool ring_driver_queue_create(struct ring_driver_queue *queue, struct ring_driver *driver, uint16_t index);
void ring_driver_queue_destroy(struct ring_driver_queue *queue);

#define RING_DRIVER_FULL (-1)
/* Adds a chain, unpublished: its head, or RING_DRIVER_FULL. Buffers in any order, at least one. */
int ring_driver_add(struct ring_driver_queue *queue, const struct ring_driver_buffer *buffers,
                    uint32_t count);
/* The same through an indirect table at table_gpa with room for 16 bytes a buffer. */
int ring_driver_add_indirect(struct ring_driver_queue *queue, uint64_t table_gpa,
                             const struct ring_driver_buffer *buffers, uint32_t count);
/* Publishes what was added; and rings the doorbell behind it. */
void ring_driver_publish(struct ring_driver_queue *queue);
void ring_driver_kick(struct ring_driver_queue *queue);

/* Is there a used element that ring_driver_wait hasn't taken? */
bool ring_driver_used(const struct ring_driver_queue *queue);
/*
 * Takes the next used element, steps the device for it where it has no worker, and frees the chain's
 * descriptors. False: nothing came within ten seconds (or the device had no step left), or an id that isn't
 * in flight.
 */
bool ring_driver_wait(struct ring_driver_queue *queue, uint32_t *id_out, uint32_t *length_out);

#endif
