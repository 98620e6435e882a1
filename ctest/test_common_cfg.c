/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The common configuration registers (COM-*) of a loopback device without a worker: what they read after a
 * reset, what they keep, how features and status are agreed, how a queue is enabled. Widths that don't fit
 * are test_regions.c's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "target.h"
#include "test_program.h"

enum {
    DEVICE_FEATURE_SELECT = 0x00,
    DEVICE_FEATURE = 0x04,
    DRIVER_FEATURE_SELECT = 0x08,
    DRIVER_FEATURE = 0x0C,
    MSIX_CONFIG = 0x10,
    NUM_QUEUES = 0x12,
    STATUS = 0x14,
    GENERATION = 0x15,
    QUEUE_SELECT = 0x16,
    QUEUE_SIZE = 0x18,
    QUEUE_VECTOR = 0x1A,
    QUEUE_ENABLE = 0x1C,
    QUEUE_NOTIFY_OFF = 0x1E,
    QUEUE_DESC = 0x20,
    QUEUE_AVAIL = 0x28,
    QUEUE_USED = 0x30
};

/*
 * The common configuration registers (COM-*) of a loopback device without a worker: what they read after a
 * reset, what they keep, how features and status are agreed. Those of a queue are test_queue_cfg.c's, widths
 * that don't fit test_regions.c's.
 */
static const struct {
    uint32_t offset, width, after_reset, writable;
} registers[] = {
    {DEVICE_FEATURE_SELECT, 4, 0, UINT32_MAX},
    {DEVICE_FEATURE, 4, 0x10000000, 0},
    {DRIVER_FEATURE_SELECT, 4, 0, UINT32_MAX},
    {DRIVER_FEATURE, 4, 0, UINT32_MAX},
    {MSIX_CONFIG, 2, 0xFFFF, 0xFFFF},
    {NUM_QUEUES, 2, 4, 0},
    {GENERATION, 1, 0, 0},
    {QUEUE_SELECT, 2, 0, 0xFFFF},
    {QUEUE_SIZE, 2, 256, 0},
    {QUEUE_VECTOR, 2, 0xFFFF, 0xFFFF},
    {QUEUE_NOTIFY_OFF, 2, 0, 0},
    {QUEUE_DESC, 4, 0, UINT32_MAX},
    {QUEUE_DESC + 4, 4, 0, UINT32_MAX},
    {QUEUE_AVAIL, 4, 0, UINT32_MAX},
    {QUEUE_AVAIL + 4, 4, 0, UINT32_MAX},
    {QUEUE_USED, 4, 0, UINT32_MAX},
    {QUEUE_USED + 4, 4, 0, UINT32_MAX},
};
#define REGISTER_COUNT (sizeof registers / sizeof registers[0])

static struct target *open_stepped(void)
{
    return target_open(&(struct target_options){.stepped = true});
}

static void expect_fresh(struct target *target)
{
    for (size_t i = 0; i < REGISTER_COUNT; i++) {
        if (target_read(target, registers[i].offset, registers[i].width) != registers[i].after_reset)
            fail_msg("offset 0x%02X doesn't read what it does after reset", registers[i].offset);
    }
    assert_int_equal(target_read(target, STATUS, 1), 0);
    assert_int_equal(target_read(target, QUEUE_ENABLE, 2), 0);
}

static void com_01_registers_of_a_fresh_device_read_as_listed(void **state)
{
    struct target *target = open_stepped();

    expect_fresh(target);
    target_close(target);
}

static void com_01_writable_registers_keep_every_bit_and_others_none(void **state)
{
    static const uint32_t patterns[] = {UINT32_MAX, 0, 0xA5A5A5A5, 0x5A5A5A5A};

    for (size_t i = 0; i < REGISTER_COUNT; i++) {
        struct target *target = open_stepped();
        uint32_t mask = UINT32_MAX >> (32 - 8 * registers[i].width);

        for (size_t j = 0; j < sizeof patterns / sizeof patterns[0]; j++) {
            uint32_t expected = registers[i].writable ? patterns[j] & mask : registers[i].after_reset;

            target_write(target, registers[i].offset, registers[i].width, patterns[j]);
            if (target_read(target, registers[i].offset, registers[i].width) != expected)
                fail_msg("offset 0x%02X doesn't keep 0x%X", registers[i].offset, patterns[j]);
        }
        target_close(target);
    }
}

