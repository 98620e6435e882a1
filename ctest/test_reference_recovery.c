/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The reference driver of examples/ when something goes wrong: the watchdog, recovery by reset, surprise
 * removal. The clock is virtual, so a tick of the watchdog's costs nothing. Each machine must end without a
 * breach.
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

#define DEVICE_STATUS 0x14u
#define DOORBELL      0x1000u
#define ISR           0x2000u

static void open_with(const struct aero_sim_model *model, const char *quirk,
                      struct aero_sim_quirk_trigger trigger)
{
    assert_true(reference_scene_create(&scene, model, NULL));
    assert_int_equal(aero_sim_device_set_quirk(device(), quirk, &trigger), AERO_SIM_OK);
    assert_true(reference_scene_power_on(&scene));
    assert_int_equal(reference_scene_start(&scene), STATUS_SUCCESS);
}

static void submit(uint32_t first, uint32_t end)
{
    for (uint32_t request = first; request < end; request++)
        assert_int_equal(reference_scene_submit(&scene, 0, request), STATUS_SUCCESS);
}

/* Has the driver asked for recovery? Asks once. */
static bool wanted(void)
{
    LARGE_INTEGER now = {.QuadPart = 0};

    return KeWaitForSingleObject(&scene.driver.RecoveryWanted, Executive, KernelMode, FALSE, &now) ==
           STATUS_SUCCESS;
}

/* Until it does. No time goes by on the virtual clock: it can't be the watchdog that asks. */
static bool await_wanted(void)
{
    uint64_t end = sim_os_now_ns() + REFERENCE_SCENE_WAIT_MS * UINT64_C(1000000);

    while (!wanted()) {
        if (sim_os_now_ns() >= end)
            return false;
        sim_os_yield();
    }
    return true;
}

/* Until the device has served so many chains. */
static void await_chains(uint32_t chains)
{
    uint64_t end = sim_os_now_ns() + REFERENCE_SCENE_WAIT_MS * UINT64_C(1000000);

    while (nt_rig_counters(&scene.rig, 0).chains < chains && sim_os_now_ns() < end)
        sim_os_yield();
    assert_true(nt_rig_counters(&scene.rig, 0).chains >= chains);
}

static uint64_t register_accesses(void)
{
    struct aero_nt_counters counters;

    aero_nt_counters(scene.rig.nt, &counters);
    return counters.register_reads + counters.register_writes;
}

/* ---- The watchdog ---- */

static void test_watchdog_makes_up_for_a_lost_interrupt(void **state)
{
    open_with(loopback(), "lost-intx", (struct aero_sim_quirk_trigger){.times = 1, .value = ANY});
    submit(0, 1);
    await_chains(1);
    reference_scene_tick(&scene, REFERENCE_SCENE_LIMIT - 1);
    assert_true(reference_scene_are_out(&scene, 0, 1)); /* it isn't overdue yet */
    reference_scene_tick(&scene, 2);
    assert_true(reference_scene_are_back(&scene, 0, 1, STATUS_SUCCESS));
    assert_int_equal(scene.driver.LostInterrupts, 1);
    assert_false(wanted());
    assert_int_equal(scene.driver.State, ReferenceRunning);
    assert_true(reference_scene_works(&scene, 1));
}

static void test_watchdog_with_nothing_overdue_leaves_the_device_alone(void **state)
{
    uint32_t doorbells;

    assert_true(reference_scene_open(&scene, loopback()));
    assert_true(reference_scene_works(&scene, 0));
    doorbells = nt_rig_counters(&scene.rig, 0).doorbells;
    reference_scene_tick(&scene, 50);
    assert_int_equal(nt_rig_counters(&scene.rig, 0).doorbells, doorbells);
    assert_int_equal(scene.driver.LostInterrupts, 0);
    assert_false(wanted());
}

