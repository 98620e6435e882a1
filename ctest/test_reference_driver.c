/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The reference driver of examples/: finding its device, start, requests, interrupts, stop. Each machine must
 * end without a breach and with nothing left behind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "reference_fixture.h"
#include "reference_internal.h"
#include "test_program.h"

#define COMMAND 0x04u
#define BAR0    0x10u

/* A model that is loopback but for its PCI ids. */
static struct aero_sim_model relabelled(uint16_t id, uint16_t subsystem)
{
    struct aero_sim_model model = *loopback();

    model.pci_device_id = id;
    model.subsystem_id = subsystem;
    return model;
}

/* ---- Finding ---- */

static void test_reference_find_goes_by_ids_and_instance(void **state)
{
    const struct aero_nt_attach_options far = {.slot = 17, .function = 3};
    REFERENCE_LOCATION location;
    PCI_SLOT_NUMBER slot;

    assert_true(reference_scene_create(&scene, loopback(), NULL));
    assert_true(nt_rig_add(&scene.rig, loopback(), &far));
    assert_true(reference_scene_power_on(&scene));
    assert_int_equal(ReferenceFind(loopback()->pci_device_id, 0, &location), STATUS_SUCCESS);
    assert_int_equal(location.Bar0.QuadPart, scene.rig.devices[0].resources.Bar0.QuadPart);
    assert_int_equal(ReferenceFind(loopback()->pci_device_id, 1, &location), STATUS_SUCCESS);
    assert_int_equal(location.Bar0.QuadPart, scene.rig.devices[1].resources.Bar0.QuadPart);
    slot.u.AsULONG = location.SlotNumber;
    assert_int_equal(slot.u.bits.DeviceNumber, 17);
    assert_int_equal(slot.u.bits.FunctionNumber, 3);
    assert_int_equal(ReferenceFind(loopback()->pci_device_id, 2, &location), STATUS_NO_SUCH_DEVICE);
    assert_int_equal(ReferenceFind(0x1042, 0, &location), STATUS_NO_SUCH_DEVICE);
}

static void pci_04_reference_driver_refuses_an_unknown_revision(void **state)
{
    const uint8_t revisions[] = {0x00, 0x02, 0x81, 0xFF};

    for (uint32_t i = 0; i < sizeof revisions; i++) {
        REFERENCE_LOCATION location;
        uint64_t reads;
        struct aero_nt_counters counters;

        assert_true(reference_scene_create(&scene, loopback(), NULL));
        assert_int_equal(aero_sim_device_set_revision(device(), revisions[i]), AERO_SIM_OK);
        assert_true(reference_scene_power_on(&scene));
        assert_int_equal(ReferenceFind(loopback()->pci_device_id, 0, &location), STATUS_NOT_SUPPORTED);
        aero_nt_counters(scene.rig.nt, &counters);
        reads = counters.register_reads;
        assert_int_equal(ReferenceStart(&scene.driver, &location, &scene.resources, &scene.config),
                         STATUS_NOT_SUPPORTED);
        aero_nt_counters(scene.rig.nt, &counters);
        assert_int_equal(counters.register_reads, reads); /* what it is nobody knows, so nothing is touched */
        assert_int_equal(counters.register_writes, 0);
        assert_true(reference_scene_holds_nothing(&scene));
        assert_int_equal(reference_scene_close(&scene), 0);
    }
}

static void pci_04_reference_driver_takes_revision_1(void **state)
{
    assert_true(reference_scene_create(&scene, loopback(), NULL));
    assert_int_equal(aero_sim_device_set_revision(device(), 0x01), AERO_SIM_OK);
    assert_true(reference_scene_power_on(&scene));
    assert_int_equal(reference_scene_start(&scene), STATUS_SUCCESS);
    assert_int_equal(aero_sim_device_set_revision(device(), 0x01), AERO_SIM_BAD_STATE);
}

static void pci_06_reference_driver_works_with_any_subsystem_id(void **state)
{
    const uint16_t subsystems[] = {0x0000, 0x0002, 0xFFFF};

    for (uint32_t i = 0; i < sizeof subsystems / sizeof subsystems[0]; i++) {
        struct aero_sim_model model = relabelled(0x107B, subsystems[i]);

        assert_true(reference_scene_open(&scene, &model));
        assert_true(reference_scene_works(&scene, 0));
        assert_int_equal(reference_scene_close(&scene), 0);
    }
}

