/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * INTx while one thread is in the act of reporting it: what another thread acknowledges and raises meanwhile must come out
 * as edges too, in order (INT-3). The callback blocks here, which none in earnest may, to hold the window open.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "target.h"
#include "test_program.h"

#include <string.h>

static struct {
    struct aero_sim_device *device;
    bool acknowledges, raises; /* what the other thread does inside the first report */
    uint32_t acknowledged;     /* the ISR byte that it read */
    uint32_t reports;
    bool levels[8];
} scene;

static enum aero_sim_status echo_open(void *state, struct aero_sim_device *device,
                                      const struct aero_sim_backend *backend, char *error, size_t error_bytes)
{
    scene.device = device;
    return AERO_SIM_OK;
}

/* Says the written byte back as configuration, which raises the configuration interrupt. */
static void echo_config_write(void *state, uint32_t offset, uint32_t width, uint32_t value)
{
    uint8_t byte = (uint8_t)value;

    aero_sim_config_set(scene.device, offset, &byte, 1);
}

static uint32_t echo_serve(void *state, const struct aero_sim_chain *chain)
{
    return 0;
}

static const struct aero_sim_queue_spec echo_queues[] = {{"q", 1, echo_serve}};
static const struct aero_sim_model echo = {.name = "echo",
                                           .summary = "its configuration is what was written to it",
                                           .pci_device_id = 0x107F,
                                           .config_bytes = 4,
                                           .queue_count = 1,
                                           .queues = echo_queues,
                                           .open = echo_open,
                                           .config_write = echo_config_write};

static void other_thread(void *context)
{
    if (scene.acknowledges)
        scene.acknowledged = (uint32_t)aero_sim_bar_read(scene.device, RING_DRIVER_ISR, 1);
    if (scene.raises)
        aero_sim_bar_write(scene.device, 0x3000, 1, 2);
}

static void on_intx(void *context, bool asserted)
{
    uint32_t report = scene.reports++;

    if (report < 8)
        scene.levels[report] = asserted;
    if (report == 0)
        sim_os_thread_join(sim_os_thread_start(other_thread, NULL, -1));
}

/* A running device without a worker, whose one cause is a write of configuration. */
static void play(bool acknowledges, bool raises)
{
    struct aero_sim_memory *memory;
    struct aero_sim_device *device;

    memset(&scene, 0, sizeof scene);
    scene.acknowledges = acknowledges;
    scene.raises = raises;
    assert_int_equal(aero_sim_memory_create(&memory), AERO_SIM_OK);
    assert_int_equal(aero_sim_device_create(&echo, memory, NULL, &device), AERO_SIM_OK);
    assert_int_equal(aero_sim_device_set_intx(device, on_intx, NULL), AERO_SIM_OK);
    assert_int_equal(aero_sim_device_start(device), AERO_SIM_OK);
    aero_sim_pci_write(device, 0x04, 2, 0x0006);
    aero_sim_bar_write(device, 0x08, 4, 1);
    aero_sim_bar_write(device, 0x0C, 4, 1); /* VERSION_1 */
    aero_sim_bar_write(device, 0x14, 1, 0x0B);
    aero_sim_bar_write(device, 0x14, 1, 0x0F);
    aero_sim_bar_write(device, 0x3000, 1, 1); /* the cause whose report holds the window open */
    aero_sim_bar_write(device, 0x14, 1, 0);   /* a reset takes the line down again, if it is up */
    aero_sim_device_destroy(device);
    aero_sim_memory_destroy(memory);
}

static void int_03_fall_hidden_by_a_later_cause_is_reported(void **state)
{
    play(true, true);
    assert_int_equal(scene.acknowledged, 2);
    assert_int_equal(scene.reports, 4);
    assert_true(scene.levels[0]);
    assert_false(scene.levels[1]);
    assert_true(scene.levels[2]);
    assert_false(scene.levels[3]);
}

static void int_03_fall_inside_a_report_is_reported_by_the_reporter(void **state)
{
    play(true, false);
    assert_int_equal(scene.acknowledged, 2);
    assert_int_equal(scene.reports, 2);
    assert_true(scene.levels[0]);
    assert_false(scene.levels[1]);
}

static void int_03_second_cause_inside_a_report_is_no_second_report(void **state)
{
    play(false, true);
    assert_int_equal(scene.reports, 2);
    assert_true(scene.levels[0]);
    assert_false(scene.levels[1]);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(int_03_fall_hidden_by_a_later_cause_is_reported),
        cmocka_unit_test(int_03_fall_inside_a_report_is_reported_by_the_reporter),
        cmocka_unit_test(int_03_second_cause_inside_a_report_is_no_second_report),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests_name("INTx order", tests, NULL, NULL);
}
