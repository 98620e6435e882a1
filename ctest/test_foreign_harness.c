/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Somebody else's driver harness on the simulator's bus: of this project it includes aero_sim.h and nothing
 * else, and brings its own offsets, structures, memory and interrupt line. It finds the device through its
 * PCI capabilities, assigns the BAR, negotiates, echoes through loopback by interrupt and by polling, resets,
 * and does it all again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "aero_sim.h"
#include "test_program.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- What a stranger knows from the Virtio and PCI specifications ---- */

struct vq_desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags, next;
};

struct vq_used_elem {
    uint32_t id, len;
};

#define QUEUE_SIZE 256 /* what we can take; the device says what it has */
#define LOW_BASE   0x00200000ull
#define HIGH_BASE  0x240000000ull
#define REGION     (64 * 1024)

struct harness {
    struct aero_sim_memory *space;
    struct aero_sim_worker *worker;
    struct aero_sim_device *dev;
    uint8_t *low, *high; /* our memory, below and above 4 GiB */
    uint8_t *low_raw, *high_raw;
    uint64_t bar_base;
    uint32_t bar_size;
    uint32_t common, notify, isr, config, multiplier; /* offsets in the BAR */
    uint32_t irq_level, irq_edges;                    /* of our interrupt line; atomics */
    uint32_t interrupts;                              /* that our handler took */
    uint16_t size, notify_off, avail_idx, used_idx;
};

/* Our interrupt controller's input. It may run on a thread that isn't ours. */
static void irq_line(void *context, bool asserted)
{
    struct harness *h = context;

    __atomic_store_n(&h->irq_level, asserted, __ATOMIC_SEQ_CST);
    __atomic_fetch_add(&h->irq_edges, 1, __ATOMIC_SEQ_CST);
}

/* Memory transactions by address, as a CPU makes them. */
static uint64_t mmio_read(struct harness *h, uint32_t offset, uint32_t width)
{
    assert_true(h->bar_base != 0 && offset + width <= h->bar_size);
    return aero_sim_bar_read(h->dev, offset, width);
}

static void mmio_write(struct harness *h, uint32_t offset, uint32_t width, uint64_t value)
{
    assert_true(h->bar_base != 0 && offset + width <= h->bar_size);
    aero_sim_bar_write(h->dev, offset, width, value);
}

static uint8_t *page_aligned(uint8_t **raw)
{
    *raw = malloc(REGION + 4096);
    assert_non_null(*raw);
    memset(*raw, 0, REGION + 4096);
    return (uint8_t *)(((uintptr_t)*raw + 4095) & ~(uintptr_t)4095);
}

static struct harness *plug_in(bool with_worker)
{
    struct harness *h = calloc(1, sizeof *h);

    assert_non_null(h);
    h->low = page_aligned(&h->low_raw);
    h->high = page_aligned(&h->high_raw);
    assert_int_equal(aero_sim_memory_create(&h->space), AERO_SIM_OK);
    assert_int_equal(aero_sim_memory_map(h->space, LOW_BASE, REGION, h->low), AERO_SIM_OK);
    assert_int_equal(aero_sim_memory_map(h->space, HIGH_BASE, REGION, h->high), AERO_SIM_OK);
    if (with_worker)
        assert_int_equal(aero_sim_worker_create(NULL, &h->worker), AERO_SIM_OK);
    assert_int_equal(aero_sim_device_create(aero_sim_model_find("loopback"), h->space, h->worker, &h->dev),
                     AERO_SIM_OK);
    assert_int_equal(aero_sim_device_set_intx(h->dev, irq_line, h), AERO_SIM_OK);
    assert_int_equal(aero_sim_device_start(h->dev), AERO_SIM_OK);
    return h;
}

static void unplug(struct harness *h)
{
    assert_int_equal(aero_sim_device_stop(h->dev), AERO_SIM_OK);
    aero_sim_device_destroy(h->dev);
    aero_sim_worker_destroy(h->worker);
    aero_sim_memory_destroy(h->space);
    assert_int_equal(h->irq_level, 0);
    free(h->low_raw);
    free(h->high_raw);
    free(h);
}

/* ---- Enumeration ---- */

static void size_and_assign_bar(struct harness *h)
{
    uint32_t low = aero_sim_pci_read(h->dev, 0x10, 4);
    uint64_t mask;

    assert_int_equal(low & 0x7, 0x4); /* memory, 64 bits */
    aero_sim_pci_write(h->dev, 0x10, 4, 0xFFFFFFFF);
    aero_sim_pci_write(h->dev, 0x14, 4, 0xFFFFFFFF);
    mask = aero_sim_pci_read(h->dev, 0x10, 4) & ~0xFull;
    mask |= (uint64_t)aero_sim_pci_read(h->dev, 0x14, 4) << 32;
    h->bar_size = (uint32_t)(~mask + 1);
    h->bar_base = 0x8FE000000ull;
    assert_int_equal(h->bar_base % h->bar_size, 0);
    aero_sim_pci_write(h->dev, 0x10, 4, (uint32_t)h->bar_base);
    aero_sim_pci_write(h->dev, 0x14, 4, (uint32_t)(h->bar_base >> 32));
    assert_int_equal(aero_sim_pci_read(h->dev, 0x10, 4), (uint32_t)h->bar_base | 0x4);
    aero_sim_pci_write(h->dev, 0x04, 2, 0x0006); /* memory, bus master */
}

