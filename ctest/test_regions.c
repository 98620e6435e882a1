/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * BAR0 beyond the registers that have a suite of their own: the holes (BAR-3, BAR-4), accesses that fit
 * nothing (BAR-6, a sweep over every offset and width), doorbells (NTF-*) and what surrounds the ISR byte. On
 * a device without a worker.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "target.h"
#include "test_program.h"

#include <string.h>

#define QUEUES 64u

static uint32_t serve_nothing(void *state, const struct aero_sim_chain *chain)
{
    return 0;
}

static struct aero_sim_queue_spec many_queues[QUEUES];
static const struct aero_sim_model wide = {.name = "wide",
                                           .summary = "as many queues as doorbells fit",
                                           .pci_device_id = 0x107F,
                                           .queue_count = QUEUES,
                                           .queues = many_queues};

static int name_queues(void **state)
{
    for (uint32_t i = 0; i < QUEUES; i++)
        many_queues[i] = (struct aero_sim_queue_spec){"q", 4, serve_nothing};
    return 0;
}

static uint64_t ones(uint32_t width)
{
    return UINT64_MAX >> (64 - 8 * width);
}

static bool power_of_two(uint32_t width)
{
    return width == 1 || width == 2 || width == 4 || width == 8;
}

/* Where a register of the common configuration has exactly that width. */
static bool fits_common(uint32_t offset, uint32_t width)
{
    if (offset < 0x10 || (offset >= 0x20 && offset < 0x38))
        return offset % 4 == 0 && width == 4;
    if (offset == 0x14 || offset == 0x15)
        return width == 1;
    return offset < 0x20 && offset % 2 == 0 && width == 2;
}

static bool fits_any(uint32_t offset, uint32_t width)
{
    if (offset < 0x38)
        return fits_common(offset, width);
    if (offset >= 0x1000 && offset < 0x1100)
        return offset % 4 == 0 && (width == 2 || width == 4);
    if (offset == 0x2000)
        return width == 1;
    return offset >= 0x3000 && offset < 0x3100 && power_of_two(width) && width <= 4 && offset % width == 0;
}

static void bar_03_undefined_offsets_read_zero(void **state)
{
    struct target *target = target_open(&(struct target_options){.stepped = true});

    for (uint32_t offset = 0; offset < AERO_SIM_BAR0_SIZE; offset++) {
        for (uint32_t width = 1; width <= 8; width *= 2) {
            bool hole = (offset >= 0x38 && offset < 0x2000) || (offset > 0x2000 && offset < 0x3000) ||
                        offset >= 0x3010;

            if (hole && offset % width == 0 && target_read(target, offset, width) != 0)
                fail_msg("0x%04X reads something by %u", offset, width);
        }
    }
    target_close(target);
}

static void test_regions_beyond_bar0_reads_all_ones_and_takes_no_write(void **state)
{
    static const uint32_t offsets[] = {0x4000,     0x4014,         0x5000,    0x10014,
                                       0x80000000, UINT32_MAX - 7, UINT32_MAX};
    struct target *target = target_open(&(struct target_options){.stepped = true});

    for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
        for (uint32_t width = 1; width <= 8; width *= 2) {
            assert_true(target_read(target, offsets[i], width) == ones(width));
            target_write(target, offsets[i], width, 1);
        }
    }
    assert_int_equal(target_read(target, 0x14, 1), 0);
    target_close(target);
}

/* All that BAR0 can tell without side effect: every register, of every queue. */
struct image {
    uint64_t word[0x38 + 4 * 0x20 + 0x100];
};

static struct image image_of(struct target *target)
{
    uint64_t select = target_read(target, 0x16, 2);
    struct image image = {{0}};
    size_t n = 0;

    for (uint32_t offset = 0; offset < 0x20; offset++) {
        for (uint32_t width = 1; width <= 4; width *= 2) {
            if (fits_common(offset, width))
                image.word[n++] = target_read(target, offset, width);
        }
    }
    for (uint32_t queue = 0; queue < 4; queue++) {
        target_write(target, 0x16, 2, queue);
        for (uint32_t offset = 0x18; offset < 0x20; offset += 2)
            image.word[n++] = target_read(target, offset, 2);
        for (uint32_t offset = 0x20; offset < 0x38; offset += 4)
            image.word[n++] = target_read(target, offset, 4);
    }
    target_write(target, 0x16, 2, select);
    for (uint32_t offset = 0x3000; offset < 0x3100; offset += 4)
        image.word[n++] = target_read(target, offset, 4);
    return image;
}

/* A live device whose registers all hold something, with an interrupt pending. */
static struct target *open_live(struct ring_driver_queue *queue)
{
    struct target *target = target_open(&(struct target_options){.stepped = true});

    target_bring_up(target, queue, 1);
    target_echo_small(target, queue);
    assert_true(target_wait_line(target, true));
    target_write(target, 0x10, 2, 0x1234);
    target_write(target, 0x16, 2, 1);
    return target;
}

