/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The reference driver of examples/ and power: D3 and back, S3 and S4, where the device has forgotten
 * everything and may be another one. The clock is virtual. Each machine must end without a breach.
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

static void submit(uint32_t first, uint32_t end)
{
    for (uint32_t request = first; request < end; request++)
        assert_int_equal(reference_scene_submit(&scene, 0, request), STATUS_SUCCESS);
}

static uint64_t register_accesses(void)
{
    struct aero_nt_counters counters;

    aero_nt_counters(scene.rig.nt, &counters);
    return counters.register_reads + counters.register_writes;
}

/*
 * The device loses its power and has forgotten all when it's back; the PCI driver restores its configuration.
 */
static void power_off(void)
{
    aero_sim_bus_reset(device());
}

static void power_on(void)
{
    assert_int_equal(aero_nt_enable(scene.rig.nt, device()), AERO_SIM_OK);
}

/* Takes the device out while there is no power, and puts that one into its slot. NULL: none. */
static void swap(const struct aero_sim_model *model, uint8_t revision)
{
    struct nt_rig_device *at = &scene.rig.devices[0];
    struct aero_nt_device_info info;

    aero_sim_device_stop(at->device);
    aero_nt_detach(scene.rig.nt, at->device);
    aero_sim_device_destroy(at->device);
    at->device = NULL;
    at->attached = at->started = false;
    if (model == NULL)
        return;
    assert_int_equal(
        aero_sim_device_create(model, aero_nt_memory(scene.rig.nt), scene.rig.worker, &at->device),
        AERO_SIM_OK);
    assert_int_equal(aero_sim_device_set_revision(at->device, revision), AERO_SIM_OK);
    assert_int_equal(aero_nt_attach(scene.rig.nt, at->device, NULL, &info), AERO_SIM_OK);
    at->attached = true;
    assert_int_equal(aero_sim_device_start(at->device), AERO_SIM_OK);
    at->started = true;
    power_on();
}

/* ---- To D3 ---- */

static void test_suspend_cancels_what_isnt_completed_in_time_and_resets(void **state)
{
    assert_true(reference_scene_open(&scene, &reference_scene_keeper));
    submit(0, 4);
    assert_int_equal(ReferenceSuspend(&scene.driver), STATUS_SUCCESS);
    assert_int_equal(scene.driver.State, ReferenceSuspended);
    assert_true(reference_scene_are_back(&scene, 0, 4, STATUS_CANCELLED));
    assert_int_equal(aero_sim_bar_read(device(), 0x14, 1), 0);
    assert_int_equal(reference_scene_submit(&scene, 0, 4), STATUS_DEVICE_NOT_READY);
    assert_int_equal(ReferenceSuspend(&scene.driver), STATUS_INVALID_DEVICE_STATE);
}

static void test_suspend_drains_first(void **state)
{
    const struct aero_sim_quirk_trigger always = {.value = ANY};

    assert_true(reference_scene_create(&scene, loopback(), NULL));
    assert_int_equal(aero_sim_device_set_quirk(device(), "lost-intx", &always), AERO_SIM_OK);
    assert_true(reference_scene_power_on(&scene));
    scene.config.DrainMs = REFERENCE_SCENE_WAIT_MS;
    assert_int_equal(reference_scene_start(&scene), STATUS_SUCCESS);
    submit(0, 50);
    assert_int_equal(ReferenceSuspend(&scene.driver), STATUS_SUCCESS);
    assert_true(reference_scene_are_back(&scene, 0, 50, STATUS_SUCCESS));
}