static void test_reference_find_enables_what_firmware_left_off(void **state)
{
    assert_true(reference_scene_create(&scene, loopback(), NULL));
    assert_true(reference_scene_power_on(&scene));
    aero_sim_pci_write(device(), COMMAND, 2, 0x0400);
    assert_int_equal(reference_scene_start(&scene), STATUS_SUCCESS);
    assert_int_equal(aero_sim_pci_read(device(), COMMAND, 2), 0x0006);
    assert_true(reference_scene_works(&scene, 0)); /* by an interrupt */
}

static void test_reference_find_without_an_address_isnt_ready(void **state)
{
    REFERENCE_LOCATION location;

    assert_true(reference_scene_create(&scene, loopback(), NULL));
    assert_true(reference_scene_power_on(&scene));
    aero_sim_pci_write(device(), BAR0, 4, 0);
    aero_sim_pci_write(device(), BAR0 + 4, 4, 0);
    assert_int_equal(ReferenceFind(loopback()->pci_device_id, 0, &location), STATUS_DEVICE_NOT_READY);
}

/* ---- Start ---- */

static void test_reference_start_brings_up_as_many_queues_as_there_are(void **state)
{
    const ULONG asked[] = {1, 2, 4, 64};

    for (uint32_t i = 0; i < sizeof asked / sizeof asked[0]; i++) {
        ULONG queues = asked[i] < loopback()->queue_count ? asked[i] : loopback()->queue_count;

        assert_true(reference_scene_create(&scene, loopback(), NULL));
        assert_true(reference_scene_power_on(&scene));
        scene.config.QueueCount = asked[i];
        scene.config.IndirectEntries = i % 2 ? 2 : 0;
        assert_int_equal(reference_scene_start(&scene), STATUS_SUCCESS);
        assert_int_equal(scene.driver.QueueCount, queues);
        assert_int_equal(scene.driver.State, ReferenceRunning);
        for (uint32_t request = 0; request < 8 * queues; request++)
            assert_int_equal(reference_scene_submit(&scene, request % queues, request), STATUS_SUCCESS);
        assert_int_equal(reference_scene_submit(&scene, queues, 500), STATUS_INVALID_PARAMETER);
        assert_true(reference_scene_await(&scene, 8 * queues));
        assert_true(reference_scene_are_back(&scene, 0, 8 * queues, STATUS_SUCCESS));
        assert_int_equal(ReferenceInFlight(&scene.driver), 0);
        assert_int_equal(ReferenceStop(&scene.driver), STATUS_SUCCESS);
        assert_true(reference_scene_holds_nothing(&scene));
        assert_int_equal(reference_scene_close(&scene), 0);
    }
}

/* As a measurement does it, time and again. */
static void test_reference_steps_go_from_running_to_stopped_and_back(void **state)
{
    assert_true(reference_scene_open(&scene, loopback()));
    for (uint32_t round = 0; round < 3; round++) {
        assert_true(reference_scene_works(&scene, round));
        assert_int_equal(ReferenceNegotiate(&scene.driver), STATUS_SUCCESS);
        assert_int_equal(scene.driver.State, ReferenceStopped);
        assert_int_equal(reference_scene_submit(&scene, 0, 10), STATUS_DEVICE_NOT_READY);
        assert_int_equal(ReferenceGo(&scene.driver), STATUS_SUCCESS);
        assert_int_equal(scene.driver.State, ReferenceRunning);
    }
    assert_true(reference_scene_works(&scene, 10));
}

static void int_07_reference_driver_lives_by_intx_and_the_isr_byte(void **state)
{
    struct aero_nt_counters counters;

    assert_true(reference_scene_open(&scene, loopback()));
    for (uint32_t request = 0; request < 20; request++)
        assert_true(reference_scene_works(&scene, request));
    aero_nt_counters(scene.rig.nt, &counters);
    assert_true(counters.interrupts > 0);
    assert_int_equal(counters.interrupts_unclaimed, 0);
    assert_int_equal(scene.driver.LostInterrupts, 0); /* it wasn't the watchdog */
}