static void bar_06_reads_of_every_offset_and_width_change_nothing(void **state)
{
    static const uint32_t widths[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 32, 64, UINT32_MAX};
    struct ring_driver_queue queue;
    struct target *target = open_live(&queue);
    struct image before = image_of(target), after;

    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++) {
        for (uint32_t offset = 0; offset < AERO_SIM_BAR0_SIZE + 16; offset++) {
            if (!(offset == RING_DRIVER_ISR && widths[i] == 1))
                (void)target_read(target, offset, widths[i]);
        }
    }
    after = image_of(target);
    assert_memory_equal(&before, &after, sizeof before);
    assert_int_equal(target->line, 1); /* INT-1: a byte; no other read acknowledges */
    assert_int_equal(target_read(target, RING_DRIVER_ISR, 1), 1);
    ring_driver_queue_destroy(&queue);
    target_close(target);
}

static void bar_06_writes_that_fit_no_register_change_nothing(void **state)
{
    static const uint32_t widths[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 32, 64, UINT32_MAX};
    static const uint64_t values[] = {0, 1, UINT64_MAX};
    struct ring_driver_queue queue;
    struct target *target = open_live(&queue);
    struct image before = image_of(target), after;
    struct aero_sim_counters counters;

    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++) {
        for (uint32_t offset = 0; offset < AERO_SIM_BAR0_SIZE + 16; offset++) {
            for (size_t j = 0; j < 3 && !fits_any(offset, widths[i]); j++)
                target_write(target, offset, widths[i], values[j]);
        }
    }
    after = image_of(target);
    assert_memory_equal(&before, &after, sizeof before);
    assert_int_equal(target_read(target, RING_DRIVER_ISR, 1), 1);
    aero_sim_device_counters(target->driver.device, &counters);
    assert_int_equal(counters.doorbells, 1);
    target_echo_small(target, &queue);
    ring_driver_queue_destroy(&queue);
    target_close(target);
}

static void bar_04_isr_and_device_config_take_no_write(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = open_live(&queue);
    struct image before = image_of(target), after;

    for (uint32_t width = 1; width <= 8; width *= 2) {
        for (uint32_t offset = 0; offset < 0x100; offset += width) {
            target_write(target, 0x2000 + offset, width, UINT64_MAX);
            target_write(target, 0x3000 + offset, width, UINT64_MAX);
        }
    }
    after = image_of(target);
    assert_memory_equal(&before, &after, sizeof before);
    assert_int_equal(target_read(target, RING_DRIVER_ISR, 1), 1);
    ring_driver_queue_destroy(&queue);
    target_close(target);
}

static void bar_06_value_wider_than_the_register_is_cut(void **state)
{
    struct target *target = target_open(&(struct target_options){.stepped = true});

    target_write(target, 0x10, 2, 0xFFFFFFFFABCD1234);
    assert_int_equal(target_read(target, 0x10, 2), 0x1234);
    target_write(target, 0x14, 1, 0xFFFFFF01);
    assert_int_equal(target_read(target, 0x14, 1), 0x01);
    target_write(target, 0x20, 4, 0xFFFFFFFF00000010);
    assert_int_equal(target_read(target, 0x20, 4), 0x10);
    assert_int_equal(target_read(target, 0x24, 4), 0);
    target_close(target);
}

/* ---- Doorbells ---- */

/* Makes one chain available in the queue, whose doorbell stays untouched. */
static void offer(struct ring_driver_queue *queue)
{
    target_desc(queue, 0, RING_DRIVER_HIGH_GPA, 4, RING_DRIVER_F_WRITE, 0);
    target_offer(queue, 0);
    ring_driver_publish(queue);
}

static void ntf_01_each_doorbell_schedules_its_own_queue_alone(void **state)
{
    static struct ring_driver_queue queues[QUEUES];
    struct target *target = target_open(&(struct target_options){.model = &wide, .stepped = true});

    target_negotiate(target, RING_DRIVER_ALL_FEATURES);
    for (uint16_t i = 0; i < QUEUES; i++)
        assert_true(ring_driver_queue_create(&queues[i], &target->driver, i));
    target_ready(target);
    target_settle(target);
    for (uint32_t i = 0; i < QUEUES; i++)
        offer(&queues[i]);
    target_settle(target);
    for (uint32_t turn = 0; turn < QUEUES; turn++) {
        uint32_t rung = turn * 37 % QUEUES;

        target_write(target, 0x1000 + 4 * rung, 2, rung);
        target_settle(target);
        for (uint32_t i = 0; i < QUEUES; i++)
            assert_int_equal(ring_driver_used(&queues[i]), queues[i].used_idx == 0 && i == rung);
        queues[rung].used_idx = 1;
    }
    for (uint32_t i = 0; i < QUEUES; i++)
        ring_driver_queue_destroy(&queues[i]);
    target_close(target);
}

