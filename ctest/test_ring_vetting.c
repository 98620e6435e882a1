/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Every mistake that a driver can make in a ring (RNG-*, DMA-2), each on a queue of four: it is reported with
 * its clause, the device asks for a reset (COM-20), its other queues and its neighbour go on, a reset heals
 * it. All of them first without a worker and then with one. What is odd and legal is test_ring_legal.c's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "target.h"
#include "test_program.h"

#include <string.h>

#define SIZE     4u
#define NEXT     RING_DRIVER_F_NEXT
#define WRITE    RING_DRIVER_F_WRITE
#define INDIRECT RING_DRIVER_F_INDIRECT
#define BUFFER   RING_DRIVER_HIGH_GPA
#define END \
    (RING_DRIVER_NEXT_GPA + RING_DRIVER_NEXT_BYTES) /* of the low regions; nothing is mapped behind it */

static bool stepped;

static struct target *open_target(void)
{
    return target_open(&(struct target_options){.stepped = stepped, .queue_size = SIZE, .spin_ns = 50000});
}

/* ---- The mistakes ---- */

typedef void mistake_fn(struct target *target, struct ring_driver_queue *queue);

struct mistake {
    const char *clause;
    mistake_fn *make;
    uint32_t index; /* that the breach names */
    bool without_indirect;
};

static struct ring_driver_desc *table_at(struct target *target, uint64_t *gpa_out)
{
    *gpa_out = ring_driver_allocate(&target->driver, 16 * 16, 16);
    return target_at(target, *gpa_out, 16 * 16);
}

/* Offers descriptor 0 as an indirect table of that many entries, each readable and chained to the next. */
static struct ring_driver_desc *offer_table(struct target *target, struct ring_driver_queue *queue,
                                            uint32_t entries)
{
    uint64_t gpa;
    struct ring_driver_desc *table = table_at(target, &gpa);

    for (uint32_t i = 0; i < entries; i++)
        table[i] = (struct ring_driver_desc){BUFFER, 8, i + 1 < entries ? NEXT : 0, (uint16_t)(i + 1)};
    target_desc(queue, 0, gpa, 16 * entries, INDIRECT, 0);
    target_offer(queue, 0);
    return table;
}

static void head_out_of_range(struct target *target, struct ring_driver_queue *queue)
{
    target_offer(queue, SIZE);
}

static void head_far_out_of_range(struct target *target, struct ring_driver_queue *queue)
{
    target_offer(queue, 0xFFFF);
}

static void next_out_of_range(struct target *target, struct ring_driver_queue *queue)
{
    target_desc(queue, 2, BUFFER, 8, NEXT, SIZE);
    target_offer(queue, 2);
}

static void loop_of_one(struct target *target, struct ring_driver_queue *queue)
{
    target_desc(queue, 1, BUFFER, 8, NEXT, 1);
    target_offer(queue, 1);
}

static void loop_of_all(struct target *target, struct ring_driver_queue *queue)
{
    for (uint16_t i = 0; i < SIZE; i++)
        target_desc(queue, i, BUFFER, 8, NEXT, (uint16_t)((i + 1) % SIZE));
    target_offer(queue, 0);
}

static void loop_of_empty_descriptors(struct target *target, struct ring_driver_queue *queue)
{
    target_desc(queue, 0, 0, 0, NEXT, 3);
    target_desc(queue, 3, 0, 0, NEXT, 0);
    target_offer(queue, 0);
}

static void readable_behind_writable(struct target *target, struct ring_driver_queue *queue)
{
    target_desc(queue, 0, BUFFER, 8, WRITE | NEXT, 1);
    target_desc(queue, 1, BUFFER, 8, 0, 0);
    target_offer(queue, 0);
}

static void readable_behind_empty_writable(struct target *target, struct ring_driver_queue *queue)
{
    target_desc(queue, 0, BUFFER, 0, WRITE | NEXT, 1);
    target_desc(queue, 1, BUFFER, 8, 0, 0);
    target_offer(queue, 0);
}

static void readable_behind_writable_in_table(struct target *target, struct ring_driver_queue *queue)
{
    offer_table(target, queue, 3)[1].flags = NEXT | WRITE;
}

static void more_than_4_gib_in_a_chain(struct target *target, struct ring_driver_queue *queue)
{
    target_desc(queue, 0, BUFFER, 8, NEXT, 1);
    target_desc(queue, 1, BUFFER, UINT32_MAX - 6, 0, 0);
    target_offer(queue, 0);
}

static void buffer_outside_memory(struct target *target, struct ring_driver_queue *queue)
{
    target_desc(queue, 0, 1ull << 40, 8, 0, 0);
    target_offer(queue, 0);
}

