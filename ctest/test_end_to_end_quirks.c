/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The quirks that the simulator injects (docs/quirks.md), end to end: what a driver on the real transport has
 * to do about each, with a worker thread and interrupts at work. The numbers are the catalogue's. No test
 * breaks a rule of the kernel or of the contract by itself: each machine must end without a breach.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "nt_scene.h"
#include "test_program.h"

#define SECOND_NS UINT64_C(1000000000)
#define ANY       UINT64_MAX

/* Offsets in BAR0 */
#define DEVICE_STATUS 0x14u
#define QUEUE_ENABLE  0x1Cu
#define DOORBELL      0x1000u
#define ISR           0x2000u

static struct nt_scene scene;

static int set_up(void **state)
{
    *state = NULL;
    memset(&scene, 0, sizeof scene);
    return 0;
}

static int tear_down(void **state)
{
    return nt_scene_close(&scene) == 0 ? 0 : -1;
}

/* ---- A device that keeps chains until it is let go ---- */

static _Atomic uint32_t holder_open; /* 1: it serves what it has */

struct holder {
    struct aero_sim_device *device;
};

static enum aero_sim_status holder_start(void *state, struct aero_sim_device *device,
                                         const struct aero_sim_backend *backend, char *error,
                                         size_t error_bytes)
{
    ((struct holder *)state)->device = device;
    return AERO_SIM_OK;
}

static void holder_event(void *state)
{
    struct holder *holder = state;
    const struct aero_sim_chain *chain;
    uint8_t bytes[64];

    while (atomic_load(&holder_open) && (chain = aero_sim_queue_peek(holder->device, 0)) != NULL) {
        size_t length = aero_sim_chain_read(chain, 0, bytes, sizeof bytes);

        aero_sim_queue_complete(holder->device, 0, (uint32_t)aero_sim_chain_write(chain, 0, bytes, length));
    }
}

static const struct aero_sim_queue_spec holder_queue = {.name = "holdq", .size = 64};
static const struct aero_sim_model holder_model = {
    .name = "holder",
    .summary = "keeps chains until it is let go",
    .pci_device_id = 0x107D,
    .state_bytes = sizeof(struct holder),
    .queue_count = 1,
    .queues = &holder_queue,
    .open = holder_start,
    .event = holder_event,
};

/* ---- Scenes ---- */

/* A loopback or a holder, powered on, with a quirk and not yet started; delays cost nothing. */
static void prepare(const struct aero_sim_model *model, const char *quirk,
                    struct aero_sim_quirk_trigger trigger)
{
    struct nt_rig_options options = nt_rig_options_default();

    options.virtual_clock = true;
    assert_true(nt_scene_create(&scene, model, &options));
    assert_int_equal(aero_sim_device_set_quirk(scene.rig.devices[0].device, quirk, &trigger), AERO_SIM_OK);
    assert_true(nt_scene_power_on(&scene, 0));
}

static const struct aero_sim_model *loopback(void)
{
    return aero_sim_model_find("loopback");
}

/* Works again: one more chain, by interrupt. */
static void expect_echo(uint32_t cookie)
{
    uint32_t completed = scene.completed;

    assert_int_equal(nt_scene_submit(&scene, 0, cookie, 48), STATUS_SUCCESS);
    assert_true(nt_scene_await(&scene, completed + 1));
    assert_true(nt_scene_echoed(&scene, cookie, 48));
}

static uint64_t waited_ns(void)
{
    return aero_nt_waited_ns(scene.rig.nt);
}

/* ---- 1, surprise-removal-all-ones ---- */

