/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The real transport and split ring on the NT stand-in against a simulated device with a worker thread:
 * bring-up, data, interrupts, and the alarms. The referee is on, and a machine ends without a breach unless
 * the test breaks a rule on purpose. Device quirks: test_end_to_end_quirks.c; disks: test_end_to_end_blk.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "nt_scene.h"
#include "test_program.h"

#define FOUR_GIB UINT64_C(0x100000000)

static struct nt_scene scene;
static NT_DRIVER second; /* of device 1, where there is one */
static uint32_t breaches_expected;

static int set_up(void **state)
{
    *state = NULL;
    memset(&scene, 0, sizeof scene);
    memset(&second, 0, sizeof second);
    breaches_expected = 0;
    return 0;
}

static int tear_down(void **state)
{
    if (scene.rig.entered)
        NtDriverStop(&second);
    return nt_scene_close(&scene) == breaches_expected ? 0 : -1;
}

static const struct aero_sim_model *loopback(void)
{
    return aero_sim_model_find("loopback");
}

static void expect_no_leftovers(void)
{
    assert_int_equal(NtDriverStop(&scene.driver), STATUS_SUCCESS);
    assert_int_equal(aero_nt_live_count(scene.rig.nt), 1); /* the scene's buffer */
    assert_int_equal(aero_nt_breach_count(scene.rig.nt), 0);
    assert_int_equal(atomic_load(&scene.rig.device_breaches), 0);
}

/* ---- Bring-up ---- */

static void test_bring_up_loopback_negotiates_and_reads_config(void **state)
{
    AERO_VIRTIO_PCI_MODERN_DEVICE *device = &scene.driver.Transport;
    ULONG magic;

    assert_true(nt_scene_open(&scene, loopback(), 4, 8));
    assert_true(scene.driver.Features == (VIRTIO_F_VERSION_1 | VIRTIO_F_RING_INDIRECT_DESC));
    assert_int_equal(AeroVirtioGetNumQueues(device), 4);
    assert_int_equal(AeroVirtioGetStatus(device), 0x0F);
    assert_int_equal(AeroVirtioReadDeviceConfig(device, 0, &magic, sizeof magic), STATUS_SUCCESS);
    assert_int_equal(magic, 0x504F4F4C);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(scene.driver.Queues[i].Size, 256);
    assert_int_equal(NtDriverReset(&scene.driver), STATUS_SUCCESS);
    assert_int_equal(AeroVirtioGetStatus(device), 0);
    expect_no_leftovers();
}

/* Each resource that runs out is a status, and all that was begun is undone. */
static void test_bring_up_each_allocation_failing_unwinds(void **state)
{
    uint32_t failed = 0;
    NTSTATUS status;

    assert_true(nt_scene_create(&scene, loopback(), NULL));
    assert_true(nt_scene_power_on(&scene, 0));
    scene.config.QueueCount = 4;
    do {
        aero_nt_fail_allocation_after(scene.rig.nt, failed);
        status = nt_scene_start(&scene);
        aero_nt_fail_allocation_never(scene.rig.nt);
        if (!NT_SUCCESS(status))
            assert_int_equal(status, STATUS_INSUFFICIENT_RESOURCES);
        assert_int_equal(NtDriverStop(&scene.driver), STATUS_SUCCESS);
        assert_int_equal(aero_nt_live_count(scene.rig.nt), 1);
    } while (!NT_SUCCESS(status) && ++failed < 100);
    assert_int_equal(failed, 1 + 2 * 4 + 1); /* the mapping, ring and private memory a queue, the interrupt */
}

/* ---- Data ---- */

/* Pieces of both directions, cut differently, one behind the other in the buffer with a gap between. */
static void exchange_pieces(void)
{
    static const uint32_t out[] = {1, 1000, 0, 23}, in[] = {500, 523, 1};
    AERO_VIRTIO_SEGMENT segments[7];
    uint64_t at = scene.buffer_gpa + 3;

    memset(segments, 0, sizeof segments);
    for (uint32_t i = 0; i < 0x1000; i++)
        scene.buffer[i] = (uint8_t)(i * 13 + i / 256);
    memset(scene.buffer + 0x1000, 0xEE, 0x1000);
    for (uint32_t i = 0; i < 4; at += out[i++] + 5)
        segments[i] = (AERO_VIRTIO_SEGMENT){at, out[i], 0};
    at = scene.buffer_gpa + 0x1007;
    for (uint32_t i = 0; i < 3; at += in[i++])
        segments[4 + i] = (AERO_VIRTIO_SEGMENT){at, in[i], 0};
    assert_int_equal(NtDriverSubmit(&scene.driver, 0, segments, 4, 3, (PVOID)7), STATUS_SUCCESS);
    assert_true(nt_scene_await(&scene, 1));
    assert_int_equal(scene.cookies[7].length, 1024);
    assert_memory_equal(scene.buffer + 0x1007, scene.buffer + 3, 1);
    assert_memory_equal(scene.buffer + 0x1008, scene.buffer + 9, 1000);
    assert_memory_equal(scene.buffer + 0x1008 + 1000, scene.buffer + 9 + 1000 + 5 + 5, 23);
    assert_int_equal(scene.buffer[0x1006], 0xEE);
    assert_int_equal(scene.buffer[0x1007 + 1024], 0xEE);
}