static void test_reference_start_refuses_a_bad_config(void **state)
{
    assert_true(reference_scene_create(&scene, loopback(), NULL));
    assert_true(reference_scene_power_on(&scene));
    scene.config.QueueCount = 0;
    assert_int_equal(reference_scene_start(&scene), STATUS_INVALID_PARAMETER);
    scene.config.QueueCount = 1;
    scene.config.PeriodMs = 0;
    assert_int_equal(reference_scene_start(&scene), STATUS_INVALID_PARAMETER);
    scene.config.PeriodMs = 0x80000000; /* KeSetTimerEx takes a LONG */
    assert_int_equal(reference_scene_start(&scene), STATUS_INVALID_PARAMETER);
    scene.config.PeriodMs = 100;
    scene.config.Required = VIRTIO_F_RING_PACKED;
    assert_int_equal(reference_scene_start(&scene), STATUS_INVALID_PARAMETER);
    scene.config.Required = 1u << 9;
    assert_int_equal(reference_scene_start(&scene), STATUS_NOT_SUPPORTED);
    scene.config.Required = 0;
    scene.resources.Bar0Length = 0x3000;
    assert_int_equal(reference_scene_start(&scene), STATUS_INVALID_PARAMETER);
    assert_true(reference_scene_holds_nothing(&scene));
}

static void test_reference_start_at_a_quirk_gives_everything_back(void **state)
{
    static const struct {
        const char *quirk;
        NTSTATUS status;
        PCSTR function;
    } cases[] = {
        {"features-ok-refused", STATUS_NOT_SUPPORTED, "AeroVirtioNegotiateFeatures"},
        {"queue-enable-readback-zero", STATUS_IO_DEVICE_ERROR, "AeroVirtioSetupQueue"},
        {"reset-never-completes", STATUS_IO_TIMEOUT, "AeroVirtioNegotiateFeatures"},
        {"surprise-removal-all-ones", STATUS_DEVICE_NOT_CONNECTED, "AeroVirtioNegotiateFeatures"},
    };

    for (uint32_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct aero_sim_quirk_trigger once = {.times = 1, .value = i == 2 ? 0x80 : ANY};

        assert_true(reference_scene_create(&scene, loopback(), NULL));
        assert_int_equal(aero_sim_device_set_quirk(device(), cases[i].quirk, &once), AERO_SIM_OK);
        assert_true(reference_scene_power_on(&scene));
        assert_int_equal(reference_scene_start(&scene), cases[i].status);
        assert_string_equal(scene.driver.FailedIn, cases[i].function);
        assert_int_equal(scene.driver.State, ReferenceAbsent);
        assert_int_equal(reference_scene_submit(&scene, 0, 0), STATUS_INVALID_DEVICE_STATE);
        assert_true(reference_scene_holds_nothing(&scene));
        if (cases[i].status != STATUS_DEVICE_NOT_CONNECTED) {
            assert_int_equal(reference_scene_start(&scene), STATUS_SUCCESS);
            assert_true(reference_scene_works(&scene, 0));
        }
        assert_int_equal(reference_scene_close(&scene), 0);
    }
}

/* The set-up fails on the second queue, and then the device doesn't reset: it may own the first. */
static void test_reference_start_keeps_memory_of_a_device_that_doesnt_reset(void **state)
{
    const struct aero_sim_quirk_trigger second = {.after = 1, .times = 1, .value = ANY};
    const struct aero_sim_quirk_trigger reset = {.after = 1, .times = 1, .value = 0x0F};

    assert_true(reference_scene_create(&scene, loopback(), NULL));
    assert_int_equal(aero_sim_device_set_quirk(device(), "queue-enable-readback-zero", &second), AERO_SIM_OK);
    assert_int_equal(aero_sim_device_set_quirk(device(), "reset-never-completes", &reset), AERO_SIM_OK);
    assert_true(reference_scene_power_on(&scene));
    scene.config.QueueCount = 2;
    assert_int_equal(reference_scene_start(&scene), STATUS_IO_DEVICE_ERROR);
    assert_string_equal(scene.driver.FailedIn, "AeroVirtioSetupQueue");
    assert_int_equal(scene.driver.State, ReferenceFailed);
    assert_int_equal(reference_scene_submit(&scene, 0, 0), STATUS_IO_DEVICE_ERROR);
    assert_false(aero_nt_live_count(scene.rig.nt) == 1);
    assert_int_equal(ReferenceRecover(&scene.driver),
                     STATUS_INVALID_DEVICE_STATE); /* its interrupt is gone */
    assert_int_equal(ReferenceStop(&scene.driver), STATUS_SUCCESS);
    assert_true(reference_scene_holds_nothing(&scene));
}

