/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The transport over the simulator's own devices, from InitFromBar0 to a served chain and back to reset: at
 * each IRQL that Windows' drivers use, and with the devices' quirks. The referee watches every register
 * access.
 */
#include "test_program.h"
#include "test_transport_rig.h"

static struct rig rig;

static int open_default(void **state)
{
    rig_open(&rig, &(struct rig_options){0});
    return 0;
}

static int open_quiet(void **state)
{
    rig_open(&rig, &(struct rig_options){.quiet = true});
    return 0;
}

static int close_rig(void **state)
{
    rig_close(&rig);
    return 0;
}

/* Negotiates, sets queue 0 up and says DRIVER_OK. */
static void bring_up(struct rig_ring *ring, USHORT indirect)
{
    ULONGLONG negotiated;
    USHORT size, notify_off;

    assert_int_equal(AeroVirtioNegotiateFeatures(&rig.transport, 0, VIRTIO_F_RING_INDIRECT_DESC, &negotiated),
                     STATUS_SUCCESS);
    assert_true(negotiated == (VIRTIO_F_VERSION_1 | VIRTIO_F_RING_INDIRECT_DESC));
    assert_int_equal(AeroVirtioQueryQueue(&rig.transport, 0, &size, &notify_off), STATUS_SUCCESS);
    rig_ring_open(ring, size, indirect);
    assert_int_equal(
        AeroVirtioSetupQueue(&rig.transport, 0, ring->ring.DescPa, ring->ring.AvailPa, ring->ring.UsedPa),
        STATUS_SUCCESS);
    AeroVirtioAddStatus(&rig.transport, VIRTIO_STATUS_DRIVER_OK);
    assert_int_equal(AeroVirtioGetStatus(&rig.transport), 0x0F);
}

static void com_19_bring_up_serves_a_chain_and_resets(void **state)
{
    struct rig_ring ring;
    PHYSICAL_ADDRESS any;
    AERO_VIRTIO_SEGMENT segments[2];
    uint8_t *buffer;
    void *cookie;
    ULONG length;

    any.QuadPart = -1;
    buffer = MmAllocateContiguousMemory(4096, any);
    assert_non_null(buffer);
    bring_up(&ring, 4);
    memset(buffer, 0, 4096);
    memcpy(buffer, "How goes it?", 13);
    segments[0] = (AERO_VIRTIO_SEGMENT){(ULONGLONG)MmGetPhysicalAddress(buffer).QuadPart, 13, 0};
    segments[1] = (AERO_VIRTIO_SEGMENT){(ULONGLONG)MmGetPhysicalAddress(buffer).QuadPart + 2048, 100, 0};
    assert_int_equal(AeroVirtioSplitRingAdd(&ring.ring, segments, 1, 1, &ring), STATUS_SUCCESS);
    AeroVirtioSplitRingPublish(&ring.ring);
    assert_true(AeroVirtioSplitRingNeedsKick(&ring.ring));
    assert_int_equal(AeroVirtioNotifyQueue(&rig.transport, 0, 0), STATUS_SUCCESS);
    rig_step(&rig);
    assert_int_equal(AeroVirtioReadIsr(&rig.transport), VIRTIO_PCI_ISR_QUEUE);
    assert_int_equal(AeroVirtioReadIsr(&rig.transport), 0);
    assert_int_equal(AeroVirtioSplitRingReap(&ring.ring, &cookie, &length), STATUS_SUCCESS);
    assert_ptr_equal(cookie, &ring);
    assert_int_equal(length, 13);
    assert_memory_equal(buffer + 2048, "How goes it?", 13);
    assert_int_equal(AeroVirtioResetDevice(&rig.transport), STATUS_SUCCESS);
    assert_false(AeroVirtioSplitRingTakeBack(&ring.ring, &cookie));
    rig_ring_close(&ring);
    MmFreeContiguousMemory(buffer);
}

