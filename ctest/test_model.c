/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What aero_sim_model.h promises whoever writes a device: when each of its functions is called, chains that
 * an event takes when it likes, aero_sim_device_fail, and which models are refused. Device configuration has
 * a suite of its own. Without a worker, so that the model runs on the test's thread and may check there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "target.h"
#include "test_program.h"

#include <stdio.h>
#include <string.h>

/* Calls that the model got, and what its event is to do. */
static struct {
    struct aero_sim_device *device;
    uint32_t opens, closes, resets, readies, events, serves;
    uint64_t features;
    enum aero_sim_status open_answer;
    bool fail_in_ready, fail_in_serve;
    void (*in_event)(void);
    struct aero_sim_chain served; /* the last; its segments are gone */
} calls;

struct model_state {
    uint8_t bytes[64];
};

static enum aero_sim_status on_open(void *state, struct aero_sim_device *device,
                                    const struct aero_sim_backend *backend, char *error, size_t error_bytes)
{
    static const struct model_state zero;

    assert_memory_equal(state, &zero, sizeof zero);
    memset(state, 0xFF, sizeof zero);
    calls.device = device;
    calls.opens++;
    if (calls.open_answer)
        snprintf(error, error_bytes, "no %s today", backend->path ? backend->path : "backend");
    return calls.open_answer;
}

static void on_close(void *state)
{
    calls.closes++;
}

static void on_reset(void *state)
{
    calls.resets++;
}

static void on_ready(void *state, uint64_t features)
{
    calls.readies++;
    calls.features = features;
    if (calls.fail_in_ready)
        aero_sim_device_fail(calls.device);
}

static void on_event(void *state)
{
    calls.events++;
    if (calls.in_event)
        calls.in_event();
}

static uint32_t on_serve(void *state, const struct aero_sim_chain *chain)
{
    calls.serves++;
    calls.served = *chain;
    if (calls.fail_in_serve)
        aero_sim_device_fail(calls.device);
    return 0;
}

static const struct aero_sim_queue_spec queues[] = {{"pulled", 4, NULL}, {"served", 4, on_serve}};
static const struct aero_sim_model pulling = {.name = "pulling",
                                              .summary = "takes chains when it likes",
                                              .pci_device_id = 0x107F,
                                              .features = 1,
                                              .state_bytes = sizeof(struct model_state),
                                              .queue_count = 2,
                                              .queues = queues,
                                              .open = on_open,
                                              .close = on_close,
                                              .reset = on_reset,
                                              .ready = on_ready,
                                              .event = on_event};

static struct target *open_pulling(struct ring_driver_queue queue[2])
{
    struct target *target;

    memset(&calls, 0, sizeof calls);
    target = target_open(&(struct target_options){.model = &pulling, .stepped = true});
    target_negotiate(target, RING_DRIVER_ALL_FEATURES);
    for (uint16_t i = 0; i < 2; i++)
        assert_true(ring_driver_queue_create(&queue[i], &target->driver, i));
    target_ready(target);
    target_settle(target);
    calls.events = 0;
    return target;
}

static void close_pulling(struct target *target, struct ring_driver_queue queue[2])
{
    ring_driver_queue_destroy(&queue[0]);
    ring_driver_queue_destroy(&queue[1]);
    target_close(target);
}

static void add(struct ring_driver_queue *queue, uint32_t readable, uint32_t writable)
{
    const struct ring_driver_buffer buffers[] = {{RING_DRIVER_HIGH_GPA, readable, false},
                                                 {RING_DRIVER_HIGH_GPA + 0x100, writable, true}};

    assert_int_not_equal(ring_driver_add(queue, buffers, 2), RING_DRIVER_FULL);
    ring_driver_kick(queue);
}

/* ---- When they are called ---- */

