/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Transport and split ring against a device on a worker thread: many chains through all queues by interrupt
 * suppression and by polling, with each byte compared; and configuration that changes while it is read. For
 * the sanitizers above all.
 */
#include "test_transport_rig.h"

#include "os.h"
#include "test_program.h"

#define QUEUES       4
#define BATCH        24u
#define BUFFER_BYTES 64u /* one for each cookie: 32 bytes to read, 32 to write */
#define PATIENCE \
    200000000u /* looks at an empty ring before the test gives up; ctest's own limit comes first */

static struct rig rig;
static struct rig_ring rings[QUEUES];

static void bring_up(USHORT indirect)
{
    ULONGLONG negotiated;
    USHORT size, notify_off;

    assert_int_equal(AeroVirtioNegotiateFeatures(&rig.transport, 0, VIRTIO_F_RING_INDIRECT_DESC, &negotiated),
                     STATUS_SUCCESS);
    for (USHORT queue = 0; queue < QUEUES; queue++) {
        assert_int_equal(AeroVirtioQueryQueue(&rig.transport, queue, &size, &notify_off), STATUS_SUCCESS);
        rig_ring_open(&rings[queue], size, indirect);
        assert_int_equal(AeroVirtioSetupQueue(&rig.transport, queue, rings[queue].ring.DescPa,
                                              rings[queue].ring.AvailPa, rings[queue].ring.UsedPa),
                         STATUS_SUCCESS);
    }
    AeroVirtioAddStatus(&rig.transport, VIRTIO_STATUS_DRIVER_OK);
    assert_int_equal(AeroVirtioGetStatus(&rig.transport), 0x0F);
}

static void take_down(void)
{
    void *cookie;

    assert_int_equal(AeroVirtioResetDevice(&rig.transport), STATUS_SUCCESS);
    for (USHORT queue = 0; queue < QUEUES; queue++) {
        assert_false(AeroVirtioSplitRingTakeBack(&rings[queue].ring, &cookie));
        rig_ring_close(&rings[queue]);
    }
}

/* A batch of chains, of one to three segments each, on one queue: sent, awaited, compared. */
static void echo_batch(USHORT queue, uint8_t *buffer, ULONGLONG gpa, uint32_t round)
{
    AERO_VIRTIO_SPLIT_RING *ring = &rings[queue].ring;
    AERO_VIRTIO_COMPLETION done[BATCH];
    bool seen[BATCH] = {false};
    uint32_t completed = 0;

    for (uintptr_t i = 0; i < BATCH; i++) {
        ULONGLONG at = gpa + i * BUFFER_BYTES;
        uint32_t pieces = 1 + (round + i) % 3;
        AERO_VIRTIO_SEGMENT segments[4];

        for (uint32_t j = 0; j < pieces; j++)
            segments[j] = (AERO_VIRTIO_SEGMENT){at + 8 * j, 8, 0};
        segments[pieces] = (AERO_VIRTIO_SEGMENT){at + 32, 32, 0};
        memset(buffer + i * BUFFER_BYTES, (int)(round * 7 + i), 32);
        memset(buffer + i * BUFFER_BYTES + 32, 0, 32);
        assert_int_equal(AeroVirtioSplitRingAdd(ring, segments, (USHORT)pieces, 1, (void *)i),
                         STATUS_SUCCESS);
        if (i % 5 == 4)
            AeroVirtioSplitRingPublish(ring);
    }
    AeroVirtioSplitRingPublish(ring);
    assert_true(AeroVirtioSplitRingNeedsKick(ring));
    assert_int_equal(AeroVirtioNotifyQueue(&rig.transport, queue, queue), STATUS_SUCCESS);
    for (uint32_t looks = 0; completed < BATCH; looks++) {
        NTSTATUS status;
        ULONG count;

        if (round % 2)
            AeroVirtioSplitRingSuppressInterrupts(ring);
        count = AeroVirtioSplitRingReapMany(ring, done, BATCH, &status);
        assert_true(status == STATUS_SUCCESS || status == STATUS_NO_MORE_ENTRIES);
        for (ULONG i = 0; i < count; i++) {
            uintptr_t cookie = (uintptr_t)done[i].Cookie;
            uint32_t bytes = 8 * (uint32_t)(1 + (round + cookie) % 3);

            assert_in_range(cookie, 0, BATCH - 1);
            assert_false(seen[cookie]);
            seen[cookie] = true;
            assert_int_equal(done[i].Length, bytes);
            assert_memory_equal(buffer + cookie * BUFFER_BYTES, buffer + cookie * BUFFER_BYTES + 32, bytes);
        }
        completed += count;
        if (!AeroVirtioSplitRingRearmInterrupts(ring) && !count)
            sim_os_yield();
        assert_in_range(looks, 0, PATIENCE);
    }
    assert_int_equal(AeroVirtioSplitRingInFlightCount(ring), 0);
}