/* All queues of the device, negotiated twice over, without asking anew how large they are. */
static void com_8_bring_up_after_reset_works_again(void **state)
{
    struct rig_ring rings[4];
    ULONGLONG negotiated;
    USHORT size, notify_off;

    assert_int_equal(AeroVirtioGetNumQueues(&rig.transport), 4);
    for (USHORT round = 0; round < 2; round++) {
        assert_int_equal(
            AeroVirtioNegotiateFeatures(&rig.transport, VIRTIO_F_RING_INDIRECT_DESC, 0, &negotiated),
            STATUS_SUCCESS);
        for (USHORT queue = 0; queue < 4; queue++) {
            if (round == 0) {
                assert_int_equal(AeroVirtioQueryQueue(&rig.transport, queue, &size, &notify_off),
                                 STATUS_SUCCESS);
                assert_int_equal(size, 256);
                assert_int_equal(notify_off, queue);
                rig_ring_open(&rings[queue], size, 0);
            }
            assert_int_equal(AeroVirtioSetupQueue(&rig.transport, queue, rings[queue].ring.DescPa,
                                                  rings[queue].ring.AvailPa, rings[queue].ring.UsedPa),
                             STATUS_SUCCESS);
        }
        AeroVirtioAddStatus(&rig.transport, VIRTIO_STATUS_DRIVER_OK);
    }
    assert_int_equal(AeroVirtioQueryQueue(&rig.transport, 4, &size, &notify_off), STATUS_NOT_FOUND);
    assert_int_equal(size, 0);
    assert_int_equal(AeroVirtioSetupQueue(&rig.transport, 4, 0x1000, 0x2000, 0x3000), STATUS_NOT_FOUND);
    assert_int_equal(AeroVirtioResetDevice(&rig.transport), STATUS_SUCCESS);
    for (USHORT queue = 0; queue < 4; queue++)
        rig_ring_close(&rings[queue]);
}

static void com_21_config_reads_the_same_by_any_width(void **state)
{
    uint8_t by_byte[16], by_word[16], whole[16];
    ULONGLONG pattern;

    for (ULONG i = 0; i < 16; i++)
        assert_int_equal(AeroVirtioReadDeviceConfig(&rig.transport, i, by_byte + i, 1), STATUS_SUCCESS);
    for (ULONG i = 0; i < 16; i += 2)
        assert_int_equal(AeroVirtioReadDeviceConfig(&rig.transport, i, by_word + i, 2), STATUS_SUCCESS);
    assert_int_equal(AeroVirtioReadDeviceConfig(&rig.transport, 0, whole, 16), STATUS_SUCCESS);
    assert_int_equal(AeroVirtioReadDeviceConfig(&rig.transport, 8, &pattern, 8), STATUS_SUCCESS);
    assert_memory_equal(by_byte, by_word, 16);
    assert_memory_equal(by_byte, whole, 16);
    assert_memory_equal(by_byte + 8, &pattern, 8);
    assert_memory_equal(by_byte, "LOOP", 4);
    assert_true(pattern == 0xF0E0D0C0B0A09080u);
    assert_int_equal(AeroVirtioWriteDeviceConfig(&rig.transport, 0, &pattern, 8), STATUS_SUCCESS);
}

/* ---- Init ---- */

static void bar_5_short_bar_is_refused_before_any_access(void **state)
{
    static const ULONG lengths[] = {0, 0x38, 0x1000, 0x3FFF};
    AERO_VIRTIO_PCI_MODERN_DEVICE transport, zero;
    struct aero_nt_counters before, after;

    memset(&zero, 0, sizeof zero);
    aero_nt_counters(rig.nt, &before);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        memset(&transport, 0xEE, sizeof transport);
        assert_int_equal(AeroVirtioPciModernInitFromBar0(&transport, rig.bar, lengths[i]),
                         STATUS_INVALID_PARAMETER);
        assert_memory_equal(&transport, &zero, sizeof transport);
    }
    memset(&transport, 0xEE, sizeof transport);
    assert_int_equal(AeroVirtioPciModernInitFromBar0(&transport, NULL, 0x4000), STATUS_INVALID_PARAMETER);
    assert_memory_equal(&transport, &zero, sizeof transport);
    assert_int_equal(AeroVirtioPciModernInitFromBar0(NULL, rig.bar, 0x4000), STATUS_INVALID_PARAMETER);
    assert_int_equal(AeroVirtioPciModernInitFromBar0(&transport, rig.bar, 0x10000), STATUS_SUCCESS);
    assert_int_equal(transport.NotifyOffMultiplier, 4);
    assert_int_equal((uintptr_t)transport.NotifyBase - (uintptr_t)rig.bar, 0x1000);
    assert_int_equal((uintptr_t)transport.IsrStatus - (uintptr_t)rig.bar, 0x2000);
    assert_int_equal((uintptr_t)transport.DeviceCfg - (uintptr_t)rig.bar, 0x3000);
    aero_nt_counters(rig.nt, &after);
    assert_int_equal(before.register_reads + before.register_writes,
                     after.register_reads + after.register_writes);
}