static void test_model_functions_are_called_when_their_time_comes(void **state)
{
    struct target *target;

    memset(&calls, 0, sizeof calls);
    target = target_open(&(struct target_options){.model = &pulling, .stepped = true});
    assert_int_equal(calls.opens, 1);
    aero_sim_device_wake(target->driver.device);
    target_settle(target);
    assert_int_equal(calls.events, 0); /* not before DRIVER_OK */
    target_negotiate(target, AERO_SIM_F_VERSION_1 | 1);
    assert_int_equal(calls.resets, 1);
    assert_int_equal(calls.readies, 0);
    target_ready(target);
    assert_int_equal(calls.readies, 1);
    assert_true(calls.features == (AERO_SIM_F_VERSION_1 | 1));
    target_settle(target);
    assert_int_not_equal(calls.events, 0);
    calls.events = 0;
    aero_sim_device_wake(target->driver.device);
    aero_sim_device_wake(target->driver.device);
    target_settle(target);
    assert_int_equal(calls.events, 1);
    target_write(target, RING_DRIVER_STATUS, 1, 0x0F);
    assert_int_equal(calls.readies, 1); /* only the write that adds the bit */
    target_write(target, RING_DRIVER_STATUS, 1, 0);
    assert_int_equal(calls.resets, 2);
    aero_sim_device_wake(target->driver.device);
    target_settle(target);
    assert_int_equal(calls.events, 1);
    assert_int_equal(aero_sim_device_stop(target->driver.device), AERO_SIM_OK);
    assert_int_equal(calls.closes, 1);
    target_close(target);
    assert_int_equal(calls.closes, 1);
    assert_int_equal(calls.opens, 1);
}

static void test_model_open_that_fails_fails_the_start_with_its_reason(void **state)
{
    struct target *target = target_open(&(struct target_options){.stepped = true});
    struct aero_sim_device *device;

    memset(&calls, 0, sizeof calls);
    calls.open_answer = AERO_SIM_IO;
    assert_int_equal(aero_sim_device_create(&pulling, target->driver.memory, NULL, &device), AERO_SIM_OK);
    assert_int_equal(aero_sim_device_set_backend(device, "bread", true), AERO_SIM_OK);
    assert_int_equal(aero_sim_device_start(device), AERO_SIM_IO);
    assert_string_equal(aero_sim_device_error(device), "no bread today");
    aero_sim_device_destroy(device);
    assert_int_equal(calls.closes, 0);
    target_close(target);
}

/* ---- Pulling chains ---- */

static const struct aero_sim_chain *peeked[4];

static void peek_twice(void)
{
    peeked[0] = aero_sim_queue_peek(calls.device, 0);
    peeked[1] = aero_sim_queue_peek(calls.device, 0);
}

static void test_model_peek_shows_the_head_until_it_is_completed(void **state)
{
    struct ring_driver_queue queue[2];
    struct target *target = open_pulling(queue);

    calls.in_event = peek_twice;
    aero_sim_device_wake(target->driver.device);
    target_settle(target);
    assert_null(peeked[0]);
    add(&queue[0], 5, 7);
    queue[0].desc[0].len = 5;
    target_settle(target);
    assert_int_equal(calls.events, 2); /* a doorbell of a queue without serve */
    assert_non_null(peeked[0]);
    assert_ptr_equal(peeked[1], peeked[0]);
    assert_int_equal(peeked[0]->head, 0);
    assert_int_equal(peeked[0]->descriptors, 2);
    assert_int_equal(peeked[0]->readable_count, 1);
    assert_int_equal(peeked[0]->writable_count, 1);
    assert_int_equal(peeked[0]->readable_bytes, 5);
    assert_int_equal(peeked[0]->writable_bytes, 7);
    assert_ptr_equal(peeked[0]->segments[1].data, target_at(target, RING_DRIVER_HIGH_GPA + 0x100, 7));
    target_desc(&queue[0], 0, 0, 1, 0, 0); /* too late: it is vetted */
    aero_sim_device_wake(target->driver.device);
    target_settle(target);
    assert_int_equal(peeked[0]->readable_bytes, 5);
    assert_int_equal(queue[0].used[1], 0);
    target_expect_no_interrupt(target, 0);
    close_pulling(target, queue);
}

static void complete_one(void)
{
    if (aero_sim_queue_peek(calls.device, 0))
        aero_sim_queue_complete(calls.device, 0, 3);
}

