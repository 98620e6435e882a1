/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The device disappears: at each register access of a bring-up in turn, before it, and while memory decoding
 * is off. Every step says DEVICE_NOT_CONNECTED, clears its outputs and waits for nothing (quirks 1 and 59).
 */
#include "test_program.h"
#include "test_transport_rig.h"

static struct rig rig;

#define DESC \
    0x100000ull /* RAM begins there; the queues have different pages, since the device really looks */
#define QUEUES 4

struct outcome {
    NTSTATUS status; /* of the first step that failed */
    bool cleared;    /* that step left its outputs zero */
    ULONGLONG negotiated;
    ULONGLONG config;
};

/* Everything that a driver does with registers before its first completion, until a step fails. */
static struct outcome bring_up(struct rig_ring rings[QUEUES])
{
    struct outcome out = {STATUS_SUCCESS, true, 77, 77};
    USHORT size = 77, notify_off = 77;
    UCHAR status;

    out.status = AeroVirtioNegotiateFeatures(&rig.transport, VIRTIO_F_RING_INDIRECT_DESC, 0, &out.negotiated);
    if (out.status != STATUS_SUCCESS) {
        out.cleared = out.negotiated == 0;
        return out;
    }
    for (USHORT queue = 0; queue < QUEUES; queue++) {
        out.status = AeroVirtioQueryQueue(&rig.transport, queue, &size, &notify_off);
        if (out.status != STATUS_SUCCESS) {
            out.cleared = size == 0 && notify_off == 0;
            return out;
        }
        if (size != 256 || notify_off != queue) {
            out.status = STATUS_DATA_ERROR; /* a success that isn't one */
            return out;
        }
        out.status = AeroVirtioSetupQueue(&rig.transport, queue, rings[queue].ring.DescPa,
                                          rings[queue].ring.AvailPa, rings[queue].ring.UsedPa);
        if (out.status != STATUS_SUCCESS)
            return out;
    }
    out.status = AeroVirtioReadDeviceConfig(&rig.transport, 8, &out.config, sizeof out.config);
    if (out.status != STATUS_SUCCESS) {
        out.cleared = out.config == 0;
        return out;
    }
    AeroVirtioAddStatus(&rig.transport, VIRTIO_STATUS_DRIVER_OK);
    status = AeroVirtioGetStatus(&rig.transport);
    if (status != 0x0F)
        out.status = status == 0xFF ? STATUS_DEVICE_NOT_CONNECTED : STATUS_DATA_ERROR;
    return out;
}

/* Once it's gone, each function says so, or does nothing. */
static void expect_gone(void)
{
    uint8_t buffer[6] = {1, 2, 3, 4, 5, 6};
    ULONGLONG negotiated = 77;
    USHORT size = 77, notify_off = 77;

    assert_int_equal(AeroVirtioGetStatus(&rig.transport), 0xFF);
    assert_int_equal(AeroVirtioResetDevice(&rig.transport), STATUS_DEVICE_NOT_CONNECTED);
    assert_int_equal(AeroVirtioNegotiateFeatures(&rig.transport, 0, 0, &negotiated),
                     STATUS_DEVICE_NOT_CONNECTED);
    assert_true(negotiated == 0);
    assert_true(AeroVirtioReadDeviceFeatures(&rig.transport) == 0);
    AeroVirtioWriteDriverFeatures(&rig.transport, VIRTIO_F_VERSION_1);
    AeroVirtioAddStatus(&rig.transport, VIRTIO_STATUS_DRIVER_OK);
    AeroVirtioFailDevice(&rig.transport);
    assert_int_equal(AeroVirtioGetNumQueues(&rig.transport), 0);
    assert_int_equal(AeroVirtioQueryQueue(&rig.transport, 0, &size, &notify_off),
                     STATUS_DEVICE_NOT_CONNECTED);
    assert_true(size == 0 && notify_off == 0);
    assert_int_equal(AeroVirtioQueryQueue(&rig.transport, 0xFFFF, &size, &notify_off),
                     STATUS_DEVICE_NOT_CONNECTED);
    assert_int_equal(AeroVirtioSetupQueue(&rig.transport, 0, DESC, DESC, DESC), STATUS_DEVICE_NOT_CONNECTED);
    assert_int_equal(AeroVirtioReadIsr(&rig.transport), 0);
    assert_int_equal(AeroVirtioReadDeviceConfig(&rig.transport, 0, buffer, 6), STATUS_DEVICE_NOT_CONNECTED);
    assert_memory_equal(buffer, "\0\0\0\0\0\0", 6);
    assert_int_equal(AeroVirtioWriteDeviceConfig(&rig.transport, 0, buffer, 6), STATUS_DEVICE_NOT_CONNECTED);
    assert_int_equal(aero_nt_waited_ns(rig.nt), 0);
}

