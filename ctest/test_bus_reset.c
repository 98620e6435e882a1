/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * aero_sim_bus_reset: a device that is reset by its bus, in every state of a bring-up, in the midst of
 * traffic, against another thread's register writes, and under a driver on the NT kernel (PCI-14, COM-8).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "nt_scene.h"
#include "target.h"
#include "test_program.h"

#define COMMON_BYTES 0x38u
#define QUEUE_SELECT 0x16u

/* ---- In every state ---- */

/* All that a driver can read of a function, but for what reading changes and what stays. */
struct function {
    uint32_t pci[64];
    uint8_t common[COMMON_BYTES];
};

static const uint8_t widths[COMMON_BYTES] = {
    [0x00] = 4, [0x04] = 4, [0x08] = 4, [0x0C] = 4, [0x10] = 2, [0x12] = 2,
    [0x14] = 1, [0x16] = 2, [0x18] = 2, [0x1A] = 2, [0x1C] = 2, [0x1E] = 2,
    [0x20] = 4, [0x24] = 4, [0x28] = 4, [0x2C] = 4, [0x30] = 4, [0x34] = 4,
};

static void pci_look(struct target *target, struct function *function)
{
    for (uint32_t word = 0; word < 64; word++)
        function->pci[word] = target_pci_read(target, 4 * word, 4);
}

static void common_look(struct target *target, struct function *function)
{
    memset(function->common, 0, sizeof function->common);
    for (uint32_t offset = 0; offset < COMMON_BYTES; offset++) {
        uint64_t value = widths[offset] ? target_read(target, offset, widths[offset]) : 0;

        memcpy(&function->common[offset], &value, widths[offset]);
    }
}

/* Each stage goes on from the one before it. */
enum stage {
    AFTER_START,
    DECODED,
    ACKNOWLEDGED,
    FEATURES_AGREED,
    QUEUE_ENABLED,
    READY,
    BELL_RUNG,
    LINE_UP,
    LINE_UP_AND_DISABLED,
    NEEDS_RESET,
    FAILED,
    STAGES
};

/* Selectors, the vectors of MSI-X and what else a driver leaves behind. */
static void litter(struct target *target)
{
    target_pci_write(target, 0x0C, 1, 0x10);
    target_pci_write(target, 0x10, 4, 0xE0000000);
    target_pci_write(target, 0x14, 4, 0x1);
    target_pci_write(target, 0x3C, 1, 0x0B);
    target_write(target, 0x00, 4, 1);
    target_write(target, 0x08, 4, 1);
    target_write(target, 0x0C, 4, 1);
    target_write(target, 0x10, 2, 3);
    target_write(target, 0x1A, 2, 3);
    target_write(target, 0x20, 4, 0x1000);
}

static void send_one(struct ring_driver_queue *queue)
{
    const struct ring_driver_buffer buffers[] = {{RING_DRIVER_HIGH_GPA, 16, false},
                                                 {RING_DRIVER_HIGH_GPA + 64, 16, true}};

    assert_int_not_equal(ring_driver_add(queue, buffers, 2), RING_DRIVER_FULL);
    ring_driver_kick(queue);
}

static void break_ring(struct target *target, struct ring_driver_queue *queue)
{
    target_desc(queue, 0, 1, 16, 0, 0); /* an address that no memory has */
    target_offer(queue, 0);
    ring_driver_kick(queue);
    target_take_breach(target, "DMA-2");
}

/* Takes the device to that stage; a queue that was made is the caller's to destroy. */
static bool climb(struct target *target, struct ring_driver_queue *queue, enum stage stage)
{
    if (stage >= DECODED) {
        target_pci_write(target, 0x04, 2, 0x0006);
        litter(target);
    }
    if (stage >= ACKNOWLEDGED)
        target_write(target, RING_DRIVER_STATUS, 1, RING_DRIVER_ACKNOWLEDGE);
    if (stage >= FEATURES_AGREED)
        target_negotiate(target, RING_DRIVER_ALL_FEATURES);
    if (stage < QUEUE_ENABLED)
        return false;
    assert_true(ring_driver_queue_create(queue, &target->driver, 0));
    if (stage >= READY)
        target_ready(target);
    if (stage >= BELL_RUNG && stage != NEEDS_RESET)
        send_one(queue);
    if (stage == LINE_UP || stage == LINE_UP_AND_DISABLED)
        assert_true(target_wait_line(target, true));
    if (stage == LINE_UP_AND_DISABLED)
        target_pci_write(target, 0x04, 2, 0x0406);
    if (stage == NEEDS_RESET)
        break_ring(target, queue);
    if (stage == FAILED)
        target_write(target, RING_DRIVER_STATUS, 1, 0x8F);
    return true;
}