static void test_reference_start_without_an_allocation_gives_everything_back(void **state)
{
    uint32_t n;

    assert_true(reference_scene_create(&scene, loopback(), NULL));
    assert_true(reference_scene_power_on(&scene));
    scene.config.QueueCount = 2;
    for (n = 0;; n++) {
        NTSTATUS status;

        aero_nt_fail_allocation_after(scene.rig.nt, n);
        status = reference_scene_start(&scene);
        aero_nt_fail_allocation_never(scene.rig.nt);
        if (NT_SUCCESS(status))
            break;
        assert_int_equal(status, STATUS_INSUFFICIENT_RESOURCES);
        assert_true(reference_scene_holds_nothing(&scene));
    }
    assert_int_equal(n, 7); /* BAR0, the queues, two parts of each, the interrupt */
    assert_true(reference_scene_works(&scene, 0));
}

static void test_reference_start_with_a_removal_at_each_access_gives_everything_back(void **state)
{
    uint32_t after;

    for (after = 0;; after++) {
        const struct aero_sim_quirk_trigger trigger = {.after = after, .times = 1, .value = ANY};
        NTSTATUS status;

        assert_true(reference_scene_create(&scene, loopback(), NULL));
        assert_int_equal(aero_sim_device_set_quirk(device(), "surprise-removal-all-ones", &trigger),
                         AERO_SIM_OK);
        assert_true(reference_scene_power_on(&scene));
        status = reference_scene_start(&scene);
        if (NT_SUCCESS(status))
            break;
        assert_int_equal(status, STATUS_DEVICE_NOT_CONNECTED);
        assert_int_equal(aero_nt_waited_ns(scene.rig.nt), 0);
        assert_true(reference_scene_holds_nothing(&scene));
        assert_int_equal(reference_scene_close(&scene), 0);
    }
    assert_true(after > 40);
}

/* ---- Requests ---- */

static void test_reference_submit_to_a_full_ring_is_refused_and_taken_later(void **state)
{
    uint32_t taken = 0;

    assert_true(reference_scene_open(&scene, &reference_scene_keeper));
    while (reference_scene_submit(&scene, 0, taken) == STATUS_SUCCESS)
        taken++;
    assert_int_equal(taken, 32); /* two descriptors each */
    assert_int_equal(reference_scene_submit(&scene, 0, taken), STATUS_INSUFFICIENT_RESOURCES);
    assert_int_equal(ReferenceInFlight(&scene.driver), 32);
    reference_scene_mood(KEEPER_SERVES);
    aero_sim_device_wake(device());
    assert_true(reference_scene_await(&scene, 32));
    assert_true(reference_scene_works(&scene, taken));
    assert_true(reference_scene_are_back(&scene, 0, 33, STATUS_SUCCESS));
}

static void test_reference_complete_may_submit_again(void **state)
{
    assert_true(reference_scene_create(&scene, loopback(), NULL));
    assert_true(reference_scene_power_on(&scene));
    for (uint32_t moderate = 0; moderate < 2; moderate++) {
        scene.config.Moderate = (BOOLEAN)moderate;
        assert_int_equal(reference_scene_start(&scene), STATUS_SUCCESS);
        atomic_store(&scene.again, 200);
        for (uint32_t request = 0; request < 10; request++)
            assert_int_equal(reference_scene_submit(&scene, 0, 10 * moderate + request), STATUS_SUCCESS);
        assert_true(reference_scene_await(&scene, 10 * moderate + 10));
        assert_int_equal(scene.driver.Queues[0].Completed, 210);
        assert_int_equal(ReferenceStop(&scene.driver), STATUS_SUCCESS);
    }
    assert_true(reference_scene_are_back(&scene, 0, 20, STATUS_SUCCESS));
}

