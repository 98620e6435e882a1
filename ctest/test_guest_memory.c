/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Guest memory (DMA-1..4): what may be mapped where, what aero_sim_memory_at answers, and that a device
 * without a worker reaches buffers of any place, alignment and length, over the borders of regions, and not a
 * byte beyond.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "target.h"
#include "test_program.h"

#include <string.h>

#define PAGE 4096ull

static struct aero_sim_memory *new_memory(void)
{
    struct aero_sim_memory *memory = NULL;

    assert_int_equal(aero_sim_memory_create(&memory), AERO_SIM_OK);
    assert_non_null(memory);
    return memory;
}

/* Pages whose host address is whole, as a caller's own. */
static _Alignas(4096) uint8_t pages[8 * PAGE];

static void test_memory_create_without_a_place_for_it_is_refused(void **state)
{
    assert_int_equal(aero_sim_memory_create(NULL), AERO_SIM_BAD_ARGUMENT);
    aero_sim_memory_destroy(NULL);
}

static void test_memory_map_of_bad_arguments_is_refused(void **state)
{
    struct aero_sim_memory *memory = new_memory();

    assert_int_equal(aero_sim_memory_map(NULL, PAGE, PAGE, NULL), AERO_SIM_BAD_ARGUMENT);
    assert_int_equal(aero_sim_memory_map(memory, PAGE, 0, NULL), AERO_SIM_BAD_ARGUMENT);
    assert_int_equal(aero_sim_memory_map(memory, PAGE + 1, PAGE, NULL), AERO_SIM_BAD_ARGUMENT);
    assert_int_equal(aero_sim_memory_map(memory, PAGE, PAGE + 2048, NULL), AERO_SIM_BAD_ARGUMENT);
    assert_int_equal(aero_sim_memory_map(memory, PAGE, PAGE, pages + 64), AERO_SIM_BAD_ARGUMENT);
    assert_int_equal(aero_sim_memory_map(memory, UINT64_MAX - PAGE + 1, 2 * PAGE, NULL),
                     AERO_SIM_BAD_ARGUMENT);
    assert_int_equal(aero_sim_memory_map(memory, 2 * PAGE, UINT64_MAX - PAGE + 1, NULL),
                     AERO_SIM_BAD_ARGUMENT);
    assert_null(aero_sim_memory_at(memory, PAGE, 1)); /* none of it left anything behind */
    aero_sim_memory_destroy(memory);
}

static void test_memory_map_that_no_host_has_gives_no_memory(void **state)
{
    struct aero_sim_memory *memory = new_memory();

    assert_int_equal(aero_sim_memory_map(memory, 0, 1ull << 62, NULL), AERO_SIM_NO_MEMORY);
    assert_null(aero_sim_memory_at(memory, 0, 1));
    assert_int_equal(aero_sim_memory_map(memory, 0, PAGE, NULL), AERO_SIM_OK);
    aero_sim_memory_destroy(memory);
}

static void test_memory_map_over_another_region_is_refused(void **state)
{
    static const struct {
        uint64_t page, pages;
        enum aero_sim_status status;
    } tries[] = {{10, 1, AERO_SIM_OVERLAP}, {13, 1, AERO_SIM_OVERLAP}, {9, 2, AERO_SIM_OVERLAP},
                 {13, 2, AERO_SIM_OVERLAP}, {11, 2, AERO_SIM_OVERLAP}, {9, 6, AERO_SIM_OVERLAP},
                 {10, 4, AERO_SIM_OVERLAP}, {0, 11, AERO_SIM_OVERLAP}, {9, 1, AERO_SIM_OK},
                 {14, 1, AERO_SIM_OK},      {0, 9, AERO_SIM_OK}};
    struct aero_sim_memory *memory = new_memory();

    assert_int_equal(aero_sim_memory_map(memory, 10 * PAGE, 4 * PAGE, NULL), AERO_SIM_OK);
    for (size_t i = 0; i < sizeof tries / sizeof tries[0]; i++)
        assert_int_equal(aero_sim_memory_map(memory, tries[i].page * PAGE, tries[i].pages * PAGE, NULL),
                         tries[i].status);
    aero_sim_memory_destroy(memory);
}

