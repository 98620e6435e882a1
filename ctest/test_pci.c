/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * PCI configuration space as a driver and a firmware see it (PCI-1..14): identity, BAR sizing, the capability
 * list, what Command lets through. On devices without a worker; what bus mastering stops is tried with one as
 * well.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "target.h"
#include "test_program.h"

static uint32_t serve_nothing(void *state, const struct aero_sim_chain *chain)
{
    return 0;
}

static const struct aero_sim_queue_spec one_queue[] = {{"q", 4, serve_nothing}};
static const struct aero_sim_model netlike = {.name = "netlike",
                                              .summary = "identity of a network card",
                                              .pci_device_id = 0x1041,
                                              .subsystem_id = 0x0001,
                                              .class_code = 0x020304,
                                              .queue_count = 1,
                                              .queues = one_queue};

static struct target *open_cold(void)
{
    return target_open(&(struct target_options){.model = &netlike, .stepped = true, .cold = true});
}

static void pci_01_vendor_ids_are_red_hats(void **state)
{
    struct target *target = open_cold();

    assert_int_equal(target_pci_read(target, 0x00, 2), 0x1AF4);
    assert_int_equal(target_pci_read(target, 0x2C, 2), 0x1AF4);
    target_close(target);
}

static void pci_02_device_ids_are_the_models(void **state)
{
    struct target *target = open_cold();

    assert_int_equal(target_pci_read(target, 0x02, 2), 0x1041);
    assert_int_equal(target_pci_read(target, 0x2E, 2), 0x0001); /* PCI-5 */
    assert_int_equal(target_pci_read(target, 0x0A, 2), 0x0203); /* class, subclass */
    assert_int_equal(target_pci_read(target, 0x09, 1), 0x04);
    assert_int_equal(target_pci_read(target, 0x0E, 1), 0x00); /* one function, plain header */
    target_close(target);
}

static void pci_03_revision_is_one(void **state)
{
    struct target *target = open_cold();

    assert_int_equal(target_pci_read(target, 0x08, 1), 0x01);
    target_close(target);
}

static void pci_07_bar0_sizing_gives_16_kib_of_64_bit_memory(void **state)
{
    struct target *target = open_cold();

    assert_int_equal(target_pci_read(target, 0x10, 4), 0x00000004);
    assert_int_equal(target_pci_read(target, 0x14, 4), 0);
    target_pci_write(target, 0x10, 4, UINT32_MAX);
    target_pci_write(target, 0x14, 4, UINT32_MAX);
    assert_int_equal(target_pci_read(target, 0x10, 4), 0xFFFFC004);
    assert_int_equal(target_pci_read(target, 0x14, 4), 0xFFFFFFFF);
    target_close(target);
}

static void pci_07_bar0_assigned_keeps_the_address_and_its_type(void **state)
{
    struct target *target = open_cold();

    target_pci_write(target, 0x10, 4, 0xFEBF8001);
    target_pci_write(target, 0x14, 4, 0x00000012);
    assert_int_equal(target_pci_read(target, 0x10, 4), 0xFEBF8004);
    assert_int_equal(target_pci_read(target, 0x14, 4), 0x00000012);
    target_pci_write(target, 0x13, 1, 0xC0); /* a byte of it */
    target_pci_write(target, 0x16, 2, 0xABCD);
    assert_int_equal(target_pci_read(target, 0x10, 4), 0xC0BF8004);
    assert_int_equal(target_pci_read(target, 0x14, 4), 0xABCD0012);
    target_close(target);
}

static void pci_07_other_bars_do_not_exist(void **state)
{
    struct target *target = open_cold();

    for (uint32_t offset = 0x18; offset <= 0x30; offset += 4) {
        if (offset == 0x2C)
            continue; /* the subsystem ids */
        target_pci_write(target, offset, 4, UINT32_MAX);
        assert_int_equal(target_pci_read(target, offset, 4), 0);
    }
    target_close(target);
}

/* The capability list into at[], bounded as a driver that trusts nobody walks it. */
static uint32_t walk(struct target *target, uint8_t at[48])
{
    uint32_t count = 0;

    assert_int_equal(target_pci_read(target, 0x06, 2) & 0x0010, 0x0010);
    for (uint32_t next = target_pci_read(target, 0x34, 1); next;
         next = target_pci_read(target, next + 1, 1)) {
        assert_int_equal(next % 4, 0);
        assert_in_range(next, 0x40, 0xFC);
        assert_in_range(count, 0, 47); /* more would be a cycle */
        at[count++] = (uint8_t)next;
    }
    return count;
}

static void pci_08_capability_list_is_aligned_and_ends(void **state)
{
    struct target *target = open_cold();
    uint8_t at[48];

    assert_int_equal(walk(target, at), 4);
    target_close(target);
}

static void pci_09_each_virtio_capability_is_there_once(void **state)
{
    struct target *target = open_cold();
    uint8_t at[48];
    uint32_t seen = 0, count = walk(target, at);

    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(target_pci_read(target, at[i], 1), 0x09);
        seen |= 1u << target_pci_read(target, at[i] + 3u, 1);
    }
    assert_int_equal(count, 4);
    assert_int_equal(seen, 0x1E); /* cfg_type 1 to 4 */
    target_close(target);
}