/* The keeper looks at a queue when a doorbell rings: the first came too early, as a lost one would. */
static void test_watchdog_rings_again_before_it_gives_up(void **state)
{
    assert_true(reference_scene_open(&scene, &reference_scene_keeper));
    submit(0, 2);
    reference_scene_tick(&scene, REFERENCE_SCENE_LIMIT);
    assert_int_equal(nt_rig_counters(&scene.rig, 0).doorbells, 2);
    reference_scene_mood(KEEPER_SERVES);
    reference_scene_tick(&scene, 1);
    assert_int_equal(nt_rig_counters(&scene.rig, 0).doorbells, 3);
    assert_true(reference_scene_await(&scene, 2));
    assert_true(reference_scene_are_back(&scene, 0, 2, STATUS_SUCCESS));
    reference_scene_tick(&scene, 10);
    assert_false(wanted());
}

static void test_watchdog_gives_up_on_a_silent_device_and_recovery_heals_it(void **state)
{
    assert_true(reference_scene_open(&scene, &reference_scene_keeper));
    submit(0, 5);
    reference_scene_tick(&scene, REFERENCE_SCENE_LIMIT + 1);
    assert_false(wanted());
    reference_scene_tick(&scene, 1);
    assert_true(wanted());
    assert_true(reference_scene_are_out(&scene, 0, 5)); /* before the reset the device may write to them */
    assert_int_equal(reference_scene_submit(&scene, 0, 5), STATUS_DEVICE_NOT_READY);
    assert_int_equal(ReferenceRecover(&scene.driver), STATUS_SUCCESS);
    assert_true(reference_scene_are_back(&scene, 0, 5, STATUS_IO_DEVICE_ERROR));
    assert_int_equal(scene.driver.Recoveries, 1);
    reference_scene_mood(KEEPER_SERVES);
    assert_true(reference_scene_works(&scene, 6));
    reference_scene_tick(&scene, 10);
    assert_false(wanted());
}

static void test_watchdog_respects_a_requests_own_limit(void **state)
{
    assert_true(reference_scene_open(&scene, &reference_scene_keeper));
    scene.requests[0].driver.Limit = 20;
    submit(0, 1);
    reference_scene_tick(&scene, 20);
    assert_int_equal(nt_rig_counters(&scene.rig, 0).doorbells, 1);
    assert_false(wanted());
    reference_scene_tick(&scene, 2);
    assert_true(wanted());
}

/* One that never asks for recovery; the sum with a tick doesn't wrap. */
static void test_watchdog_takes_the_longest_limit_for_what_it_is(void **state)
{
    assert_true(reference_scene_open(&scene, &reference_scene_keeper));
    for (uint32_t i = 0; i < 2; i++)
        scene.requests[i].driver.Limit = i ? 0x80000000 : MAXULONG;
    submit(0, 2);
    reference_scene_tick(&scene, 30);
    assert_int_equal(nt_rig_counters(&scene.rig, 0).doorbells, 2);
    assert_false(wanted());
}

/* The doorbell for the first request is none for the second, which wasn't overdue when it rang. */
static void test_watchdog_rings_again_for_each_that_becomes_overdue(void **state)
{
    assert_true(reference_scene_open(&scene, &reference_scene_keeper));
    scene.requests[1].driver.Limit = REFERENCE_SCENE_LIMIT + 1;
    submit(0, 2);
    reference_scene_tick(&scene, REFERENCE_SCENE_LIMIT);
    reference_scene_mood(KEEPER_SERVES_ONE);
    reference_scene_tick(&scene, 1);
    assert_true(reference_scene_await(&scene, 1));
    assert_true(reference_scene_are_back(&scene, 0, 1, STATUS_SUCCESS));
    assert_int_equal(nt_rig_counters(&scene.rig, 0).doorbells, 3);
    reference_scene_tick(&scene, 1);
    assert_int_equal(nt_rig_counters(&scene.rig, 0).doorbells, 4);
    assert_false(wanted());
    reference_scene_tick(&scene, 1);
    assert_int_equal(nt_rig_counters(&scene.rig, 0).doorbells, 4);
    assert_true(wanted());
}