static void test_memory_map_to_the_end_of_the_address_space_works(void **state)
{
    struct aero_sim_memory *memory = new_memory();
    uint64_t last = UINT64_MAX - PAGE + 1;
    uint8_t *at;

    assert_int_equal(aero_sim_memory_map(memory, last, PAGE, NULL), AERO_SIM_OK);
    assert_int_equal(aero_sim_memory_map(memory, 0, PAGE, NULL),
                     AERO_SIM_OK); /* its neighbour only by overflow */
    assert_int_equal(aero_sim_memory_map(memory, last - PAGE, 2 * PAGE, NULL), AERO_SIM_OVERLAP);
    at = aero_sim_memory_at(memory, last, PAGE);
    assert_non_null(at);
    assert_ptr_equal(aero_sim_memory_at(memory, UINT64_MAX, 1), at + PAGE - 1);
    assert_null(aero_sim_memory_at(memory, UINT64_MAX, 2));
    assert_null(aero_sim_memory_at(memory, last, UINT64_MAX));
    aero_sim_memory_destroy(memory);
}

static void test_memory_map_of_one_region_too_many_is_refused(void **state)
{
    struct aero_sim_memory *memory = new_memory();

    for (uint64_t i = 0; i < AERO_SIM_REGIONS_MAX; i++)
        assert_int_equal(aero_sim_memory_map(memory, 2 * i * PAGE, PAGE, NULL), AERO_SIM_OK);
    assert_int_equal(aero_sim_memory_map(memory, 0x10000000, PAGE, NULL), AERO_SIM_LIMIT);
    assert_null(aero_sim_memory_at(memory, 0x10000000, 1));
    aero_sim_memory_destroy(memory);
}

static void test_memory_map_after_a_device_started_is_refused(void **state)
{
    struct target *target = target_open(&(struct target_options){.stepped = true});

    assert_int_equal(aero_sim_memory_map(target->driver.memory, 1ull << 40, PAGE, NULL), AERO_SIM_BAD_STATE);
    assert_null(aero_sim_memory_at(target->driver.memory, 1ull << 40, 1));
    target_close(target);
}

static void test_memory_at_answers_only_ranges_inside_one_region(void **state)
{
    struct aero_sim_memory *memory = new_memory();

    assert_int_equal(aero_sim_memory_map(memory, 4 * PAGE, 2 * PAGE, pages), AERO_SIM_OK);
    assert_int_equal(aero_sim_memory_map(memory, 6 * PAGE, PAGE, pages + 4 * PAGE), AERO_SIM_OK);
    assert_ptr_equal(aero_sim_memory_at(memory, 4 * PAGE, 2 * PAGE), pages);
    assert_ptr_equal(aero_sim_memory_at(memory, 6 * PAGE - 1, 1), pages + 2 * PAGE - 1);
    assert_ptr_equal(aero_sim_memory_at(memory, 6 * PAGE, PAGE), pages + 4 * PAGE);
    assert_null(aero_sim_memory_at(memory, 6 * PAGE - 1, 2)); /* touching regions, and still two */
    assert_null(aero_sim_memory_at(memory, 4 * PAGE - 1, 2));
    assert_null(aero_sim_memory_at(memory, 7 * PAGE - 1, 2));
    assert_null(aero_sim_memory_at(memory, 7 * PAGE, 1));
    assert_null(aero_sim_memory_at(memory, 5 * PAGE, UINT64_MAX - PAGE));
    assert_null(aero_sim_memory_at(NULL, 4 * PAGE, 1));
    aero_sim_memory_destroy(memory);
}

static void test_memory_of_its_own_is_zeroed_and_the_callers_is_left_alone(void **state)
{
    struct aero_sim_memory *memory = new_memory();
    const uint8_t *at;

    memset(pages, 0x5A, sizeof pages);
    assert_int_equal(aero_sim_memory_map(memory, 0, 2 * PAGE, NULL), AERO_SIM_OK);
    assert_int_equal(aero_sim_memory_map(memory, 2 * PAGE, 8 * PAGE, pages), AERO_SIM_OK);
    at = aero_sim_memory_at(memory, 0, 2 * PAGE);
    assert_non_null(at);
    for (uint32_t i = 0; i < 2 * PAGE; i++)
        assert_int_equal(at[i], 0);
    aero_sim_memory_destroy(memory);
    for (uint32_t i = 0; i < sizeof pages; i++)
        assert_int_equal(pages[i], 0x5A);
}

/* ---- As the device sees it ---- */

/* Echoes, and compares byte by byte, for the two places may cross borders. */
static void echo(struct target *target, struct ring_driver_queue *queue, uint64_t from, uint64_t to,
                 uint32_t length)
{
    for (uint32_t i = 0; i < length; i++) {
        *(uint8_t *)target_at(target, to + i, 1) = 0;
        *(uint8_t *)target_at(target, from + i, 1) = (uint8_t)(i * 5 + length + i / 256);
    }
    target_echo(target, queue, from, to, length);
    for (uint32_t i = 0; i < length; i++)
        assert_int_equal(*(uint8_t *)target_at(target, to + i, 1), (uint8_t)(i * 5 + length + i / 256));
}

