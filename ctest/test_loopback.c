/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The loopback device, poked through aero_sim.h: everything once with a worker and once stepped. With it the
 * test driver of support/ring_driver.h is tried as well.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../simulator/devices/devices.h"
#include "ring_driver.h"
#include "test_program.h"

static bool stepped;

struct fixture {
    struct ring_driver driver;
    struct ring_driver_queue queue;
};

static int set_up(void **state)
{
    static struct fixture fixture;

    memset(&fixture, 0, sizeof fixture);
    *state = &fixture;
    if (!ring_driver_create(&fixture.driver, &sim_model_loopback, stepped) ||
        ring_driver_start(&fixture.driver) ||
        !ring_driver_bring_up(&fixture.driver, RING_DRIVER_ALL_FEATURES) ||
        !ring_driver_queue_create(&fixture.queue, &fixture.driver, 1))
        return -1;
    ring_driver_add_status(&fixture.driver, RING_DRIVER_DRIVER_OK);
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    uint32_t breaches = ring_driver_breaches(&fixture->driver, NULL);

    ring_driver_queue_destroy(&fixture->queue);
    ring_driver_destroy(&fixture->driver);
    return breaches == 0 ? 0 : -1;
}

/* One chain: readable and writable pieces of these lengths, one behind the other. Answers the used length. */
struct echo {
    uint8_t *out, *in; /* where the first piece of each begins */
    uint32_t length;   /* used */
};

static struct echo echo(struct fixture *fixture, const uint32_t *out, uint32_t outs, const uint32_t *in,
                        uint32_t ins)
{
    struct ring_driver_buffer buffers[64];
    uint64_t out_gpa = ring_driver_allocate(&fixture->driver, 65536, 16);
    uint64_t in_gpa = ring_driver_allocate(&fixture->driver, 65536, 16);
    uint64_t out_at = out_gpa, in_at = in_gpa;
    struct echo result = {ring_driver_at(&fixture->driver, out_gpa, 65536),
                          ring_driver_at(&fixture->driver, in_gpa, 65536), 0};
    uint32_t id;

    for (uint32_t i = 0; i < 65536; i++)
        result.out[i] = (uint8_t)(i * 7 + i / 256 + 1);
    memset(result.in, 0xEE, 65536);
    for (uint32_t i = 0; i < outs; out_at += out[i++])
        buffers[i] = (struct ring_driver_buffer){out_at, out[i], false};
    for (uint32_t i = 0; i < ins; in_at += in[i++])
        buffers[outs + i] = (struct ring_driver_buffer){in_at, in[i], true};
    assert_int_not_equal(ring_driver_add(&fixture->queue, buffers, outs + ins), RING_DRIVER_FULL);
    ring_driver_kick(&fixture->queue);
    assert_true(ring_driver_wait(&fixture->queue, &id, &result.length));
    return result;
}

static void expect_echo(struct echo result, uint32_t length)
{
    assert_int_equal(result.length, length);
    assert_memory_equal(result.in, result.out, length);
    assert_int_equal(result.in[length], 0xEE); /* and not a byte more */
}

static void test_loopback_room_for_all_echoes_all(void **state)
{
    const uint32_t lengths[] = {13};

    expect_echo(echo(*state, lengths, 1, lengths, 1), 13);
}

static void test_loopback_less_room_echoes_what_fits(void **state)
{
    const uint32_t out[] = {100}, in[] = {40};

    expect_echo(echo(*state, out, 1, in, 1), 40);
}

static void test_loopback_more_room_leaves_the_rest(void **state)
{
    const uint32_t out[] = {40}, in[] = {100};

    expect_echo(echo(*state, out, 1, in, 1), 40);
}

static void test_loopback_cut_otherwise_on_each_side_echoes_all(void **state)
{
    const uint32_t out[] = {1, 2000, 3, 1, 1043}, in[] = {500, 1, 1, 2546};

    expect_echo(echo(*state, out, 5, in, 4), 3048);
}

static void test_loopback_exactly_its_buffer_echoes_all(void **state)
{
    const uint32_t lengths[] = {1024};

    expect_echo(echo(*state, lengths, 1, lengths, 1), 1024);
}

static void test_loopback_many_times_its_buffer_echoes_all(void **state)
{
    const uint32_t lengths[] = {65000};

    expect_echo(echo(*state, lengths, 1, lengths, 1), 65000);
}

static void test_loopback_nothing_writable_touches_nothing(void **state)
{
    const uint32_t lengths[] = {13};

    expect_echo(echo(*state, lengths, 1, NULL, 0), 0);
}

static void test_loopback_nothing_readable_writes_nothing(void **state)
{
    const uint32_t lengths[] = {13};

    expect_echo(echo(*state, NULL, 0, lengths, 1), 0);
}

/* The driver's own fault, and no more than that: what is echoed is unspecified, the process goes on. */
static void test_loopback_same_memory_both_ways_is_harmless(void **state)
{
    struct fixture *fixture = *state;
    uint64_t gpa = ring_driver_allocate(&fixture->driver, 4096, 16);
    const struct ring_driver_buffer buffers[] = {{gpa, 3000, false}, {gpa + 5, 3000, true}};
    uint32_t length;

    assert_int_not_equal(ring_driver_add(&fixture->queue, buffers, 2), RING_DRIVER_FULL);
    ring_driver_kick(&fixture->queue);
    assert_true(ring_driver_wait(&fixture->queue, NULL, &length));
    assert_int_equal(length, 3000);
}