/* That another one becomes overdue with each tick doesn't put it off. */
static void test_watchdog_gives_up_on_a_silent_device_amid_submissions(void **state)
{
    uint32_t ticks = 0;

    assert_true(reference_scene_open(&scene, &reference_scene_keeper));
    submit(0, 1);
    for (; ticks < 10 && !wanted(); ticks++) {
        scene.requests[ticks + 1].driver.Limit = 1;
        assert_int_equal(reference_scene_submit(&scene, 0, ticks + 1), STATUS_SUCCESS);
        reference_scene_tick(&scene, 1);
    }
    assert_true(ticks <= REFERENCE_SCENE_LIMIT + 2);
}

/* ---- Recovery ---- */

static void test_recovery_uses_the_same_memory_and_features(void **state)
{
    PVOID shared;
    ULONGLONG features;

    assert_true(reference_scene_open(&scene, loopback()));
    shared = scene.driver.Queues[0].Shared;
    features = scene.driver.Features;
    for (uint32_t round = 0; round < 5; round++) {
        uint32_t allocations = aero_nt_allocation_count(scene.rig.nt);

        assert_true(reference_scene_works(&scene, round));
        assert_int_equal(ReferenceRecover(&scene.driver), STATUS_SUCCESS);
        assert_int_equal(aero_nt_allocation_count(scene.rig.nt), allocations);
        assert_ptr_equal(scene.driver.Queues[0].Shared, shared);
        assert_true(scene.driver.Features == features && features != 0);
    }
    assert_true(reference_scene_works(&scene, 10));
}

/* Also where the device would now agree to something else. */
static void test_recovery_agrees_on_the_first_features_or_none(void **state)
{
    static struct aero_sim_model model; /* it outlives this function: the scene is closed later */

    model = *loopback();
    model.pci_device_id = 0x107B;
    model.features = 1u << 5;
    assert_true(reference_scene_create(&scene, &model, NULL));
    assert_true(reference_scene_power_on(&scene));
    assert_int_equal(reference_scene_start(&scene), STATUS_SUCCESS);
    scene.driver.Config.Wanted = 1u << 5;
    assert_int_equal(ReferenceRecover(&scene.driver), STATUS_SUCCESS);
    assert_true(scene.driver.Features == (VIRTIO_F_VERSION_1 | VIRTIO_F_RING_INDIRECT_DESC));
}

static void test_recovery_counts_what_the_device_had_completed(void **state)
{
    open_with(loopback(), "lost-intx", (struct aero_sim_quirk_trigger){.value = ANY});
    submit(0, 10);
    await_chains(10);
    assert_true(reference_scene_are_out(&scene, 0, 10));
    assert_int_equal(ReferenceRecover(&scene.driver), STATUS_SUCCESS);
    assert_true(reference_scene_are_back(&scene, 0, 10, STATUS_SUCCESS));
}

static void test_recovery_is_asked_for_when_the_device_needs_a_reset(void **state)
{
    assert_true(reference_scene_open(&scene, &reference_scene_keeper));
    reference_scene_mood(KEEPER_FAILS);
    submit(0, 1);
    assert_true(await_wanted()); /* by its configuration interrupt: the clock stands still */
    assert_int_equal(KeReadStateEvent(&scene.driver.Progress), 1); /* nobody waits in vain for the request */
    assert_true(scene.driver.ConfigChanges > 0);
    assert_int_equal(reference_scene_submit(&scene, 0, 1), STATUS_DEVICE_NOT_READY);
    reference_scene_mood(
        KEEPER_KEEPS); /* for the doorbell may not have been looked at: DRIVER_OK's bell was enough */
    assert_int_equal(ReferenceRecover(&scene.driver), STATUS_SUCCESS);
    assert_true(reference_scene_are_back(&scene, 0, 1, STATUS_IO_DEVICE_ERROR));
    reference_scene_mood(KEEPER_SERVES);
    assert_true(reference_scene_works(&scene, 2));
}