static void test_data_direct_chain_echoes(void **state)
{
    assert_true(nt_scene_open(&scene, loopback(), 1, 0));
    exchange_pieces();
    assert_int_equal(AeroVirtioSplitRingFreeCount(&scene.driver.Queues[0].Ring), 256);
    expect_no_leftovers();
}

static void test_data_indirect_chain_echoes(void **state)
{
    assert_true(nt_scene_open(&scene, loopback(), 1, 8));
    exchange_pieces();
    expect_no_leftovers();
}

static void dma_04_rings_and_buffers_above_4_gib_echo(void **state)
{
    assert_true(nt_scene_create(&scene, loopback(), NULL));
    assert_true(nt_scene_power_on(&scene, FOUR_GIB));
    scene.config.LowestPa = FOUR_GIB;
    scene.config.IndirectEntries = 8;
    assert_int_equal(nt_scene_start(&scene), STATUS_SUCCESS);
    assert_true(scene.buffer_gpa >= FOUR_GIB);
    assert_true(scene.driver.Queues[0].Ring.DescPa >= FOUR_GIB &&
                scene.driver.Queues[0].Ring.UsedPa >= FOUR_GIB);
    exchange_pieces();
    expect_no_leftovers();
}

/* Nothing is reaped behind the test's back: the queue is quiet, and the test drains it. */
static bool drain_until(uint32_t completed)
{
    uint64_t end = sim_os_now_ns() + NT_SCENE_WAIT_MS * UINT64_C(1000000);

    while (scene.completed < completed && sim_os_now_ns() < end) {
        NtDriverDrain(&scene.driver, 0);
        sim_os_yield();
    }
    return scene.completed >= completed;
}

static void test_data_full_ring_refuses_and_goes_on_after_a_completion(void **state)
{
    assert_true(nt_scene_create(&scene, loopback(), NULL));
    assert_int_equal(aero_sim_device_set_queue_size(scene.rig.devices[0].device, 0, 4), AERO_SIM_OK);
    assert_true(nt_scene_power_on(&scene, 0));
    assert_int_equal(nt_scene_start(&scene), STATUS_SUCCESS);
    NtDriverSetMode(&scene.driver, 0, NtDriverQuiet);
    for (uint32_t i = 0; i < 2; i++)
        assert_int_equal(nt_scene_submit(&scene, 0, i, 32), STATUS_SUCCESS);
    assert_int_equal(nt_scene_submit(&scene, 0, 2, 32), STATUS_INSUFFICIENT_RESOURCES);
    assert_true(drain_until(1));
    assert_int_equal(nt_scene_submit(&scene, 0, 2, 32), STATUS_SUCCESS);
    assert_true(drain_until(3));
    for (uint32_t i = 0; i < 3; i++)
        assert_true(nt_scene_echoed(&scene, i, 32));
    expect_no_leftovers();
}

/* ---- Interrupts ---- */

static void test_interrupt_one_chain_runs_isr_dpc_and_event_once(void **state)
{
    struct aero_nt_counters counters;

    assert_true(nt_scene_open(&scene, loopback(), 4, 0));
    assert_int_equal(nt_scene_submit(&scene, 2, 5, 64), STATUS_SUCCESS);
    assert_int_equal(NtDriverWait(&scene.driver, NT_SCENE_WAIT_MS), STATUS_SUCCESS);
    assert_true(nt_scene_echoed(&scene, 5, 64));
    assert_int_equal(scene.driver.Claimed, 1);
    assert_int_equal(scene.driver.Refused, 0);
    assert_int_equal(scene.driver.Dpcs, 1);
    assert_int_equal(NtDriverWait(&scene.driver, 0), STATUS_TIMEOUT);
    aero_nt_counters(scene.rig.nt, &counters);
    assert_int_equal(counters.interrupts, 1);
    assert_int_equal(counters.interrupts_unclaimed, 0);
    assert_int_equal(nt_rig_counters(&scene.rig, 0).doorbells, 1);
    assert_int_equal(nt_rig_counters(&scene.rig, 0).interrupts, 1);
    assert_false(aero_sim_device_intx_level(scene.rig.devices[0].device));
    expect_no_leftovers();
}

