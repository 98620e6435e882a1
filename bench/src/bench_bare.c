/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * limit/bare-ring: how fast a split ring of virtio's layout can be between these two CPUs. 256 buffers of 13
 * bytes, published in batches of 32 both ways, by two threads with no code of the project's between them:
 * both sides check bounds and what is in flight, and do nothing else. The thread that measures is the driver.
 */
#include "bench.h"

#include <string.h>

#define SIZE         256u
#define BATCH        32u
#define BUFFER_BYTES 13u
#define SLOT_BYTES   64u

struct desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags, next;
};

struct used_element {
    uint32_t id, len;
};

/* Shared, laid out as in virtio 1.2, 2.7; each index has a line of its own. */
struct bare_ring {
    _Alignas(SIM_LINE_BYTES) struct desc desc[SIZE];
    _Alignas(SIM_LINE_BYTES) struct {
        char before[SIM_LINE_BYTES - 4];
        uint16_t flags;
        _Atomic uint16_t idx;
        uint16_t ring[SIZE];
    } avail;
    _Alignas(SIM_LINE_BYTES) struct {
        char before[SIM_LINE_BYTES - 4];
        uint16_t flags;
        _Atomic uint16_t idx;
        struct used_element ring[SIZE];
    } used;
    _Alignas(SIM_LINE_BYTES) _Atomic uint32_t stop;
};
_Static_assert(sizeof(struct desc) == 16 && sizeof(struct used_element) == 8, "virtio 1.2, 2.7");
_Static_assert(offsetof(struct bare_ring, avail.ring) % SIM_LINE_BYTES == 0 &&
                   offsetof(struct bare_ring, used.ring) % SIM_LINE_BYTES == 0,
               "each index has a line of its own");

struct bare_device {
    struct bare_ring *ring;
    uint64_t chains, bytes; /* that it took */
    const char *wrong;      /* NULL: nothing */
};

struct bare_driver {
    struct bare_ring *ring;
    uint16_t avail, used; /* the next of each */
    bool in_flight[SIZE];
    uint64_t chains; /* that came back */
    const char *wrong;
};

/* ---- The device ---- */

static bool take(struct bare_device *device, uint16_t at)
{
    struct bare_ring *ring = device->ring;
    uint32_t head = ring->avail.ring[at % SIZE];
    struct desc desc;

    if (head >= SIZE) {
        device->wrong = "the bare ring's device found a head out of range";
        return false;
    }
    desc = ring->desc[head];
    if (desc.addr >= SIZE * SLOT_BYTES || desc.len > SIZE * SLOT_BYTES - desc.addr) {
        device->wrong = "the bare ring's device found a buffer out of bounds";
        return false;
    }
    device->bytes += desc.len;
    ring->used.ring[at % SIZE] = (struct used_element){.id = head, .len = 0};
    return true;
}

static void serve(void *context)
{
    struct bare_device *device = context;
    struct bare_ring *ring = device->ring;
    uint16_t next = 0, seen, end;
    uint32_t looks = 0;

    for (;;) {
        seen = atomic_load_explicit(&ring->avail.idx, memory_order_acquire);
        if (seen == next) {
            if (atomic_load_explicit(&ring->stop, memory_order_relaxed))
                return;
            bench_look_in_vain(&looks);
            continue;
        }
        if ((uint16_t)(seen - next) > SIZE)
            device->wrong = "the bare ring's device saw the index jump";
        while (next != seen && device->wrong == NULL) {
            end = (uint16_t)(seen - next) > BATCH ? (uint16_t)(next + BATCH) : seen;
            for (; next != end; next++, device->chains++) {
                if (!take(device, next))
                    return;
            }
            atomic_store_explicit(&ring->used.idx, next, memory_order_release);
        }
        if (device->wrong != NULL)
            return;
    }
}

/* ---- The driver ---- */