/* Without its interrupt it's the watchdog that finds out (quirk 16). */
static void test_recovery_is_asked_for_when_only_the_status_says_so(void **state)
{
    uint64_t end = sim_os_now_ns() + REFERENCE_SCENE_WAIT_MS * UINT64_C(1000000);

    assert_true(reference_scene_open(&scene, &reference_scene_keeper));
    aero_sim_pci_write(device(), 0x04, 2, 0x0406); /* INTx disabled */
    reference_scene_mood(KEEPER_FAILS);
    submit(0, 1);
    while ((aero_sim_bar_read(device(), DEVICE_STATUS, 1) & 0x40) == 0 && sim_os_now_ns() < end)
        sim_os_yield();
    assert_false(wanted());
    reference_scene_tick(&scene, 2);
    assert_true(wanted());
    assert_int_equal(scene.driver.ConfigChanges, 0);
    assert_int_equal(ReferenceRecover(&scene.driver),
                     STATUS_DEVICE_NOT_READY); /* at DRIVER_OK it fails again */
    assert_int_equal(scene.driver.State, ReferenceFailed);
    assert_true(reference_scene_are_back(&scene, 0, 1, STATUS_IO_DEVICE_ERROR));
    reference_scene_mood(KEEPER_SERVES);
    assert_int_equal(ReferenceRecover(&scene.driver), STATUS_SUCCESS);
    assert_int_equal(scene.driver.State, ReferenceRunning);
}

static void test_recovery_is_asked_for_when_a_ring_is_poisoned(void **state)
{
    open_with(loopback(), "used-id-out-of-range",
              (struct aero_sim_quirk_trigger){.after = 3, .times = 1, .value = 0xFFFF});
    for (uint32_t request = 0; request < 3; request++)
        assert_true(reference_scene_works(&scene, request));
    submit(3, 4);
    assert_true(await_wanted());
    assert_int_equal(scene.driver.Queues[0].Ring.PoisonReason, AeroVirtioRingUsedIdOutOfRange);
    assert_int_equal(reference_scene_submit(&scene, 0, 4), STATUS_DEVICE_NOT_READY);
    assert_true(reference_scene_are_out(&scene, 3, 4));
    assert_int_equal(ReferenceRecover(&scene.driver), STATUS_SUCCESS);
    assert_true(reference_scene_are_back(&scene, 3, 4, STATUS_IO_DEVICE_ERROR));
    assert_false(wanted()); /* the ring that recovery found poisoned once more is of the past */
    assert_true(reference_scene_works(&scene, 5));
}

/* A removal finds the ring poisoned once more; but there's nothing to recover, and who submits is told so. */
static void test_removal_of_a_device_with_a_poisoned_ring_asks_for_nothing(void **state)
{
    open_with(loopback(), "used-id-out-of-range",
              (struct aero_sim_quirk_trigger){.times = 1, .value = 0xFFFF});
    submit(0, 1);
    assert_true(await_wanted());
    assert_int_equal(ReferenceSurpriseRemove(&scene.driver), STATUS_SUCCESS);
    assert_false(wanted());
    assert_int_equal(reference_scene_submit(&scene, 0, 1), STATUS_DEVICE_NOT_CONNECTED);
    assert_true(reference_scene_are_back(&scene, 0, 1, STATUS_DEVICE_NOT_CONNECTED));
}

static void test_recovery_without_a_confirmed_reset_keeps_all(void **state)
{
    uint32_t live;

    open_with(&reference_scene_keeper, "reset-never-completes",
              (struct aero_sim_quirk_trigger){.after = 1, .times = 2, .value = 0x0F});
    live = aero_nt_live_count(scene.rig.nt);
    submit(0, 5);
    assert_int_equal(ReferenceRecover(&scene.driver), STATUS_IO_TIMEOUT);
    assert_int_equal(scene.driver.State, ReferenceFailed);
    assert_true(reference_scene_are_out(&scene, 0, 5));
    assert_int_equal(reference_scene_submit(&scene, 0, 5), STATUS_IO_DEVICE_ERROR);
    assert_int_equal(ReferenceStop(&scene.driver), STATUS_IO_TIMEOUT);
    assert_true(reference_scene_are_out(&scene, 0, 5));
    assert_int_equal(aero_nt_live_count(scene.rig.nt), live - 1);   /* all but the interrupt */
    assert_int_equal(ReferenceStop(&scene.driver), STATUS_SUCCESS); /* this time it's confirmed */
    assert_true(reference_scene_are_back(&scene, 0, 5, STATUS_CANCELLED));
    assert_true(reference_scene_holds_nothing(&scene));
}