/* Neither the service routine, called for a neighbour on the line, nor the watchdog, nor stop. */
static void test_suspended_driver_touches_no_register(void **state)
{
    struct aero_nt_counters was, is;
    uint64_t accesses;

    assert_true(reference_scene_open(&scene, loopback()));
    assert_true(reference_scene_works(&scene, 0));
    assert_int_equal(ReferenceSuspend(&scene.driver), STATUS_SUCCESS);
    power_off();
    accesses = register_accesses();
    aero_nt_counters(scene.rig.nt, &was);
    assert_int_equal(ReferenceIsr(NULL, &scene.driver), FALSE);
    assert_non_null(scene.driver.Interrupt); /* it stays connected */
    reference_scene_tick(&scene, 50);
    aero_nt_counters(scene.rig.nt, &is);
    assert_int_equal(is.dpcs, was.dpcs);
    assert_int_equal(reference_scene_submit(&scene, 0, 1), STATUS_DEVICE_NOT_READY);
    assert_int_equal(ReferenceRecover(&scene.driver), STATUS_INVALID_DEVICE_STATE);
    assert_int_equal(ReferenceStop(&scene.driver), STATUS_SUCCESS);
    assert_int_equal(register_accesses(), accesses);
    assert_true(reference_scene_holds_nothing(&scene));
}

static void test_removal_of_a_suspended_device_touches_no_register(void **state)
{
    uint64_t accesses;

    assert_true(reference_scene_open(&scene, loopback()));
    assert_int_equal(ReferenceSuspend(&scene.driver), STATUS_SUCCESS);
    accesses = register_accesses();
    assert_int_equal(ReferenceSurpriseRemove(&scene.driver), STATUS_SUCCESS);
    assert_int_equal(scene.driver.State, ReferenceRemoved);
    assert_int_equal(ReferenceStop(&scene.driver), STATUS_SUCCESS);
    assert_int_equal(register_accesses(), accesses);
    assert_true(reference_scene_holds_nothing(&scene));
}

/* ---- Back to D0 ---- */

static void test_resume_from_d3_and_sleep_works_on_the_same_memory(void **state)
{
    PVOID shared, private;
    ULONGLONG features;

    assert_true(reference_scene_create(&scene, loopback(), NULL));
    assert_true(reference_scene_power_on(&scene));
    scene.config.QueueCount = 2;
    scene.config.IndirectEntries = 4;
    assert_int_equal(reference_scene_start(&scene), STATUS_SUCCESS);
    shared = scene.driver.Queues[1].Shared;
    private = scene.driver.Queues[1].Private;
    features = scene.driver.Features;
    for (uint32_t round = 0; round < 6; round++) {
        uint32_t allocations = aero_nt_allocation_count(scene.rig.nt);

        assert_true(reference_scene_works(&scene, round));
        assert_int_equal(ReferenceSuspend(&scene.driver), STATUS_SUCCESS);
        if (round % 2) {
            power_off();
            power_on();
        }
        assert_int_equal(ReferenceResume(&scene.driver), STATUS_SUCCESS);
        assert_int_equal(scene.driver.State, ReferenceRunning);
        assert_int_equal(aero_nt_allocation_count(scene.rig.nt), allocations);
        assert_ptr_equal(scene.driver.Queues[1].Shared, shared);
        assert_ptr_equal(scene.driver.Queues[1].Private, private);
        assert_true(scene.driver.Features == features);
    }
    assert_true(reference_scene_works(&scene, 10));
    assert_int_equal(scene.driver.LostInterrupts, 0);
}

static void test_resume_sets_the_watchdog_again(void **state)
{
    assert_true(reference_scene_open(&scene, &reference_scene_keeper));
    assert_int_equal(ReferenceSuspend(&scene.driver), STATUS_SUCCESS);
    assert_int_equal(ReferenceResume(&scene.driver), STATUS_SUCCESS);
    submit(0, 1);
    reference_scene_tick(&scene, REFERENCE_SCENE_LIMIT + 3);
    assert_int_equal(KeReadStateEvent(&scene.driver.RecoveryWanted), 1);
}

static void test_resume_enables_what_nobody_restored(void **state)
{
    assert_true(reference_scene_open(&scene, loopback()));
    assert_int_equal(ReferenceSuspend(&scene.driver), STATUS_SUCCESS);
    aero_sim_pci_write(device(), 0x04, 2, 0x0400);
    assert_int_equal(ReferenceResume(&scene.driver), STATUS_SUCCESS);
    assert_true(reference_scene_works(&scene, 0));
}

