/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What is odd in a ring and legal (RNG-1..6, RNG-12), the other side of test_ring_vetting.c: nothing of it
 * may be refused. On small queues without a worker; indices are run round past 0xFFFF with a worker as well.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "target.h"
#include "test_program.h"

#include <string.h>

#define NEXT     RING_DRIVER_F_NEXT
#define WRITE    RING_DRIVER_F_WRITE
#define INDIRECT RING_DRIVER_F_INDIRECT
#define BUFFER   RING_DRIVER_HIGH_GPA

static struct target *open_with(struct ring_driver_queue *queue, uint16_t size)
{
    struct target *target = target_open(&(struct target_options){.stepped = true, .queue_size = size});

    target_bring_up(target, queue, 0);
    target_settle(target);
    memcpy(target_at(target, BUFFER, 32), "0123456789abcdefghijklmnopqrstuv", 32);
    return target;
}

static void close_with(struct target *target, struct ring_driver_queue *queue)
{
    ring_driver_queue_destroy(queue);
    target_close(target);
}

/* Runs the chain at head and checks its used element; what was written is to be found at BUFFER + 0x1000. */
static void expect_used(struct target *target, struct ring_driver_queue *queue, uint16_t head,
                        uint32_t length)
{
    uint16_t at = (uint16_t)(queue->avail_idx & (queue->size - 1));
    uint32_t element[2];

    target_offer(queue, head);
    ring_driver_kick(queue);
    target_settle(target);
    assert_int_equal(__atomic_load_n(&queue->used[1], __ATOMIC_ACQUIRE), queue->avail_idx);
    memcpy(element, &queue->used[2 + 4 * at], 8);
    assert_int_equal(element[0], head);
    assert_int_equal(element[1], length);
    assert_int_equal(target_read(target, RING_DRIVER_STATUS, 1), 0x0F);
}

static void expect_bytes(struct target *target, const char *bytes)
{
    assert_memory_equal(target_at(target, BUFFER + 0x1000, 64), bytes, strlen(bytes));
}

static void rng_05_chain_as_long_as_the_queue_is_served(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = open_with(&queue, 4);

    target_desc(&queue, 3, BUFFER, 3, NEXT, 0); /* against the order of the table */
    target_desc(&queue, 0, BUFFER + 10, 2, NEXT, 2);
    target_desc(&queue, 2, BUFFER + 0x1000, 1, NEXT | WRITE, 1);
    target_desc(&queue, 1, BUFFER + 0x1001, 9, WRITE, 0);
    expect_used(target, &queue, 3, 5);
    expect_bytes(target, "012ab");
    close_with(target, &queue);
}

static void rng_05_empty_descriptors_are_passed_over(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = open_with(&queue, 4);

    target_desc(&queue, 0, 0xDEAD0000, 0, NEXT, 1); /* nothing there, and nothing is touched */
    target_desc(&queue, 1, BUFFER + 4, 2, NEXT, 2);
    target_desc(&queue, 2, UINT64_MAX, 0, NEXT | WRITE, 3);
    target_desc(&queue, 3, BUFFER + 0x1000, 8, WRITE, 0);
    expect_used(target, &queue, 0, 2);
    expect_bytes(target, "45");
    target_desc(&queue, 0, 0, 0, 0, 0); /* a chain with no byte in it */
    expect_used(target, &queue, 0, 0);
    close_with(target, &queue);
}

static void rng_05_next_without_its_flag_and_unknown_flags_mean_nothing(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = open_with(&queue, 4);

    target_desc(&queue, 0, BUFFER, 2, 0xFFF8 | NEXT, 1);
    target_desc(&queue, 1, BUFFER + 0x1000, 8, 0xFFF8 | WRITE, 0xFFFF);
    expect_used(target, &queue, 0, 2);
    expect_bytes(target, "01");
    close_with(target, &queue);
}

/* A table at gpa: two readable entries and a writable one, in the order 0, 2, 1. */
static void write_table(struct target *target, uint64_t gpa)
{
    const struct ring_driver_desc table[] = {
        {BUFFER, 3, NEXT, 2}, {BUFFER + 0x1000, 20, WRITE, 0}, {BUFFER + 20, 1, NEXT, 1}};
    const uint8_t *from = (const uint8_t *)table;

    for (uint32_t i = 0; i < sizeof table; i++)
        *(uint8_t *)target_at(target, gpa + i, 1) = from[i];
}

static void rng_06_indirect_table_of_any_alignment_is_served(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = open_with(&queue, 4);
    uint64_t gpa = ring_driver_allocate(&target->driver, 256, 16);

    for (uint32_t off = 0; off < 16; off++) {
        write_table(target, gpa + off);
        target_desc(&queue, 0, gpa + off, 48, INDIRECT, 0);
        expect_used(target, &queue, 0, 4);
        expect_bytes(target, "012k");
    }
    close_with(target, &queue);
}