/* No device, one that was never initialised, and outputs that are NULL. */
static void test_functions_without_a_device_are_harmless_and_clear_their_outputs(void **state)
{
    AERO_VIRTIO_PCI_MODERN_DEVICE zeroed, *devices[] = {NULL, &zeroed, &rig.transport};
    struct aero_nt_counters before, after;

    memset(&zeroed, 0, sizeof zeroed);
    aero_nt_counters(rig.nt, &before);
    for (size_t i = 0; i < 3; i++) {
        AERO_VIRTIO_PCI_MODERN_DEVICE *device = devices[i];
        bool alive = device == &rig.transport;
        ULONGLONG negotiated = 77;
        USHORT size = 77, notify_off = 77;
        uint8_t buffer[4] = {1, 2, 3, 4};

        assert_int_equal(AeroVirtioNegotiateFeatures(device, 0, 0, NULL), STATUS_INVALID_PARAMETER);
        assert_int_equal(AeroVirtioQueryQueue(device, 0, NULL, &notify_off), STATUS_INVALID_PARAMETER);
        assert_int_equal(AeroVirtioQueryQueue(device, 0, &size, NULL), STATUS_INVALID_PARAMETER);
        assert_true(size == 0 && notify_off == 0);
        assert_int_equal(AeroVirtioReadDeviceConfig(device, 0, NULL, 4), STATUS_INVALID_PARAMETER);
        assert_int_equal(AeroVirtioReadDeviceConfig(device, 0, buffer, 0), STATUS_INVALID_PARAMETER);
        assert_int_equal(AeroVirtioWriteDeviceConfig(device, 0, NULL, 4), STATUS_INVALID_PARAMETER);
        assert_int_equal(AeroVirtioWriteDeviceConfig(device, 0, buffer, 0), STATUS_INVALID_PARAMETER);
        assert_int_equal(AeroVirtioSetupQueue(device, 0, 0, 0, 0), STATUS_INVALID_PARAMETER);
        if (alive)
            continue;
        size = notify_off = 77;
        assert_int_equal(AeroVirtioResetDevice(device), STATUS_INVALID_PARAMETER);
        assert_int_equal(AeroVirtioNegotiateFeatures(device, 0, 0, &negotiated), STATUS_INVALID_PARAMETER);
        assert_int_equal(AeroVirtioQueryQueue(device, 0, &size, &notify_off), STATUS_INVALID_PARAMETER);
        assert_int_equal(AeroVirtioSetupQueue(device, 0, 0x1000, 0x2000, 0x3000), STATUS_INVALID_PARAMETER);
        assert_int_equal(AeroVirtioNotifyQueue(device, 0, 0), STATUS_INVALID_PARAMETER);
        assert_int_equal(AeroVirtioReadDeviceConfig(device, 0, buffer, 4), STATUS_INVALID_PARAMETER);
        assert_int_equal(AeroVirtioWriteDeviceConfig(device, 0, buffer, 4), STATUS_INVALID_PARAMETER);
        assert_true(negotiated == 0 && size == 0 && notify_off == 0);
        assert_memory_equal(buffer, "\0\0\0\0", 4);
        assert_int_equal(AeroVirtioGetStatus(device), 0);
        AeroVirtioSetStatus(device, 1);
        AeroVirtioAddStatus(device, 1);
        AeroVirtioFailDevice(device);
        assert_true(AeroVirtioReadDeviceFeatures(device) == 0);
        AeroVirtioWriteDriverFeatures(device, 1);
        assert_int_equal(AeroVirtioGetNumQueues(device), 0);
        assert_int_equal(AeroVirtioReadIsr(device), 0);
        AeroVirtioCommonCfgUnlock(device, AeroVirtioCommonCfgLock(device));
    }
    aero_nt_counters(rig.nt, &after);
    assert_int_equal(before.register_reads + before.register_writes,
                     after.register_reads + after.register_writes);
}