static void test_loopback_many_in_flight_completes_all(void **state)
{
    struct fixture *fixture = *state;
    uint64_t gpa = ring_driver_allocate(&fixture->driver, 256 * 8, 16);
    bool seen[256] = {false};
    uint32_t id, length;

    for (uint32_t round = 0; round < 5; round++) {
        memset(seen, 0, sizeof seen);
        for (uint32_t i = 0; i < 256; i++) {
            const struct ring_driver_buffer buffer = {gpa + 8 * i, 8, true};

            assert_int_not_equal(ring_driver_add(&fixture->queue, &buffer, 1), RING_DRIVER_FULL);
        }
        ring_driver_kick(&fixture->queue);
        for (uint32_t i = 0; i < 256; i++) {
            assert_true(ring_driver_wait(&fixture->queue, &id, &length));
            assert_false(seen[id]);
            seen[id] = true;
        }
    }
}

/* aero_sim_device_stop: "lets the worker finish what doorbells asked for so far". */
static void test_loopback_stopped_after_a_doorbell_completes_first(void **state)
{
    struct fixture *fixture = *state;
    uint64_t gpa = ring_driver_allocate(&fixture->driver, 256 * 2048, 16);

    if (stepped)
        return;
    for (uint32_t i = 0; i < 128; i++) {
        const struct ring_driver_buffer buffers[] = {{gpa, 256 * 1024, false},
                                                     {gpa + 256 * 1024, 256 * 1024, true}};

        assert_int_not_equal(ring_driver_add(&fixture->queue, buffers, 2), RING_DRIVER_FULL);
    }
    ring_driver_kick(&fixture->queue);
    assert_int_equal(aero_sim_device_stop(fixture->driver.device), AERO_SIM_OK);
    for (uint32_t i = 0; i < 128; i++) {
        assert_true(ring_driver_used(&fixture->queue));
        assert_true(ring_driver_wait(&fixture->queue, NULL, NULL));
    }
}

static void test_loopback_each_queue_serves(void **state)
{
    struct fixture *fixture = *state;
    struct ring_driver *driver = &fixture->driver;

    assert_int_equal(ring_driver_read(driver, 0x12, 2), 4);
    for (uint16_t index = 0; index < 4; index++) {
        struct ring_driver_queue queue;
        struct ring_driver_buffer buffer = {ring_driver_allocate(driver, 16, 16), 13, false};

        if (index == 1)
            continue; /* the fixture's */
        assert_true(ring_driver_queue_create(&queue, driver, index));
        assert_int_equal(queue.size, 256);
        assert_int_not_equal(ring_driver_add(&queue, &buffer, 1), RING_DRIVER_FULL);
        ring_driver_kick(&queue);
        assert_true(ring_driver_wait(&queue, NULL, NULL));
        ring_driver_queue_destroy(&queue);
    }
}

static void com_21_loopback_config_reads_alike_by_every_width(void **state)
{
    struct fixture *fixture = *state;
    const uint8_t expected[20] = {'L',  'O',  'O',  'P',  4,    0,    0, 0, 0x80, 0x90,
                                  0xA0, 0xB0, 0xC0, 0xD0, 0xE0, 0xF0, 0, 0, 0,    0};

    for (uint32_t width = 1; width <= 4; width *= 2) {
        for (uint32_t offset = 0; offset < sizeof expected; offset += width) {
            uint32_t value = ring_driver_read(&fixture->driver, RING_DRIVER_CONFIG + offset, width);

            assert_memory_equal(&value, expected + offset, width);
        }
    }
}

static void pci_02_loopback_identity_is_its_own(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(aero_sim_pci_read(fixture->driver.device, 0x00, 4), 0x107F1AF4);
    assert_int_equal(aero_sim_pci_read(fixture->driver.device, 0x2C, 4), 0x003F1AF4);
    assert_int_equal(aero_sim_pci_read(fixture->driver.device, 0x08, 4), 0x00FF0001);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_loopback_room_for_all_echoes_all),
        TEST(test_loopback_less_room_echoes_what_fits),
        TEST(test_loopback_more_room_leaves_the_rest),
        TEST(test_loopback_cut_otherwise_on_each_side_echoes_all),
        TEST(test_loopback_exactly_its_buffer_echoes_all),
        TEST(test_loopback_many_times_its_buffer_echoes_all),
        TEST(test_loopback_nothing_writable_touches_nothing),
        TEST(test_loopback_nothing_readable_writes_nothing),
        TEST(test_loopback_same_memory_both_ways_is_harmless),
        TEST(test_loopback_many_in_flight_completes_all),
        TEST(test_loopback_stopped_after_a_doorbell_completes_first),
        TEST(test_loopback_each_queue_serves),
        TEST(com_21_loopback_config_reads_alike_by_every_width),
        TEST(pci_02_loopback_identity_is_its_own),
    };
    int failed;

    test_program(argc, argv, tests);
    stepped = true;
    failed = cmocka_run_group_tests_name("loopback, stepped", tests, NULL, NULL);
    stepped = false;
    return failed + cmocka_run_group_tests_name("loopback, with a worker", tests, NULL, NULL);
}