static void test_recovery_without_a_confirmed_reset_frees_all_once_unplugged(void **state)
{
    open_with(&reference_scene_keeper, "reset-never-completes",
              (struct aero_sim_quirk_trigger){.after = 1, .value = 0x0F});
    submit(0, 5);
    assert_int_equal(ReferenceRecover(&scene.driver), STATUS_IO_TIMEOUT);
    assert_int_equal(ReferenceStop(&scene.driver), STATUS_IO_TIMEOUT);
    nt_rig_unplug(&scene.rig);
    assert_int_equal(ReferenceStop(&scene.driver), STATUS_SUCCESS);
    assert_true(reference_scene_are_back(&scene, 0, 5, STATUS_DEVICE_NOT_CONNECTED));
    assert_true(reference_scene_holds_nothing(&scene));
}

static void test_recovery_of_a_device_that_doesnt_come_up_fails_and_may_be_tried_again(void **state)
{
    static const struct {
        const char *quirk;
        NTSTATUS status;
    } cases[] = {{"features-ok-refused", STATUS_NOT_SUPPORTED},
                 {"queue-enable-readback-zero", STATUS_IO_DEVICE_ERROR}};

    for (uint32_t i = 0; i < 2; i++) {
        open_with(&reference_scene_keeper, cases[i].quirk,
                  (struct aero_sim_quirk_trigger){.after = 1, .times = 1, .value = ANY});
        reference_scene_mood(KEEPER_KEEPS);
        submit(0, 3);
        assert_int_equal(ReferenceRecover(&scene.driver), cases[i].status);
        assert_int_equal(scene.driver.State, ReferenceFailed);
        assert_true(reference_scene_are_back(&scene, 0, 3, STATUS_IO_DEVICE_ERROR));
        assert_int_equal(reference_scene_submit(&scene, 0, 3), STATUS_IO_DEVICE_ERROR);
        if (i == 1) /* its first queue may have been set up, so it has been reset once more */
            assert_int_equal(aero_sim_bar_read(device(), DEVICE_STATUS, 1), 0);
        reference_scene_mood(KEEPER_SERVES);
        assert_int_equal(ReferenceRecover(&scene.driver), STATUS_SUCCESS);
        assert_true(reference_scene_works(&scene, 4));
        assert_int_equal(reference_scene_close(&scene), 0);
    }
}

/* A worker that comes late, or is told twice, mustn't reset a device that is well again. */
static void test_recovery_isnt_wanted_any_more_once_the_device_was_reset(void **state)
{
    assert_true(reference_scene_open(&scene, &reference_scene_keeper));
    for (uint32_t round = 0; round < 2; round++) {
        submit(round, round + 1);
        reference_scene_tick(&scene, REFERENCE_SCENE_LIMIT + 2);
        assert_int_equal(KeReadStateEvent(&scene.driver.RecoveryWanted), 1);
        if (round == 0) {
            assert_int_equal(ReferenceRecover(&scene.driver), STATUS_SUCCESS);
        } else {
            assert_int_equal(ReferenceSuspend(&scene.driver), STATUS_SUCCESS);
            assert_int_equal(ReferenceResume(&scene.driver), STATUS_SUCCESS);
        }
        assert_int_equal(scene.driver.State, ReferenceRunning);
        assert_false(wanted());
    }
}