static void expect_gone_dark(struct target *target, const struct function *fresh)
{
    struct function now;

    pci_look(target, &now);
    assert_memory_equal(now.pci, fresh->pci, sizeof now.pci);
    assert_int_equal(target_read(target, RING_DRIVER_STATUS, 1), 0xFF);
    target_write(target, RING_DRIVER_STATUS, 1, RING_DRIVER_ACKNOWLEDGE); /* vanishes */
    assert_false(aero_sim_device_intx_level(target->driver.device));
    assert_int_equal(target->line, 0);
}

static void reset_in_every_stage(bool stepped)
{
    for (enum stage stage = AFTER_START; stage < STAGES; stage++) {
        struct target *target = target_open(&(struct target_options){.stepped = stepped, .cold = true});
        struct ring_driver_queue queue;
        struct function fresh, now;

        pci_look(target, &fresh);
        target_pci_write(target, 0x04, 2, 0x0006);
        common_look(target, &fresh);
        target_pci_write(target, 0x04, 2, 0);
        if (climb(target, &queue, stage))
            ring_driver_queue_destroy(&queue);
        aero_sim_bus_reset(target->driver.device);
        expect_gone_dark(target, &fresh);
        target_pci_write(target, 0x04, 2, 0x0006);
        common_look(target, &now);
        assert_memory_equal(now.common, fresh.common, sizeof now.common);
        assert_int_equal(target_read(target, RING_DRIVER_ISR, 1), 0);
        target_bring_up(target, &queue, 0);
        target_echo_small(target, &queue);
        ring_driver_queue_destroy(&queue);
        target_close(target);
    }
}

static void com_08_bus_reset_in_every_state_leaves_the_device_as_after_start(void **state)
{
    reset_in_every_stage(false);
}

static void com_08_bus_reset_in_every_state_of_a_stepped_device_does_too(void **state)
{
    reset_in_every_stage(true);
}

static void com_08_bus_reset_works_where_a_drivers_reset_does_not(void **state)
{
    struct target *target = target_open(&(struct target_options){.quirk = "reset-never-completes"});

    target_write(target, RING_DRIVER_STATUS, 1, RING_DRIVER_ACKNOWLEDGE);
    target_write(target, RING_DRIVER_STATUS, 1, 0);
    assert_int_equal(target_read(target, RING_DRIVER_STATUS, 1), RING_DRIVER_ACKNOWLEDGE);
    aero_sim_bus_reset(target->driver.device);
    target_pci_write(target, 0x04, 2, 0x0006);
    assert_int_equal(target_read(target, RING_DRIVER_STATUS, 1), 0);
    target_close(target);
}

static void test_bus_reset_of_a_device_that_is_gone_brings_nothing_back(void **state)
{
    const struct aero_sim_quirk_trigger once = {.times = 1, .value = UINT64_MAX};
    struct target *target =
        target_open(&(struct target_options){.quirk = "surprise-removal-all-ones", .trigger = &once});

    assert_int_equal(target_read(target, RING_DRIVER_STATUS, 1), 0xFF);
    aero_sim_bus_reset(target->driver.device);
    target_pci_write(target, 0x04, 2, 0x0006);
    assert_int_equal(target_read(target, RING_DRIVER_STATUS, 1), 0xFF);
    assert_int_equal(target_pci_read(target, 0x00, 4), UINT32_MAX);
    target_close(target);
}

static void test_bus_reset_is_traced_and_replayed(void **state)
{
    struct target *target = target_open(&(struct target_options){.stepped = true, .trace_events = 64});
    struct target *other = target_open(&(struct target_options){.stepped = true, .cold = true});
    FILE *stream = target_scratch_open();
    uint32_t mismatches;

    target_write(target, RING_DRIVER_STATUS, 1, RING_DRIVER_ACKNOWLEDGE);
    aero_sim_bus_reset(target->driver.device);
    target_read(target, RING_DRIVER_STATUS, 1);
    target_pci_write(target, 0x04, 2, 0x0006);
    target_read(target, RING_DRIVER_STATUS, 1);
    assert_int_equal(aero_sim_device_trace_write(target->driver.device, stream), AERO_SIM_OK);
    rewind(stream);
    assert_int_equal(aero_sim_device_trace_replay(other->driver.device, stream, &mismatches), AERO_SIM_OK);
    assert_int_equal(mismatches, 0);
    target_scratch_close(stream);
    target_close(other);
    target_close(target);
}