static void ntf_03_any_value_by_16_or_32_bits_rings(void **state)
{
    static const struct {
        uint32_t width;
        uint64_t value;
        bool rings;
    } writes[] = {{2, 1, true},          {4, 1, true},      {2, 0, true},
                  {4, 0xFFFFFFFF, true}, {2, 0xFFFF, true}, {4, 0x00010001, true},
                  {1, 1, false},         {8, 1, false},     {1, 0, false}};
    struct target *target = target_open(&(struct target_options){.stepped = true});
    struct ring_driver_queue queue;

    target_bring_up(target, &queue, 1);
    target_settle(target);
    for (size_t i = 0; i < sizeof writes / sizeof writes[0]; i++) {
        offer(&queue);
        target_write(target, 0x1004, writes[i].width, writes[i].value);
        target_settle(target);
        assert_int_equal(ring_driver_used(&queue), writes[i].rings);
        target_write(target, 0x1004, 2, 1);
        target_settle(target);
        queue.used_idx++;
    }
    ring_driver_queue_destroy(&queue);
    target_close(target);
}

static void ntf_03_doorbells_past_the_last_queue_are_nobodys(void **state)
{
    struct target *target = target_open(&(struct target_options){.stepped = true});
    struct aero_sim_counters counters;
    struct ring_driver_queue queue;

    target_bring_up(target, &queue, 3);
    target_settle(target);
    for (uint32_t offset = 0x1010; offset < 0x2000; offset += 2)
        target_write(target, offset, 2, 3);
    target_write(target, 0x1002, 2, 3);
    aero_sim_device_counters(target->driver.device, &counters);
    assert_int_equal(counters.doorbells, 0);
    assert_false(aero_sim_device_step(target->driver.device));
    ring_driver_queue_destroy(&queue);
    target_close(target);
}

static void ntf_06_doorbell_before_driver_ok_waits_for_it(void **state)
{
    struct target *target = target_open(&(struct target_options){.stepped = true});
    struct ring_driver_queue queue;

    for (uint32_t i = 0; i < 4; i++)
        target_write(target, 0x1000 + 4 * i, 2, i); /* on a device that nobody reset */
    target_settle(target);
    target_negotiate(target, RING_DRIVER_ALL_FEATURES);
    assert_true(ring_driver_queue_create(&queue, &target->driver, 0));
    offer(&queue);
    target_write(target, 0x1000, 2, 0);
    target_settle(target);
    assert_false(ring_driver_used(&queue));
    target_expect_no_interrupt(target, 0);
    target_ready(target);
    target_settle(target);
    assert_true(ring_driver_used(&queue));
    ring_driver_queue_destroy(&queue);
    target_close(target);
}

static void ntf_06_doorbell_of_a_queue_that_is_not_enabled_does_nothing(void **state)
{
    struct target *target = target_open(&(struct target_options){.stepped = true});
    struct ring_driver_queue queue;

    target_bring_up(target, &queue, 0);
    for (uint32_t i = 1; i < 4; i++)
        target_write(target, 0x1000 + 4 * i, 2, i);
    target_expect_no_interrupt(target, 0);
    target_echo_small(target, &queue);
    ring_driver_queue_destroy(&queue);
    target_close(target);
}

static void ntf_06_doorbell_with_nothing_new_is_harmless(void **state)
{
    struct target *target = target_open(&(struct target_options){.stepped = true});
    struct ring_driver_queue queue;

    target_bring_up(target, &queue, 0);
    ring_driver_kick(&queue);
    ring_driver_kick(&queue);
    target_expect_no_interrupt(target, 0);
    assert_false(ring_driver_used(&queue));
    target_echo_small(target, &queue);
    ring_driver_queue_destroy(&queue);
    target_close(target);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bar_03_undefined_offsets_read_zero),
        cmocka_unit_test(test_regions_beyond_bar0_reads_all_ones_and_takes_no_write),
        cmocka_unit_test(bar_06_reads_of_every_offset_and_width_change_nothing),
        cmocka_unit_test(bar_06_writes_that_fit_no_register_change_nothing),
        cmocka_unit_test(bar_04_isr_and_device_config_take_no_write),
        cmocka_unit_test(bar_06_value_wider_than_the_register_is_cut),
        cmocka_unit_test(ntf_01_each_doorbell_schedules_its_own_queue_alone),
        cmocka_unit_test(ntf_03_any_value_by_16_or_32_bits_rings),
        cmocka_unit_test(ntf_03_doorbells_past_the_last_queue_are_nobodys),
        cmocka_unit_test(ntf_06_doorbell_before_driver_ok_waits_for_it),
        cmocka_unit_test(ntf_06_doorbell_of_a_queue_that_is_not_enabled_does_nothing),
        cmocka_unit_test(ntf_06_doorbell_with_nothing_new_is_harmless),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests_name("regions", tests, name_queues, NULL);
}
