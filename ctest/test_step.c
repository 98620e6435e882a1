/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A device without a worker: it moves a step a call, in the order see, serve (a chain a step), publish,
 * interrupt, and two identical runs leave the same trace, byte for byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "target.h"
#include "test_program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool step(struct target *target)
{
    return aero_sim_device_step(target->driver.device);
}

static struct target *open_ready(struct ring_driver_queue *queue)
{
    struct target *target =
        target_open(&(struct target_options){.stepped = true, .queue_size = 8, .trace_events = 1024});

    target_bring_up(target, queue, 0);
    target_settle(target); /* the bells that DRIVER_OK rings */
    return target;
}

static void close_ready(struct target *target, struct ring_driver_queue *queue)
{
    ring_driver_queue_destroy(queue);
    target_close(target);
}

static void add(struct ring_driver_queue *queue, uint32_t count)
{
    const struct ring_driver_buffer buffer = {RING_DRIVER_HIGH_GPA, 4, true};

    while (count--)
        assert_int_not_equal(ring_driver_add(queue, &buffer, 1), RING_DRIVER_FULL);
}

static void test_step_of_an_idle_device_has_nothing_to_do(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = target_open(&(struct target_options){.stepped = true});

    assert_false(step(target));
    target_write(target, 0x1000, 2, 0);
    assert_false(step(target)); /* NTF-6: not running */
    target_bring_up(target, &queue, 0);
    target_settle(target);
    assert_false(step(target));
    close_ready(target, &queue);
}

static void test_step_of_a_device_with_a_worker_does_nothing(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = target_open(&(struct target_options){.stepped = false});

    target_bring_up(target, &queue, 0);
    target_echo_small(target, &queue);
    assert_false(step(target));
    close_ready(target, &queue);
}

static void test_step_goes_through_one_chain_in_order(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = open_ready(&queue);
    struct aero_sim_counters counters;

    add(&queue, 1);
    ring_driver_kick(&queue);
    assert_true(step(target)); /* see */
    aero_sim_device_counters(target->driver.device, &counters);
    assert_int_equal(counters.chains, 0);
    assert_int_equal(queue.used[2], 0);
    assert_true(step(target)); /* serve: the element is there, its index isn't (RNG-9) */
    aero_sim_device_counters(target->driver.device, &counters);
    assert_int_equal(counters.chains, 1);
    assert_int_equal(queue.used[1], 0);
    assert_true(step(target)); /* publish */
    assert_int_equal(queue.used[1], 1);
    assert_int_equal(target_read(target, RING_DRIVER_ISR, 1), 0);
    assert_int_equal(target->line, 0);
    assert_true(step(target)); /* interrupt */
    assert_int_equal(target->line, 1);
    assert_false(step(target));
    close_ready(target, &queue);
}

static void test_step_serves_a_chain_a_step_and_publishes_once(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = open_ready(&queue);
    struct aero_sim_counters counters;

    add(&queue, 5);
    ring_driver_kick(&queue);
    assert_true(step(target));
    for (uint32_t i = 1; i <= 5; i++) {
        assert_true(step(target));
        aero_sim_device_counters(target->driver.device, &counters);
        assert_int_equal(counters.chains, i);
        assert_int_equal(queue.used[1], 0);
    }
    assert_true(step(target));
    assert_int_equal(queue.used[1], 5);
    assert_true(step(target));
    assert_false(step(target));
    close_ready(target, &queue);
}

/*
 * What is published after the index was seen waits for its own doorbell, which comes before the work that it
 * finds.
 */
static void test_step_leaves_later_chains_to_their_own_doorbell(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = open_ready(&queue);

    add(&queue, 1);
    ring_driver_kick(&queue);
    assert_true(step(target));
    add(&queue, 1);
    ring_driver_publish(&queue);
    target_settle(target);
    assert_int_equal(queue.used[1], 1);
    ring_driver_kick(&queue);
    target_settle(target);
    assert_int_equal(queue.used[1], 2);
    close_ready(target, &queue);
}

/* A driver needn't wait for a whole ring: what the worker publishes on the way, stepping does too. */
static void test_step_publishes_every_32_chains_of_a_long_run(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = target_open(&(struct target_options){.stepped = true, .queue_size = 64});

    target_bring_up(target, &queue, 0);
    target_settle(target);
    add(&queue, 40);
    ring_driver_kick(&queue);
    for (uint32_t i = 0; i < 1 + 32; i++) {
        assert_int_equal(queue.used[1], 0);
        assert_true(step(target));
    }
    assert_int_equal(queue.used[1], 0);
    assert_true(step(target));
    assert_int_equal(queue.used[1], 32);
    assert_int_equal(target->line, 0);
    assert_true(step(target));
    assert_int_equal(target->line, 1);
    for (uint32_t i = 0; i < 8; i++)
        assert_true(step(target));
    assert_int_equal(queue.used[1], 32);
    assert_true(step(target));
    assert_int_equal(queue.used[1], 40);
    close_ready(target, &queue);
}

