/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The reference driver's dump mode (examples/reference_dump.h) at HIGH_LEVEL: with and without a crashed
 * system's driver before it. Taking a lock there, waiting, or stalling for longer than 50 us would be a
 * breach, and each machine must end without one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "reference_dump.h"
#include "reference_fixture.h"
#include "test_program.h"

#define DEVICE_STATUS 0x14u
#define DOORBELL      0x1000u

#define BYTES       REFERENCE_SCENE_BYTES
#define PATIENCE_MS 20000u

static REFERENCE_DUMP dump;
static KIRQL before;

static int set_up_dump(void **state)
{
    memset(&dump, 0, sizeof dump);
    return set_up(state);
}

/* The machine with a dump prepared, a quirk where there is a name, and the system's driver not started. */
static void prepare(const struct aero_sim_model *model, const char *quirk,
                    struct aero_sim_quirk_trigger trigger, bool real_clock)
{
    struct nt_rig_options options = nt_rig_options_default();

    options.virtual_clock = !real_clock;
    assert_true(reference_scene_create(&scene, model, &options));
    if (quirk != NULL)
        assert_int_equal(aero_sim_device_set_quirk(device(), quirk, &trigger), AERO_SIM_OK);
    assert_true(reference_scene_power_on(&scene));
    assert_int_equal(ReferenceDumpPrepare(&dump, &scene.resources, 0, 256), STATUS_SUCCESS);
}

static void crash(void)
{
    KeRaiseIrql(HIGH_LEVEL, &before);
}

/* For the sake of the test: a crashed system doesn't come back. */
static void uncrash(void)
{
    KeLowerIrql(before);
}

/* Sends bytes at the buffer's end, away from the requests', and looks at the echo. */
static NTSTATUS transfer(uint8_t seed, ULONG patience_ms)
{
    const uint32_t at = REFERENCE_SCENE_REQUESTS * 2 * REFERENCE_SCENE_BYTES - 2 * BYTES;
    uint8_t *out = scene.buffer + at;
    AERO_VIRTIO_SEGMENT segments[2];
    ULONG length = 1;
    NTSTATUS status;

    memset(segments, 0, sizeof segments);
    segments[0].Address = scene.buffer_gpa + at;
    segments[1].Address = segments[0].Address + BYTES;
    segments[0].Length = segments[1].Length = BYTES;
    memset(out, seed, BYTES);
    memset(out + BYTES, 0, BYTES);
    status = ReferenceDumpTransfer(&dump, segments, 1, 1, patience_ms, &length);
    if (!NT_SUCCESS(status))
        return length == 0 ? status : STATUS_UNSUCCESSFUL;
    return length == BYTES && memcmp(out, out + BYTES, BYTES) == 0 ? status : STATUS_DATA_ERROR;
}

/* A few transfers, with not one interrupt or allocation. */
static void expect_dump_works(void)
{
    uint32_t allocations = aero_nt_allocation_count(scene.rig.nt);
    uint32_t rises = nt_rig_counters(&scene.rig, 0).interrupts;
    struct aero_nt_counters was, is;
    NTSTATUS started, moved = STATUS_SUCCESS, stopped;

    aero_nt_counters(scene.rig.nt, &was);
    crash();
    started = ReferenceDumpStart(&dump);
    for (uint8_t seed = 1; seed < 100 && NT_SUCCESS(started) && NT_SUCCESS(moved); seed++)
        moved = transfer(seed, PATIENCE_MS);
    stopped = ReferenceDumpStop(&dump);
    aero_nt_counters(scene.rig.nt, &is);
    assert_int_equal(is.interrupts, was.interrupts);
    assert_int_equal(nt_rig_counters(&scene.rig, 0).interrupts, rises); /* nor did the device ask for one */
    assert_int_equal(is.dpcs, was.dpcs);
    assert_int_equal(is.delays, was.delays);
    assert_false(aero_sim_device_intx_level(device()));
    uncrash();
    assert_int_equal(started, STATUS_SUCCESS);
    assert_int_equal(moved, STATUS_SUCCESS);
    assert_int_equal(stopped, STATUS_SUCCESS);
    assert_int_equal(aero_nt_allocation_count(scene.rig.nt), allocations);
}

/* ---- */