static inline void add(struct bare_driver *driver, uint32_t id)
{
    struct bare_ring *ring = driver->ring;

    ring->desc[id] = (struct desc){.addr = id * SLOT_BYTES, .len = BUFFER_BYTES};
    ring->avail.ring[driver->avail++ % SIZE] = (uint16_t)id;
    driver->in_flight[id] = true;
}

static inline void publish(struct bare_driver *driver)
{
    atomic_store_explicit(&driver->ring->avail.idx, driver->avail, memory_order_release);
}

/* How many completions there are, once there are any; 0: the device is wrong, or silent. */
static uint16_t completions(struct bare_driver *driver)
{
    uint64_t since = 0;
    uint32_t looks = 0;
    uint16_t count;

    while ((count = (uint16_t)(atomic_load_explicit(&driver->ring->used.idx, memory_order_acquire) -
                               driver->used)) == 0) {
        bench_look_in_vain(&looks);
        if (looks % (1u << 20) != 0)
            continue;
        if (since == 0)
            since = sim_os_now_ns();
        if (sim_os_now_ns() - since > 3000000000u || host_interrupted) {
            driver->wrong = "the bare ring's device is silent";
            return 0;
        }
    }
    if (count > (uint16_t)(driver->avail - driver->used)) {
        driver->wrong = "the bare ring's driver saw the index jump";
        return 0;
    }
    return count;
}

/* Takes back count completions; again: and makes their buffers available anew. */
static bool take_back(struct bare_driver *driver, uint32_t count, bool again)
{
    for (; count > 0; count--) {
        uint32_t id = driver->ring->used.ring[driver->used % SIZE].id;

        if (id >= SIZE || !driver->in_flight[id]) {
            driver->wrong = "the bare ring's driver got back what isn't in flight";
            return false;
        }
        driver->in_flight[id] = false;
        driver->used++;
        driver->chains++;
        if (again)
            add(driver, id);
    }
    return true;
}

static bool turn_over(struct bare_driver *driver, uint32_t wanted)
{
    while (wanted > 0) {
        uint32_t count = completions(driver);

        count = count < BATCH ? count : BATCH;
        count = count < wanted ? count : wanted;
        if (count == 0 || !take_back(driver, count, true))
            return false;
        publish(driver);
        wanted -= count;
    }
    return true;
}

static bool drain(struct bare_driver *driver)
{
    while (driver->used != driver->avail) {
        uint16_t count = completions(driver);

        if (count == 0 || !take_back(driver, count, false))
            return false;
    }
    return true;
}

static void drive(struct bench_run *run, struct bare_driver *driver)
{
    uint32_t id;
    bool ok = true;

    for (id = 0; id < SIZE; id++)
        add(driver, id);
    publish(driver);
    bench_begin(run, NULL);
    while (ok && bench_more(run)) {
        uint64_t start = run->last;

        ok = turn_over(driver, run->batch);
        bench_sample(run, start, clock_now());
    }
    if (ok)
        (void)drain(driver);
}

bool limit_bare_ring(struct bench_run *run)
{
    static struct bare_ring ring;
    struct bare_device device = {.ring = &ring};
    struct bare_driver driver = {.ring = &ring};
    struct sim_os_thread *thread;

    memset(&ring, 0, sizeof ring);
    thread = sim_os_thread_start(serve, &device, run->session->options.device_cpu);
    if (thread == NULL)
        return bench_fail(run, "the host gave no second thread");
    drive(run, &driver);
    atomic_store_explicit(&ring.stop, 1, memory_order_relaxed);
    sim_os_thread_join(thread);
    if (device.wrong != NULL || driver.wrong != NULL)
        return bench_fail(run, "%s", device.wrong != NULL ? device.wrong : driver.wrong);
    if (device.chains != driver.chains || device.bytes != BUFFER_BYTES * driver.chains)
        return bench_fail(run, "the two sides of the bare ring counted differently");
    run->digest += device.bytes;
    return true;
}