static void buffer_at_zero(struct target *target, struct ring_driver_queue *queue)
{
    target_desc(queue, 0, BUFFER, 8, NEXT, 1);
    target_desc(queue, 1, 0, 1, WRITE, 0);
    target_offer(queue, 0);
}

static void buffer_past_the_end_of_its_region(struct target *target, struct ring_driver_queue *queue)
{
    target_desc(queue, 0, END - 8, 9, WRITE, 0);
    target_offer(queue, 0);
}

static void buffer_address_overflows(struct target *target, struct ring_driver_queue *queue)
{
    target_desc(queue, 0, UINT64_MAX - 3, 8, WRITE, 0);
    target_offer(queue, 0);
}

static void avail_idx_jumps_by_one_too_many(struct target *target, struct ring_driver_queue *queue)
{
    queue->avail_idx = (uint16_t)(queue->avail_idx + SIZE + 1);
}

static void avail_idx_goes_back(struct target *target, struct ring_driver_queue *queue)
{
    queue->avail_idx--;
}

static void indirect_not_negotiated(struct target *target, struct ring_driver_queue *queue)
{
    offer_table(target, queue, 1);
}

static void indirect_with_next(struct target *target, struct ring_driver_queue *queue)
{
    offer_table(target, queue, 1);
    queue->desc[0].flags |= NEXT;
    target_desc(queue, 1, BUFFER, 8, 0, 0);
    queue->desc[0].next = 1;
}

static void indirect_in_indirect(struct target *target, struct ring_driver_queue *queue)
{
    struct ring_driver_desc *table = offer_table(target, queue, 2);

    table[1] = (struct ring_driver_desc){queue->desc[0].addr, 16, INDIRECT, 0};
}

static void indirect_of_odd_length(struct target *target, struct ring_driver_queue *queue)
{
    offer_table(target, queue, 1);
    queue->desc[0].len = 24;
}

static void indirect_of_less_than_one(struct target *target, struct ring_driver_queue *queue)
{
    offer_table(target, queue, 1);
    queue->desc[0].len = 15;
}

static void indirect_of_length_zero(struct target *target, struct ring_driver_queue *queue)
{
    offer_table(target, queue, 1);
    queue->desc[0].len = 0;
}

static void indirect_outside_memory(struct target *target, struct ring_driver_queue *queue)
{
    offer_table(target, queue, 1);
    queue->desc[0].addr = 1ull << 40;
}

static void indirect_past_the_end_of_memory(struct target *target, struct ring_driver_queue *queue)
{
    struct ring_driver_desc *last = target_at(target, END - 16, 16);

    *last = (struct ring_driver_desc){BUFFER, 8, NEXT, 1};
    target_desc(queue, 0, END - 16, 32, INDIRECT, 0);
    target_offer(queue, 0);
}

static void indirect_address_overflows(struct target *target, struct ring_driver_queue *queue)
{
    target_desc(queue, 0, UINT64_MAX - 15, 32, INDIRECT, 0);
    target_offer(queue, 0);
}

static void indirect_next_outside_table(struct target *target, struct ring_driver_queue *queue)
{
    struct ring_driver_desc *table = offer_table(target, queue, 2);

    table[1].flags = NEXT;
    table[1].next = 2; /* there is memory there, and it is none of the table's */
}

static void indirect_longer_than_the_queue(struct target *target, struct ring_driver_queue *queue)
{
    offer_table(target, queue, SIZE + 1);
}

static void indirect_loop(struct target *target, struct ring_driver_queue *queue)
{
    struct ring_driver_desc *table = offer_table(target, queue, 2);

    table[1].flags = NEXT;
    table[1].next = 0;
}

static void indirect_behind_direct_too_long_together(struct target *target, struct ring_driver_queue *queue)
{
    uint64_t gpa;

    offer_table(target, queue, SIZE);
    gpa = queue->desc[0].addr;
    target_desc(queue, 0, BUFFER, 8, NEXT, 1);
    target_desc(queue, 1, gpa, 16 * SIZE, INDIRECT, 0);
}

static void indirect_buffer_outside_memory(struct target *target, struct ring_driver_queue *queue)
{
    offer_table(target, queue, 2)[1].addr = 0x10;
}

/* ---- What comes of them ---- */

static void bring_up(struct target *target, struct ring_driver_queue queues[2], bool without_indirect)
{
    target_negotiate(target, without_indirect ? AERO_SIM_F_VERSION_1 : RING_DRIVER_ALL_FEATURES);
    for (uint16_t i = 0; i < 2; i++)
        assert_true(ring_driver_queue_create(&queues[i], &target->driver, i));
    target_ready(target);
    target_echo_small(target, &queues[0]);
    assert_true(target_wait_line(target, true));
    target_settle(target);
    assert_int_equal(target_read(target, RING_DRIVER_ISR, 1), 1);
}