static void com_01_a_write_changes_no_other_register(void **state)
{
    for (size_t i = 0; i < REGISTER_COUNT; i++) {
        struct target *target = open_stepped();
        uint32_t selects = registers[i].offset == DEVICE_FEATURE_SELECT ||
                           registers[i].offset == QUEUE_SELECT ||
                           registers[i].offset == DRIVER_FEATURE_SELECT;

        target_write(target, registers[i].offset, registers[i].width, selects ? 1 : UINT32_MAX);
        target_write(target, DEVICE_FEATURE_SELECT, 4, 0);
        target_write(target, DRIVER_FEATURE_SELECT, 4, 0);
        target_write(target, QUEUE_SELECT, 2, 0);
        for (size_t j = 0; j < REGISTER_COUNT; j++) {
            if (j != i)
                assert_int_equal(target_read(target, registers[j].offset, registers[j].width),
                                 registers[j].after_reset);
        }
        assert_int_equal(target_read(target, STATUS, 1), 0);
        target_close(target);
    }
}

static void select_from_another_thread(void *context)
{
    target_write(context, DEVICE_FEATURE_SELECT, 4, 1);
    target_write(context, DRIVER_FEATURE_SELECT, 4, 1);
    target_write(context, QUEUE_SELECT, 2, 3);
}

static void com_02_selectors_are_one_state_for_all_threads(void **state)
{
    struct target *target = open_stepped();
    struct sim_os_thread *thread = sim_os_thread_start(select_from_another_thread, target, -1);

    assert_non_null(thread);
    sim_os_thread_join(thread);
    assert_int_equal(target_read(target, DEVICE_FEATURE, 4), 1); /* VERSION_1 */
    assert_int_equal(target_read(target, DRIVER_FEATURE_SELECT, 4), 1);
    assert_int_equal(target_read(target, QUEUE_NOTIFY_OFF, 2), 3);
    target_close(target);
}

static void com_04_feature_select_shows_both_halves(void **state)
{
    struct target *target = open_stepped();

    target_write(target, DEVICE_FEATURE_SELECT, 4, 1);
    assert_int_equal(target_read(target, DEVICE_FEATURE, 4), 0x00000001);
    target_write(target, DEVICE_FEATURE_SELECT, 4, 0);
    assert_int_equal(target_read(target, DEVICE_FEATURE, 4), 0x10000000);
    target_write(target, DRIVER_FEATURE, 4, 0x11111111);
    target_write(target, DRIVER_FEATURE_SELECT, 4, 1);
    target_write(target, DRIVER_FEATURE, 4, 0x22222222);
    assert_int_equal(target_read(target, DRIVER_FEATURE, 4), 0x22222222);
    target_write(target, DRIVER_FEATURE_SELECT, 4, 0);
    assert_int_equal(target_read(target, DRIVER_FEATURE, 4), 0x11111111);
    target_close(target);
}

static void com_05_other_feature_selects_read_zero_and_take_no_write(void **state)
{
    static const uint32_t selects[] = {2, 3, 0x80000000, UINT32_MAX, 0x00010000};
    struct target *target = open_stepped();

    for (size_t i = 0; i < sizeof selects / sizeof selects[0]; i++) {
        target_write(target, DEVICE_FEATURE_SELECT, 4, selects[i]);
        assert_int_equal(target_read(target, DEVICE_FEATURE, 4), 0);
        target_write(target, DRIVER_FEATURE_SELECT, 4, selects[i]);
        target_write(target, DRIVER_FEATURE, 4, UINT32_MAX);
        assert_int_equal(target_read(target, DRIVER_FEATURE, 4), 0);
    }
    for (uint32_t half = 0; half < 2; half++) {
        target_write(target, DRIVER_FEATURE_SELECT, 4, half);
        assert_int_equal(target_read(target, DRIVER_FEATURE, 4), 0);
    }
    target_close(target);
}

