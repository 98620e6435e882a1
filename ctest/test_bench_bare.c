/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * limit/bare-ring: it runs, both sides count the same, and each of its checks finds what it's there for.
 */
#define _GNU_SOURCE /* for host_linux.c below */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../bench/src/bench.c"
#include "../bench/src/bench_bare.c"
#include "../bench/src/clock.c"
#include "../bench/src/host.c"
#ifdef _WIN32
#include "../bench/src/host_windows.c"
#else
#include "../bench/src/host_linux.c"
#endif

#include "test_program.h"

static struct bare_ring shared;
static struct bare_device device;
static struct bare_driver driver;

/* A ring with three buffers on it, which the device hasn't seen yet. */
static int set_up(void **state)
{
    uint32_t id;

    memset(&shared, 0, sizeof shared);
    device = (struct bare_device){.ring = &shared};
    driver = (struct bare_driver){.ring = &shared};
    for (id = 0; id < 3; id++)
        add(&driver, id);
    publish(&driver);
    return 0;
}

/* The device, which in these tests runs on the same thread, serves all there is and ends. */
static void serve_all(void)
{
    atomic_store(&shared.stop, 1);
    serve(&device);
}

static void test_bare_ring_gives_back_what_it_was_given(void **state)
{
    serve_all();
    assert_null(device.wrong);
    assert_int_equal(device.chains, 3);
    assert_int_equal(device.bytes, 3 * BUFFER_BYTES);
    assert_int_equal(completions(&driver), 3);
    assert_true(take_back(&driver, 3, false));
    assert_int_equal(driver.chains, 3);
    assert_int_equal(driver.used, driver.avail);
}

static void test_bare_ring_device_finds_a_head_out_of_range(void **state)
{
    shared.avail.ring[1] = SIZE;
    serve_all();
    assert_string_equal(device.wrong, "the bare ring's device found a head out of range");
    assert_int_equal(device.chains, 1);
}

static void test_bare_ring_device_finds_a_buffer_out_of_bounds(void **state)
{
    shared.desc[2].addr = SIZE * SLOT_BYTES - BUFFER_BYTES + 1;
    serve_all();
    assert_string_equal(device.wrong, "the bare ring's device found a buffer out of bounds");
    assert_int_equal(device.chains, 2);
}

static void test_bare_ring_device_sees_the_index_jump(void **state)
{
    atomic_store(&shared.avail.idx, SIZE + 1);
    serve_all();
    assert_string_equal(device.wrong, "the bare ring's device saw the index jump");
    assert_int_equal(device.chains, 0);
}

static void test_bare_ring_driver_finds_what_is_not_in_flight(void **state)
{
    serve_all();
    shared.used.ring[1].id = 0; /* a second time */
    assert_false(take_back(&driver, 3, false));
    assert_string_equal(driver.wrong, "the bare ring's driver got back what isn't in flight");
    assert_int_equal(driver.chains, 1);
}

static void test_bare_ring_driver_finds_an_id_out_of_range(void **state)
{
    serve_all();
    shared.used.ring[0].id = SIZE;
    assert_false(take_back(&driver, 3, false));
    assert_string_equal(driver.wrong, "the bare ring's driver got back what isn't in flight");
}

static void test_bare_ring_driver_sees_the_index_jump(void **state)
{
    atomic_store(&shared.used.idx, 4);
    assert_int_equal(completions(&driver), 0);
    assert_string_equal(driver.wrong, "the bare ring's driver saw the index jump");
}

static void test_bare_ring_runs_as_a_benchmark(void **state)
{
    static uint64_t ticks[20];
    static const struct bench_row row = {.name = "limit/bare-ring", .batch = 100, .samples_smoke = 20};
    static struct bench_session session = {
        .options = {.smoke = true, .driver_cpu = -1, .device_cpu = -1}, .row_ns = 1000000000, .ticks = ticks};
    struct bench_run run = {.row = &row, .session = &session, .batch = 100};

    clock_calibrate(1000000);
    if (!limit_bare_ring(&run))
        fail_msg("%s", run.failure);
    assert_in_range(run.samples, 1, 20);
    /* Warming up included, and the ring's own fill, which was drained. */
    assert_true(run.digest >= (100 * (uint64_t)run.samples + SIZE) * BUFFER_BYTES);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_bare_ring_gives_back_what_it_was_given, set_up),
        cmocka_unit_test_setup(test_bare_ring_device_finds_a_head_out_of_range, set_up),
        cmocka_unit_test_setup(test_bare_ring_device_finds_a_buffer_out_of_bounds, set_up),
        cmocka_unit_test_setup(test_bare_ring_device_sees_the_index_jump, set_up),
        cmocka_unit_test_setup(test_bare_ring_driver_finds_what_is_not_in_flight, set_up),
        cmocka_unit_test_setup(test_bare_ring_driver_finds_an_id_out_of_range, set_up),
        cmocka_unit_test_setup(test_bare_ring_driver_sees_the_index_jump, set_up),
        cmocka_unit_test(test_bare_ring_runs_as_a_benchmark),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