static void test_resume_of_a_running_device_is_refused(void **state)
{
    assert_true(reference_scene_open(&scene, loopback()));
    assert_int_equal(ReferenceResume(&scene.driver), STATUS_INVALID_DEVICE_STATE);
    assert_true(reference_scene_works(&scene, 0));
}

static void pci_04_reference_driver_refuses_an_unknown_revision_after_sleep(void **state)
{
    uint64_t accesses;

    assert_true(reference_scene_open(&scene, loopback()));
    assert_int_equal(ReferenceSuspend(&scene.driver), STATUS_SUCCESS);
    swap(loopback(), 0x02);
    accesses = register_accesses();
    assert_int_equal(ReferenceResume(&scene.driver), STATUS_NOT_SUPPORTED);
    assert_int_equal(scene.driver.State, ReferenceRemoved);
    assert_int_equal(reference_scene_submit(&scene, 0, 0), STATUS_DEVICE_NOT_CONNECTED);
    assert_int_equal(ReferenceStop(&scene.driver), STATUS_SUCCESS);
    assert_int_equal(register_accesses(), accesses);
    assert_true(reference_scene_holds_nothing(&scene));
}

static void test_resume_without_the_device_removes_it(void **state)
{
    const struct aero_sim_model *others[] = {NULL, &reference_scene_keeper};

    for (uint32_t i = 0; i < 2; i++) {
        assert_true(reference_scene_open(&scene, loopback()));
        assert_int_equal(ReferenceSuspend(&scene.driver), STATUS_SUCCESS);
        swap(others[i], 0x01);
        assert_int_equal(ReferenceResume(&scene.driver), STATUS_NO_SUCH_DEVICE);
        assert_int_equal(scene.driver.State, ReferenceRemoved);
        assert_int_equal(ReferenceStop(&scene.driver), STATUS_SUCCESS);
        assert_true(reference_scene_holds_nothing(&scene));
        if (others[i] == NULL)
            scene.rig.device_count = 0;
        assert_int_equal(reference_scene_close(&scene), 0);
    }
}

/* It has the same ids; but what was agreed on it doesn't offer any more. */
static void test_resume_with_fewer_features_fails(void **state)
{
    const struct aero_sim_quirk_trigger second = {.after = 1, .times = 1};

    assert_true(reference_scene_create(&scene, loopback(), NULL));
    assert_int_equal(aero_sim_device_set_quirk(device(), "features-ok-refused", &second), AERO_SIM_OK);
    assert_true(reference_scene_power_on(&scene));
    assert_int_equal(reference_scene_start(&scene), STATUS_SUCCESS);
    assert_int_equal(ReferenceSuspend(&scene.driver), STATUS_SUCCESS);
    assert_int_equal(ReferenceResume(&scene.driver), STATUS_NOT_SUPPORTED);
    assert_int_equal(scene.driver.State, ReferenceFailed);
    assert_int_equal(reference_scene_submit(&scene, 0, 0), STATUS_IO_DEVICE_ERROR);
    assert_int_equal(ReferenceSuspend(&scene.driver),
                     STATUS_SUCCESS);                                 /* power comes and goes all the same, */
    assert_int_equal(ReferenceResume(&scene.driver), STATUS_SUCCESS); /* and may well heal it */
    assert_true(reference_scene_works(&scene, 1));
}

/*
 * The memory was made for another: a larger queue would be written to beyond its end. Which of the two has
 * changed makes no difference, so it's the driver's.
 */
