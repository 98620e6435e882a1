/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The bench's own devices: the one that copies has what it was given, and the one that takes note has touched
 * nothing and is on every queue.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../bench/src/sink.c"

#include "test_program.h"

static uint8_t payload[SINK_COPY_BYTES + 1];

static int set_up(void **state)
{
    size_t i;

    for (i = 0; i < sizeof payload; i++)
        payload[i] = (uint8_t)(i * 7 + i / 256);
    *state = calloc(1, sink_copy_model.state_bytes);
    return *state == NULL || copy_open(*state, NULL, NULL, NULL, 0) != AERO_SIM_OK;
}

static int tear_down(void **state)
{
    free(*state);
    return 0;
}

static void give(void *state, uint8_t *bytes, uint32_t length)
{
    struct aero_sim_segment segment = {.data = bytes, .length = length};
    struct aero_sim_chain chain = {.readable_count = 1, .readable_bytes = length, .segments = &segment};

    assert_int_equal(sink_copy_model.queues[0].serve(state, &chain), 0);
}

static void assert_copied(const uint8_t *bytes, size_t length)
{
    size_t copied_length;
    const uint8_t *copied = sink_copied(&copied_length);

    assert_int_equal(copied_length, length);
    assert_ptr_not_equal(copied, bytes);
    assert_memory_equal(copied, bytes, length);
}

static void test_sink_before_a_chain_came_there_is_no_copy(void **state)
{
    size_t length = 1;

    assert_null(sink_copied(&length));
    assert_int_equal(length, 0);
}

static void test_sink_copies_a_chain_of_several_segments_as_one(void **state)
{
    struct aero_sim_segment segments[] = {{payload, 13}, {payload + 13, 1}, {payload + 14, 1486}};
    struct aero_sim_chain chain = {.readable_count = 3, .readable_bytes = 1500, .segments = segments};

    assert_int_equal(sink_copy_model.queues[0].serve(*state, &chain), 0);
    assert_copied(payload, 1500);
}

static void test_sink_copies_are_the_devices_own(void **state)
{
    uint8_t bytes[64];
    size_t length;

    memcpy(bytes, payload, sizeof bytes);
    give(*state, bytes, sizeof bytes);
    memset(bytes, 0xEE, sizeof bytes);
    assert_memory_equal(sink_copied(&length), payload, sizeof bytes);
}

static void test_sink_copies_every_chain_however_often_its_memory_goes_round(void **state)
{
    const uint32_t lengths[] = {SINK_COPY_BYTES, 1, 13, SINK_COPY_BYTES - 1, 4096, SINK_COPY_BYTES};
    uint32_t i;

    for (i = 0; i < 60; i++) {
        uint32_t length = lengths[i % 6];

        give(*state, payload + (length < SINK_COPY_BYTES), length);
        assert_copied(payload + (length < SINK_COPY_BYTES), length);
    }
}

static void test_sink_copies_no_more_than_it_has_room_for(void **state)
{
    give(*state, payload, 1);
    give(*state, payload, SINK_COPY_BYTES + 1);
    assert_copied(payload, SINK_COPY_BYTES);
}

static void test_sink_takes_note_on_every_queue_and_writes_nothing(void **state)
{
    uint8_t bytes[4] = {1, 2, 3, 4};
    struct aero_sim_segment segment = {.data = bytes, .length = sizeof bytes};
    struct aero_sim_chain chain = {.writable_count = 1, .writable_bytes = 4, .segments = &segment};
    uint16_t queue;

    assert_int_equal(sink_model.queue_count, AERO_SIM_QUEUES_MAX);
    for (queue = 0; queue < sink_model.queue_count; queue++) {
        assert_int_equal(sink_model.queues[queue].size, SINK_QUEUE_SIZE);
        assert_int_equal(sink_model.queues[queue].serve(NULL, &chain), 0);
    }
    assert_memory_equal(bytes, "\1\2\3\4", 4);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sink_before_a_chain_came_there_is_no_copy, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sink_copies_a_chain_of_several_segments_as_one, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_sink_copies_are_the_devices_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sink_copies_every_chain_however_often_its_memory_goes_round,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sink_copies_no_more_than_it_has_room_for, set_up, tear_down),
        cmocka_unit_test(test_sink_takes_note_on_every_queue_and_writes_nothing),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
