/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The device model that README shows, compiled and tried: a device that counts the bytes that it is told. A
 * model needn't live in simulator/devices; a test or a program of your own hands it to aero_sim_device_create
 * as it is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "ring_driver.h"
#include "test_program.h"

/* clang-format off: README shows the following lines as they stand */
#include "aero_sim_model.h"

struct tally {
    uint64_t bytes;
};

/* One chain: first what the driver says, then room for what it wants to hear. Runs on the worker. */
static uint32_t tally_serve(void *state, const struct aero_sim_chain *chain)
{
    struct tally *tally = state;

    tally->bytes += chain->readable_bytes;
    return (uint32_t)aero_sim_chain_write(chain, 0, &tally->bytes, sizeof tally->bytes); /* the used length */
}

static void tally_reset(void *state)
{
    memset(state, 0, sizeof(struct tally));
}

static const struct aero_sim_queue_spec tally_queues[] = {
    {.name = "tallyq", .size = 16, .serve = tally_serve},
};

static const struct aero_sim_model tally_model = {
    .name = "tally",
    .summary = "counts the bytes that it is told",
    .pci_device_id = 0x107E,
    .subsystem_id = 0x003E,
    .class_code = 0x00FF00,
    .state_bytes = sizeof(struct tally),
    .queue_count = 1,
    .queues = tally_queues,
    .reset = tally_reset,
};
/* clang-format on */

struct fixture {
    struct ring_driver driver;
    struct ring_driver_queue queue;
};

static int create(void **state)
{
    static struct fixture fixture;

    memset(&fixture, 0, sizeof fixture);
    *state = &fixture;
    return ring_driver_create(&fixture.driver, &tally_model, true) ? 0 : -1;
}

static void bring_up(struct fixture *fixture)
{
    assert_true(ring_driver_bring_up(&fixture->driver, RING_DRIVER_ALL_FEATURES));
    assert_true(ring_driver_queue_create(&fixture->queue, &fixture->driver, 0));
    ring_driver_add_status(&fixture->driver, RING_DRIVER_DRIVER_OK);
}

static int destroy(void **state)
{
    struct fixture *fixture = *state;
    uint32_t breaches = ring_driver_breaches(&fixture->driver, NULL);

    ring_driver_queue_destroy(&fixture->queue);
    ring_driver_destroy(&fixture->driver);
    return breaches == 0 ? 0 : -1;
}

/* Tells it so many bytes; answers what it says. */
static uint64_t tell(struct fixture *fixture, uint32_t bytes)
{
    uint64_t out = ring_driver_allocate(&fixture->driver, bytes, 16);
    uint64_t in = ring_driver_allocate(&fixture->driver, 8, 8);
    const struct ring_driver_buffer buffers[] = {{out, bytes, false}, {in, 8, true}};
    uint32_t length;
    uint64_t said;

    assert_int_not_equal(ring_driver_add(&fixture->queue, buffers, 2), RING_DRIVER_FULL);
    ring_driver_kick(&fixture->queue);
    assert_true(ring_driver_wait(&fixture->queue, NULL, &length));
    while (aero_sim_device_step(fixture->driver.device))
        continue; /* the interrupt comes last */
    assert_int_equal(length, 8);
    memcpy(&said, ring_driver_at(&fixture->driver, in, 8), sizeof said);
    return said;
}

static void test_readme_model_told_twice_adds_up(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(ring_driver_start(&fixture->driver), AERO_SIM_OK);
    bring_up(fixture);
    assert_int_equal(tell(fixture, 13), 13);
    assert_int_equal(tell(fixture, 100), 113);
}

static void test_readme_model_reset_forgets(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(ring_driver_start(&fixture->driver), AERO_SIM_OK);
    bring_up(fixture);
    assert_int_equal(tell(fixture, 13), 13);
    ring_driver_queue_destroy(&fixture->queue);
    bring_up(fixture);
    assert_int_equal(tell(fixture, 5), 5);
}

static void test_readme_model_third_interrupt_lost_comes_again_with_the_fourth(void **state)
{
    struct fixture *fixture = *state;
    struct aero_sim_device *device = fixture->driver.device;
    const uint32_t isr[] = {1, 1, 0, 1};
    /* clang-format off: docs/quirks.md shows these lines as they stand */
    const struct aero_sim_quirk_trigger third = {.after = 2, .times = 1, .value = UINT64_MAX};

    assert_int_equal(aero_sim_device_set_quirk(device, "lost-intx", &third), AERO_SIM_OK);
    /* clang-format on */

    assert_int_equal(ring_driver_start(&fixture->driver), AERO_SIM_OK);
    bring_up(fixture);
    for (uint32_t i = 0; i < 4; i++) {
        tell(fixture, 1);
        assert_int_equal(ring_driver_read(&fixture->driver, RING_DRIVER_ISR, 1), isr[i]);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_readme_model_told_twice_adds_up, create, destroy),
        cmocka_unit_test_setup_teardown(test_readme_model_reset_forgets, create, destroy),
        cmocka_unit_test_setup_teardown(test_readme_model_third_interrupt_lost_comes_again_with_the_fourth,
                                        create, destroy),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