static void int_05_suppressed_queue_completes_without_interrupt(void **state)
{
    assert_true(nt_scene_open(&scene, loopback(), 1, 0));
    NtDriverSetMode(&scene.driver, 0, NtDriverQuiet);
    for (uint32_t i = 0; i < 50; i++)
        assert_int_equal(nt_scene_submit(&scene, 0, i, 16), STATUS_SUCCESS);
    assert_true(drain_until(50));
    assert_true(nt_scene_all_back(&scene, 0, 50));
    assert_int_equal(nt_rig_counters(&scene.rig, 0).interrupts, 0);
    NtDriverSetMode(&scene.driver, 0, NtDriverModerate);
    for (uint32_t i = 50; i < 100; i++)
        assert_int_equal(nt_scene_submit(&scene, 0, i, 16), STATUS_SUCCESS);
    assert_true(nt_scene_await(&scene, 100));
    assert_true(nt_scene_all_back(&scene, 0, 100));
    assert_true(scene.driver.Claimed >= 1);
    expect_no_leftovers();
}

/* What was completed in silence is found by who asks for interrupts again. */
static void int_05_rearm_finds_what_came_in_silence(void **state)
{
    uint64_t end = sim_os_now_ns() + NT_SCENE_WAIT_MS * UINT64_C(1000000);

    assert_true(nt_scene_open(&scene, loopback(), 1, 0));
    NtDriverSetMode(&scene.driver, 0, NtDriverQuiet);
    assert_int_equal(nt_scene_submit(&scene, 0, 0, 16), STATUS_SUCCESS);
    while (nt_rig_counters(&scene.rig, 0).chains == 0 && sim_os_now_ns() < end)
        sim_os_yield();
    NtDriverSetMode(&scene.driver, 0, NtDriverPlain);
    assert_true(nt_scene_await(&scene, 1)); /* by the look behind Rearm, or by an interrupt after it */
    expect_no_leftovers();
}

static void int_09_shared_line_the_other_device_refuses(void **state)
{
    NT_DRIVER_CONFIG quiet = {.QueueCount = 1};
    struct aero_nt_counters counters;

    assert_true(nt_scene_create(&scene, loopback(), NULL));
    assert_true(nt_rig_add(&scene.rig, loopback(), NULL));
    assert_true(nt_scene_power_on(&scene, 0));
    /* The bystander connects first, so that it is asked first. */
    assert_int_equal(NtDriverStart(&second, &scene.rig.devices[1].resources, &quiet), STATUS_SUCCESS);
    assert_int_equal(nt_scene_start(&scene), STATUS_SUCCESS);
    for (uint32_t i = 0; i < 20; i++) {
        assert_int_equal(nt_scene_submit(&scene, 0, i, 16), STATUS_SUCCESS);
        assert_true(nt_scene_await(&scene, i + 1));
    }
    aero_nt_counters(scene.rig.nt, &counters);
    assert_true(scene.driver.Claimed >= 20 && scene.driver.Refused == 0);
    assert_int_equal(second.Claimed, 0);
    assert_int_equal(second.Dpcs, 0);
    assert_int_equal(second.Refused, scene.driver.Claimed);
    assert_int_equal(counters.interrupts_unclaimed, 0);
    assert_int_equal(NtDriverStop(&second), STATUS_SUCCESS);
    expect_no_leftovers();
}

/* ---- A device that changes its configuration with each chain ---- */

struct changer {
    struct aero_sim_device *device;
    uint32_t value;
};

static enum aero_sim_status changer_open(void *state, struct aero_sim_device *device,
                                         const struct aero_sim_backend *backend, char *error,
                                         size_t error_bytes)
{
    ((struct changer *)state)->device = device;
    return AERO_SIM_OK;
}

static uint32_t changer_serve(void *state, const struct aero_sim_chain *chain)
{
    struct changer *changer = state;

    changer->value += 0x01010101;
    aero_sim_config_set(changer->device, 0, &changer->value, sizeof changer->value);
    return 0;
}

static const struct aero_sim_queue_spec changer_queue = {
    .name = "changeq", .size = 8, .serve = changer_serve};
static const struct aero_sim_model changer_model = {
    .name = "changer",
    .summary = "each chain changes the configuration",
    .pci_device_id = 0x107E,
    .config_bytes = 4,
    .state_bytes = sizeof(struct changer),
    .queue_count = 1,
    .queues = &changer_queue,
    .open = changer_open,
};