static void rng_06_indirect_table_over_a_border_of_regions_is_served(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = open_with(&queue, 4);

    for (uint32_t before = 1; before < 48; before += 3) {
        write_table(target, RING_DRIVER_NEXT_GPA - before);
        target_desc(&queue, 2, RING_DRIVER_NEXT_GPA - before, 48, INDIRECT, 0);
        expect_used(target, &queue, 2, 4);
        expect_bytes(target, "012k");
    }
    close_with(target, &queue);
}

static void rng_06_indirect_table_at_the_end_of_memory_is_served(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = open_with(&queue, 4);
    uint64_t gpa = RING_DRIVER_HIGH_GPA + RING_DRIVER_HIGH_BYTES - 48;

    write_table(target, gpa);
    target_desc(&queue, 1, gpa, 48, INDIRECT | WRITE, 0xFFFF); /* WRITE there means nothing */
    expect_used(target, &queue, 1, 4);
    expect_bytes(target, "012k");
    close_with(target, &queue);
}

static void rng_06_indirect_table_as_long_as_the_queue_and_longer_is_served(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = open_with(&queue, 4);
    uint64_t gpa = ring_driver_allocate(&target->driver, 160, 16);
    struct ring_driver_desc *table = target_at(target, gpa, 160);

    for (uint32_t i = 0; i < 4; i++)
        table[i] = (struct ring_driver_desc){BUFFER + 5 * i, 1, NEXT, (uint16_t)(i + 1)};
    table[3] = (struct ring_driver_desc){BUFFER + 0x1000, 8, WRITE, 0};
    target_desc(&queue, 0, gpa, 64, INDIRECT, 0);
    expect_used(target, &queue, 0, 3);
    expect_bytes(target, "05a");
    /* The queue's size limits the chain, not the table that it lies in. */
    table[0] = (struct ring_driver_desc){BUFFER + 7, 2, NEXT, 9};
    table[9] = (struct ring_driver_desc){BUFFER + 0x1000, 8, WRITE, 0};
    target_desc(&queue, 0, gpa, 160, INDIRECT, 0);
    expect_used(target, &queue, 0, 2);
    expect_bytes(target, "78");
    close_with(target, &queue);
}

static void rng_06_indirect_behind_direct_descriptors_is_served(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = open_with(&queue, 4);
    uint64_t gpa = ring_driver_allocate(&target->driver, 48, 16);

    write_table(target, gpa);
    target_desc(&queue, 1, BUFFER + 30, 2, NEXT, 3);
    target_desc(&queue, 3, gpa, 48, INDIRECT, 0);
    expect_used(target, &queue, 1, 6);
    expect_bytes(target, "uv012k");
    close_with(target, &queue);
}

static void rng_08_avail_idx_ahead_by_the_whole_queue_is_served(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = open_with(&queue, 4);

    for (uint16_t i = 0; i < 4; i++) {
        target_desc(&queue, i, BUFFER, 1, 0, 0);
        target_offer(&queue, (uint16_t)(3 - i));
    }
    ring_driver_kick(&queue);
    target_settle(target);
    assert_int_equal(queue.used[1], 4);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(queue.used[2 + 4 * i], 3 - i); /* as they came */
    close_with(target, &queue);
}

static void rng_08_one_head_offered_again_before_it_is_used_is_served_twice(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = open_with(&queue, 2);

    target_desc(&queue, 1, BUFFER, 1, 0, 0);
    target_offer(&queue, 1);
    target_offer(&queue, 1);
    ring_driver_kick(&queue);
    target_settle(target);
    assert_int_equal(queue.used[1], 2);
    close_with(target, &queue);
}

static void rng_01_device_writes_elements_and_index_and_nothing_else(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = open_with(&queue, 4);
    uint8_t desc[64], avail[12];

    queue.used[0] = 0xA5A5;
    target_desc(&queue, 0, BUFFER, 2, NEXT, 1);
    target_desc(&queue, 1, BUFFER + 0x1000, 2, WRITE, 0);
    target_offer(&queue, 0);
    ring_driver_publish(&queue);
    memcpy(desc, queue.desc, sizeof desc);
    memcpy(avail, queue.avail, sizeof avail);
    ring_driver_kick(&queue);
    target_settle(target);
    assert_memory_equal(queue.desc, desc, sizeof desc);
    assert_memory_equal(queue.avail, avail, sizeof avail);
    assert_int_equal(queue.used[0], 0xA5A5);
    assert_int_equal(queue.used[1], 1);
    for (uint32_t i = 2 + 4; i < 2 + 16; i++)
        assert_int_equal(queue.used[i], 0);
    close_with(target, &queue);
}