/* After removal: nothing waits, nothing rings, the ISR refuses, and each cookie comes back once. */
static void expect_gone(uint32_t submitted)
{
    struct aero_sim_counters before = nt_rig_counters(&scene.rig, 0);
    LONG claimed = scene.driver.Claimed;
    uint64_t waited = waited_ns();

    assert_int_equal(AeroVirtioGetStatus(&scene.driver.Transport), 0xFF);
    assert_int_equal(AeroVirtioReadIsr(&scene.driver.Transport), 0);
    assert_int_equal(AeroVirtioNotifyQueue(&scene.driver.Transport, 0, 0), STATUS_SUCCESS);
    assert_int_equal(NtDriverRecover(&scene.driver), STATUS_DEVICE_NOT_CONNECTED);
    assert_string_equal(scene.driver.FailedIn, "AeroVirtioResetDevice");
    assert_int_equal(nt_scene_submit(&scene, 0, submitted, 16), STATUS_DEVICE_NOT_READY);
    assert_int_equal(NtDriverDrain(&scene.driver, 0), 0);
    assert_true(nt_scene_all_back(&scene, 0, submitted));
    assert_int_equal(NtDriverInFlight(&scene.driver, 0), 0);
    assert_int_equal(AeroVirtioSplitRingFreeCount(&scene.driver.Queues[0].Ring), scene.driver.Queues[0].Size);
    assert_int_equal(NtDriverStop(&scene.driver), STATUS_DEVICE_NOT_CONNECTED);
    assert_int_equal(waited_ns(), waited);
    assert_int_equal(scene.driver.Claimed, claimed);
    assert_int_equal(nt_rig_counters(&scene.rig, 0).doorbells, before.doorbells);
    assert_int_equal(nt_rig_counters(&scene.rig, 0).chains, before.chains);
    assert_int_equal(aero_nt_live_count(scene.rig.nt), 1); /* the scene's buffer */
}

static void test_removal_at_a_doorbell_in_traffic_hands_all_cookies_back(void **state)
{
    uint32_t submitted;

    prepare(loopback(), "surprise-removal-all-ones",
            (struct aero_sim_quirk_trigger){.after = 60, .times = 1, .value = DOORBELL});
    assert_int_equal(nt_scene_start(&scene), STATUS_SUCCESS);
    for (submitted = 0; submitted < 90; submitted++)
        assert_int_equal(nt_scene_submit(&scene, 0, submitted, 16), STATUS_SUCCESS);
    expect_gone(90);
    /* The chain of the fatal doorbell was published before it rang, and may have been served by then. */
    assert_true(scene.completed <= 61 && scene.cancelled >= 29);
}

static void test_removal_inside_the_isr_is_refused(void **state)
{
    uint64_t end = sim_os_now_ns() + NT_SCENE_WAIT_MS * UINT64_C(1000000);
    struct aero_nt_counters counters;

    prepare(
        loopback(), "surprise-removal-all-ones",
        (struct aero_sim_quirk_trigger){.after = 1, .times = 1, .value = ISR}); /* 1: the read of bring-up */
    assert_int_equal(nt_scene_start(&scene), STATUS_SUCCESS);
    assert_int_equal(nt_scene_submit(&scene, 0, 0, 16), STATUS_SUCCESS);
    while (scene.driver.Refused == 0 && sim_os_now_ns() < end)
        assert_int_equal(NtDriverWait(&scene.driver, 10), STATUS_TIMEOUT); /* no DPC sets the event */
    assert_int_equal(scene.driver.Refused, 1);
    aero_nt_counters(scene.rig.nt, &counters);
    assert_int_equal(counters.interrupts, 1);
    assert_int_equal(counters.interrupts_unclaimed, 1);
    assert_int_equal(scene.driver.Dpcs, 0);
    assert_int_equal(scene.completed, 0);
    expect_gone(1); /* what the used ring had is counted as completed: it was there before the device went */
}

static void test_removal_with_chains_held_hands_all_cookies_back(void **state)
{
    atomic_store(&holder_open, 0);
    prepare(&holder_model, "surprise-removal-all-ones",
            (struct aero_sim_quirk_trigger){.after = 8, .times = 1, .value = DOORBELL});
    assert_int_equal(nt_scene_start(&scene), STATUS_SUCCESS);
    for (uint32_t i = 0; i < 9; i++)
        assert_int_equal(nt_scene_submit(&scene, 0, i, 16), STATUS_SUCCESS);
    expect_gone(9);
    assert_int_equal(scene.cancelled, 9);
}