/* ---- Quirks of the device ---- */

static void com_10_features_ok_refused_fails_the_device(void **state)
{
    ULONGLONG negotiated = 77;

    rig_open(&rig, &(struct rig_options){.quirk = "features-ok-refused"});
    assert_int_equal(AeroVirtioNegotiateFeatures(&rig.transport, 0, 0, &negotiated), STATUS_NOT_SUPPORTED);
    assert_true(negotiated == 0);
    assert_int_equal(AeroVirtioGetStatus(&rig.transport), 0x83);
    rig_close(&rig);
}

static void com_13_queue_enable_that_reads_0_is_an_error(void **state)
{
    ULONGLONG negotiated;
    USHORT size, notify_off;

    rig_open(&rig, &(struct rig_options){.quirk = "queue-enable-readback-zero", .trigger = {.value = 1}});
    assert_int_equal(AeroVirtioNegotiateFeatures(&rig.transport, 0, 0, &negotiated), STATUS_SUCCESS);
    for (USHORT queue = 0; queue < 2; queue++) {
        struct rig_ring ring;

        assert_int_equal(AeroVirtioQueryQueue(&rig.transport, queue, &size, &notify_off), STATUS_SUCCESS);
        rig_ring_open(&ring, size, 0);
        assert_int_equal(AeroVirtioSetupQueue(&rig.transport, queue, ring.ring.DescPa, ring.ring.AvailPa,
                                              ring.ring.UsedPa),
                         queue == 1 ? STATUS_IO_DEVICE_ERROR : STATUS_SUCCESS);
        if (queue == 1)
            assert_int_equal(AeroVirtioResetDevice(&rig.transport), STATUS_SUCCESS);
        rig_ring_close(&ring);
    }
    rig_close(&rig);
}

/* ---- IRQL ---- */

/* A reset that never completes, at that IRQL: what it costs, and that nothing comes after it. */
static void expect_stuck_reset(KIRQL irql, uint64_t delayed_ns, uint64_t stalled_ns)
{
    struct aero_nt_counters counters;
    ULONGLONG negotiated = 77;
    KIRQL old;

    rig_open(&rig, &(struct rig_options){.quirk = "reset-never-completes", .trigger = {.value = 0x0B}});
    KeRaiseIrql(irql, &old);
    assert_int_equal(AeroVirtioResetDevice(&rig.transport), STATUS_IO_TIMEOUT);
    aero_nt_counters(rig.nt, &counters);
    assert_int_equal(counters.delayed_ns, delayed_ns);
    assert_int_equal(counters.stalled_ns, stalled_ns);
    assert_in_range(counters.stalled_ns_longest, 0, 50000);
    assert_in_range(counters.register_reads + counters.register_writes, 2, 1000);
    assert_int_equal(AeroVirtioNegotiateFeatures(&rig.transport, 0, 0, &negotiated), STATUS_IO_TIMEOUT);
    assert_true(negotiated == 0);
    assert_int_equal(KeGetCurrentIrql(), irql);
    assert_int_equal(AeroVirtioGetStatus(&rig.transport), 0x0B);
    KeLowerIrql(old);
    rig_close(&rig);
}

static void com_18_stuck_reset_at_passive_level_delays_for_a_second(void **state)
{
    expect_stuck_reset(PASSIVE_LEVEL, 1000000000, 0);
}

static void com_18_stuck_reset_at_apc_level_delays_for_a_second(void **state)
{
    expect_stuck_reset(APC_LEVEL, 1000000000, 0);
}