/* The broken queue takes nothing more, whatever it holds now. */
static void expect_stopped(struct target *target, struct ring_driver_queue *queue)
{
    struct aero_sim_counters before, after;

    target_settle(target);
    aero_sim_device_counters(target->driver.device, &before);
    target_desc(queue, 0, BUFFER, 8, 0, 0);
    for (uint32_t i = 0; i < SIZE; i++)
        queue->avail[2 + i] = 0;
    queue->avail_idx++;
    ring_driver_kick(queue);
    target_settle(target);
    aero_sim_device_counters(target->driver.device, &after);
    assert_int_equal(after.chains, before.chains);
    assert_int_equal(after.breaches, before.breaches); /* it is said once */
}

static void expect_breach(const struct mistake *mistake)
{
    struct target *target = open_target();
    struct target *neighbour = target_open(&(struct target_options){.beside = target, .queue_size = SIZE});
    struct ring_driver_queue queues[2], again[2], neighbours;
    struct aero_sim_breach breach;

    bring_up(target, queues, mistake->without_indirect);
    target_bring_up(neighbour, &neighbours, 0);
    mistake->make(target, &queues[0]);
    ring_driver_kick(&queues[0]);

    breach = target_take_breach(target, mistake->clause);
    assert_int_equal(breach.queue, 0);
    assert_int_equal(breach.index, mistake->index);
    assert_int_equal(breach.step, 1);            /* the chain that bring_up ran */
    assert_true(target_wait_line(target, true)); /* COM-20 */
    assert_int_equal(target_read(target, RING_DRIVER_ISR, 1), 2);
    assert_int_equal(target_read(target, RING_DRIVER_STATUS, 1), 0x4F);
    assert_false(ring_driver_used(&queues[0]));
    expect_stopped(target, &queues[0]);

    target_echo_small(target, &queues[1]);
    target_echo_small(neighbour, &neighbours);
    assert_int_equal(target_read(neighbour, RING_DRIVER_STATUS, 1), 0x0F);

    for (uint32_t i = 0; i < 2; i++)
        ring_driver_queue_destroy(&queues[i]);
    bring_up(target, again, false);
    for (uint32_t i = 0; i < 2; i++) {
        target_echo_small(target, &again[i]);
        ring_driver_queue_destroy(&again[i]);
    }
    ring_driver_queue_destroy(&neighbours);
    target_close(neighbour);
    target_close(target);
}

#define BREACH(test, clause, name, index, without)                      \
    static void test##_##name##_stops_the_queue(void **state)           \
    {                                                                   \
        expect_breach(&(struct mistake){clause, name, index, without}); \
    }

BREACH(rng_08, "RNG-8", head_out_of_range, SIZE, false)
BREACH(rng_08, "RNG-8", head_far_out_of_range, 0xFFFF, false)
BREACH(rng_08, "RNG-8", next_out_of_range, 2, false)
BREACH(rng_08, "RNG-8", loop_of_one, 1, false)
BREACH(rng_08, "RNG-8", loop_of_all, 0, false)
BREACH(rng_08, "RNG-8", loop_of_empty_descriptors, 0, false)
BREACH(rng_08, "RNG-8", readable_behind_writable, 1, false)
BREACH(rng_08, "RNG-8", readable_behind_empty_writable, 1, false)
BREACH(rng_08, "RNG-8", readable_behind_writable_in_table, 2, false)
BREACH(rng_08, "RNG-8", more_than_4_gib_in_a_chain, 1, false)
BREACH(dma_02, "DMA-2", buffer_outside_memory, 0, false)
BREACH(dma_02, "DMA-2", buffer_at_zero, 1, false)
BREACH(dma_02, "DMA-2", buffer_past_the_end_of_its_region, 0, false)
BREACH(dma_02, "DMA-2", buffer_address_overflows, 0, false)
BREACH(rng_08, "RNG-8", avail_idx_jumps_by_one_too_many, 0, false)
BREACH(rng_08, "RNG-8", avail_idx_goes_back, 0, false)
BREACH(rng_07, "RNG-7", indirect_not_negotiated, 0, true)
BREACH(rng_07, "RNG-7", indirect_with_next, 0, false)
BREACH(rng_07, "RNG-7", indirect_in_indirect, 1, false)
BREACH(rng_06, "RNG-6", indirect_of_odd_length, 0, false)
BREACH(rng_06, "RNG-6", indirect_of_less_than_one, 0, false)
BREACH(rng_06, "RNG-6", indirect_of_length_zero, 0, false)
BREACH(dma_02, "DMA-2", indirect_outside_memory, 0, false)
BREACH(dma_02, "DMA-2", indirect_past_the_end_of_memory, 0, false)
BREACH(dma_02, "DMA-2", indirect_address_overflows, 0, false)
BREACH(rng_08, "RNG-8", indirect_next_outside_table, 1, false)
BREACH(rng_08, "RNG-8", indirect_longer_than_the_queue, 4, false)
BREACH(rng_08, "RNG-8", indirect_loop, 0, false)
BREACH(rng_08, "RNG-8", indirect_behind_direct_too_long_together, 3, false)
BREACH(dma_02, "DMA-2", indirect_buffer_outside_memory, 1, false)