static void int_06_config_change_reaches_the_driver(void **state)
{
    ULONG value;

    assert_true(nt_scene_open(&scene, &changer_model, 1, 0));
    for (uint32_t i = 1; i <= 20; i++) {
        assert_int_equal(nt_scene_submit(&scene, 0, i, 16), STATUS_SUCCESS);
        assert_true(nt_scene_await_counter(&scene, &scene.driver.ConfigCauses, (LONG)i));
        assert_true(nt_scene_await(&scene, i));
        assert_int_equal(AeroVirtioReadDeviceConfig(&scene.driver.Transport, 0, &value, sizeof value),
                         STATUS_SUCCESS);
        assert_int_equal(value, 0x01010101 * i);
    }
    assert_int_equal(scene.driver.NeedsReset, 0);
    expect_no_leftovers();
}

/* ---- A driver that breaks its own ring, as scribbled memory would ---- */

static uint16_t *avail_ring(void)
{
    return (uint16_t *)(void *)((uint8_t *)scene.driver.Queues[0].Shared +
                                scene.driver.Queues[0].Layout.AvailOffset);
}

static void *descriptor(uint32_t index)
{
    return (uint8_t *)scene.driver.Queues[0].Shared + scene.driver.Queues[0].Layout.DescOffset + 16 * index;
}

/* Adds cookie 1 without publishing it; the caller spoils it, and rings by submitting cookie 2 behind it. */
static void add_unpublished(void)
{
    AERO_VIRTIO_SEGMENT segments[2] = {{scene.buffer_gpa, 16, 0}, {scene.buffer_gpa + 64, 16, 0}};

    assert_int_equal(nt_scene_submit(&scene, 0, 0, 16), STATUS_SUCCESS);
    assert_true(nt_scene_await(&scene, 1));
    assert_int_equal(NtDriverAdd(&scene.driver, 0, segments, 1, 1, (PVOID)1), STATUS_SUCCESS);
}

static void expect_needs_reset_and_healing(const char *clause)
{
    assert_int_equal(nt_scene_submit(&scene, 0, 2, 16), STATUS_SUCCESS);
    assert_true(nt_scene_await_counter(&scene, &scene.driver.NeedsReset, 1));
    assert_int_equal(AeroVirtioGetStatus(&scene.driver.Transport), 0x0F | VIRTIO_STATUS_DEVICE_NEEDS_RESET);
    assert_int_equal(atomic_load(&scene.rig.device_breaches), 1);
    assert_string_equal(atomic_load(&scene.rig.device_clause), clause);
    assert_int_equal(scene.completed, 1);
    assert_int_equal(NtDriverInFlight(&scene.driver, 0), 2);
    assert_int_equal(NtDriverRecover(&scene.driver), STATUS_SUCCESS);
    assert_int_equal(scene.cancelled, 2);
    assert_true(nt_scene_all_back(&scene, 0, 3));
    assert_int_equal(nt_scene_submit(&scene, 0, 3, 16), STATUS_SUCCESS);
    assert_true(nt_scene_await(&scene, 2));
    assert_true(nt_scene_echoed(&scene, 3, 16));
    assert_int_equal(atomic_load(&scene.rig.device_breaches), 1);
}

static void com_20_available_entry_out_of_range_ends_in_needs_reset_and_heals(void **state)
{
    assert_true(nt_scene_open(&scene, loopback(), 1, 0));
    add_unpublished();
    AERO_VIRTIO_SHARED_WRITE16(&avail_ring()[2 + 1], 256);
    expect_needs_reset_and_healing("RNG-8");
}

static void com_20_looping_chain_ends_in_needs_reset_and_heals(void **state)
{
    assert_true(nt_scene_open(&scene, loopback(), 1, 0));
    add_unpublished();
    /* Descriptors 0 and 1, recycled, are the chain: NEXT and its index into the last word of both. */
    memcpy((uint8_t *)descriptor(1) + 12,
           &(uint32_t){0x0000u << 16 | AERO_VIRTIO_DESC_NEXT | AERO_VIRTIO_DESC_WRITE}, 4);
    memcpy((uint8_t *)descriptor(0) + 12,
           &(uint32_t){0x0001u << 16 | AERO_VIRTIO_DESC_NEXT | AERO_VIRTIO_DESC_WRITE}, 4);
    expect_needs_reset_and_healing("RNG-8");
}