/* At every access of a bring-up, one after another: never success, never a wait, never a leak. */
static void test_removal_at_each_access_of_bring_up_is_noticed(void **state)
{
    uint32_t after = 0;

    for (;; after++) {
        NTSTATUS status;

        prepare(loopback(), "surprise-removal-all-ones",
                (struct aero_sim_quirk_trigger){.after = after, .times = 1, .value = ANY});
        scene.config.QueueCount = 2;
        status = nt_scene_start(&scene);
        if (NT_SUCCESS(status))
            break;
        assert_int_equal(status, STATUS_DEVICE_NOT_CONNECTED);
        assert_int_equal(NtDriverStop(&scene.driver), STATUS_DEVICE_NOT_CONNECTED);
        assert_int_equal(waited_ns(), 0);
        assert_int_equal(aero_nt_live_count(scene.rig.nt), 1);
        assert_int_equal(nt_scene_close(&scene), 0);
    }
    assert_true(after > 50); /* as many accesses as a bring-up has */
    assert_int_equal(NtDriverStop(&scene.driver), STATUS_DEVICE_NOT_CONNECTED);
}

/* ---- 2, reset-never-completes ---- */

/* The ring's memory, as pages that nobody else may get, is the driver's until the device has let go. */
static void expect_memory_kept(uint32_t live)
{
    uint64_t before = waited_ns();

    assert_int_equal(NtDriverStop(&scene.driver), STATUS_IO_TIMEOUT);
    assert_true(waited_ns() - before >= SECOND_NS / 2 && waited_ns() - before <= 2 * SECOND_NS);
    assert_int_equal(aero_nt_live_count(scene.rig.nt), live - 1); /* the interrupt is all that was freed */
    assert_int_equal(scene.cancelled, 0); /* nor is any cookie: the device has their memory */
}

static void test_stuck_reset_keeps_memory_until_it_completes(void **state)
{
    const uint64_t stuck[] = {ANY, 0x80, 0x40, 0x8F, 0xFF};

    for (uint32_t i = 0; i < sizeof stuck / sizeof stuck[0]; i++) {
        uint32_t live;

        atomic_store(&holder_open, 0);
        prepare(&holder_model, "reset-never-completes",
                (struct aero_sim_quirk_trigger){.after = 1, .times = 2, .value = stuck[i]});
        assert_int_equal(nt_scene_start(&scene), STATUS_SUCCESS);
        for (uint32_t cookie = 0; cookie < 5; cookie++)
            assert_int_equal(nt_scene_submit(&scene, 0, cookie, 16), STATUS_SUCCESS);
        live = aero_nt_live_count(scene.rig.nt);
        assert_int_equal(NtDriverReset(&scene.driver), STATUS_IO_TIMEOUT);
        assert_int_equal(nt_scene_submit(&scene, 0, 5, 16), STATUS_DEVICE_NOT_READY);
        assert_int_equal(NtDriverInFlight(&scene.driver, 0), 5);
        expect_memory_kept(live);
        assert_int_equal(NtDriverStop(&scene.driver), STATUS_SUCCESS); /* now it's confirmed */
        assert_int_equal(scene.cancelled, 5);
        assert_true(nt_scene_all_back(&scene, 0, 5));
        assert_int_equal(aero_nt_live_count(scene.rig.nt), 1);
        assert_int_equal(nt_scene_close(&scene), 0);
    }
}

/* Why the memory must be kept: the device goes on with what it has. */
static void test_stuck_reset_device_still_completes_what_it_has(void **state)
{
    atomic_store(&holder_open, 0);
    prepare(&holder_model, "reset-never-completes",
            (struct aero_sim_quirk_trigger){.after = 1, .times = 1, .value = ANY});
    assert_int_equal(nt_scene_start(&scene), STATUS_SUCCESS);
    for (uint32_t cookie = 0; cookie < 5; cookie++)
        assert_int_equal(nt_scene_submit(&scene, 0, cookie, 16), STATUS_SUCCESS);
    assert_int_equal(NtDriverReset(&scene.driver), STATUS_IO_TIMEOUT);
    atomic_store(&holder_open, 1);
    aero_sim_device_wake(scene.rig.devices[0].device);
    assert_true(nt_scene_await(&scene, 5));
    for (uint32_t cookie = 0; cookie < 5; cookie++)
        assert_true(nt_scene_echoed(&scene, cookie, 16));
    assert_int_equal(NtDriverStop(&scene.driver), STATUS_SUCCESS);
    assert_int_equal(scene.cancelled, 0);
}