static void com_06_version_1_is_offered_and_required(void **state)
{
    struct target *target = open_stepped();

    assert_true(ring_driver_offered(&target->driver) & AERO_SIM_F_VERSION_1);
    target_negotiate(target, AERO_SIM_F_VERSION_1);
    assert_false(ring_driver_bring_up(&target->driver, AERO_SIM_F_INDIRECT_DESC));
    target_take_breach(target, "COM-7");
    assert_int_equal(target_read(target, STATUS, 1), 0x03);
    target_close(target);
}

static void rng_04_indirect_is_offered_and_no_forbidden_ring_feature(void **state)
{
    struct target *target = open_stepped();
    uint64_t offered = ring_driver_offered(&target->driver);

    assert_true(offered & AERO_SIM_F_INDIRECT_DESC);
    assert_false(offered & 1ull << 29); /* EVENT_IDX */
    assert_false(offered & 1ull << 34); /* PACKED */
    target_close(target);
}

static void com_09_feature_that_was_not_offered_keeps_features_ok_off(void **state)
{
    static const uint64_t foreign[] = {1ull << 0, 1ull << 29, 1ull << 33, 1ull << 63};

    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++) {
        struct target *target = open_stepped();

        assert_false(ring_driver_bring_up(&target->driver, AERO_SIM_F_VERSION_1 | foreign[i]));
        assert_true(target_take_breach(target, "COM-9").value == foreign[i]);
        assert_int_equal(target_read(target, STATUS, 1), 0x03);
        target_negotiate(target, RING_DRIVER_ALL_FEATURES); /* and better luck after a reset */
        target_close(target);
    }
}

static void com_08_reset_of_a_running_device_gives_a_fresh_one(void **state)
{
    struct target *target = open_stepped();
    struct ring_driver_queue queue;

    target_bring_up(target, &queue, 2);
    target_echo_small(target, &queue);
    assert_true(target_wait_line(target, true));
    target_write(target, DEVICE_FEATURE_SELECT, 4, 1);
    target_write(target, MSIX_CONFIG, 2, 7);
    target_write(target, QUEUE_VECTOR, 2, 7);
    target_write(target, STATUS, 1, 0);
    assert_int_equal(target->line, 0);
    expect_fresh(target);
    target_write(target, DRIVER_FEATURE_SELECT, 4, 1);
    assert_int_equal(target_read(target, DRIVER_FEATURE, 4), 0);
    target_write(target, QUEUE_SELECT, 2, 2);
    assert_int_equal(target_read(target, QUEUE_ENABLE, 2), 0);
    assert_int_equal(target_read(target, QUEUE_DESC, 4), 0);
    assert_int_equal(target_read(target, QUEUE_USED, 4), 0);
    assert_int_equal(target_read(target, QUEUE_VECTOR, 2), 0xFFFF);
    assert_int_equal(target_read(target, RING_DRIVER_ISR, 1), 0);
    ring_driver_queue_destroy(&queue);
    target_close(target);
}

static void com_08_reset_forgets_the_rings_and_a_new_start_begins_at_zero(void **state)
{
    struct target *target = open_stepped();
    struct ring_driver_queue queue, again;
    const struct ring_driver_buffer buffer = {RING_DRIVER_HIGH_GPA, 8, true};

    target_bring_up(target, &queue, 0);
    target_echo_small(target, &queue);
    assert_int_equal(ring_driver_add(&queue, &buffer, 1) >= 0, 1);
    ring_driver_kick(&queue);
    target_write(target, STATUS, 1, 0);
    target_settle(target);
    ring_driver_kick(&queue);
    target_settle(target);
    assert_false(ring_driver_used(&queue)); /* what lay in the ring is nobody's now */
    target_negotiate(target, RING_DRIVER_ALL_FEATURES);
    target_ready(target);
    ring_driver_kick(&queue);
    target_settle(target);
    assert_false(ring_driver_used(&queue)); /* nor is it while no queue is enabled */
    target_bring_up(target, &again, 0);
    target_echo_small(target, &again);
    assert_false(ring_driver_used(&queue));
    ring_driver_queue_destroy(&queue);
    ring_driver_queue_destroy(&again);
    target_close(target);
}