static void com_18_stuck_reset_at_dispatch_level_stalls_for_10_ms(void **state)
{
    expect_stuck_reset(DISPATCH_LEVEL, 0, 10000000);
}

static void com_18_stuck_reset_at_dirql_stalls_for_10_ms(void **state)
{
    expect_stuck_reset(5, 0, 10000000);
}

static void com_18_stuck_reset_at_high_level_stalls_for_10_ms(void **state)
{
    expect_stuck_reset(HIGH_LEVEL, 0, 10000000);
}

/* The whole way at one IRQL; memory is allocated at PASSIVE_LEVEL, as StorPort's callers do. */
static void bring_up_at(KIRQL irql, KSPIN_LOCK lock)
{
    struct rig_ring ring;
    ULONGLONG negotiated;
    ULONGLONG pattern;
    USHORT size, notify_off;
    KIRQL old;

    rig_ring_open(&ring, 256, 0);
    rig.transport.CommonCfgLock = lock;
    KeRaiseIrql(irql, &old);
    assert_int_equal(AeroVirtioNegotiateFeatures(&rig.transport, 0, UINT64_MAX, &negotiated), STATUS_SUCCESS);
    assert_true(AeroVirtioReadDeviceFeatures(&rig.transport) == negotiated);
    assert_int_equal(AeroVirtioQueryQueue(&rig.transport, 0, &size, &notify_off), STATUS_SUCCESS);
    assert_int_equal(
        AeroVirtioSetupQueue(&rig.transport, 0, ring.ring.DescPa, ring.ring.AvailPa, ring.ring.UsedPa),
        STATUS_SUCCESS);
    assert_int_equal(AeroVirtioReadDeviceConfig(&rig.transport, 8, &pattern, 8), STATUS_SUCCESS);
    assert_int_equal(AeroVirtioWriteDeviceConfig(&rig.transport, 8, &pattern, 8), STATUS_SUCCESS);
    AeroVirtioAddStatus(&rig.transport, VIRTIO_STATUS_DRIVER_OK);
    assert_int_equal(AeroVirtioNotifyQueue(&rig.transport, 0, 0), STATUS_SUCCESS);
    assert_int_equal(AeroVirtioReadIsr(&rig.transport), 0);
    AeroVirtioCommonCfgUnlock(&rig.transport, AeroVirtioCommonCfgLock(&rig.transport));
    assert_int_equal(AeroVirtioResetDevice(&rig.transport), STATUS_SUCCESS);
    assert_int_equal(KeGetCurrentIrql(), irql);
    KeLowerIrql(old);
    assert_true(rig.transport.CommonCfgLock == lock);
    rig.transport.CommonCfgLock = 0;
    rig_ring_close(&ring);
}

static void com_3_bring_up_at_passive_and_dispatch_level_works(void **state)
{
    bring_up_at(PASSIVE_LEVEL, 0);
    bring_up_at(DISPATCH_LEVEL, 0);
}

/* The lock word is nonsense: whoever so much as looked at it would be reported, and stuck. */
static void com_3_bring_up_above_dispatch_level_leaves_the_lock_alone(void **state)
{
    bring_up_at(DISPATCH_LEVEL + 1, (KSPIN_LOCK)0x0BAD);
    bring_up_at((KIRQL)rig.info.interrupt_irql, (KSPIN_LOCK)0x0BAD);
    bring_up_at(HIGH_LEVEL, (KSPIN_LOCK)0x0BAD);
}

static void com_3_lock_raises_and_unlock_restores_the_irql(void **state)
{
    KIRQL old, first;

    old = AeroVirtioCommonCfgLock(&rig.transport);
    assert_int_equal(old, PASSIVE_LEVEL);
    assert_int_equal(KeGetCurrentIrql(), DISPATCH_LEVEL);
    AeroVirtioCommonCfgUnlock(&rig.transport, old);
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    KeRaiseIrql(HIGH_LEVEL, &first);
    old = AeroVirtioCommonCfgLock(&rig.transport);
    assert_int_equal(old, HIGH_LEVEL);
    assert_true(rig.transport.CommonCfgLock == 0);
    AeroVirtioCommonCfgUnlock(&rig.transport, old);
    assert_int_equal(KeGetCurrentIrql(), HIGH_LEVEL);
    KeLowerIrql(first);
}