/* Failed, as after a recovery: but its owner has stopped it, and only waits for its memory. */
static void test_recovery_has_nothing_to_do_after_a_stop_that_timed_out(void **state)
{
    const struct aero_sim_quirk_trigger second = {.after = 1, .times = 1, .value = 0x0F};

    for (uint32_t poll = 0; poll < 2; poll++) {
        assert_true(reference_scene_create(&scene, &reference_scene_keeper, NULL));
        assert_int_equal(aero_sim_device_set_quirk(device(), "reset-never-completes", &second), AERO_SIM_OK);
        assert_true(reference_scene_power_on(&scene));
        scene.config.Poll = (BOOLEAN)poll;
        assert_int_equal(reference_scene_start(&scene), STATUS_SUCCESS);
        submit(0, 1);
        assert_int_equal(ReferenceStop(&scene.driver), STATUS_IO_TIMEOUT);
        assert_int_equal(ReferenceRecover(&scene.driver), STATUS_INVALID_DEVICE_STATE);
        assert_int_equal(ReferenceSuspend(&scene.driver), STATUS_INVALID_DEVICE_STATE);
        assert_int_equal(scene.driver.State, ReferenceFailed);
        assert_true(reference_scene_are_out(&scene, 0, 1));
        assert_int_equal(ReferenceStop(&scene.driver), STATUS_SUCCESS);
        assert_int_equal(reference_scene_close(&scene), 0);
    }
}

static void test_recovery_has_nothing_to_do_after_a_stop_or_a_suspension(void **state)
{
    assert_true(reference_scene_open(&scene, loopback()));
    assert_int_equal(ReferenceSuspend(&scene.driver), STATUS_SUCCESS);
    assert_int_equal(ReferenceRecover(&scene.driver), STATUS_INVALID_DEVICE_STATE);
    assert_int_equal(ReferenceStop(&scene.driver), STATUS_SUCCESS);
    assert_int_equal(ReferenceRecover(&scene.driver), STATUS_INVALID_DEVICE_STATE);
}

/* CPU 1 is the driver's worker, which recovers time and again while CPU 0 submits. */
static void recover(void *context)
{
    ReferenceRecover(context);
}

static bool await_recoveries(LONG recoveries)
{
    uint64_t end = sim_os_now_ns() + REFERENCE_SCENE_WAIT_MS * UINT64_C(1000000);

    while (InterlockedOr(&scene.driver.Recoveries, 0) < recoveries && sim_os_now_ns() < end)
        KeStallExecutionProcessor(1); /* which takes interrupts, too */
    return InterlockedOr(&scene.driver.Recoveries, 0) >= recoveries;
}

static void test_recovery_on_another_cpu_amid_traffic_completes_each_request_once(void **state)
{
    struct nt_rig_options options = nt_rig_options_default();
    uint32_t rounds = nt_rig_scale(30);
    struct nt_rig_cpu cpu;
    bool all = true;

    options.cpus = 2;
    assert_true(nt_rig_create(&scene.rig, &options) && nt_rig_add(&scene.rig, loopback(), NULL));
    assert_true(reference_scene_power_on(&scene));
    assert_int_equal(reference_scene_start(&scene), STATUS_SUCCESS);
    assert_true(nt_rig_cpu_start(&cpu, &scene.rig, recover, &scene.driver));
    for (uint32_t round = 0; round < rounds && all; round++) {
        uint32_t taken = 0;

        memset(scene.requests, 0, sizeof scene.requests);
        atomic_store(&scene.back, 0);
        for (uint32_t request = 0; request < 100; request++) {
            NTSTATUS status = reference_scene_submit(&scene, 0, taken);

            if (request == 10)
                KeSetEvent(&cpu.request, IO_NO_INCREMENT, FALSE);
            taken += status == STATUS_SUCCESS;
            all = all && (status == STATUS_SUCCESS || status == STATUS_DEVICE_NOT_READY);
        }
        all = all && reference_scene_await(&scene, taken) && await_recoveries((LONG)round + 1);
        for (uint32_t request = 0; request < taken && all; request++) {
            NTSTATUS status = scene.requests[request].status;

            all = reference_scene_are_back(&scene, request, request + 1,
                                           status == STATUS_IO_DEVICE_ERROR ? status : STATUS_SUCCESS);
        }
    }
    nt_rig_cpu_stop(&cpu);
    assert_true(all);
    assert_int_equal(ReferenceStop(&scene.driver), STATUS_SUCCESS);
    assert_true(reference_scene_holds_nothing(&scene));
}