static void pci_10_capability_lengths_hold_what_they_must(void **state)
{
    struct target *target = open_cold();
    uint8_t at[48];
    uint32_t count = walk(target, at);

    for (uint32_t i = 0; i < count; i++) {
        uint32_t length = target_pci_read(target, at[i] + 2u, 1);

        assert_in_range(length, target_pci_read(target, at[i] + 3u, 1) == 2 ? 20 : 16, 0x100 - at[i]);
        for (uint32_t j = 0; j < count; j++) /* none lies in another */
            assert_false(at[j] > at[i] && at[j] < at[i] + length);
    }
    target_close(target);
}

static void bar_01_capabilities_name_the_fixed_layout(void **state)
{
    static const uint32_t offsets[] = {0, 0x0000, 0x1000, 0x2000, 0x3000},
                          lengths[] = {0, 0x100, 0x100, 0x20, 0x100};
    struct target *target = open_cold();
    uint8_t at[48];
    uint32_t count = walk(target, at);

    for (uint32_t i = 0; i < count; i++) {
        uint32_t type = target_pci_read(target, at[i] + 3u, 1);

        assert_in_range(type, 1, 4);
        assert_int_equal(target_pci_read(target, at[i] + 4u, 1), 0); /* BAR */
        assert_int_equal(target_pci_read(target, at[i] + 8u, 4), offsets[type]);
        assert_int_equal(target_pci_read(target, at[i] + 12u, 4), lengths[type]);
        if (type == 2)
            assert_int_equal(target_pci_read(target, at[i] + 16u, 4), 4); /* BAR-2 */
    }
    target_close(target);
}

static void pci_12_interrupt_pin_is_inta(void **state)
{
    struct target *target = open_cold();

    assert_int_equal(target_pci_read(target, 0x3D, 1), 1);
    target_pci_write(target, 0x3C, 2, 0xFF0B); /* the line is the firmware's, the pin is ours */
    assert_int_equal(target_pci_read(target, 0x3C, 2), 0x010B);
    target_close(target);
}

static void pci_14_decode_off_reads_all_ones_and_takes_no_write(void **state)
{
    struct target *target = open_cold();

    for (uint32_t width = 1; width <= 8; width *= 2)
        assert_true(target_read(target, 0x10, width) == UINT64_MAX >> (64 - 8 * width));
    target_write(target, 0x14, 1, 1);
    target_pci_write(target, 0x04, 2, 0x0002);
    assert_int_equal(target_read(target, 0x14, 1), 0);
    target_write(target, 0x14, 1, 1);
    assert_int_equal(target_read(target, 0x14, 1), 1);
    target_pci_write(target, 0x04, 2, 0x0000);
    assert_int_equal(target_read(target, 0x14, 1), 0xFF);
    target_write(target, 0x14, 1, 0);
    target_pci_write(target, 0x04, 2, 0x0002);
    assert_int_equal(target_read(target, 0x14, 1), 1); /* nor did the write reset it */
    target_close(target);
}

static void bus_master(bool stepped)
{
    struct target *target = target_open(&(struct target_options){.stepped = stepped});
    struct ring_driver_queue queue;
    const struct ring_driver_buffer buffer = {RING_DRIVER_HIGH_GPA, 8, true};

    target_bring_up(target, &queue, 0);
    target_pci_write(target, 0x04, 2, 0x0002);
    assert_int_equal(ring_driver_add(&queue, &buffer, 1), 0);
    ring_driver_kick(&queue);
    if (stepped)
        target_settle(target);
    /* It is off, and whoever was inside has left: nothing may have moved, and nothing can. */
    assert_false(ring_driver_used(&queue));
    assert_int_equal(target_read(target, RING_DRIVER_ISR, 1), 0);
    target_pci_write(target, 0x04, 2, 0x0006);
    assert_true(ring_driver_wait(&queue, NULL, NULL)); /* the doorbell was kept */
    ring_driver_queue_destroy(&queue);
    target_close(target);
}

static void pci_14_bus_master_off_stops_dma_until_it_is_on(void **state)
{
    bus_master(true);
}

static void pci_14_bus_master_off_stops_a_worker_as_well(void **state)
{
    bus_master(false);
}

static void pci_14_interrupt_disable_holds_the_line_but_not_the_status(void **state)
{
    struct target *target = target_open(&(struct target_options){.stepped = true});
    struct ring_driver_queue queue;

    target_bring_up(target, &queue, 0);
    target_pci_write(target, 0x04, 2, 0x0406);
    target_echo_small(target, &queue);
    target_expect_no_interrupt(target, 0);
    assert_int_equal(target_pci_read(target, 0x06, 2), 0x0018); /* capabilities, and a pending interrupt */
    target_pci_write(target, 0x04, 2, 0x0006);
    assert_int_equal(target->line, 1);
    target_pci_write(target, 0x04, 2, 0x0406);
    assert_int_equal(target->line, 0);
    assert_int_equal(target_read(target, RING_DRIVER_ISR, 1), 1); /* the byte knew all along */
    assert_int_equal(target_pci_read(target, 0x06, 2), 0x0010);
    target_pci_write(target, 0x04, 2, 0x0006);
    assert_int_equal(target->edges, 2);
    ring_driver_queue_destroy(&queue);
    target_close(target);
}

