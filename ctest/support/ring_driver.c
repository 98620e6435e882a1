/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The driver for tests. Barriers: avail.idx is stored with release after what it announces, used.idx is
 * loaded with acquire before what it announces, and a full barrier stands before the doorbell; all on the
 * thread of the test.
 */
#include "ring_driver.h"

#include "os.h"

#include <stdlib.h>
#include <string.h>

#define WAIT_NS 10000000000ull
#define NO_DESC UINT16_MAX

_Static_assert(sizeof(struct ring_driver_desc) == 16, "RNG-2");

/* ---- The device ---- */

/* On the worker or on the thread of the test. */
static void on_breach(void *context, const struct aero_sim_breach *breach)
{
    struct ring_driver *driver = context;

    __atomic_store_n(&driver->breach_clause, breach->clause, __ATOMIC_RELAXED);
    __atomic_fetch_add(&driver->breaches, 1, __ATOMIC_RELEASE);
}

uint32_t ring_driver_breaches(const struct ring_driver *driver, const char **clause_out)
{
    uint32_t breaches = __atomic_load_n(&driver->breaches, __ATOMIC_ACQUIRE);

    if (clause_out)
        *clause_out = __atomic_load_n(&driver->breach_clause, __ATOMIC_RELAXED);
    return breaches;
}

bool ring_driver_create(struct ring_driver *driver, const struct aero_sim_model *model, bool stepped)
{
    memset(driver, 0, sizeof *driver);
    return aero_sim_memory_create(&driver->memory) == AERO_SIM_OK &&
           aero_sim_memory_map(driver->memory, RING_DRIVER_LOW_GPA, RING_DRIVER_LOW_BYTES, NULL) ==
               AERO_SIM_OK &&
           aero_sim_memory_map(driver->memory, RING_DRIVER_NEXT_GPA, RING_DRIVER_NEXT_BYTES, NULL) ==
               AERO_SIM_OK &&
           aero_sim_memory_map(driver->memory, RING_DRIVER_HIGH_GPA, RING_DRIVER_HIGH_BYTES, NULL) ==
               AERO_SIM_OK &&
           (stepped || aero_sim_worker_create(NULL, &driver->worker) == AERO_SIM_OK) &&
           aero_sim_device_create(model, driver->memory, driver->worker, &driver->device) == AERO_SIM_OK &&
           aero_sim_device_set_breach(driver->device, on_breach, driver) == AERO_SIM_OK;
}

enum aero_sim_status ring_driver_start(struct ring_driver *driver)
{
    enum aero_sim_status status = aero_sim_device_start(driver->device);

    if (status == AERO_SIM_OK)
        aero_sim_pci_write(driver->device, 0x04, 2, 0x0006);
    return status;
}

void ring_driver_destroy(struct ring_driver *driver)
{
    aero_sim_device_destroy(driver->device);
    aero_sim_worker_destroy(driver->worker);
    aero_sim_memory_destroy(driver->memory);
    memset(driver, 0, sizeof *driver);
}

uint32_t ring_driver_read(struct ring_driver *driver, uint32_t offset, uint32_t width)
{
    return (uint32_t)aero_sim_bar_read(driver->device, offset, width);
}

void ring_driver_write(struct ring_driver *driver, uint32_t offset, uint32_t width, uint32_t value)
{
    aero_sim_bar_write(driver->device, offset, width, value);
}

void ring_driver_add_status(struct ring_driver *driver, uint32_t bits)
{
    ring_driver_write(driver, RING_DRIVER_STATUS, 1, ring_driver_read(driver, RING_DRIVER_STATUS, 1) | bits);
}

uint64_t ring_driver_offered(struct ring_driver *driver)
{
    uint64_t low, high;

    ring_driver_write(driver, 0x00, 4, 0);
    low = ring_driver_read(driver, 0x04, 4);
    ring_driver_write(driver, 0x00, 4, 1);
    high = ring_driver_read(driver, 0x04, 4);
    return low | high << 32;
}