static void dma_03_buffers_of_any_alignment_and_length_work(void **state)
{
    struct target *target = target_open(&(struct target_options){.stepped = true});
    struct ring_driver_queue queue;
    uint64_t at;

    target_bring_up(target, &queue, 0);
    at = ring_driver_allocate(&target->driver, 16384, 4096);
    for (uint32_t length = 1; length <= 70; length++)
        echo(target, &queue, at + length % 17, at + 8192 + length * 3 % 13, length);
    echo(target, &queue, at + 1, at + 8192 + 3, 4095);
    ring_driver_queue_destroy(&queue);
    target_close(target);
}

static void dma_04_buffers_above_4_gib_work(void **state)
{
    struct target *target = target_open(&(struct target_options){.stepped = true});
    struct ring_driver_queue queue;

    target_bring_up(target, &queue, 0);
    echo(target, &queue, RING_DRIVER_HIGH_GPA, RING_DRIVER_HIGH_GPA + RING_DRIVER_HIGH_BYTES - 1000, 1000);
    echo(target, &queue, RING_DRIVER_HIGH_GPA + 3, RING_DRIVER_NEXT_GPA, 100);
    echo(target, &queue, RING_DRIVER_NEXT_GPA, RING_DRIVER_HIGH_GPA + 77, 100);
    ring_driver_queue_destroy(&queue);
    target_close(target);
}

static void dma_03_buffer_over_the_border_of_touching_regions_works(void **state)
{
    struct target *target = target_open(&(struct target_options){.stepped = true});
    struct ring_driver_queue queue;

    target_bring_up(target, &queue, 0);
    for (uint32_t before = 1; before < 9; before++) {
        echo(target, &queue, RING_DRIVER_NEXT_GPA - before, RING_DRIVER_HIGH_GPA, 9);
        echo(target, &queue, RING_DRIVER_HIGH_GPA, RING_DRIVER_NEXT_GPA - before, 9);
    }
    ring_driver_queue_destroy(&queue);
    target_close(target);
}

/* A device over regions of the test's choice: rings in the first, which is four pages at `ring`. */
static struct target *open_over(uint64_t ring)
{
    struct target *target = target_open(&(struct target_options){.stepped = true, .queue_size = 4});
    struct aero_sim_memory *memory = new_memory();
    struct aero_sim_device *device = NULL;

    /* target_open made its own memory; another device over ours takes the place of its own. */
    aero_sim_device_destroy(target->driver.device);
    aero_sim_memory_destroy(target->driver.memory);
    target->driver.memory = memory;
    assert_int_equal(aero_sim_memory_map(memory, ring, 4 * PAGE, NULL), AERO_SIM_OK);
    assert_int_equal(aero_sim_device_create(aero_sim_model_find("loopback"), memory, NULL, &device),
                     AERO_SIM_OK);
    target->driver.device = device;
    assert_int_equal(aero_sim_device_set_queue_size(device, 0, 4), AERO_SIM_OK);
    return target;
}

static uint32_t breaches_of(struct target *target)
{
    struct aero_sim_counters counters;

    aero_sim_device_counters(target->driver.device, &counters);
    return counters.breaches;
}

/* Starts it, and runs the chain whose first two descriptors these are; its used length, or UINT32_MAX. */
static uint32_t run(struct target *target, uint64_t ring, struct ring_driver_desc first,
                    struct ring_driver_desc second)
{
    struct ring_driver_desc *desc;
    uint16_t *avail, *used;
    uint32_t length;

    assert_int_equal(ring_driver_start(&target->driver), AERO_SIM_OK);
    target_negotiate(target, RING_DRIVER_ALL_FEATURES);
    for (uint32_t i = 0; i < 3; i++) {
        target_write(target, 0x20 + 8 * i, 4, (uint32_t)(ring + i * PAGE));
        target_write(target, 0x24 + 8 * i, 4, (ring + i * PAGE) >> 32);
    }
    target_write(target, 0x1C, 2, 1);
    assert_int_equal(target_read(target, 0x1C, 2), 1);
    target_ready(target);
    desc = target_at(target, ring, PAGE);
    avail = target_at(target, ring + PAGE, PAGE);
    used = target_at(target, ring + 2 * PAGE, PAGE);
    desc[0] = first;
    desc[1] = second;
    avail[1] = 1;
    target_settle(target);
    if (used[1] != 1)
        return UINT32_MAX;
    memcpy(&length, used + 4, 4);
    return length;
}