/* ---- Surprise removal ---- */

/* After it: no wait, no doorbell, the service routine refuses, each request is back once. */
static void expect_removed(uint32_t submitted)
{
    uint32_t doorbells = nt_rig_counters(&scene.rig, 0).doorbells;
    uint64_t accesses;

    assert_int_equal(scene.driver.State, ReferenceRemoved);
    assert_null(scene.driver.Interrupt);
    assert_false(scene.driver.WatchdogIsSet);
    assert_int_equal(atomic_load(&scene.back), submitted);
    for (uint32_t request = 0; request < submitted; request++)
        assert_true(reference_scene_are_back(
            &scene, request, request + 1,
            scene.requests[request].status == STATUS_SUCCESS ? STATUS_SUCCESS : STATUS_DEVICE_NOT_CONNECTED));
    accesses = register_accesses();
    assert_int_equal(reference_scene_submit(&scene, 0, submitted), STATUS_DEVICE_NOT_CONNECTED);
    assert_int_equal(ReferenceInFlight(&scene.driver), 0);
    assert_int_equal(ReferenceStop(&scene.driver), STATUS_SUCCESS);
    assert_int_equal(register_accesses(), accesses);
    assert_int_equal(nt_rig_counters(&scene.rig, 0).doorbells, doorbells);
    assert_int_equal(aero_nt_waited_ns(scene.rig.nt), 0);
    assert_true(reference_scene_holds_nothing(&scene));
}

static void test_removal_in_traffic_completes_each_request_once(void **state)
{
    open_with(loopback(), "surprise-removal-all-ones",
              (struct aero_sim_quirk_trigger){.after = 60, .times = 1, .value = DOORBELL});
    submit(0, 90);
    assert_int_equal(ReferenceSurpriseRemove(&scene.driver), STATUS_SUCCESS);
    assert_true(scene.back - scene.succeeded >= 29);
    expect_removed(90);
}

static void test_removal_with_everything_in_flight_fails_it_all(void **state)
{
    open_with(&reference_scene_keeper, "surprise-removal-all-ones",
              (struct aero_sim_quirk_trigger){.after = 8, .times = 1, .value = DOORBELL});
    submit(0, 9);
    assert_int_equal(ReferenceSurpriseRemove(&scene.driver), STATUS_SUCCESS);
    assert_true(reference_scene_are_back(&scene, 0, 9, STATUS_DEVICE_NOT_CONNECTED));
    expect_removed(9);
}

static void test_removal_inside_the_isr_is_refused(void **state)
{
    struct aero_nt_counters counters;
    uint64_t end = sim_os_now_ns() + REFERENCE_SCENE_WAIT_MS * UINT64_C(1000000);

    open_with(loopback(), "surprise-removal-all-ones",
              (struct aero_sim_quirk_trigger){.after = 1, .times = 1, .value = ISR}); /* 1: ReferenceGo's */
    submit(0, 1);
    do {
        KeStallExecutionProcessor(0);
        aero_nt_counters(scene.rig.nt, &counters);
    } while (counters.interrupts == 0 && sim_os_now_ns() < end);
    assert_int_equal(counters.interrupts, 1);
    assert_int_equal(counters.interrupts_unclaimed, 1);
    assert_int_equal(ReferenceIsr(NULL, &scene.driver), FALSE);
    assert_int_equal(ReferenceSurpriseRemove(&scene.driver), STATUS_SUCCESS);
    expect_removed(1);
}