static void test_resume_with_a_queue_of_another_size_fails(void **state)
{
    const USHORT sizes[] = {32, 128};

    for (uint32_t i = 0; i < 2; i++) {
        assert_true(reference_scene_open(&scene, &reference_scene_keeper));
        assert_int_equal(ReferenceSuspend(&scene.driver), STATUS_SUCCESS);
        scene.driver.Queues[0].Size = sizes[i];
        assert_int_equal(ReferenceResume(&scene.driver), STATUS_IO_DEVICE_ERROR);
        assert_string_equal(scene.driver.FailedIn, "AeroVirtioQueryQueue");
        assert_int_equal(scene.driver.State, ReferenceFailed);
        assert_int_equal(ReferenceStop(&scene.driver), STATUS_SUCCESS);
        assert_true(reference_scene_holds_nothing(&scene));
        assert_int_equal(reference_scene_close(&scene), 0);
    }
}

static void test_suspend_without_a_confirmed_reset_keeps_all_until_resume(void **state)
{
    const struct aero_sim_quirk_trigger second = {.after = 1, .times = 1, .value = ANY};

    assert_true(reference_scene_create(&scene, &reference_scene_keeper, NULL));
    assert_int_equal(aero_sim_device_set_quirk(device(), "reset-never-completes", &second), AERO_SIM_OK);
    assert_true(reference_scene_power_on(&scene));
    assert_int_equal(reference_scene_start(&scene), STATUS_SUCCESS);
    submit(0, 3);
    assert_int_equal(ReferenceSuspend(&scene.driver), STATUS_IO_TIMEOUT);
    assert_int_equal(scene.driver.State, ReferenceSuspended);
    assert_true(reference_scene_are_out(&scene, 0, 3));
    power_off();
    power_on();
    assert_int_equal(ReferenceResume(&scene.driver), STATUS_SUCCESS);
    assert_true(reference_scene_are_back(&scene, 0, 3, STATUS_CANCELLED));
    reference_scene_mood(KEEPER_SERVES);
    assert_true(reference_scene_works(&scene, 3));
}

/* Nor when it polls, so has no interrupt to tell by, and is stopped in its sleep: it may have no power. */
static void test_stop_of_a_suspended_device_that_owns_memory_touches_no_register(void **state)
{
    const struct aero_sim_quirk_trigger second = {.after = 1, .times = 1, .value = 0x0F};
    uint64_t accesses;

    assert_true(reference_scene_create(&scene, &reference_scene_keeper, NULL));
    assert_int_equal(aero_sim_device_set_quirk(device(), "reset-never-completes", &second), AERO_SIM_OK);
    assert_true(reference_scene_power_on(&scene));
    scene.config.Poll = TRUE;
    assert_int_equal(reference_scene_start(&scene), STATUS_SUCCESS);
    submit(0, 3);
    assert_int_equal(ReferenceSuspend(&scene.driver), STATUS_IO_TIMEOUT);
    accesses = register_accesses();
    assert_int_equal(ReferenceStop(&scene.driver), STATUS_IO_TIMEOUT);
    assert_int_equal(scene.driver.State, ReferenceFailed);
    assert_int_equal(ReferenceRecover(&scene.driver), STATUS_INVALID_DEVICE_STATE);
    assert_int_equal(ReferenceSuspend(&scene.driver), STATUS_INVALID_DEVICE_STATE);
    assert_int_equal(ReferenceSurpriseRemove(&scene.driver), STATUS_IO_TIMEOUT);
    assert_int_equal(register_accesses(), accesses);
    assert_true(reference_scene_are_out(&scene, 0, 3));
    scene.driver.Powered = TRUE; /* for the test to end: nothing else is left that could say so */
    assert_int_equal(ReferenceStop(&scene.driver), STATUS_SUCCESS);
    assert_true(reference_scene_are_back(&scene, 0, 3, STATUS_CANCELLED));
}