static void com_08_reset_in_the_middle_of_a_chain_publishes_nothing(void **state)
{
    struct target *target = open_stepped();

    /* Steps of one chain: see, serve, publish, interrupt. Reset behind each. */
    for (uint32_t steps = 1; steps <= 4; steps++) {
        struct ring_driver_queue queue;
        const struct ring_driver_buffer buffer = {RING_DRIVER_HIGH_GPA, 8, true};

        target_bring_up(target, &queue, 0);
        target_expect_no_interrupt(target, target->edges); /* nothing is left over from the life before */
        assert_int_equal(ring_driver_add(&queue, &buffer, 1), 0);
        ring_driver_kick(&queue);
        for (uint32_t i = 0; i < steps; i++)
            assert_true(aero_sim_device_step(target->driver.device));
        target_write(target, STATUS, 1, 0);
        assert_int_equal(ring_driver_used(&queue), steps >= 3);
        target_settle(target);
        assert_int_equal(ring_driver_used(&queue), steps >= 3);
        assert_int_equal(target->line, 0);
        ring_driver_queue_destroy(&queue);
    }
    target_close(target);
}

static void com_17_unknown_and_device_bits_do_not_stick(void **state)
{
    struct target *target = open_stepped();

    target_write(target, STATUS, 1, 0x71); /* NEEDS_RESET is the device's alone */
    assert_int_equal(target_read(target, STATUS, 1), 0x01);
    target_write(target, STATUS, 1, 0x83);
    assert_int_equal(target_read(target, STATUS, 1), 0x83);
    target_close(target);
}

static void com_19_status_bits_cleared_without_reset_stay_and_are_reported(void **state)
{
    struct target *target = open_stepped();

    target_negotiate(target, RING_DRIVER_ALL_FEATURES);
    target_write(target, STATUS, 1, 0x03);
    assert_int_equal(target_read(target, STATUS, 1), 0x0B);
    assert_int_equal(target_take_breach(target, "COM-19").value, 0x03);
    target_close(target);
}

static void com_19_features_written_after_features_ok_are_reported_and_ignored(void **state)
{
    struct target *target = open_stepped();

    target_negotiate(target, AERO_SIM_F_VERSION_1);
    target_write(target, DRIVER_FEATURE_SELECT, 4, 0);
    target_write(target, DRIVER_FEATURE, 4, 0x10000000);
    assert_int_equal(target_read(target, DRIVER_FEATURE, 4), 0);
    assert_int_equal(target_take_breach(target, "COM-19").index, DRIVER_FEATURE);
    target_close(target);
}

static void com_19_driver_ok_without_features_ok_is_reported_and_does_not_stick(void **state)
{
    struct target *target = open_stepped();

    target_write(target, STATUS, 1, 0x07);
    assert_int_equal(target_read(target, STATUS, 1), 0x03);
    assert_int_equal(target_take_breach(target, "COM-19").index, STATUS);
    target_close(target);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(com_01_registers_of_a_fresh_device_read_as_listed),
        cmocka_unit_test(com_01_writable_registers_keep_every_bit_and_others_none),
        cmocka_unit_test(com_01_a_write_changes_no_other_register),
        cmocka_unit_test(com_02_selectors_are_one_state_for_all_threads),
        cmocka_unit_test(com_04_feature_select_shows_both_halves),
        cmocka_unit_test(com_05_other_feature_selects_read_zero_and_take_no_write),
        cmocka_unit_test(com_06_version_1_is_offered_and_required),
        cmocka_unit_test(rng_04_indirect_is_offered_and_no_forbidden_ring_feature),
        cmocka_unit_test(com_09_feature_that_was_not_offered_keeps_features_ok_off),
        cmocka_unit_test(com_08_reset_of_a_running_device_gives_a_fresh_one),
        cmocka_unit_test(com_08_reset_forgets_the_rings_and_a_new_start_begins_at_zero),
        cmocka_unit_test(com_08_reset_in_the_middle_of_a_chain_publishes_nothing),
        cmocka_unit_test(com_17_unknown_and_device_bits_do_not_stick),
        cmocka_unit_test(com_19_status_bits_cleared_without_reset_stay_and_are_reported),
        cmocka_unit_test(com_19_features_written_after_features_ok_are_reported_and_ignored),
        cmocka_unit_test(com_19_driver_ok_without_features_ok_is_reported_and_does_not_stick),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests_name("common configuration", tests, NULL, NULL);
}