static void run_echo(USHORT indirect)
{
    PHYSICAL_ADDRESS any;
    uint8_t *buffer;

    any.QuadPart = -1;
    rig_open(&rig, &(struct rig_options){.worker = true});
    buffer = MmAllocateContiguousMemory(BATCH * BUFFER_BYTES, any);
    assert_non_null(buffer);
    bring_up(indirect);
    for (uint32_t round = 0; round < 400; round++) {
        echo_batch((USHORT)(round % QUEUES), buffer, (ULONGLONG)MmGetPhysicalAddress(buffer).QuadPart, round);
        AeroVirtioReadIsr(&rig.transport);
    }
    take_down();
    MmFreeContiguousMemory(buffer);
    rig_close(&rig);
}

static void rng_5_direct_chains_through_a_worker_come_back_whole(void **state)
{
    run_echo(0);
}

static void rng_6_indirect_chains_through_a_worker_come_back_whole(void **state)
{
    run_echo(4);
}

/* ---- A device whose configuration is a number and its complement, and changes whenever it's woken ---- */

struct flicker {
    struct aero_sim_device *device;
    uint32_t words[2];
};

static _Atomic uint32_t flicker_changes;

static void flicker_set(struct flicker *flicker, uint32_t value)
{
    flicker->words[0] = value;
    flicker->words[1] = ~value;
    aero_sim_config_set(flicker->device, 0, flicker->words, sizeof flicker->words);
}

static enum aero_sim_status flicker_open(void *state, struct aero_sim_device *device,
                                         const struct aero_sim_backend *backend, char *error,
                                         size_t error_bytes)
{
    struct flicker *flicker = state;

    flicker->device = device;
    flicker_set(flicker, 0);
    return AERO_SIM_OK;
}

static void flicker_event(void *state)
{
    struct flicker *flicker = state;

    for (unsigned i = 0; i < 20; i++) {
        flicker_set(flicker, flicker->words[0] + 1);
        atomic_fetch_add(&flicker_changes, 1);
    }
}

static uint32_t flicker_serve(void *state, const struct aero_sim_chain *chain)
{
    return 0;
}

static void com_16_config_that_changes_meanwhile_is_never_torn(void **state)
{
    static const struct aero_sim_queue_spec queue = {"none", 8, flicker_serve};
    static const struct aero_sim_model model = {
        .name = "flicker",
        .summary = "its configuration never rests",
        .pci_device_id = 0x107E,
        .subsystem_id = 0x003E,
        .class_code = 0x00FF00,
        .config_bytes = 8,
        .state_bytes = sizeof(struct flicker),
        .queue_count = 1,
        .queues = &queue,
        .open = flicker_open,
        .event = flicker_event,
    };
    ULONGLONG negotiated;
    uint32_t words[2], settled = 0;

    rig_open(&rig, &(struct rig_options){.model = &model, .worker = true});
    assert_int_equal(AeroVirtioNegotiateFeatures(&rig.transport, 0, 0, &negotiated), STATUS_SUCCESS);
    AeroVirtioAddStatus(&rig.transport, VIRTIO_STATUS_DRIVER_OK);
    for (uint32_t looks = 0; atomic_load(&flicker_changes) < 20000 || settled < 100; looks++) {
        NTSTATUS status;

        aero_sim_device_wake(rig.device);
        status = AeroVirtioReadDeviceConfig(&rig.transport, 0, words, sizeof words);
        if (status == STATUS_SUCCESS) {
            settled++;
            assert_int_equal(words[0], ~words[1]);
        } else {
            assert_int_equal(status, STATUS_IO_TIMEOUT);
            assert_true(words[0] == 0 && words[1] == 0);
        }
        assert_in_range(looks, 0, PATIENCE);
    }
    assert_int_equal(AeroVirtioResetDevice(&rig.transport), STATUS_SUCCESS);
    rig_close(&rig);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rng_5_direct_chains_through_a_worker_come_back_whole),
        cmocka_unit_test(rng_6_indirect_chains_through_a_worker_come_back_whole),
        cmocka_unit_test(com_16_config_that_changes_meanwhile_is_never_torn),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests_name("transport_worker", tests, NULL, NULL);
}