static void test_stuck_reset_at_start_never_acknowledges(void **state)
{
    prepare(loopback(), "reset-never-completes", (struct aero_sim_quirk_trigger){.times = 1, .value = 0x80});
    assert_int_equal(nt_scene_start(&scene), STATUS_IO_TIMEOUT);
    assert_string_equal(scene.driver.FailedIn, "AeroVirtioNegotiateFeatures");
    assert_int_equal(AeroVirtioGetStatus(&scene.driver.Transport), 0x80); /* nothing was added to it */
    assert_true(waited_ns() >= SECOND_NS / 2 && waited_ns() <= 2 * SECOND_NS);
    assert_int_equal(NtDriverStop(&scene.driver), STATUS_SUCCESS);
}

/* ---- 4, used-id-out-of-range ---- */

static void test_bad_used_id_poisons_and_a_reset_heals(void **state)
{
    const uint32_t ids[] = {256, 0xFFFF, 0x10000 + 6, 0xFFFFFFFF};

    for (uint32_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        NT_DRIVER_QUEUE *queue = &scene.driver.Queues[0];

        prepare(loopback(), "used-id-out-of-range",
                (struct aero_sim_quirk_trigger){.after = 3, .times = 1, .value = ids[i]});
        assert_int_equal(nt_scene_start(&scene), STATUS_SUCCESS);
        for (uint32_t cookie = 0; cookie < 8; cookie++) {
            NTSTATUS status =
                nt_scene_submit(&scene, 0, cookie, 16); /* refused once the ring is known to be poisoned */

            assert_true(status == STATUS_SUCCESS || (cookie > 3 && status == STATUS_DEVICE_NOT_READY));
        }
        assert_true(nt_scene_await_counter(&scene, &scene.driver.NeedsReset, 1));
        assert_int_equal(queue->ReapStatus, STATUS_DEVICE_PROTOCOL_ERROR);
        assert_int_equal(queue->Ring.PoisonReason, AeroVirtioRingUsedIdOutOfRange);
        assert_int_equal(queue->Ring.PoisonValue, ids[i]);
        assert_int_equal(scene.completed, 3); /* the good ones before it */
        assert_int_equal(NtDriverDrain(&scene.driver, 0), 0);
        assert_int_equal(nt_scene_submit(&scene, 0, 8, 16), STATUS_DEVICE_NOT_READY);
        assert_int_equal(NtDriverRecover(&scene.driver), STATUS_SUCCESS);
        assert_true(nt_scene_all_back(&scene, 0, (uint32_t)queue->Added));
        assert_int_equal(scene.completed, 3);
        assert_int_equal(AeroVirtioSplitRingFreeCount(&queue->Ring), 256);
        expect_echo(100);
        assert_int_equal(nt_scene_close(&scene), 0);
    }
}

/* ---- 9, lost-intx ---- */

/* Waits as a driver with a watchdog does; how many interrupts were taken meanwhile. */
static uint64_t watchdog_await(uint32_t completed)
{
    uint64_t end = sim_os_now_ns() + NT_SCENE_WAIT_MS * UINT64_C(1000000);
    struct aero_nt_counters counters;

    while (scene.completed < completed && sim_os_now_ns() < end) {
        if (NtDriverWait(&scene.driver, 10) == STATUS_TIMEOUT)
            NtDriverDrain(&scene.driver, 0);
    }
    aero_nt_counters(scene.rig.nt, &counters);
    return counters.interrupts;
}