/* Exactly as many as a drain takes at once: whether there are more only another look can say. */
static void test_reference_dpc_that_took_its_share_looks_again(void **state)
{
    uint64_t end = sim_os_now_ns() + REFERENCE_SCENE_WAIT_MS * UINT64_C(1000000);
    KIRQL irql;

    assert_true(reference_scene_create(&scene, loopback(), NULL));
    assert_true(reference_scene_power_on(&scene));
    scene.config.Moderate = TRUE;
    assert_int_equal(reference_scene_start(&scene), STATUS_SUCCESS);
    KeRaiseIrql(DISPATCH_LEVEL, &irql); /* the DPC waits */
    for (uint32_t request = 0; request < 32; request++)
        assert_int_equal(reference_scene_submit(&scene, 0, request), STATUS_SUCCESS);
    while (nt_rig_counters(&scene.rig, 0).chains < 32 && sim_os_now_ns() < end)
        sim_os_yield();
    KeLowerIrql(irql);
    assert_true(reference_scene_await(&scene, 32));
    for (uint32_t request = 32; request < 40; request++)
        assert_true(reference_scene_works(&scene, request));
    assert_int_equal(scene.driver.LostInterrupts, 0);
}

static void test_reference_add_and_kick_ring_once_for_several(void **state)
{
    AERO_VIRTIO_SEGMENT segment = {.Length = 16};
    REFERENCE_QUEUE *queue;
    uint32_t doorbells;
    KIRQL irql;

    assert_true(reference_scene_open(&scene, loopback()));
    queue = &scene.driver.Queues[0];
    segment.Address = scene.buffer_gpa;
    doorbells = nt_rig_counters(&scene.rig, 0).doorbells;
    KeAcquireSpinLock(&queue->Lock, &irql);
    for (uint32_t request = 0; request < 5; request++)
        assert_int_equal(ReferenceAdd(queue, &scene.requests[request].driver, &segment, 1, 0),
                         STATUS_SUCCESS);
    ReferenceKick(queue);
    ReferenceKick(queue); /* nothing was added since */
    KeReleaseSpinLock(&queue->Lock, irql);
    assert_true(reference_scene_await(&scene, 5));
    assert_int_equal(nt_rig_counters(&scene.rig, 0).doorbells, doorbells + 1);
    assert_int_equal(scene.succeeded, 5);
}

/* Without interrupt and watchdog: nothing comes back but by ReferencePoll. */
static void test_reference_poll_needs_no_interrupt(void **state)
{
    uint64_t end = sim_os_now_ns() + REFERENCE_SCENE_WAIT_MS * UINT64_C(1000000);
    struct aero_nt_counters counters;

    assert_true(reference_scene_create(&scene, loopback(), NULL));
    assert_true(reference_scene_power_on(&scene));
    scene.config.Poll = TRUE;
    assert_int_equal(reference_scene_start(&scene), STATUS_SUCCESS);
    assert_int_equal(reference_scene_submit(&scene, 0, 0), STATUS_SUCCESS);
    while (ReferencePoll(&scene.driver) == 0 && sim_os_now_ns() < end)
        sim_os_yield();
    assert_true(reference_scene_are_back(&scene, 0, 1, STATUS_SUCCESS));
    reference_scene_tick(&scene, 10);
    aero_nt_counters(scene.rig.nt, &counters);
    assert_int_equal(counters.interrupts, counters.interrupts_unclaimed);
    assert_int_equal(counters.dpcs, 0);
}

/* ---- Interrupts ---- */