static void complete_all(void)
{
    while (aero_sim_queue_peek(calls.device, 0))
        aero_sim_queue_complete(calls.device, 0, 9);
    aero_sim_queue_complete(calls.device, 0, 77); /* nothing is held */
}

static void test_model_complete_uses_publishes_and_interrupts(void **state)
{
    struct ring_driver_queue queue[2];
    struct target *target = open_pulling(queue);
    uint32_t id, length;

    calls.in_event = complete_one;
    add(&queue[0], 1, 9);
    add(&queue[0], 1, 9);
    assert_true(aero_sim_device_step(target->driver.device));
    assert_int_equal(queue[0].used[1], 1); /* the other waits for another event */
    assert_int_equal(target->line, 1);
    assert_true(ring_driver_wait(&queue[0], &id, &length));
    assert_int_equal(length, 3);
    calls.in_event = complete_all;
    aero_sim_device_wake(target->driver.device);
    target_settle(target);
    assert_true(ring_driver_wait(&queue[0], &id, &length));
    assert_int_equal(id, 2);
    assert_int_equal(length, 9);
    assert_false(ring_driver_used(&queue[0]));
    close_pulling(target, queue);
}

static void test_model_completes_more_than_the_queue_holds_over_time(void **state)
{
    struct ring_driver_queue queue[2];
    struct target *target = open_pulling(queue);
    struct aero_sim_counters counters;

    calls.in_event = complete_all;
    for (uint32_t i = 0; i < 50; i++) {
        add(&queue[0], 1, 9);
        add(&queue[0], 1, 9);
        assert_true(ring_driver_wait(&queue[0], NULL, NULL));
        assert_true(ring_driver_wait(&queue[0], NULL, NULL));
    }
    aero_sim_device_counters(target->driver.device, &counters);
    assert_int_equal(counters.chains, 100);
    close_pulling(target, queue);
}

static void peek_where_nothing_is(void)
{
    peeked[0] = aero_sim_queue_peek(calls.device, 1); /* it has serve */
    peeked[1] = aero_sim_queue_peek(calls.device, 2); /* there is none */
    aero_sim_queue_complete(calls.device, 1, 1);
    aero_sim_queue_complete(calls.device, 2, 1);
    aero_sim_queue_complete(calls.device, 0, 1);
}

static void test_model_peek_of_other_queues_gives_nothing(void **state)
{
    struct ring_driver_queue queue[2];
    struct target *target = open_pulling(queue);

    peeked[0] = peeked[1] = (const void *)queue;
    calls.in_event = peek_where_nothing_is;
    target_desc(&queue[1], 0, RING_DRIVER_HIGH_GPA, 4, 0, 0);
    target_offer(&queue[1], 0);
    ring_driver_publish(&queue[1]);
    aero_sim_device_wake(target->driver.device);
    target_settle(target);
    assert_int_equal(calls.events, 1);
    assert_null(peeked[0]);
    assert_null(peeked[1]);
    assert_int_equal(queue[0].used[1] + queue[1].used[1], 0);
    close_pulling(target, queue);
}

static void test_model_peek_before_the_queue_is_enabled_gives_nothing(void **state)
{
    struct target *target;

    memset(&calls, 0, sizeof calls);
    calls.in_event = complete_all;
    target = target_open(&(struct target_options){.model = &pulling, .stepped = true});
    target_negotiate(target, RING_DRIVER_ALL_FEATURES);
    target_ready(target);
    target_settle(target);
    assert_int_not_equal(calls.events, 0);
    target_expect_no_interrupt(target, 0);
    target_close(target);
}