static void enumerate(struct harness *h)
{
    uint32_t found = 0, hops = 0;

    assert_int_equal(aero_sim_pci_read(h->dev, 0x00, 2), 0x1AF4);
    assert_int_equal(aero_sim_pci_read(h->dev, 0x08, 1), 1);
    size_and_assign_bar(h);
    for (uint32_t cap = aero_sim_pci_read(h->dev, 0x34, 1); cap;
         cap = aero_sim_pci_read(h->dev, cap + 1, 1)) {
        uint32_t offset = aero_sim_pci_read(h->dev, cap + 8, 4);

        assert_true(++hops < 48);
        if (aero_sim_pci_read(h->dev, cap, 1) != 0x09)
            continue;
        assert_int_equal(aero_sim_pci_read(h->dev, cap + 4, 1), 0);
        assert_true(offset + aero_sim_pci_read(h->dev, cap + 12, 4) <= h->bar_size);
        switch (aero_sim_pci_read(h->dev, cap + 3, 1)) {
        case 1:
            h->common = offset;
            break;
        case 2:
            h->notify = offset;
            h->multiplier = aero_sim_pci_read(h->dev, cap + 16, 4);
            break;
        case 3:
            h->isr = offset;
            break;
        case 4:
            h->config = offset;
            break;
        default:
            continue;
        }
        found++;
    }
    assert_int_equal(found, 4);
}

/* ---- Bring-up ---- */

static void add_status(struct harness *h, uint32_t bit)
{
    mmio_write(h, h->common + 0x14, 1, mmio_read(h, h->common + 0x14, 1) | bit);
}

static void negotiate(struct harness *h)
{
    mmio_write(h, h->common + 0x14, 1, 0);
    assert_int_equal(mmio_read(h, h->common + 0x14, 1), 0);
    add_status(h, 1);
    add_status(h, 2);
    mmio_write(h, h->common + 0x00, 4, 1);
    assert_true(mmio_read(h, h->common + 0x04, 4) & 1); /* VERSION_1 */
    mmio_write(h, h->common + 0x08, 4, 0);
    mmio_write(h, h->common + 0x0C, 4, 0);
    mmio_write(h, h->common + 0x08, 4, 1);
    mmio_write(h, h->common + 0x0C, 4, 1);
    add_status(h, 8);
    assert_true(mmio_read(h, h->common + 0x14, 1) & 8);
}

/* Descriptors above 4 GiB; available ring, used ring and buffers below. */
static void set_up_queue(struct harness *h, uint16_t queue)
{
    const uint64_t areas[] = {HIGH_BASE, LOW_BASE, LOW_BASE + 0x1000};

    mmio_write(h, h->common + 0x16, 2, queue);
    h->size = (uint16_t)mmio_read(h, h->common + 0x18, 2);
    h->notify_off = (uint16_t)mmio_read(h, h->common + 0x1E, 2);
    assert_in_range(h->size, 1, QUEUE_SIZE);
    memset(h->low, 0, REGION);
    memset(h->high, 0, REGION);
    h->avail_idx = h->used_idx = 0;
    for (uint32_t i = 0; i < 3; i++) {
        mmio_write(h, h->common + 0x20 + 8 * i, 4, (uint32_t)areas[i]);
        mmio_write(h, h->common + 0x24 + 8 * i, 4, (uint32_t)(areas[i] >> 32));
    }
    mmio_write(h, h->common + 0x1C, 2, 1);
    assert_int_equal(mmio_read(h, h->common + 0x1C, 2), 1);
}

/* ---- Input and output ---- */

static void send(struct harness *h, uint64_t from, uint64_t to, uint32_t length)
{
    struct vq_desc *desc = (struct vq_desc *)(void *)h->high;
    uint16_t *avail = (uint16_t *)(void *)h->low;

    desc[0] = (struct vq_desc){from, length, 1, 1};
    desc[1] = (struct vq_desc){to, length, 2, 0};
    avail[2 + h->avail_idx % h->size] = 0;
    h->avail_idx++;
    /* The index, and a full barrier before the doorbell: on x86 a locked exchange is both. */
    (void)__atomic_exchange_n(&avail[1], h->avail_idx, __ATOMIC_SEQ_CST);
    mmio_write(h, h->notify + h->notify_off * h->multiplier, 2, h->notify_off);
}