static void test_step_publishes_long_chains_every_128_descriptors(void **state)
{
    struct ring_driver_buffer buffers[100];
    struct ring_driver_queue queue;
    struct target *target =
        target_open(&(struct target_options){.stepped = true, .queue_size = 512, .trace_events = 1024});

    target_bring_up(target, &queue, 0);
    target_settle(target);
    for (uint32_t i = 0; i < 100; i++)
        buffers[i] = (struct ring_driver_buffer){RING_DRIVER_HIGH_GPA + i, 1, false};
    for (uint32_t i = 0; i < 5; i++)
        assert_int_not_equal(ring_driver_add(&queue, buffers, 100), RING_DRIVER_FULL);
    ring_driver_kick(&queue);
    assert_true(step(target)); /* see */
    for (uint16_t published = 2; published <= 4; published += 2) {
        assert_true(step(target)); /* 100 */
        assert_true(step(target)); /* 200 */
        assert_int_equal(queue.used[1], published - 2);
        assert_true(step(target)); /* publish */
        assert_int_equal(queue.used[1], published);
        assert_true(step(target)); /* interrupt */
    }
    assert_true(step(target)); /* the last, with nothing behind it */
    assert_true(step(target));
    assert_int_equal(queue.used[1], 5);
    assert_true(step(target));
    assert_false(step(target));
    close_ready(target, &queue);
}

static void test_step_with_bus_master_off_stands_still_where_it_was(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = open_ready(&queue);

    add(&queue, 2);
    ring_driver_kick(&queue);
    for (uint32_t i = 0; i < 3; i++)
        assert_true(step(target));
    target_pci_write(target, 0x04, 2, 0x0002);
    assert_false(step(target));
    target_pci_write(target, 0x04, 2, 0x0006);
    assert_true(step(target));
    assert_int_equal(queue.used[1], 2);
    assert_true(step(target));
    assert_int_equal(target->line, 1);
    close_ready(target, &queue);
}

static void test_step_takes_queues_in_order_of_their_numbers(void **state)
{
    struct target *target = target_open(&(struct target_options){.stepped = true});
    struct ring_driver_queue both[2];

    target_negotiate(target, RING_DRIVER_ALL_FEATURES);
    assert_true(ring_driver_queue_create(&both[0], &target->driver, 1));
    assert_true(ring_driver_queue_create(&both[1], &target->driver, 3));
    target_ready(target);
    target_settle(target);
    add(&both[1], 1);
    ring_driver_kick(&both[1]);
    add(&both[0], 1);
    ring_driver_kick(&both[0]);
    for (uint32_t i = 0; i < 3; i++)
        assert_true(step(target));
    assert_int_equal(both[0].used[1], 1);
    assert_int_equal(both[1].used[1], 0);
    target_settle(target);
    assert_int_equal(both[1].used[1], 1);
    ring_driver_queue_destroy(&both[0]);
    close_ready(target, &both[1]);
}

/* ---- Two runs ---- */

/* The trace text of a run that draws its choices from seed; to be freed. */
static char *run_and_trace(uint32_t seed, size_t *length_out)
{
    struct ring_driver_queue queue;
    struct target *target = open_ready(&queue);
    FILE *stream = target_scratch_open();
    char *text;
    long length;

    for (uint32_t i = 0; i < 200; i++) {
        seed = seed * 1664525 + 1013904223;
        if (seed >> 30 == 0 && queue.free_count > 2)
            add(&queue, 1 + (seed >> 20) % 2);
        else if (seed >> 30 == 1)
            ring_driver_kick(&queue);
        else if (seed >> 30 == 2)
            (void)step(target);
        else if (ring_driver_used(&queue))
            assert_true(ring_driver_wait(&queue, NULL, NULL));
        else
            (void)target_read(target, RING_DRIVER_ISR, 1);
    }
    assert_int_equal(aero_sim_device_trace_write(target->driver.device, stream), AERO_SIM_OK);
    length = ftell(stream);
    assert_true(length > 1000);
    rewind(stream);
    text = malloc((size_t)length);
    assert_non_null(text);
    *length_out = fread(text, 1, (size_t)length, stream);
    target_scratch_close(stream);
    close_ready(target, &queue);
    return text;
}

static void test_step_same_run_twice_leaves_the_same_trace(void **state)
{
    for (uint32_t seed = 1; seed < 20; seed++) {
        size_t lengths[2];
        char *first = run_and_trace(seed, &lengths[0]), *second = run_and_trace(seed, &lengths[1]);

        assert_int_equal(lengths[0], lengths[1]);
        assert_memory_equal(first, second, lengths[0]);
        free(second);
        second = run_and_trace(seed + 100, &lengths[1]);
        assert_true(lengths[0] != lengths[1] || memcmp(first, second, lengths[0]) != 0);
        free(first);
        free(second);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_step_of_an_idle_device_has_nothing_to_do),
        cmocka_unit_test(test_step_of_a_device_with_a_worker_does_nothing),
        cmocka_unit_test(test_step_goes_through_one_chain_in_order),
        cmocka_unit_test(test_step_serves_a_chain_a_step_and_publishes_once),
        cmocka_unit_test(test_step_leaves_later_chains_to_their_own_doorbell),
        cmocka_unit_test(test_step_publishes_every_32_chains_of_a_long_run),
        cmocka_unit_test(test_step_publishes_long_chains_every_128_descriptors),
        cmocka_unit_test(test_step_with_bus_master_off_stands_still_where_it_was),
        cmocka_unit_test(test_step_takes_queues_in_order_of_their_numbers),
        cmocka_unit_test(test_step_same_run_twice_leaves_the_same_trace),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests_name("step", tests, NULL, NULL);
}