static void rng_08_bad_chain_in_a_pulled_queue_is_never_shown(void **state)
{
    struct ring_driver_queue queue[2];
    struct target *target = open_pulling(queue);

    calls.in_event = peek_twice;
    target_desc(&queue[0], 1, RING_DRIVER_HIGH_GPA, 4, RING_DRIVER_F_NEXT, 1);
    target_offer(&queue[0], 1);
    ring_driver_kick(&queue[0]);
    target_settle(target);
    assert_null(peeked[0]);
    assert_null(peeked[1]);
    assert_int_equal(target_take_breach(target, "RNG-8").queue, 0);
    assert_int_equal(target_read(target, RING_DRIVER_STATUS, 1), 0x4F);
    queue[0].avail_idx = 100;
    ring_driver_kick(&queue[0]);
    target_settle(target);
    assert_null(peeked[0]);
    close_pulling(target, queue);
}

static void com_08_reset_takes_a_held_chain_from_the_model(void **state)
{
    struct ring_driver_queue queue[2], again[2];
    struct target *target = open_pulling(queue);

    calls.in_event = peek_twice;
    add(&queue[0], 5, 7);
    target_settle(target);
    assert_non_null(peeked[0]);
    target_negotiate(target, RING_DRIVER_ALL_FEATURES);
    for (uint16_t i = 0; i < 2; i++)
        assert_true(ring_driver_queue_create(&again[i], &target->driver, i));
    target_ready(target);
    target_settle(target);
    assert_null(peeked[0]);
    calls.in_event = complete_all;
    add(&again[0], 2, 2);
    assert_true(ring_driver_wait(&again[0], NULL, NULL));
    assert_int_equal(queue[0].used[1], 0);
    ring_driver_queue_destroy(&queue[0]);
    ring_driver_queue_destroy(&queue[1]);
    close_pulling(target, again);
}

/* ---- Chains as bytes ---- */

static uint8_t got[64];
static size_t lengths[6];

static void read_and_write_pieces(void)
{
    const struct aero_sim_chain *chain = aero_sim_queue_peek(calls.device, 0);

    assert_non_null(chain);
    memset(got, 0, sizeof got);
    lengths[0] = aero_sim_chain_read(chain, 2, got, 5);       /* over a border */
    lengths[1] = aero_sim_chain_read(chain, 3, got + 8, 100); /* to the end */
    lengths[2] = aero_sim_chain_read(chain, 10, got + 20, 1); /* behind it */
    lengths[3] = aero_sim_chain_read(chain, UINT64_MAX, got + 20, 1);
    lengths[4] = aero_sim_chain_write(chain, 1, "vwxyz", 5);
    lengths[5] = aero_sim_chain_write(chain, 4, "VWXYZ", 5);
    aero_sim_queue_complete(calls.device, 0, 6);
}

static void test_model_chain_reads_and_writes_go_over_segments_and_end_short(void **state)
{
    static const size_t expected[] = {5, 7, 0, 0, 5, 2};
    struct ring_driver_queue queue[2];
    struct target *target = open_pulling(queue);
    const uint64_t at = RING_DRIVER_HIGH_GPA;
    const struct ring_driver_buffer buffers[] = {
        {at, 3, false}, {at + 100, 7, false}, {at + 200, 4, true}, {at + 300, 2, true}};

    memcpy(target_at(target, at, 3), "abc", 3);
    memcpy(target_at(target, at + 100, 7), "defghij", 7);
    calls.in_event = read_and_write_pieces;
    assert_int_equal(ring_driver_add(&queue[0], buffers, 4), 0);
    ring_driver_kick(&queue[0]);
    target_settle(target);
    assert_memory_equal(lengths, expected, sizeof expected);
    assert_memory_equal(got, "cdefg", 5);
    assert_memory_equal(got + 8, "defghij", 7);
    assert_int_equal(got[20], 0);
    assert_memory_equal(target_at(target, at + 200, 5), "\0vwx\0", 5);
    assert_memory_equal(target_at(target, at + 300, 3), "VW\0", 3);
    close_pulling(target, queue);
}