static bool answered(struct harness *h)
{
    const uint16_t *used = (const uint16_t *)(const void *)(h->low + 0x1000);

    return __atomic_load_n(&used[1], __ATOMIC_ACQUIRE) != h->used_idx;
}

/* Lets a device without a worker move; else gives others the processor for a moment. */
static bool spin(struct harness *h, time_t end)
{
    if (!h->worker)
        return aero_sim_device_step(h->dev);
    return time(NULL) < end;
}

static void wait_for_interrupt(struct harness *h)
{
    time_t end = time(NULL) + 20;

    for (;;) {
        while (!__atomic_load_n(&h->irq_level, __ATOMIC_SEQ_CST)) {
            if (!spin(h, end))
                fail_msg("no interrupt came");
        }
        /*
         * The handler: acknowledge, and look whether it was for this answer. A late one for the last may come
         * first.
         */
        if ((mmio_read(h, h->isr, 1) & 1) && answered(h))
            break;
        if (!spin(h, end))
            fail_msg("the line is up, and nobody says why");
    }
    h->interrupts++;
}

static void wait_by_polling(struct harness *h)
{
    time_t end = time(NULL) + 20;

    while (!answered(h)) {
        if (!spin(h, end))
            fail_msg("no answer came");
    }
}

static void echo(struct harness *h, uint64_t from, uint64_t to, uint32_t length, bool by_interrupt)
{
    uint8_t *source = aero_sim_memory_at(h->space, from, length),
            *sink = aero_sim_memory_at(h->space, to, length);
    uint16_t *avail = (uint16_t *)(void *)h->low;
    const struct vq_used_elem *elem = (const struct vq_used_elem *)(const void *)(h->low + 0x1000 + 4);

    assert_non_null(source);
    assert_non_null(sink);
    for (uint32_t i = 0; i < length; i++)
        source[i] = (uint8_t)(i * 31 + h->avail_idx);
    memset(sink, 0, length);
    __atomic_store_n(&avail[0], by_interrupt ? 0 : 1, __ATOMIC_SEQ_CST);
    send(h, from, to, length);
    if (by_interrupt)
        wait_for_interrupt(h);
    else
        wait_by_polling(h);
    assert_true(answered(h));
    elem += h->used_idx++ % h->size;
    assert_int_equal(__atomic_load_n(&elem->id, __ATOMIC_RELAXED), 0);
    assert_int_equal(__atomic_load_n(&elem->len, __ATOMIC_RELAXED), length);
    assert_memory_equal(sink, source, length);
}

static void run(struct harness *h)
{
    for (uint16_t queue = 0; queue < 3; queue++) {
        negotiate(h);
        set_up_queue(h, queue);
        add_status(h, 4);
        for (uint32_t i = 0; i < 600; i++) /* twice round the ring */
            echo(h, LOW_BASE + 0x4000 + i, (i & 2 ? HIGH_BASE : LOW_BASE) + 0x8000 + 3 * i, 1 + i, i & 1);
        assert_int_equal(mmio_read(h, h->config, 4), 0x504F4F4C); /* "LOOP" */
    }
    mmio_write(h, h->common + 0x14, 1, 0);
    assert_int_equal(mmio_read(h, h->common + 0x14, 1), 0);
}

static void whole_life(bool with_worker)
{
    struct harness *h = plug_in(with_worker);

    enumerate(h);
    run(h);
    assert_int_equal(h->interrupts, 900);
    run(h);
    assert_int_equal(h->interrupts, 1800);
    unplug(h);
}

static void test_foreign_harness_with_a_worker_echoes_resets_and_echoes_again(void **state)
{
    (void)state;
    whole_life(true);
}

static void test_foreign_harness_that_steps_the_device_does_the_same(void **state)
{
    (void)state;
    whole_life(false);
}

static void test_foreign_harness_that_rings_nothing_waits_in_vain(void **state)
{
    struct harness *h = plug_in(false);

    (void)state;
    enumerate(h);
    negotiate(h);
    set_up_queue(h, 0);
    add_status(h, 4);
    while (aero_sim_device_step(h->dev))
        ;
    __atomic_store_n((uint16_t *)(void *)(h->low + 2), 1, __ATOMIC_SEQ_CST);
    assert_false(aero_sim_device_step(h->dev));
    assert_false(answered(h));
    assert_int_equal(h->irq_edges, 0);
    unplug(h);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_foreign_harness_with_a_worker_echoes_resets_and_echoes_again),
        cmocka_unit_test(test_foreign_harness_that_steps_the_device_does_the_same),
        cmocka_unit_test(test_foreign_harness_that_rings_nothing_waits_in_vain),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests_name("foreign harness", tests, NULL, NULL);
}