bool ring_driver_bring_up(struct ring_driver *driver, uint64_t features)
{
    ring_driver_write(driver, RING_DRIVER_STATUS, 1, 0);
    if (ring_driver_read(driver, RING_DRIVER_STATUS, 1) != 0)
        return false;
    ring_driver_add_status(driver, RING_DRIVER_ACKNOWLEDGE);
    ring_driver_add_status(driver, RING_DRIVER_DRIVER);
    if (features == RING_DRIVER_ALL_FEATURES)
        features = ring_driver_offered(driver);
    ring_driver_write(driver, 0x08, 4, 0);
    ring_driver_write(driver, 0x0C, 4, (uint32_t)features);
    ring_driver_write(driver, 0x08, 4, 1);
    ring_driver_write(driver, 0x0C, 4, (uint32_t)(features >> 32));
    ring_driver_add_status(driver, RING_DRIVER_FEATURES_OK);
    return (ring_driver_read(driver, RING_DRIVER_STATUS, 1) & RING_DRIVER_FEATURES_OK) != 0;
}

uint64_t ring_driver_allocate(struct ring_driver *driver, uint32_t bytes, uint32_t alignment)
{
    uint64_t at = (driver->allocated + alignment - 1) / alignment * alignment;

    if (at + bytes > RING_DRIVER_LOW_BYTES)
        return 0;
    driver->allocated = at + bytes;
    return RING_DRIVER_LOW_GPA + at;
}

void *ring_driver_at(const struct ring_driver *driver, uint64_t gpa, uint64_t bytes)
{
    return aero_sim_memory_at(driver->memory, gpa, bytes);
}

/* ---- A queue ---- */

static void write_address(struct ring_driver *driver, uint32_t offset, uint64_t gpa)
{
    ring_driver_write(driver, offset, 4, (uint32_t)gpa);
    ring_driver_write(driver, offset + 4, 4, (uint32_t)(gpa >> 32));
}

static bool allocate_queue(struct ring_driver_queue *queue)
{
    struct ring_driver *driver = queue->driver;
    uint32_t size = queue->size;

    queue->desc_gpa = ring_driver_allocate(driver, 16 * size, 16);
    queue->avail_gpa = ring_driver_allocate(driver, 4 + 2 * size, 2);
    queue->used_gpa = ring_driver_allocate(driver, 4 + 8 * size, 4);
    queue->link = malloc(size * sizeof *queue->link);
    queue->count = calloc(size, sizeof *queue->count);
    if (!queue->desc_gpa || !queue->avail_gpa || !queue->used_gpa || !queue->link || !queue->count)
        return false;
    queue->desc = ring_driver_at(driver, queue->desc_gpa, 16 * size);
    queue->avail = ring_driver_at(driver, queue->avail_gpa, 4 + 2 * size);
    queue->used = ring_driver_at(driver, queue->used_gpa, 4 + 8 * size);
    for (uint32_t i = 0; i < size; i++)
        queue->link[i] = (uint16_t)(i + 1 < size ? i + 1 : NO_DESC);
    queue->free_count = queue->size;
    return true;
}

bool ring_driver_queue_create(struct ring_driver_queue *queue, struct ring_driver *driver, uint16_t index)
{
    memset(queue, 0, sizeof *queue);
    queue->driver = driver;
    queue->index = index;
    ring_driver_write(driver, 0x16, 2, index);
    queue->size = (uint16_t)ring_driver_read(driver, 0x18, 2);
    if (!queue->size)
        return false;
    if (allocate_queue(queue)) {
        write_address(driver, 0x20, queue->desc_gpa);
        write_address(driver, 0x28, queue->avail_gpa);
        write_address(driver, 0x30, queue->used_gpa);
        ring_driver_write(driver, 0x1C, 2, 1);
        if (ring_driver_read(driver, 0x1C, 2) == 1)
            return true;
    }
    ring_driver_queue_destroy(queue);
    return false;
}

void ring_driver_queue_destroy(struct ring_driver_queue *queue)
{
    free(queue->link);
    free(queue->count);
    memset(queue, 0, sizeof *queue);
}

/* Takes count descriptors off the free list as a chain, and puts its head into the available ring. */
static int take_chain(struct ring_driver_queue *queue, uint32_t count)
{
    uint16_t head = queue->free_head;
    uint16_t *slot = &queue->avail[2 + (queue->avail_idx & (queue->size - 1))];

    if (count == 0 || count > queue->free_count)
        return RING_DRIVER_FULL;
    for (uint32_t i = 0; i < count; i++)
        queue->free_head = queue->link[queue->free_head];
    queue->free_count = (uint16_t)(queue->free_count - count);
    queue->count[head] = (uint16_t)count;
    __atomic_store_n(slot, head, __ATOMIC_RELAXED);
    queue->avail_idx++;
    return head;
}

