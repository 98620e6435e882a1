/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The reference driver of examples/: how it stops, and what it does once it has. Each machine must end
 * without a breach and with nothing left behind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "reference_fixture.h"
#include "test_program.h"

static void test_reference_stop_cancels_what_isnt_completed_in_time(void **state)
{
    assert_true(reference_scene_open(&scene, &reference_scene_keeper));
    for (uint32_t request = 0; request < 5; request++)
        assert_int_equal(reference_scene_submit(&scene, 0, request), STATUS_SUCCESS);
    assert_int_equal(ReferenceStop(&scene.driver), STATUS_SUCCESS);
    assert_true(reference_scene_are_back(&scene, 0, 5, STATUS_CANCELLED));
    assert_int_equal(scene.driver.State, ReferenceAbsent);
    assert_int_equal(reference_scene_submit(&scene, 0, 5), STATUS_INVALID_DEVICE_STATE);
    assert_int_equal(aero_sim_bar_read(device(), 0x14, 1), 0); /* it has been reset */
    assert_true(reference_scene_holds_nothing(&scene));
    assert_int_equal(ReferenceStop(&scene.driver), STATUS_SUCCESS);
}

static void test_reference_stop_drains_first(void **state)
{
    const struct aero_sim_quirk_trigger always = {.value = ANY};

    assert_true(reference_scene_create(&scene, loopback(), NULL));
    assert_int_equal(aero_sim_device_set_quirk(device(), "lost-intx", &always), AERO_SIM_OK);
    assert_true(reference_scene_power_on(&scene));
    scene.config.DrainMs = REFERENCE_SCENE_WAIT_MS;
    assert_int_equal(reference_scene_start(&scene), STATUS_SUCCESS);
    for (uint32_t request = 0; request < 50; request++)
        assert_int_equal(reference_scene_submit(&scene, 0, request), STATUS_SUCCESS);
    assert_int_equal(ReferenceStop(&scene.driver), STATUS_SUCCESS);
    assert_true(reference_scene_are_back(&scene, 0, 50, STATUS_SUCCESS));
}

static void expect_absent(REFERENCE_DEVICE *driver)
{
    AERO_VIRTIO_SEGMENT segment = {.Address = scene.buffer_gpa, .Length = 16};

    assert_int_equal(ReferenceRecover(driver), STATUS_INVALID_DEVICE_STATE);
    assert_int_equal(ReferenceSuspend(driver), STATUS_INVALID_DEVICE_STATE);
    assert_int_equal(ReferenceResume(driver), STATUS_INVALID_DEVICE_STATE);
    assert_int_equal(ReferenceSubmit(driver, 0, &scene.requests[0].driver, &segment, 1, 0),
                     STATUS_INVALID_DEVICE_STATE);
    assert_int_equal(ReferencePoll(driver), 0);
    assert_int_equal(ReferenceInFlight(driver), 0);
    assert_int_equal(ReferenceSurpriseRemove(driver), STATUS_SUCCESS);
    assert_int_equal(ReferenceStop(driver), STATUS_SUCCESS);
    assert_int_equal(driver->State, ReferenceAbsent);
}

static void test_reference_absent_device_has_nothing_to_do(void **state)
{
    static REFERENCE_DEVICE never;

    assert_true(reference_scene_create(&scene, loopback(), NULL));
    assert_true(reference_scene_power_on(&scene));
    expect_absent(&never); /* zeroed, as AddDevice leaves it */
    scene.config.Complete = NULL;
    assert_int_equal(reference_scene_start(&scene), STATUS_INVALID_PARAMETER);
    expect_absent(&scene.driver);
}

static void stop(void *context)
{
    ReferenceStop(context);
}

/* The second comes while the first still drains, and finds nothing left to do. */
static void test_reference_stop_on_two_cpus_is_one_stop(void **state)
{
    struct nt_rig_options options = nt_rig_options_default();
    struct nt_rig_cpu cpu;
    NTSTATUS status;

    options.cpus = 2;
    for (uint32_t round = 0; round < 2; round++) {
        assert_true(reference_scene_create(&scene, &reference_scene_keeper, &options));
        assert_true(reference_scene_power_on(&scene));
        scene.config.DrainMs = 200;
        assert_int_equal(reference_scene_start(&scene), STATUS_SUCCESS);
        assert_int_equal(reference_scene_submit(&scene, 0, 0), STATUS_SUCCESS);
        assert_true(nt_rig_cpu_start(&cpu, &scene.rig, stop, &scene.driver));
        KeSetEvent(&cpu.request, IO_NO_INCREMENT, FALSE);
        status = round == 0 ? ReferenceStop(&scene.driver) : ReferenceSurpriseRemove(&scene.driver);
        nt_rig_cpu_stop(&cpu);
        assert_int_equal(status, STATUS_SUCCESS);
        assert_int_equal(ReferenceStop(&scene.driver), STATUS_SUCCESS);
        assert_int_equal(scene.driver.State, ReferenceAbsent);
        assert_int_equal(atomic_load(&scene.back), 1);
        assert_true(reference_scene_holds_nothing(&scene));
        assert_int_equal(reference_scene_close(&scene), 0);
    }
}