static void com_20_buffer_outside_memory_ends_in_needs_reset_and_heals(void **state)
{
    assert_true(nt_scene_open(&scene, loopback(), 1, 8));
    add_unpublished();
    memcpy(descriptor(0), &(uint64_t){UINT64_C(0xDEAD00000000)}, 8); /* its indirect table */
    expect_needs_reset_and_healing("DMA-2");
}

/* ---- The alarms: a rule that is broken is caught ---- */

static bool broke(const char *rule, uint32_t index)
{
    const struct aero_nt_breach *breach = aero_nt_breach_at(scene.rig.nt, index);

    return breach != NULL && strcmp(breach->rule, rule) == 0;
}

static void open_quietly(void)
{
    struct nt_rig_options options = nt_rig_options_default();

    options.quiet = true;
    assert_true(nt_scene_create(&scene, loopback(), &options));
    assert_true(nt_scene_power_on(&scene, 0));
}

static void test_alarm_doorbell_after_reset_is_the_referees(void **state)
{
    open_quietly();
    assert_int_equal(nt_scene_start(&scene), STATUS_SUCCESS);
    assert_int_equal(NtDriverReset(&scene.driver), STATUS_SUCCESS);
    assert_int_equal(aero_nt_breach_count(scene.rig.nt), 0);
    assert_int_equal(AeroVirtioNotifyQueue(&scene.driver.Transport, 0, 0), STATUS_SUCCESS);
    assert_int_equal(aero_nt_breach_count(scene.rig.nt), 1);
    assert_true(broke("COM-19", 0));
    breaches_expected = 1;
}

static void test_alarm_driver_ok_unproved_is_the_referees(void **state)
{
    open_quietly();
    assert_int_equal(nt_scene_start(&scene), STATUS_SUCCESS);
    assert_int_equal(AeroVirtioResetDevice(&scene.driver.Transport), STATUS_SUCCESS);
    AeroVirtioSetStatus(&scene.driver.Transport,
                        0x0F); /* four steps at once, and no look whether FEATURES_OK stuck */
    breaches_expected = aero_nt_breach_count(scene.rig.nt);
    assert_true(breaches_expected >= 1);
    assert_true(broke("COM-19", 0) || broke("COM-10", 0));
}

static void test_alarm_wait_with_a_lock_held_is_the_kernels(void **state)
{
    KIRQL irql;

    open_quietly();
    assert_int_equal(nt_scene_start(&scene), STATUS_SUCCESS);
    KeAcquireSpinLock(&scene.driver.Queues[0].Lock, &irql);
    NtDriverWait(&scene.driver, 1);
    KeReleaseSpinLock(&scene.driver.Queues[0].Lock, irql);
    breaches_expected = aero_nt_breach_count(scene.rig.nt);
    assert_true(breaches_expected >= 1);
    assert_true(broke("IRQL", 0) || broke("SPINLOCK-HELD", 0));
}

static void test_alarm_ring_memory_not_freed_is_found_at_the_end(void **state)
{
    open_quietly();
    assert_int_equal(nt_scene_start(&scene), STATUS_SUCCESS);
    assert_int_equal(NtDriverReset(&scene.driver), STATUS_SUCCESS);
    scene.driver.Bar0 = NULL; /* the driver forgets all it has */
    breaches_expected = 4;    /* the mapping, the ring, its private memory, the interrupt */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_bring_up_loopback_negotiates_and_reads_config),
        TEST(test_bring_up_each_allocation_failing_unwinds),
        TEST(test_data_direct_chain_echoes),
        TEST(test_data_indirect_chain_echoes),
        TEST(dma_04_rings_and_buffers_above_4_gib_echo),
        TEST(test_data_full_ring_refuses_and_goes_on_after_a_completion),
        TEST(test_interrupt_one_chain_runs_isr_dpc_and_event_once),
        TEST(int_05_suppressed_queue_completes_without_interrupt),
        TEST(int_05_rearm_finds_what_came_in_silence),
        TEST(int_09_shared_line_the_other_device_refuses),
        TEST(int_06_config_change_reaches_the_driver),
        TEST(com_20_available_entry_out_of_range_ends_in_needs_reset_and_heals),
        TEST(com_20_looping_chain_ends_in_needs_reset_and_heals),
        TEST(com_20_buffer_outside_memory_ends_in_needs_reset_and_heals),
        TEST(test_alarm_doorbell_after_reset_is_the_referees),
        TEST(test_alarm_driver_ok_unproved_is_the_referees),
        TEST(test_alarm_wait_with_a_lock_held_is_the_kernels),
        TEST(test_alarm_ring_memory_not_freed_is_found_at_the_end),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests_name("end to end", tests, NULL, NULL);
}