static struct ring_driver_desc desc_of(const struct ring_driver_buffer *buffer, bool last, uint32_t next)
{
    struct ring_driver_desc desc;

    desc.addr = buffer->gpa;
    desc.len = buffer->length;
    desc.flags = (uint16_t)((buffer->writable ? RING_DRIVER_F_WRITE : 0) | (last ? 0 : RING_DRIVER_F_NEXT));
    desc.next = (uint16_t)(last ? 0 : next);
    return desc;
}

int ring_driver_add(struct ring_driver_queue *queue, const struct ring_driver_buffer *buffers, uint32_t count)
{
    int head = take_chain(queue, count);
    uint16_t at = (uint16_t)head;

    if (head == RING_DRIVER_FULL)
        return head;
    for (uint32_t i = 0; i < count; i++) {
        queue->desc[at] = desc_of(&buffers[i], i + 1 == count, queue->link[at]);
        at = queue->link[at];
    }
    return head;
}

int ring_driver_add_indirect(struct ring_driver_queue *queue, uint64_t table_gpa,
                             const struct ring_driver_buffer *buffers, uint32_t count)
{
    struct ring_driver_desc *table = ring_driver_at(queue->driver, table_gpa, 16ull * count);
    int head = table ? take_chain(queue, 1) : RING_DRIVER_FULL;

    if (head == RING_DRIVER_FULL)
        return head;
    for (uint32_t i = 0; i < count; i++)
        table[i] = desc_of(&buffers[i], i + 1 == count, i + 1);
    queue->desc[head] = (struct ring_driver_desc){table_gpa, 16 * count, RING_DRIVER_F_INDIRECT, 0};
    return head;
}

void ring_driver_publish(struct ring_driver_queue *queue)
{
    __atomic_store_n(&queue->avail[1], queue->avail_idx, __ATOMIC_RELEASE);
}

void ring_driver_kick(struct ring_driver_queue *queue)
{
    ring_driver_publish(queue);
    sim_os_full_barrier(); /* NTF-4 */
    ring_driver_write(queue->driver, RING_DRIVER_DOORBELLS + 4u * queue->index, 2, queue->index);
}

bool ring_driver_used(const struct ring_driver_queue *queue)
{
    return __atomic_load_n(&queue->used[1], __ATOMIC_ACQUIRE) != queue->used_idx;
}

/* Has the device moved until a used element waits; false where it won't. */
static bool await_used(struct ring_driver_queue *queue)
{
    uint64_t end = sim_os_now_ns() + WAIT_NS;

    while (!ring_driver_used(queue)) {
        if (!queue->driver->worker) {
            if (!aero_sim_device_step(queue->driver->device))
                return ring_driver_used(queue);
        } else {
            if (sim_os_now_ns() >= end)
                return false;
            sim_os_yield();
        }
    }
    return true;
}

bool ring_driver_wait(struct ring_driver_queue *queue, uint32_t *id_out, uint32_t *length_out)
{
    const uint32_t *element;
    uint32_t id, length;
    uint16_t at;

    if (!await_used(queue))
        return false;
    element = (const uint32_t *)(const void *)&queue->used[2] + 2u * (queue->used_idx & (queue->size - 1));
    id = __atomic_load_n(&element[0], __ATOMIC_RELAXED);
    length = __atomic_load_n(&element[1], __ATOMIC_RELAXED);
    queue->used_idx++;
    if (id >= queue->size || queue->count[id] == 0)
        return false;
    at = (uint16_t)id;
    for (uint16_t i = 1; i < queue->count[id]; i++)
        at = queue->link[at];
    queue->link[at] = queue->free_head;
    queue->free_head = (uint16_t)id;
    queue->free_count = (uint16_t)(queue->free_count + queue->count[id]);
    queue->count[id] = 0;
    if (id_out)
        *id_out = id;
    if (length_out)
        *length_out = length;
    return true;
}