/* Nobody has told the driver: it is the watchdog that sees all ones. */
static void test_removal_is_noticed_by_the_watchdog(void **state)
{
    open_with(&reference_scene_keeper, "surprise-removal-all-ones",
              (struct aero_sim_quirk_trigger){.after = 4, .times = 1, .value = DOORBELL});
    submit(0, 5);
    assert_false(wanted());
    reference_scene_tick(&scene, 2);
    assert_true(wanted());
    assert_int_equal(ReferenceRecover(&scene.driver), STATUS_DEVICE_NOT_CONNECTED);
    assert_int_equal(scene.driver.State, ReferenceRemoved);
    assert_true(reference_scene_are_back(&scene, 0, 5, STATUS_DEVICE_NOT_CONNECTED));
    assert_int_equal(ReferenceStop(&scene.driver), STATUS_SUCCESS);
    assert_true(reference_scene_holds_nothing(&scene));
}

static void test_removal_of_a_device_that_is_there_after_all_resets_it(void **state)
{
    assert_true(reference_scene_open(&scene, &reference_scene_keeper));
    submit(0, 3);
    assert_int_equal(ReferenceSurpriseRemove(&scene.driver), STATUS_SUCCESS);
    assert_int_equal(aero_sim_bar_read(device(), DEVICE_STATUS, 1), 0);
    expect_removed(3);
}

static void test_removal_of_a_device_that_doesnt_reset_keeps_all(void **state)
{
    open_with(&reference_scene_keeper, "reset-never-completes",
              (struct aero_sim_quirk_trigger){.after = 1, .times = 1, .value = 0x0F});
    submit(0, 3);
    assert_int_equal(ReferenceSurpriseRemove(&scene.driver), STATUS_IO_TIMEOUT);
    assert_true(reference_scene_are_out(&scene, 0, 3));
    assert_int_equal(ReferenceStop(&scene.driver), STATUS_SUCCESS);
    assert_true(reference_scene_are_back(&scene, 0, 3, STATUS_CANCELLED));
    assert_true(reference_scene_holds_nothing(&scene));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_watchdog_makes_up_for_a_lost_interrupt),
        TEST(test_watchdog_with_nothing_overdue_leaves_the_device_alone),
        TEST(test_watchdog_rings_again_before_it_gives_up),
        TEST(test_watchdog_gives_up_on_a_silent_device_and_recovery_heals_it),
        TEST(test_watchdog_respects_a_requests_own_limit),
        TEST(test_watchdog_takes_the_longest_limit_for_what_it_is),
        TEST(test_watchdog_rings_again_for_each_that_becomes_overdue),
        TEST(test_watchdog_gives_up_on_a_silent_device_amid_submissions),
        TEST(test_recovery_uses_the_same_memory_and_features),
        TEST(test_recovery_agrees_on_the_first_features_or_none),
        TEST(test_recovery_counts_what_the_device_had_completed),
        TEST(test_recovery_is_asked_for_when_the_device_needs_a_reset),
        TEST(test_recovery_is_asked_for_when_only_the_status_says_so),
        TEST(test_recovery_is_asked_for_when_a_ring_is_poisoned),
        TEST(test_removal_of_a_device_with_a_poisoned_ring_asks_for_nothing),
        TEST(test_recovery_without_a_confirmed_reset_keeps_all),
        TEST(test_recovery_without_a_confirmed_reset_frees_all_once_unplugged),
        TEST(test_recovery_of_a_device_that_doesnt_come_up_fails_and_may_be_tried_again),
        TEST(test_recovery_isnt_wanted_any_more_once_the_device_was_reset),
        TEST(test_recovery_has_nothing_to_do_after_a_stop_that_timed_out),
        TEST(test_recovery_has_nothing_to_do_after_a_stop_or_a_suspension),
        TEST(test_recovery_on_another_cpu_amid_traffic_completes_each_request_once),
        TEST(test_removal_in_traffic_completes_each_request_once),
        TEST(test_removal_with_everything_in_flight_fails_it_all),
        TEST(test_removal_inside_the_isr_is_refused),
        TEST(test_removal_is_noticed_by_the_watchdog),
        TEST(test_removal_of_a_device_that_is_there_after_all_resets_it),
        TEST(test_removal_of_a_device_that_doesnt_reset_keeps_all),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests_name("reference_recovery", tests, NULL, NULL);
}