/* ---- In the midst of things ---- */

static void pauses(uint32_t count)
{
    while (count--)
        sim_os_pause();
}

/* As the driver's own reset in test_worker_busy.c: no atomics behind it, as ThreadSanitizer can tell. */
static void com_08_bus_reset_in_traffic_ends_the_devices_writing(void **state)
{
    struct target *target = target_open(&(struct target_options){.spin_ns = 50000});

    for (uint32_t i = 0; i < 150; i++) {
        uint8_t *echo = target_at(target, RING_DRIVER_HIGH_GPA + 64, 16);
        struct ring_driver_queue queue;
        uint16_t used;

        target_bring_up(target, &queue, 0);
        for (uint32_t chain = 0; chain < queue.size / 2u; chain++)
            send_one(&queue);
        pauses(i * 11 % 2000);
        aero_sim_bus_reset(target->driver.device);
        used = __atomic_load_n(&queue.used[1], __ATOMIC_RELAXED);
        memset(echo, 0, 16);
        memset(queue.desc, 0xFF, sizeof *queue.desc * queue.size);
        ring_driver_kick(&queue);
        pauses(100);
        assert_int_equal(echo[0], 0);
        assert_int_equal(__atomic_load_n(&queue.used[1], __ATOMIC_RELAXED), used);
        assert_int_equal(target->line, 0);
        ring_driver_queue_destroy(&queue);
        target->driver.allocated = 0; /* the same rings again */
        memset(target_at(target, RING_DRIVER_LOW_GPA, 65536), 0, 65536);
        target_pci_write(target, 0x04, 2, 0x0006);
    }
    target_close(target);
}

static struct {
    struct aero_sim_device *device;
    _Atomic uint32_t writes;
    _Atomic uint32_t stop;
} scribbler;

/* Writes that each would leave a status behind, were they taken after the reset. */
static void scribble(void *context)
{
    while (!atomic_load(&scribbler.stop)) {
        aero_sim_bar_write(scribbler.device, RING_DRIVER_STATUS, 1, RING_DRIVER_ACKNOWLEDGE);
        aero_sim_bar_write(scribbler.device, RING_DRIVER_STATUS, 1, 0);
        atomic_fetch_add(&scribbler.writes, 1);
    }
}

static void pci_14_write_that_loses_to_a_bus_reset_vanishes(void **state)
{
    struct target *target = target_open(&(struct target_options){.cold = true});

    for (uint32_t i = 0; i < 300; i++) {
        struct sim_os_thread *thread;
        uint64_t end = target_deadline();

        target_pci_write(target, 0x04, 2, 0x0006);
        scribbler.device = target->driver.device;
        atomic_store(&scribbler.writes, 0);
        atomic_store(&scribbler.stop, 0);
        thread = sim_os_thread_start(scribble, NULL, -1);
        assert_non_null(thread);
        while (atomic_load(&scribbler.writes) < 20 && sim_os_now_ns() < end)
            sim_os_pause();
        pauses(i % 64);
        aero_sim_bus_reset(target->driver.device);
        atomic_store(&scribbler.stop, 1);
        sim_os_thread_join(thread);
        assert_true(atomic_load(&scribbler.writes) >= 20);
        target_pci_write(target, 0x04, 2, 0x0006);
        assert_int_equal(target_read(target, RING_DRIVER_STATUS, 1), 0);
    }
    target_close(target);
}

/* ---- Under a driver ---- */

static struct nt_scene scene;

static int tear_down_scene(void **state)
{
    return nt_scene_close(&scene) == 0 ? 0 : -1;
}

static bool restore(void)
{
    return aero_nt_enable(scene.rig.nt, scene.rig.devices[0].device) == AERO_SIM_OK;
}

static void expect_echo(uint32_t cookie)
{
    uint32_t completed = scene.completed; /* it may be back before the submission returns */

    assert_int_equal(nt_scene_submit(&scene, 0, cookie, 32), STATUS_SUCCESS);
    assert_true(nt_scene_await(&scene, completed + 1));
    assert_true(nt_scene_echoed(&scene, cookie, 32));
}