/* The first driver on the line is asked first; whose interrupt it is only the ISR byte says. */
static void int_09_reference_driver_refuses_what_is_anothers(void **state)
{
    static REFERENCE_DEVICE other;
    struct aero_nt_counters counters;
    REFERENCE_RESOURCES resources;
    REFERENCE_LOCATION location;

    assert_true(reference_scene_create(&scene, loopback(), NULL));
    assert_true(nt_rig_add(&scene.rig, loopback(), NULL));
    assert_true(reference_scene_power_on(&scene));
    resources = scene.resources;
    resources.Bar0 = scene.rig.devices[1].resources.Bar0;
    assert_int_equal(ReferenceFind(loopback()->pci_device_id, 1, &location), STATUS_SUCCESS);
    assert_int_equal(ReferenceStart(&other, &location, &resources, &scene.config), STATUS_SUCCESS);
    assert_int_equal(reference_scene_start(&scene), STATUS_SUCCESS);
    for (uint32_t request = 0; request < 20; request++)
        assert_true(reference_scene_works(&scene, request));
    aero_nt_counters(scene.rig.nt, &counters);
    assert_true(counters.interrupts > 0);
    assert_int_equal(counters.interrupts_unclaimed, 0);
    assert_int_equal(scene.driver.LostInterrupts, 0);
    assert_int_equal(ReferenceIsr(NULL, &other), FALSE);
    assert_int_equal(other.Queues[0].Completed, 0);
    assert_int_equal(ReferenceStop(&other), STATUS_SUCCESS);
}

/* CPU 1 takes interrupts and DPCs, CPU 0 submits; the completions come on CPU 1. */
static void test_reference_driver_on_two_cpus_completes_each_request_once(void **state)
{
    const struct aero_nt_attach_options attach = {.cpu = 1};
    struct nt_rig_options options = nt_rig_options_default();
    uint32_t rounds = nt_rig_scale(40);
    struct nt_rig_cpu cpu;

    options.cpus = 2;
    memset(&scene, 0, sizeof scene);
    assert_true(nt_rig_create(&scene.rig, &options) && nt_rig_add(&scene.rig, loopback(), &attach));
    assert_true(reference_scene_power_on(&scene));
    assert_true(nt_rig_cpu_start(&cpu, &scene.rig, NULL, NULL));
    scene.config.QueueCount = 4;
    for (uint32_t moderate = 0; moderate < 2; moderate++) {
        NTSTATUS status;
        bool all = true;

        scene.config.Moderate = (BOOLEAN)moderate;
        status = reference_scene_start(&scene);
        for (uint32_t round = 0; round < rounds && all && status == STATUS_SUCCESS; round++) {
            memset(scene.requests, 0, sizeof scene.requests);
            atomic_store(&scene.back, 0);
            for (uint32_t request = 0; request < 200 && status == STATUS_SUCCESS; request++)
                status = reference_scene_submit(&scene, request % 4, request);
            all = status == STATUS_SUCCESS && reference_scene_await(&scene, 200) &&
                  reference_scene_are_back(&scene, 0, 200, STATUS_SUCCESS);
        }
        assert_int_equal(ReferenceStop(&scene.driver), STATUS_SUCCESS);
        assert_int_equal(status, STATUS_SUCCESS);
        assert_true(all);
    }
    nt_rig_cpu_stop(&cpu);
    assert_true(reference_scene_holds_nothing(&scene));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_reference_find_goes_by_ids_and_instance, set_up, tear_down),
        cmocka_unit_test_setup_teardown(pci_04_reference_driver_refuses_an_unknown_revision, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(pci_04_reference_driver_takes_revision_1, set_up, tear_down),
        cmocka_unit_test_setup_teardown(pci_06_reference_driver_works_with_any_subsystem_id, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_reference_find_enables_what_firmware_left_off, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_reference_find_without_an_address_isnt_ready, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reference_start_brings_up_as_many_queues_as_there_are, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_reference_steps_go_from_running_to_stopped_and_back, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(int_07_reference_driver_lives_by_intx_and_the_isr_byte, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_reference_start_refuses_a_bad_config, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reference_start_at_a_quirk_gives_everything_back, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_reference_start_keeps_memory_of_a_device_that_doesnt_reset,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reference_start_without_an_allocation_gives_everything_back,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_reference_start_with_a_removal_at_each_access_gives_everything_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reference_submit_to_a_full_ring_is_refused_and_taken_later,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reference_complete_may_submit_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reference_dpc_that_took_its_share_looks_again, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_reference_add_and_kick_ring_once_for_several, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reference_poll_needs_no_interrupt, set_up, tear_down),
        cmocka_unit_test_setup_teardown(int_09_reference_driver_refuses_what_is_anothers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reference_driver_on_two_cpus_completes_each_request_once, set_up,
                                        tear_down),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests_name("reference_driver", tests, NULL, NULL);
}