static void test_dump_at_high_level_moves_data(void **state)
{
    prepare(loopback(), NULL, (struct aero_sim_quirk_trigger){0}, true);
    expect_dump_works();
    assert_int_equal(ReferenceDumpFree(&dump), STATUS_SUCCESS);
    assert_true(reference_scene_holds_nothing(&scene));
}

/* With requests in flight, of which the device must write to none once the dump has begun. */
static void test_dump_takes_a_running_device_over(void **state)
{
    static uint8_t memory[REFERENCE_SCENE_REQUESTS * 2 * REFERENCE_SCENE_BYTES - 2 * BYTES];

    prepare(&reference_scene_keeper, NULL, (struct aero_sim_quirk_trigger){0}, true);
    assert_int_equal(reference_scene_start(&scene), STATUS_SUCCESS);
    for (uint32_t request = 0; request < 20; request++)
        assert_int_equal(reference_scene_submit(&scene, 0, request), STATUS_SUCCESS);
    memcpy(memory, scene.buffer, sizeof memory);
    assert_true(reference_scene_settle(device()));
    reference_scene_mood(KEEPER_SERVES);
    expect_dump_works();
    assert_memory_equal(memory, scene.buffer, sizeof memory);
    assert_true(reference_scene_are_out(&scene, 0, 20));
    assert_int_equal(ReferenceStop(&scene.driver), STATUS_SUCCESS);
    assert_true(reference_scene_are_back(&scene, 0, 20, STATUS_CANCELLED));
    assert_int_equal(ReferenceDumpFree(&dump), STATUS_SUCCESS);
}

static void test_dump_of_a_device_that_doesnt_reset_goes_no_further(void **state)
{
    struct aero_nt_counters counters;
    NTSTATUS started, moved;

    prepare(&reference_scene_keeper, "reset-never-completes",
            (struct aero_sim_quirk_trigger){.after = 1, .times = 1, .value = 0x0F}, false);
    assert_int_equal(reference_scene_start(&scene), STATUS_SUCCESS);
    crash();
    started = ReferenceDumpStart(&dump);
    moved = transfer(1, 1);
    uncrash();
    assert_int_equal(started, STATUS_IO_TIMEOUT);
    assert_int_equal(moved, STATUS_DEVICE_NOT_READY);
    aero_nt_counters(scene.rig.nt, &counters);
    assert_true(counters.stalled_ns_raised <= UINT64_C(10000000));
    assert_int_equal(aero_sim_bar_read(device(), DEVICE_STATUS, 1), 0x0F);
    assert_int_equal(ReferenceDumpFree(&dump), STATUS_SUCCESS); /* its ring was never given away */
}

static void test_dump_of_a_silent_device_ends_in_time_and_keeps_its_memory(void **state)
{
    struct aero_nt_counters counters;
    NTSTATUS started, moved, after;

    prepare(&reference_scene_keeper, NULL, (struct aero_sim_quirk_trigger){0}, false);
    crash();
    started = ReferenceDumpStart(&dump);
    moved = transfer(1, 50);
    after = transfer(2, 50);
    uncrash();
    assert_int_equal(started, STATUS_SUCCESS);
    assert_int_equal(moved, STATUS_IO_TIMEOUT);
    assert_int_equal(after, STATUS_DEVICE_NOT_READY);
    aero_nt_counters(scene.rig.nt, &counters);
    assert_true(counters.stalled_ns_raised >= UINT64_C(50000000));
    assert_true(counters.stalled_ns_raised <= UINT64_C(51000000));
    assert_true(counters.stalled_ns_longest <= 50000);
    assert_int_equal(counters.delays, 0);
    assert_int_equal(ReferenceDumpFree(&dump), STATUS_IO_TIMEOUT);
    assert_int_equal(ReferenceDumpStop(&dump), STATUS_SUCCESS);
    assert_int_equal(ReferenceDumpFree(&dump), STATUS_SUCCESS);
    assert_true(reference_scene_holds_nothing(&scene));
}

static void test_dump_of_a_device_that_goes_ends_at_once(void **state)
{
    struct aero_nt_counters counters;
    NTSTATUS started, moved;

    prepare(&reference_scene_keeper, "surprise-removal-all-ones",
            (struct aero_sim_quirk_trigger){.times = 1, .value = DOORBELL}, false);
    crash();
    started = ReferenceDumpStart(&dump);
    moved = transfer(1, PATIENCE_MS);
    uncrash();
    assert_int_equal(started, STATUS_SUCCESS);
    assert_int_equal(moved, STATUS_DEVICE_NOT_CONNECTED);
    aero_nt_counters(scene.rig.nt, &counters);
    assert_true(counters.stalled_ns_raised <= UINT64_C(2000000));
    assert_int_equal(ReferenceDumpStop(&dump), STATUS_SUCCESS);
    assert_int_equal(ReferenceDumpFree(&dump), STATUS_SUCCESS);
}