/*
 * A used element that says already what it should isn't written; any other is, whichever word of it is wrong.
 */
static void rng_01_used_elements_are_right_whatever_stood_there(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = open_with(&queue, 4);
    const uint32_t stood[][2] = {{1, 2}, {1, 3}, {0, 2}, {UINT32_MAX, UINT32_MAX}, {1, 0}, {1, 1u << 31 | 2}};

    target_desc(&queue, 1, BUFFER, 2, NEXT, 2);
    target_desc(&queue, 2, BUFFER + 0x1000, 2, WRITE, 0);
    for (size_t i = 0; i < sizeof stood / sizeof stood[0]; i++) {
        memcpy(&queue.used[2 + 4 * (queue.avail_idx & 3)], stood[i], 8);
        expect_used(target, &queue, 1, 2);
    }
    close_with(target, &queue);
}

static void rng_02_queue_of_32768_uses_its_last_entry(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = open_with(&queue, 32768);

    assert_int_equal(queue.size, 32768);
    target_desc(&queue, 32767, BUFFER + 0x1000, 4, WRITE, 0);
    for (uint32_t i = 0; i < 32768; i++)
        target_offer(&queue, 32767);
    ring_driver_kick(&queue);
    target_settle(target);
    assert_int_equal(queue.used[1], 32768);
    assert_int_equal(queue.used[2 + 4 * 32767], 32767);
    close_with(target, &queue);
}

/* ---- Indices that run round ---- */

static void run_round(uint16_t size, bool stepped)
{
    struct target *target =
        target_open(&(struct target_options){.stepped = stepped, .queue_size = size, .spin_ns = 50000});
    struct ring_driver_queue queue;
    uint32_t sent = 0;

    target_bring_up(target, &queue, 0);
    while (sent < 0x10000u + 3 * size) {
        uint32_t batch = size == 1 ? 1 : 1 + sent % size;
        const struct ring_driver_buffer buffer = {BUFFER, 4, true};

        for (uint32_t i = 0; i < batch; i++)
            assert_int_not_equal(ring_driver_add(&queue, &buffer, 1), RING_DRIVER_FULL);
        ring_driver_kick(&queue);
        for (uint32_t i = 0; i < batch; i++)
            assert_true(ring_driver_wait(&queue, NULL, NULL));
        sent += batch;
    }
    assert_int_equal(queue.used[1], sent & 0xFFFF);
    target_settle(target);
    assert_int_equal(target_read(target, RING_DRIVER_ISR, 1), 1);
    ring_driver_queue_destroy(&queue);
    target_close(target);
}

static void rng_01_indices_of_a_queue_of_1_run_round(void **state)
{
    run_round(1, true);
}

static void rng_01_indices_of_a_queue_of_2_run_round(void **state)
{
    run_round(2, true);
}

static void rng_01_indices_of_a_queue_of_4_run_round(void **state)
{
    run_round(4, true);
}

static void rng_01_indices_of_a_queue_of_64_run_round_with_a_worker(void **state)
{
    run_round(64, false);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rng_05_chain_as_long_as_the_queue_is_served),
        cmocka_unit_test(rng_05_empty_descriptors_are_passed_over),
        cmocka_unit_test(rng_05_next_without_its_flag_and_unknown_flags_mean_nothing),
        cmocka_unit_test(rng_06_indirect_table_of_any_alignment_is_served),
        cmocka_unit_test(rng_06_indirect_table_over_a_border_of_regions_is_served),
        cmocka_unit_test(rng_06_indirect_table_at_the_end_of_memory_is_served),
        cmocka_unit_test(rng_06_indirect_table_as_long_as_the_queue_and_longer_is_served),
        cmocka_unit_test(rng_06_indirect_behind_direct_descriptors_is_served),
        cmocka_unit_test(rng_08_avail_idx_ahead_by_the_whole_queue_is_served),
        cmocka_unit_test(rng_08_one_head_offered_again_before_it_is_used_is_served_twice),
        cmocka_unit_test(rng_01_device_writes_elements_and_index_and_nothing_else),
        cmocka_unit_test(rng_01_used_elements_are_right_whatever_stood_there),
        cmocka_unit_test(rng_02_queue_of_32768_uses_its_last_entry),
        cmocka_unit_test(rng_01_indices_of_a_queue_of_1_run_round),
        cmocka_unit_test(rng_01_indices_of_a_queue_of_2_run_round),
        cmocka_unit_test(rng_01_indices_of_a_queue_of_4_run_round),
        cmocka_unit_test(rng_01_indices_of_a_queue_of_64_run_round_with_a_worker),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests_name("ring, legal", tests, NULL, NULL);
}