static void sweep(KIRQL irql)
{
    struct rig_ring rings[QUEUES];
    struct outcome out;
    uint32_t after;
    KIRQL old;

    for (after = 0, out.status = STATUS_DEVICE_NOT_CONNECTED; out.status != STATUS_SUCCESS; after++) {
        rig_open(&rig, &(struct rig_options){.quirk = "surprise-removal-all-ones",
                                             .trigger = {.after = after, .value = UINT64_MAX}});
        for (size_t i = 0; i < QUEUES; i++)
            rig_ring_open(&rings[i], 256, 0);
        KeRaiseIrql(irql, &old);
        out = bring_up(rings);
        if (out.status != STATUS_SUCCESS) {
            assert_int_equal(out.status, STATUS_DEVICE_NOT_CONNECTED);
            assert_true(out.cleared);
            expect_gone();
        }
        assert_int_equal(aero_nt_waited_ns(rig.nt), 0);
        assert_int_equal(KeGetCurrentIrql(), irql);
        KeLowerIrql(old);
        for (size_t i = 0; i < QUEUES; i++)
            rig_ring_close(&rings[i]);
        rig_close(&rig);
        assert_in_range(after, 0, 1000);
    }
    assert_true(out.negotiated == (VIRTIO_F_VERSION_1 | VIRTIO_F_RING_INDIRECT_DESC));
    assert_true(out.config == 0xF0E0D0C0B0A09080u);
    assert_in_range(after, 80, 1000); /* so many accesses there are at least: the sweep met them */
}

static void test_device_gone_at_any_access_of_a_bring_up_is_not_connected(void **state)
{
    sweep(PASSIVE_LEVEL);
}

static void test_device_gone_at_any_access_of_a_bring_up_at_high_level_is_not_connected(void **state)
{
    sweep(HIGH_LEVEL);
}

static void pci_14_device_with_decode_off_is_not_connected_and_comes_back(void **state)
{
    ULONGLONG negotiated;

    rig_open(&rig, &(struct rig_options){.decode_off = true});
    expect_gone();
    aero_sim_pci_write(rig.device, 0x04, 2, 0x0006);
    assert_int_equal(AeroVirtioNegotiateFeatures(&rig.transport, 0, 0, &negotiated), STATUS_SUCCESS);
    rig_close(&rig);
}

/* Cookies of what was in flight come back although no reset can be confirmed; no doorbell follows. */
static void test_device_gone_with_chains_in_flight_gives_every_cookie_back(void **state)
{
    struct rig_ring rings[QUEUES];
    AERO_VIRTIO_SEGMENT segment;
    unsigned seen[3] = {0};
    void *cookie;

    rig_open(&rig, &(struct rig_options){0});
    for (size_t i = 0; i < QUEUES; i++)
        rig_ring_open(&rings[i], 256, 0);
    assert_int_equal(bring_up(rings).status, STATUS_SUCCESS);
    segment = (AERO_VIRTIO_SEGMENT){rings[3].ring.DescPa, 16, 0};
    for (uintptr_t i = 0; i < 3; i++)
        assert_int_equal(AeroVirtioSplitRingAdd(&rings[0].ring, &segment, 1, 0, (void *)i), STATUS_SUCCESS);
    AeroVirtioSplitRingPublish(&rings[0].ring);
    assert_int_equal(AeroVirtioNotifyQueue(&rig.transport, 0, 0), STATUS_SUCCESS);
    aero_sim_pci_write(rig.device, 0x04, 2, 0);
    assert_int_equal(AeroVirtioNotifyQueue(&rig.transport, 0, 0), STATUS_SUCCESS); /* and does nothing */
    assert_int_equal(AeroVirtioResetDevice(&rig.transport), STATUS_DEVICE_NOT_CONNECTED);
    while (AeroVirtioSplitRingTakeBack(&rings[0].ring, &cookie))
        seen[(uintptr_t)cookie]++;
    assert_true(seen[0] == 1 && seen[1] == 1 && seen[2] == 1);
    assert_false(AeroVirtioSplitRingNeedsKick(&rings[0].ring));
    for (size_t i = 0; i < QUEUES; i++)
        rig_ring_close(&rings[i]);
    rig_close(&rig);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_device_gone_at_any_access_of_a_bring_up_is_not_connected),
        cmocka_unit_test(test_device_gone_at_any_access_of_a_bring_up_at_high_level_is_not_connected),
        cmocka_unit_test(pci_14_device_with_decode_off_is_not_connected_and_comes_back),
        cmocka_unit_test(test_device_gone_with_chains_in_flight_gives_every_cookie_back),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests_name("transport_gone", tests, NULL, NULL);
}