static _Atomic uint32_t completing; /* 1: on CPU 1, and in no hurry; 2: done */
static _Atomic uint32_t stopped;

/* Until the driver has been stopped, which mustn't be: so for 50 ms. */
static VOID complete_slowly(PVOID context, REFERENCE_REQUEST *request, ULONG length, NTSTATUS status)
{
    uint64_t end = sim_os_now_ns() + 50 * UINT64_C(1000000);

    atomic_store(&completing, 1);
    while (atomic_load(&stopped) == 0 && sim_os_now_ns() < end)
        sim_os_yield();
    atomic_store(&completing, 2);
}

/* Nothing is in flight any more; but a DPC is still with the last completion's owner. */
static void test_reference_stop_suspension_and_removal_wait_for_a_dpc(void **state)
{
    static NTSTATUS (*const ends[])(REFERENCE_DEVICE *) = {ReferenceStop, ReferenceSuspend,
                                                           ReferenceSurpriseRemove};
    const struct aero_nt_attach_options attach = {.cpu = 1};
    struct nt_rig_options options = nt_rig_options_default();

    options.cpus = 2;
    for (uint32_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        uint64_t limit = sim_os_now_ns() + REFERENCE_SCENE_WAIT_MS * UINT64_C(1000000);
        uint32_t seen, after;
        struct nt_rig_cpu cpu;
        NTSTATUS status;

        atomic_store(&completing, 0);
        atomic_store(&stopped, 0);
        memset(&scene, 0, sizeof scene);
        assert_true(nt_rig_create(&scene.rig, &options) && nt_rig_add(&scene.rig, loopback(), &attach));
        assert_true(reference_scene_power_on(&scene));
        scene.config.Complete = complete_slowly;
        assert_int_equal(reference_scene_start(&scene), STATUS_SUCCESS);
        assert_true(nt_rig_cpu_start(&cpu, &scene.rig, NULL, NULL));
        status = reference_scene_submit(&scene, 0, 0);
        while ((seen = atomic_load(&completing)) == 0 && sim_os_now_ns() < limit)
            sim_os_yield();
        if (NT_SUCCESS(status))
            status = ends[i](&scene.driver);
        after = atomic_load(&completing);
        atomic_store(&stopped, 1);
        nt_rig_cpu_stop(&cpu);
        assert_int_equal(status, STATUS_SUCCESS);
        assert_true(seen != 0);
        assert_int_equal(after, 2);
        assert_int_equal(reference_scene_close(&scene), 0);
    }
}

static VOID NTAPI set_progress(PKDPC dpc, PVOID context, PVOID argument1, PVOID argument2)
{
    KeSetEvent(context, IO_NO_INCREMENT, FALSE);
}

/* Progress ends a wait. It mustn't end the drain: the others have their time all the same. */
static void test_reference_stop_drains_for_its_time_however_often_something_comes_back(void **state)
{
    LARGE_INTEGER millisecond = {.QuadPart = -10000};
    uint64_t began_ns, took_ns;
    NTSTATUS status;
    KTIMER timer;
    KDPC dpc;

    assert_true(reference_scene_open(&scene, &reference_scene_keeper));
    scene.driver.Config.DrainMs = 60;
    assert_int_equal(reference_scene_submit(&scene, 0, 0), STATUS_SUCCESS);
    KeInitializeTimer(&timer);
    KeInitializeDpc(&dpc, set_progress, &scene.driver.Progress);
    KeSetTimerEx(&timer, millisecond, 1, &dpc);
    began_ns = aero_nt_now_ns(scene.rig.nt);
    status = ReferenceStop(&scene.driver);
    took_ns = aero_nt_now_ns(scene.rig.nt) - began_ns;
    KeCancelTimer(&timer);
    KeFlushQueuedDpcs();
    assert_int_equal(status, STATUS_SUCCESS);
    assert_true(took_ns >= 60 * UINT64_C(1000000));
    assert_true(reference_scene_are_back(&scene, 0, 1, STATUS_CANCELLED));
}

static void test_reference_stop_and_start_go_round(void **state)
{
    assert_true(reference_scene_create(&scene, loopback(), NULL));
    assert_true(reference_scene_power_on(&scene));
    for (uint32_t round = 0; round < 5; round++) {
        assert_int_equal(reference_scene_start(&scene), STATUS_SUCCESS);
        assert_true(reference_scene_works(&scene, round));
        assert_int_equal(ReferenceStop(&scene.driver), STATUS_SUCCESS);
        assert_true(reference_scene_holds_nothing(&scene));
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_reference_stop_cancels_what_isnt_completed_in_time),
        TEST(test_reference_stop_drains_first),
        TEST(test_reference_absent_device_has_nothing_to_do),
        TEST(test_reference_stop_on_two_cpus_is_one_stop),
        TEST(test_reference_stop_suspension_and_removal_wait_for_a_dpc),
        TEST(test_reference_stop_drains_for_its_time_however_often_something_comes_back),
        TEST(test_reference_stop_and_start_go_round),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests_name("reference_stop", tests, NULL, NULL);
}