static uint32_t run_chain(struct target *target, uint64_t ring, uint64_t from, uint32_t from_length,
                          uint64_t to, uint32_t to_length)
{
    return run(target, ring, (struct ring_driver_desc){from, from_length, RING_DRIVER_F_NEXT, 1},
               (struct ring_driver_desc){to, to_length, RING_DRIVER_F_WRITE, 0});
}

static uint32_t run_table(struct target *target, uint64_t ring, uint64_t table, uint32_t length)
{
    return run(target, ring, (struct ring_driver_desc){table, length, RING_DRIVER_F_INDIRECT, 0},
               (struct ring_driver_desc){0, 0, 0, 0});
}

static void dma_02_buffer_to_the_last_byte_of_the_address_space_works(void **state)
{
    struct target *target = open_over(0);

    assert_int_equal(aero_sim_memory_map(target->driver.memory, UINT64_MAX - PAGE + 1, PAGE, NULL),
                     AERO_SIM_OK);
    memset(target_at(target, 3 * PAGE, PAGE), 0x3C, PAGE);
    assert_int_equal(run_chain(target, 0, 3 * PAGE, 100, UINT64_MAX - 99, 100), 100);
    assert_memory_equal(target_at(target, UINT64_MAX - 99, 100), target_at(target, 3 * PAGE, 100), 100);
    assert_int_equal(breaches_of(target), 0);
    target_close(target);
}

/* Queue 0 has four descriptors, and shares the place where chains are put together with queues of 256. */
static void dma_02_chain_in_more_pieces_than_its_own_queue_allows_is_refused(void **state)
{
    const uint32_t most = 2 * 4 + AERO_SIM_REGIONS_MAX;

    for (uint32_t half = most / 2; half <= most / 2 + 1; half++) {
        struct target *target = open_over(0);

        for (uint64_t i = 0; i + 1 < AERO_SIM_REGIONS_MAX; i++)
            assert_int_equal(aero_sim_memory_map(target->driver.memory, (4 + i) * PAGE, PAGE, NULL),
                             AERO_SIM_OK);
        assert_int_equal(
            run_chain(target, 0, 4 * PAGE, half * (uint32_t)PAGE, 4 * PAGE, half * (uint32_t)PAGE),
            2 * half <= most ? half * (uint32_t)PAGE : UINT32_MAX);
        assert_int_equal(breaches_of(target), 2 * half > most);
        target_close(target);
    }
}

/* All of it in one region, where a buffer is mostly found at once. 2^32 bytes are allowed (virtio 1.2, 2.7.5.2). */
static void rng_08_chain_of_more_than_4_gib_in_one_region_is_refused(void **state)
{
    const uint64_t half = 1ull << 31, at = 1ull << 32;

    for (uint32_t over = 0; over < 2; over++) {
        struct target *target = open_over(0);

        if (aero_sim_memory_map(target->driver.memory, at, half + PAGE, NULL) != AERO_SIM_OK) {
            target_close(target);
            print_message(
                "no 2 GiB of address space here (32 bits, or a host that promises only what it has)\n");
            skip();
        }
        assert_int_equal(run(target, 0,
                             (struct ring_driver_desc){at, (uint32_t)half + over, RING_DRIVER_F_NEXT, 1},
                             (struct ring_driver_desc){at, (uint32_t)half, 0, 0}),
                         over ? UINT32_MAX : 0);
        assert_int_equal(breaches_of(target), over);
        target_close(target);
    }
}

static void dma_02_buffer_past_the_end_of_the_address_space_is_refused(void **state)
{
    struct target *target = open_over(0); /* where it would go on, were the sum cut to 64 bits */

    assert_int_equal(aero_sim_memory_map(target->driver.memory, UINT64_MAX - PAGE + 1, PAGE, NULL),
                     AERO_SIM_OK);
    assert_int_equal(run_chain(target, 0, 3 * PAGE, 101, UINT64_MAX - 99, 101), UINT32_MAX);
    assert_int_equal(breaches_of(target), 1);
    target_close(target);
}

/*
 * Entry 0 is the last of the address space, entry 1 would be at 0: good memory, were the sum cut to 64 bits.
 */
static void dma_02_indirect_table_past_the_end_of_the_address_space_is_refused(void **state)
{
    struct target *target = open_over(PAGE);
    struct aero_sim_memory *over = target->driver.memory;
    const uint64_t last = UINT64_MAX - 15;

    assert_int_equal(aero_sim_memory_map(over, UINT64_MAX - PAGE + 1, PAGE, NULL), AERO_SIM_OK);
    assert_int_equal(aero_sim_memory_map(over, 0, PAGE, NULL), AERO_SIM_OK);
    *(struct ring_driver_desc *)target_at(target, last, 16) =
        (struct ring_driver_desc){PAGE, 16, RING_DRIVER_F_NEXT, 1};
    *(struct ring_driver_desc *)target_at(target, 0, 16) = (struct ring_driver_desc){PAGE, 16, 0, 0};
    assert_int_equal(run_table(target, PAGE, last, 32), UINT32_MAX);
    assert_int_equal(breaches_of(target), 1);
    target_close(target);
}