/* Good chains in front of a bad one are used and announced; those behind it are not taken. */
static void rng_08_chains_before_the_bad_one_are_completed(void **state)
{
    struct target *target = open_target();
    struct ring_driver_queue queue;

    target_bring_up(target, &queue, 0);
    for (uint16_t i = 0; i < 2; i++)
        target_desc(&queue, i, BUFFER, 8, 0, 0);
    target_offer(&queue, 0);
    target_offer(&queue, 1);
    target_offer(&queue, 9);
    target_offer(&queue, 0);
    ring_driver_kick(&queue);
    assert_int_equal(target_take_breach(target, "RNG-8").step, 2);
    assert_true(target_wait_line(target, true));
    target_settle(target);
    assert_int_equal(__atomic_load_n(&queue.used[1], __ATOMIC_ACQUIRE), 2);
    assert_int_equal(target_read(target, RING_DRIVER_ISR, 1), 3);
    ring_driver_queue_destroy(&queue);
    target_close(target);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rng_08_head_out_of_range_stops_the_queue),
        cmocka_unit_test(rng_08_head_far_out_of_range_stops_the_queue),
        cmocka_unit_test(rng_08_next_out_of_range_stops_the_queue),
        cmocka_unit_test(rng_08_loop_of_one_stops_the_queue),
        cmocka_unit_test(rng_08_loop_of_all_stops_the_queue),
        cmocka_unit_test(rng_08_loop_of_empty_descriptors_stops_the_queue),
        cmocka_unit_test(rng_08_readable_behind_writable_stops_the_queue),
        cmocka_unit_test(rng_08_readable_behind_empty_writable_stops_the_queue),
        cmocka_unit_test(rng_08_readable_behind_writable_in_table_stops_the_queue),
        cmocka_unit_test(rng_08_more_than_4_gib_in_a_chain_stops_the_queue),
        cmocka_unit_test(dma_02_buffer_outside_memory_stops_the_queue),
        cmocka_unit_test(dma_02_buffer_at_zero_stops_the_queue),
        cmocka_unit_test(dma_02_buffer_past_the_end_of_its_region_stops_the_queue),
        cmocka_unit_test(dma_02_buffer_address_overflows_stops_the_queue),
        cmocka_unit_test(rng_08_avail_idx_jumps_by_one_too_many_stops_the_queue),
        cmocka_unit_test(rng_08_avail_idx_goes_back_stops_the_queue),
        cmocka_unit_test(rng_07_indirect_not_negotiated_stops_the_queue),
        cmocka_unit_test(rng_07_indirect_with_next_stops_the_queue),
        cmocka_unit_test(rng_07_indirect_in_indirect_stops_the_queue),
        cmocka_unit_test(rng_06_indirect_of_odd_length_stops_the_queue),
        cmocka_unit_test(rng_06_indirect_of_less_than_one_stops_the_queue),
        cmocka_unit_test(rng_06_indirect_of_length_zero_stops_the_queue),
        cmocka_unit_test(dma_02_indirect_outside_memory_stops_the_queue),
        cmocka_unit_test(dma_02_indirect_past_the_end_of_memory_stops_the_queue),
        cmocka_unit_test(dma_02_indirect_address_overflows_stops_the_queue),
        cmocka_unit_test(rng_08_indirect_next_outside_table_stops_the_queue),
        cmocka_unit_test(rng_08_indirect_longer_than_the_queue_stops_the_queue),
        cmocka_unit_test(rng_08_indirect_loop_stops_the_queue),
        cmocka_unit_test(rng_08_indirect_behind_direct_too_long_together_stops_the_queue),
        cmocka_unit_test(dma_02_indirect_buffer_outside_memory_stops_the_queue),
        cmocka_unit_test(rng_08_chains_before_the_bad_one_are_completed),
    };
    int failed;

    test_program(argc, argv, tests);
    stepped = true;
    failed = cmocka_run_group_tests_name("ring vetting, stepped", tests, NULL, NULL);
    stepped = false;
    return failed + cmocka_run_group_tests_name("ring vetting, with a worker", tests, NULL, NULL);
}