static void pci_14_command_keeps_its_three_bits_and_no_other(void **state)
{
    struct target *target = open_cold();

    assert_int_equal(target_pci_read(target, 0x04, 2), 0);
    target_pci_write(target, 0x04, 4, UINT32_MAX);
    assert_int_equal(target_pci_read(target, 0x04, 4), 0x00100406);
    target_pci_write(target, 0x05, 1, 0);
    assert_int_equal(target_pci_read(target, 0x04, 2), 0x0006);
    target_close(target);
}

static void test_pci_read_only_words_stay_as_they_are(void **state)
{
    struct target *target = open_cold();

    for (uint32_t offset = 0; offset < 256; offset += 4) {
        uint32_t before = target_pci_read(target, offset, 4);

        if (offset == 0x04 || offset == 0x0C || offset == 0x10 || offset == 0x14 || offset == 0x3C)
            continue;
        target_pci_write(target, offset, 4, ~before);
        assert_int_equal(target_pci_read(target, offset, 4), before);
    }
    target_close(target);
}

static void test_pci_bytes_and_words_are_slices_of_double_words(void **state)
{
    struct target *target = open_cold();

    for (uint32_t offset = 0; offset < 256; offset++) {
        uint32_t word = target_pci_read(target, offset & ~3u, 4);

        assert_int_equal(target_pci_read(target, offset, 1), word >> 8 * (offset % 4) & 0xFF);
        if (offset % 2 == 0)
            assert_int_equal(target_pci_read(target, offset, 2), word >> 8 * (offset % 4) & 0xFFFF);
    }
    target_close(target);
}

static void test_pci_access_that_no_bus_has_reads_ones_and_writes_nowhere(void **state)
{
    static const struct {
        uint32_t offset, width, ones;
    } odd[] = {{0x01, 2, 0xFFFF},      {0x03, 2, 0xFFFF},      {0x02, 4, UINT32_MAX},
               {0x00, 3, 0xFFFFFF},    {0x00, 0, 0},           {0x00, 8, UINT32_MAX},
               {0x00, 64, UINT32_MAX}, {0x100, 4, UINT32_MAX}, {0xFF, 2, 0xFFFF},
               {0xFE, 4, UINT32_MAX},  {UINT32_MAX, 1, 0xFF},  {0xFFFFFF10, 4, UINT32_MAX},
               {0x110, 4, UINT32_MAX}, {0x11, 2, 0xFFFF},      {0x10, UINT32_MAX, UINT32_MAX}};
    struct target *target = open_cold();

    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        assert_int_equal(target_pci_read(target, odd[i].offset, odd[i].width), odd[i].ones);
        target_pci_write(target, odd[i].offset, odd[i].width, UINT32_MAX);
    }
    assert_int_equal(target_pci_read(target, 0x10, 4), 0x00000004);
    assert_int_equal(target_pci_read(target, 0x14, 4), 0);
    assert_int_equal(target_pci_read(target, 0x04, 2), 0);
    target_close(target);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pci_01_vendor_ids_are_red_hats),
        cmocka_unit_test(pci_02_device_ids_are_the_models),
        cmocka_unit_test(pci_03_revision_is_one),
        cmocka_unit_test(pci_07_bar0_sizing_gives_16_kib_of_64_bit_memory),
        cmocka_unit_test(pci_07_bar0_assigned_keeps_the_address_and_its_type),
        cmocka_unit_test(pci_07_other_bars_do_not_exist),
        cmocka_unit_test(pci_08_capability_list_is_aligned_and_ends),
        cmocka_unit_test(pci_09_each_virtio_capability_is_there_once),
        cmocka_unit_test(pci_10_capability_lengths_hold_what_they_must),
        cmocka_unit_test(bar_01_capabilities_name_the_fixed_layout),
        cmocka_unit_test(pci_12_interrupt_pin_is_inta),
        cmocka_unit_test(pci_14_decode_off_reads_all_ones_and_takes_no_write),
        cmocka_unit_test(pci_14_bus_master_off_stops_dma_until_it_is_on),
        cmocka_unit_test(pci_14_bus_master_off_stops_a_worker_as_well),
        cmocka_unit_test(pci_14_interrupt_disable_holds_the_line_but_not_the_status),
        cmocka_unit_test(pci_14_command_keeps_its_three_bits_and_no_other),
        cmocka_unit_test(test_pci_read_only_words_stay_as_they_are),
        cmocka_unit_test(test_pci_bytes_and_words_are_slices_of_double_words),
        cmocka_unit_test(test_pci_access_that_no_bus_has_reads_ones_and_writes_nowhere),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests_name("pci", tests, NULL, NULL);
}