static void test_suspend_without_a_confirmed_reset_hands_all_back_when_the_device_was_swapped(void **state)
{
    const struct aero_sim_quirk_trigger second = {.after = 1, .value = 0x0F};

    assert_true(reference_scene_create(&scene, &reference_scene_keeper, NULL));
    assert_int_equal(aero_sim_device_set_quirk(device(), "reset-never-completes", &second), AERO_SIM_OK);
    assert_true(reference_scene_power_on(&scene));
    assert_int_equal(reference_scene_start(&scene), STATUS_SUCCESS);
    submit(0, 3);
    assert_int_equal(ReferenceSuspend(&scene.driver), STATUS_IO_TIMEOUT);
    swap(loopback(), 0x01);
    assert_int_equal(ReferenceResume(&scene.driver), STATUS_NO_SUCH_DEVICE);
    assert_true(reference_scene_are_back(&scene, 0, 3, STATUS_DEVICE_NOT_CONNECTED));
    assert_int_equal(ReferenceStop(&scene.driver), STATUS_SUCCESS);
    assert_true(reference_scene_holds_nothing(&scene));
}

struct change {
    NTSTATUS (*function)(REFERENCE_DEVICE *driver);
    NTSTATUS status;
    _Atomic uint32_t done;
};

static void change_state(void *context)
{
    struct change *change = context;

    change->status = change->function(&scene.driver);
    atomic_store(&change->done, 1);
}

/* Whoever changes the state waits for whoever does so already. */
static void test_changes_of_state_wait_for_each_other(void **state)
{
    static struct change changes[] = {{.function = ReferenceRecover},
                                      {.function = ReferenceSuspend},
                                      {.function = ReferenceResume},
                                      {.function = ReferenceSurpriseRemove},
                                      {.function = ReferenceStop}};
    struct nt_rig_options options = nt_rig_options_default();

    options.cpus = 2;
    assert_true(reference_scene_create(&scene, loopback(), &options));
    assert_true(reference_scene_power_on(&scene));
    assert_int_equal(reference_scene_start(&scene), STATUS_SUCCESS);
    for (uint32_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        uint64_t end = sim_os_now_ns() + REFERENCE_SCENE_WAIT_MS * UINT64_C(1000000);
        LARGE_INTEGER while_held = {.QuadPart = -20 * 10000};
        ULONG generation = scene.driver.Generation;
        struct nt_rig_cpu cpu;
        bool unchanged;

        changes[i].done = 0;
        assert_true(ReferenceLockLife(&scene.driver));
        assert_true(nt_rig_cpu_start(&cpu, &scene.rig, change_state, &changes[i]));
        KeSetEvent(&cpu.request, IO_NO_INCREMENT, FALSE);
        KeDelayExecutionThread(KernelMode, FALSE, &while_held);
        unchanged = atomic_load(&changes[i].done) == 0 && scene.driver.Generation == generation;
        ReferenceUnlockLife(&scene.driver);
        while (atomic_load(&changes[i].done) == 0 && sim_os_now_ns() < end)
            KeStallExecutionProcessor(1);
        nt_rig_cpu_stop(&cpu);
        assert_true(unchanged);
        assert_int_equal(changes[i].status, STATUS_SUCCESS);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_suspend_cancels_what_isnt_completed_in_time_and_resets),
        TEST(test_suspend_drains_first),
        TEST(test_suspended_driver_touches_no_register),
        TEST(test_removal_of_a_suspended_device_touches_no_register),
        TEST(test_resume_from_d3_and_sleep_works_on_the_same_memory),
        TEST(test_resume_sets_the_watchdog_again),
        TEST(test_resume_enables_what_nobody_restored),
        TEST(test_resume_of_a_running_device_is_refused),
        TEST(pci_04_reference_driver_refuses_an_unknown_revision_after_sleep),
        TEST(test_resume_without_the_device_removes_it),
        TEST(test_resume_with_fewer_features_fails),
        TEST(test_resume_with_a_queue_of_another_size_fails),
        TEST(test_suspend_without_a_confirmed_reset_keeps_all_until_resume),
        TEST(test_stop_of_a_suspended_device_that_owns_memory_touches_no_register),
        TEST(test_suspend_without_a_confirmed_reset_hands_all_back_when_the_device_was_swapped),
        TEST(test_changes_of_state_wait_for_each_other),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests_name("reference_power", tests, NULL, NULL);
}