static void test_lost_interrupt_watchdog_finds_the_completion(void **state)
{
    prepare(loopback(), "lost-intx", (struct aero_sim_quirk_trigger){.after = 1, .times = 1, .value = ANY});
    assert_int_equal(nt_scene_start(&scene), STATUS_SUCCESS);
    expect_echo(0);
    assert_int_equal(nt_scene_submit(&scene, 0, 1, 16), STATUS_SUCCESS);
    assert_int_equal(watchdog_await(2), 1);
    assert_true(nt_scene_echoed(&scene, 1, 16));
    expect_echo(2);
    assert_int_equal(scene.driver.Claimed, 2);
}

/* A queue cause of another queue will do: the DPC looks at all of them (quirk 52). */
static void test_lost_interrupt_of_one_queue_is_made_good_by_another(void **state)
{
    prepare(loopback(), "lost-intx", (struct aero_sim_quirk_trigger){.value = 0});
    scene.config.QueueCount = 2;
    assert_int_equal(nt_scene_start(&scene), STATUS_SUCCESS);
    assert_int_equal(nt_scene_submit(&scene, 0, 0, 16), STATUS_SUCCESS);
    assert_int_equal(nt_scene_submit(&scene, 1, 1, 16), STATUS_SUCCESS); /* served behind the other */
    assert_true(nt_scene_await(&scene, 2));
    assert_true(nt_scene_all_back(&scene, 0, 2));
}

/* ---- 17, features-ok-refused ---- */

static void test_refused_features_set_failed_and_nothing_else(void **state)
{
    prepare(loopback(), "features-ok-refused", (struct aero_sim_quirk_trigger){.times = 1});
    assert_int_equal(nt_scene_start(&scene), STATUS_NOT_SUPPORTED);
    assert_string_equal(scene.driver.FailedIn, "AeroVirtioNegotiateFeatures");
    assert_true(scene.driver.Features == 0);
    assert_int_equal(AeroVirtioGetStatus(&scene.driver.Transport), 0x83); /* FAILED, DRIVER, ACKNOWLEDGE */
    assert_int_equal(aero_nt_live_count(scene.rig.nt), 2);                /* the buffer and the mapping */
    assert_int_equal(NtDriverStop(&scene.driver), STATUS_SUCCESS);
    assert_int_equal(nt_scene_start(&scene), STATUS_SUCCESS); /* a reset leads on from FAILED */
    expect_echo(0);
}

/* ---- 36, queue-enable-readback-zero ---- */

static void test_queue_not_enabled_never_reaches_driver_ok(void **state)
{
    prepare(loopback(), "queue-enable-readback-zero",
            (struct aero_sim_quirk_trigger){.times = 1, .value = 2});
    scene.config.QueueCount = 4;
    assert_int_equal(nt_scene_start(&scene), STATUS_IO_DEVICE_ERROR);
    assert_string_equal(scene.driver.FailedIn, "AeroVirtioSetupQueue");
    assert_int_equal(AeroVirtioGetStatus(&scene.driver.Transport) & VIRTIO_STATUS_DRIVER_OK, 0);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(nt_scene_submit(&scene, i, i, 16), STATUS_DEVICE_NOT_READY);
    assert_int_equal(nt_rig_counters(&scene.rig, 0).doorbells, 0);
    assert_int_equal(NtDriverRecover(&scene.driver), STATUS_SUCCESS); /* the quirk acts once */
    expect_echo(10);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_removal_at_a_doorbell_in_traffic_hands_all_cookies_back),
        TEST(test_removal_inside_the_isr_is_refused),
        TEST(test_removal_with_chains_held_hands_all_cookies_back),
        TEST(test_removal_at_each_access_of_bring_up_is_noticed),
        TEST(test_stuck_reset_keeps_memory_until_it_completes),
        TEST(test_stuck_reset_device_still_completes_what_it_has),
        TEST(test_stuck_reset_at_start_never_acknowledges),
        TEST(test_bad_used_id_poisons_and_a_reset_heals),
        TEST(test_lost_interrupt_watchdog_finds_the_completion),
        TEST(test_lost_interrupt_of_one_queue_is_made_good_by_another),
        TEST(test_refused_features_set_failed_and_nothing_else),
        TEST(test_queue_not_enabled_never_reaches_driver_ok),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests_name("end to end, quirks", tests, NULL, NULL);
}