static void com_08_driver_recovers_from_a_bus_reset_on_its_old_mapping(void **state)
{
    uint32_t cookie = 1;

    assert_true(nt_scene_open(&scene, aero_sim_model_find("loopback"), 1, 0));
    for (uint32_t round = 0; round < 20; round++) {
        uint32_t sent = scene.completed + scene.cancelled;

        for (uint32_t i = 0; i < 8; i++, sent++)
            assert_int_equal(nt_scene_submit(&scene, 0, cookie + i, 32), STATUS_SUCCESS);
        aero_sim_bus_reset(scene.rig.devices[0].device);
        assert_int_equal(AeroVirtioGetStatus(&scene.driver.Transport), 0xFF);
        assert_int_equal(NtDriverReset(&scene.driver), STATUS_DEVICE_NOT_CONNECTED);
        assert_int_equal(scene.completed + scene.cancelled, sent);
        assert_true(restore());
        assert_int_equal(NtDriverRecover(&scene.driver), STATUS_SUCCESS);
        cookie += 8;
        expect_echo(cookie++);
    }
    assert_true(nt_scene_all_back(&scene, 1, cookie));
    assert_int_equal(NtDriverStop(&scene.driver), STATUS_SUCCESS);
}

/* A thread that is no CPU: the machine's power, so to say. */
static struct {
    _Atomic uint32_t rounds; /* bus resets made, and undone again */
    _Atomic uint32_t stop;
    _Atomic uint32_t failed;
} power;

static void cycle_power(void *context)
{
    while (!atomic_load(&power.stop)) {
        sim_os_yield();
        aero_sim_bus_reset(scene.rig.devices[0].device);
        sim_os_yield();
        if (!restore())
            atomic_store(&power.failed, 1);
        atomic_fetch_add(&power.rounds, 1);
    }
}

static bool power_was_cycled(uint32_t rounds)
{
    uint64_t end = target_deadline();

    while (atomic_load(&power.rounds) == rounds && sim_os_now_ns() < end)
        sim_os_yield();
    return atomic_load(&power.rounds) != rounds;
}

/* Whatever the driver was at, it recovers once the power stays, and each cookie came back once. */
static void test_bus_resets_by_another_thread_leave_a_driver_that_recovers(void **state)
{
    struct nt_rig_options options = nt_rig_options_default();
    struct sim_os_thread *thread;
    bool cycled = true;
    uint32_t cookie = 1;

    options.no_referee = true; /* a driver in traffic can't know that the device forgot its status */
    assert_true(nt_scene_create(&scene, aero_sim_model_find("loopback"), &options));
    assert_true(nt_scene_power_on(&scene, 0));
    assert_int_equal(nt_scene_start(&scene), STATUS_SUCCESS);
    memset(&power, 0, sizeof power);
    thread = sim_os_thread_start(cycle_power, NULL, -1);
    assert_non_null(thread);
    for (uint32_t attempt = 0; attempt < nt_rig_scale(100) && cycled; attempt++) {
        uint32_t rounds = atomic_load(&power.rounds);

        if (NtDriverRecover(&scene.driver) == STATUS_SUCCESS && attempt % 2)
            cycled = power_was_cycled(rounds);
        if (nt_scene_submit(&scene, 0, cookie, 32) == STATUS_SUCCESS)
            cookie++;
    }
    atomic_store(&power.stop, 1);
    sim_os_thread_join(thread);
    assert_true(cycled);
    assert_int_equal(atomic_load(&power.failed), 0);
    assert_int_equal(NtDriverRecover(&scene.driver), STATUS_SUCCESS);
    assert_true(nt_scene_all_back(&scene, 1, cookie));
    expect_echo(cookie);
    assert_int_equal(NtDriverStop(&scene.driver), STATUS_SUCCESS);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(com_08_bus_reset_in_every_state_leaves_the_device_as_after_start),
        cmocka_unit_test(com_08_bus_reset_in_every_state_of_a_stepped_device_does_too),
        cmocka_unit_test(com_08_bus_reset_works_where_a_drivers_reset_does_not),
        cmocka_unit_test(test_bus_reset_of_a_device_that_is_gone_brings_nothing_back),
        cmocka_unit_test(test_bus_reset_is_traced_and_replayed),
        cmocka_unit_test(com_08_bus_reset_in_traffic_ends_the_devices_writing),
        cmocka_unit_test(pci_14_write_that_loses_to_a_bus_reset_vanishes),
        cmocka_unit_test_teardown(com_08_driver_recovers_from_a_bus_reset_on_its_old_mapping,
                                  tear_down_scene),
        cmocka_unit_test_teardown(test_bus_resets_by_another_thread_leave_a_driver_that_recovers,
                                  tear_down_scene),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests_name("bus reset", tests, NULL, NULL);
}