static void dma_02_buffer_with_a_hole_in_it_is_refused_and_not_begun(void **state)
{
    struct target *target = open_over(0x100000);
    const uint64_t first = 0x200000;
    uint8_t *at;

    assert_int_equal(aero_sim_memory_map(target->driver.memory, first, PAGE, NULL), AERO_SIM_OK);
    assert_int_equal(aero_sim_memory_map(target->driver.memory, first + 2 * PAGE, PAGE, NULL), AERO_SIM_OK);
    at = target_at(target, first, PAGE);
    memset(target_at(target, 0x100000 + 3 * PAGE, PAGE), 0x3C, PAGE);
    assert_int_equal(run_chain(target, 0x100000, 0x100000 + 3 * PAGE, PAGE, first + 8, 2 * (uint32_t)PAGE),
                     UINT32_MAX);
    assert_int_equal(breaches_of(target), 1);
    for (uint32_t i = 0; i < PAGE; i++)
        assert_int_equal(at[i], 0);
    target_close(target);
}

static void dma_03_buffer_over_many_regions_mapped_in_any_order_works(void **state)
{
    static const uint8_t order[] = {3, 0, 7, 5, 1, 6, 2, 4};
    struct target *target = open_over(0x100000);
    const uint64_t first = (1ull << 32) - 4 * PAGE; /* and over 4 GiB (DMA-4) */

    for (uint32_t i = 0; i < 8; i++)
        assert_int_equal(aero_sim_memory_map(target->driver.memory, first + order[i] * PAGE, PAGE,
                                             pages + 7 * PAGE - i * PAGE),
                         AERO_SIM_OK);
    for (uint32_t i = 0; i < 8 * PAGE; i++)
        *(uint8_t *)target_at(target, first + i, 1) = (uint8_t)(i * 3 + i / 4096);
    assert_int_equal(run_chain(target, 0x100000, first + 1, 4 * (uint32_t)PAGE - 1, first + 4 * PAGE,
                               4 * (uint32_t)PAGE - 1),
                     4 * PAGE - 1);
    for (uint32_t i = 1; i < 4 * PAGE; i++)
        assert_int_equal(*(uint8_t *)target_at(target, first + 4 * PAGE + i - 1, 1),
                         (uint8_t)(i * 3 + i / 4096));
    assert_int_equal(breaches_of(target), 0);
    target_close(target);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_create_without_a_place_for_it_is_refused),
        cmocka_unit_test(test_memory_map_of_bad_arguments_is_refused),
        cmocka_unit_test(test_memory_map_that_no_host_has_gives_no_memory),
        cmocka_unit_test(test_memory_map_over_another_region_is_refused),
        cmocka_unit_test(test_memory_map_to_the_end_of_the_address_space_works),
        cmocka_unit_test(test_memory_map_of_one_region_too_many_is_refused),
        cmocka_unit_test(test_memory_map_after_a_device_started_is_refused),
        cmocka_unit_test(test_memory_at_answers_only_ranges_inside_one_region),
        cmocka_unit_test(test_memory_of_its_own_is_zeroed_and_the_callers_is_left_alone),
        cmocka_unit_test(dma_03_buffers_of_any_alignment_and_length_work),
        cmocka_unit_test(dma_04_buffers_above_4_gib_work),
        cmocka_unit_test(dma_03_buffer_over_the_border_of_touching_regions_works),
        cmocka_unit_test(dma_02_buffer_to_the_last_byte_of_the_address_space_works),
        cmocka_unit_test(dma_02_chain_in_more_pieces_than_its_own_queue_allows_is_refused),
        cmocka_unit_test(rng_08_chain_of_more_than_4_gib_in_one_region_is_refused),
        cmocka_unit_test(dma_02_buffer_past_the_end_of_the_address_space_is_refused),
        cmocka_unit_test(dma_02_indirect_table_past_the_end_of_the_address_space_is_refused),
        cmocka_unit_test(dma_02_buffer_with_a_hole_in_it_is_refused_and_not_begun),
        cmocka_unit_test(dma_03_buffer_over_many_regions_mapped_in_any_order_works),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests_name("guest memory", tests, NULL, NULL);
}