static void test_dump_of_a_device_that_fails_says_so_and_starts_again(void **state)
{
    NTSTATUS started, moved;

    prepare(&reference_scene_keeper, NULL, (struct aero_sim_quirk_trigger){0}, true);
    crash();
    started = ReferenceDumpStart(&dump);
    reference_scene_mood(KEEPER_FAILS);
    moved = transfer(1, PATIENCE_MS);
    uncrash();
    assert_int_equal(started, STATUS_SUCCESS);
    assert_int_equal(moved, STATUS_DEVICE_NOT_READY);
    assert_true(reference_scene_settle(device()));
    reference_scene_mood(KEEPER_SERVES);
    expect_dump_works();
    assert_int_equal(ReferenceDumpFree(&dump), STATUS_SUCCESS);
}

static void test_dump_poisoned_by_the_device_says_so(void **state)
{
    NTSTATUS started, moved;

    prepare(loopback(), "used-id-out-of-range", (struct aero_sim_quirk_trigger){.times = 1, .value = 0x10000},
            true);
    crash();
    started = ReferenceDumpStart(&dump);
    moved = transfer(1, PATIENCE_MS);
    uncrash();
    assert_int_equal(started, STATUS_SUCCESS);
    assert_int_equal(moved, STATUS_DEVICE_PROTOCOL_ERROR);
    expect_dump_works();
    assert_int_equal(ReferenceDumpFree(&dump), STATUS_SUCCESS);
}

static void test_dump_with_too_little_memory_for_the_queue_is_refused(void **state)
{
    NTSTATUS started;

    assert_true(reference_scene_create(&scene, loopback(), NULL));
    assert_int_equal(aero_sim_device_set_queue_size(device(), 0, 64), AERO_SIM_OK);
    assert_true(reference_scene_power_on(&scene));
    assert_int_equal(ReferenceDumpPrepare(&dump, &scene.resources, 0, 3), STATUS_INVALID_PARAMETER);
    assert_int_equal(ReferenceDumpPrepare(&dump, &scene.resources, 0, 32), STATUS_SUCCESS);
    crash();
    started = ReferenceDumpStart(&dump);
    uncrash();
    assert_int_equal(started, STATUS_NOT_SUPPORTED);
    assert_int_equal(ReferenceDumpFree(&dump), STATUS_SUCCESS);
    assert_true(reference_scene_holds_nothing(&scene));
}

static void test_dump_prepared_without_an_allocation_gives_everything_back(void **state)
{
    uint32_t n;

    assert_true(reference_scene_create(&scene, loopback(), NULL));
    assert_true(reference_scene_power_on(&scene));
    for (n = 0;; n++) {
        NTSTATUS status;

        aero_nt_fail_allocation_after(scene.rig.nt, n);
        status = ReferenceDumpPrepare(&dump, &scene.resources, 0, 256);
        aero_nt_fail_allocation_never(scene.rig.nt);
        if (NT_SUCCESS(status))
            break;
        assert_int_equal(status, STATUS_INSUFFICIENT_RESOURCES);
        assert_true(reference_scene_holds_nothing(&scene));
    }
    assert_int_equal(n, 3);
    assert_int_equal(ReferenceDumpFree(&dump), STATUS_SUCCESS);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_dump, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_dump_at_high_level_moves_data),
        TEST(test_dump_takes_a_running_device_over),
        TEST(test_dump_of_a_device_that_doesnt_reset_goes_no_further),
        TEST(test_dump_of_a_silent_device_ends_in_time_and_keeps_its_memory),
        TEST(test_dump_of_a_device_that_goes_ends_at_once),
        TEST(test_dump_of_a_device_that_fails_says_so_and_starts_again),
        TEST(test_dump_poisoned_by_the_device_says_so),
        TEST(test_dump_with_too_little_memory_for_the_queue_is_refused),
        TEST(test_dump_prepared_without_an_allocation_gives_everything_back),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests_name("reference_dump", tests, NULL, NULL);
}