/* Who holds it already is told so by the kernel: that is how it's known that each of these takes it. */
static void com_3_selector_sequences_take_the_lock(void **state)
{
    uint8_t buffer[4] = {0};
    USHORT size, notify_off;
    KIRQL old;

    assert_int_equal(AeroVirtioQueryQueue(&rig.transport, 0, &size, &notify_off), STATUS_SUCCESS);
#define TAKES_LOCK(call)                                                               \
    do {                                                                               \
        old = AeroVirtioCommonCfgLock(&rig.transport);                                 \
        (void)(call);                                                                  \
        AeroVirtioCommonCfgUnlock(&rig.transport, old);                                \
        assert_int_not_equal(aero_nt_breach_count(rig.nt), 0);                         \
        assert_string_equal(aero_nt_breach_at(rig.nt, 0)->rule, "SPINLOCK-RECURSIVE"); \
        aero_nt_breach_forget(rig.nt);                                                 \
    } while (0)
    TAKES_LOCK(AeroVirtioReadDeviceFeatures(&rig.transport));
    TAKES_LOCK((AeroVirtioWriteDriverFeatures(&rig.transport, VIRTIO_F_VERSION_1), 0));
    TAKES_LOCK(AeroVirtioQueryQueue(&rig.transport, 0, &size, &notify_off));
    TAKES_LOCK(AeroVirtioSetupQueue(&rig.transport, 9, 0x1000, 0x2000, 0x3000));
    TAKES_LOCK(AeroVirtioReadDeviceConfig(&rig.transport, 0, buffer, 4));
    TAKES_LOCK(AeroVirtioWriteDeviceConfig(&rig.transport, 0, buffer, 4));
#undef TAKES_LOCK
    old = AeroVirtioCommonCfgLock(&rig.transport);
    AeroVirtioSetStatus(&rig.transport, 0);
    AeroVirtioGetStatus(&rig.transport);
    AeroVirtioAddStatus(&rig.transport, VIRTIO_STATUS_ACKNOWLEDGE);
    AeroVirtioFailDevice(&rig.transport);
    AeroVirtioGetNumQueues(&rig.transport);
    AeroVirtioReadIsr(&rig.transport);
    AeroVirtioCommonCfgUnlock(&rig.transport, old);
    assert_int_equal(aero_nt_breach_count(rig.nt), 0);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, open_default, close_rig)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(com_19_bring_up_serves_a_chain_and_resets),
        TEST(com_8_bring_up_after_reset_works_again),
        TEST(com_21_config_reads_the_same_by_any_width),
        TEST(bar_5_short_bar_is_refused_before_any_access),
        TEST(test_functions_without_a_device_are_harmless_and_clear_their_outputs),
        cmocka_unit_test(com_10_features_ok_refused_fails_the_device),
        cmocka_unit_test(com_13_queue_enable_that_reads_0_is_an_error),
        cmocka_unit_test(com_18_stuck_reset_at_passive_level_delays_for_a_second),
        cmocka_unit_test(com_18_stuck_reset_at_apc_level_delays_for_a_second),
        cmocka_unit_test(com_18_stuck_reset_at_dispatch_level_stalls_for_10_ms),
        cmocka_unit_test(com_18_stuck_reset_at_dirql_stalls_for_10_ms),
        cmocka_unit_test(com_18_stuck_reset_at_high_level_stalls_for_10_ms),
        TEST(com_3_bring_up_at_passive_and_dispatch_level_works),
        TEST(com_3_bring_up_above_dispatch_level_leaves_the_lock_alone),
        TEST(com_3_lock_raises_and_unlock_restores_the_irql),
        cmocka_unit_test_setup_teardown(com_3_selector_sequences_take_the_lock, open_quiet, close_rig),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests_name("transport_bring_up", tests, NULL, NULL);
}