/* In memory as any other buffer, so that nothing but the length tells. */
static void rng_05_empty_buffers_are_no_segments_of_a_chain(void **state)
{
    struct ring_driver_queue queue[2];
    struct target *target = open_pulling(queue);
    uint64_t at = ring_driver_allocate(&target->driver, 64, 16);
    const struct ring_driver_buffer buffers[] = {
        {at, 3, false}, {at + 8, 0, false}, {at + 16, 0, true}, {at + 24, 4, true}};

    assert_int_not_equal(ring_driver_add(&queue[1], buffers, 4), RING_DRIVER_FULL);
    ring_driver_kick(&queue[1]);
    target_settle(target);
    assert_int_equal(calls.serves, 1);
    assert_int_equal(calls.served.descriptors, 4);
    assert_int_equal(calls.served.readable_count, 1);
    assert_int_equal(calls.served.writable_count, 1);
    assert_int_equal(calls.served.readable_bytes, 3);
    assert_int_equal(calls.served.writable_bytes, 4);
    close_pulling(target, queue);
}

/* ---- A device that can't go on ---- */

static void fail_now(void)
{
    aero_sim_device_fail(calls.device);
}

static void com_20_fail_while_live_asks_for_reset_and_interrupts(void **state)
{
    struct ring_driver_queue queue[2];
    struct target *target = open_pulling(queue);

    calls.in_event = fail_now;
    aero_sim_device_wake(target->driver.device);
    target_settle(target);
    assert_int_equal(target_read(target, RING_DRIVER_STATUS, 1), 0x4F);
    assert_int_equal(target->line, 1);
    assert_int_equal(target_read(target, RING_DRIVER_ISR, 1), 2);
    target_write(target, RING_DRIVER_STATUS, 1, 0x0F);
    assert_int_equal(target_read(target, RING_DRIVER_STATUS, 1), 0x4F); /* only a reset clears it */
    target_write(target, RING_DRIVER_STATUS, 1, 0);
    assert_int_equal(target_read(target, RING_DRIVER_STATUS, 1), 0);
    close_pulling(target, queue);
}

static void com_20_fail_while_serving_completes_the_chain(void **state)
{
    struct ring_driver_queue queue[2];
    struct target *target = open_pulling(queue);

    calls.fail_in_serve = true;
    add(&queue[1], 1, 1);
    assert_true(ring_driver_wait(&queue[1], NULL, NULL));
    target_settle(target);
    assert_int_equal(calls.serves, 1);
    assert_int_equal(target_read(target, RING_DRIVER_ISR, 1), 3);
    close_pulling(target, queue);
}

static void com_20_fail_before_driver_ok_sets_the_bit_in_silence(void **state)
{
    struct target *target;

    memset(&calls, 0, sizeof calls);
    calls.fail_in_ready = true;
    target = target_open(&(struct target_options){.model = &pulling, .stepped = true});
    target_negotiate(target, RING_DRIVER_ALL_FEATURES);
    target_write(target, RING_DRIVER_STATUS, 1, 0x0F);
    assert_int_equal(target_read(target, RING_DRIVER_STATUS, 1), 0x4F);
    target_expect_no_interrupt(target, 0);
    target_close(target);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model_functions_are_called_when_their_time_comes),
        cmocka_unit_test(test_model_open_that_fails_fails_the_start_with_its_reason),
        cmocka_unit_test(test_model_peek_shows_the_head_until_it_is_completed),
        cmocka_unit_test(test_model_complete_uses_publishes_and_interrupts),
        cmocka_unit_test(test_model_completes_more_than_the_queue_holds_over_time),
        cmocka_unit_test(test_model_peek_of_other_queues_gives_nothing),
        cmocka_unit_test(test_model_peek_before_the_queue_is_enabled_gives_nothing),
        cmocka_unit_test(rng_08_bad_chain_in_a_pulled_queue_is_never_shown),
        cmocka_unit_test(com_08_reset_takes_a_held_chain_from_the_model),
        cmocka_unit_test(test_model_chain_reads_and_writes_go_over_segments_and_end_short),
        cmocka_unit_test(rng_05_empty_buffers_are_no_segments_of_a_chain),
        cmocka_unit_test(com_20_fail_while_live_asks_for_reset_and_interrupts),
        cmocka_unit_test(com_20_fail_while_serving_completes_the_chain),
        cmocka_unit_test(com_20_fail_before_driver_ok_sets_the_bit_in_silence),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
