/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * For test_transport_*.c that run the transport over a real simulated device: machine, device, BAR0 mapped,
 * the test's thread as virtual CPU 0, referee on, virtual clock. rig_close fails the test on any breach, of
 * the driver's side or the device's. Fails the test by CMocka: on the test's thread only.
 */
#ifndef TEST_TRANSPORT_RIG_H
#define TEST_TRANSPORT_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "aero_nt.h"
#include "aero_sim_model.h"

#include <ntddk.h>

#include "aero_virtio_pci_modern.h"
#include "aero_virtio_split_ring.h"

struct rig_options {
    const struct aero_sim_model *model; /* NULL: loopback */
    bool worker;                        /* else the device moves in rig_step */
    bool decode_off;                    /* BAR0 programmed, memory decode clear (PCI-14) */
    bool quiet;                         /* breaches are expected, and the test forgets them */
    const char *quirk;
    struct aero_sim_quirk_trigger trigger;
};

struct rig {
    struct aero_nt *nt;
    struct aero_sim_worker *worker;
    struct aero_sim_device *device;
    struct aero_nt_device_info info;
    volatile void *bar;
    AERO_VIRTIO_PCI_MODERN_DEVICE transport;
};

static inline void rig_open(struct rig *rig, const struct rig_options *options)
{
    struct aero_nt_options nt_options = aero_nt_options_default();
    const struct aero_sim_model *model = options->model ? options->model : aero_sim_model_find("loopback");
    PHYSICAL_ADDRESS bar0;

    memset(rig, 0, sizeof *rig);
    nt_options.clock = AERO_NT_CLOCK_VIRTUAL;
    nt_options.referee = true;
    nt_options.quiet = options->quiet;
    assert_int_equal(aero_nt_create(&nt_options, &rig->nt), AERO_SIM_OK);
    if (options->worker)
        assert_int_equal(aero_sim_worker_create(NULL, &rig->worker), AERO_SIM_OK);
    assert_int_equal(aero_sim_device_create(model, aero_nt_memory(rig->nt), rig->worker, &rig->device),
                     AERO_SIM_OK);
    if (options->quirk)
        assert_int_equal(aero_sim_device_set_quirk(rig->device, options->quirk, &options->trigger),
                         AERO_SIM_OK);
    assert_int_equal(aero_nt_attach(rig->nt, rig->device, NULL, &rig->info), AERO_SIM_OK);
    assert_int_equal(aero_sim_device_start(rig->device), AERO_SIM_OK);
    assert_int_equal(aero_nt_enable(rig->nt, rig->device), AERO_SIM_OK);
    if (options->decode_off)
        aero_sim_pci_write(rig->device, 0x04, 2, 0);
    assert_true(aero_nt_cpu_enter(rig->nt, 0));
    bar0.QuadPart = (LONGLONG)rig->info.bar0_gpa;
    rig->bar = MmMapIoSpace(bar0, rig->info.bar0_bytes, MmNonCached);
    assert_non_null((const void *)(uintptr_t)rig->bar);
    assert_int_equal(AeroVirtioPciModernInitFromBar0(&rig->transport, rig->bar, rig->info.bar0_bytes),
                     STATUS_SUCCESS);
}

static inline void rig_close(struct rig *rig)
{
    struct aero_sim_counters counters;

    MmUnmapIoSpace((PVOID)(uintptr_t)rig->bar, rig->info.bar0_bytes);
    aero_nt_cpu_leave(rig->nt);
    aero_sim_device_counters(rig->device, &counters);
    assert_int_equal(counters.breaches, 0);
    assert_int_equal(aero_sim_device_stop(rig->device), AERO_SIM_OK);
    assert_int_equal(aero_nt_detach(rig->nt, rig->device), AERO_SIM_OK);
    aero_sim_device_destroy(rig->device);
    aero_sim_worker_destroy(rig->worker);
    assert_int_equal(aero_nt_destroy(rig->nt), 0);
}

/* Lets a device without a worker do all that it can. */
static inline void rig_step(struct rig *rig)
{
    while (aero_sim_device_step(rig->device)) {
    }
}

/* A ring in memory that the device can reach. */
struct rig_ring {
    AERO_VIRTIO_SPLIT_RING ring;
    AERO_VIRTIO_SPLIT_RING_LAYOUT layout;
    PVOID shared, private_;
};

#define RIG_TAG 0x74726541u /* "Aert" */

static inline void rig_ring_open(struct rig_ring *ring, USHORT size, USHORT indirect)
{
    PHYSICAL_ADDRESS any;

    any.QuadPart = -1;
    assert_int_equal(AeroVirtioSplitRingGetLayout(size, indirect, &ring->layout), STATUS_SUCCESS);
    ring->shared = MmAllocateContiguousMemory(ring->layout.SharedBytes, any);
    ring->private_ = ExAllocatePoolWithTag(NonPagedPool, ring->layout.PrivateBytes, RIG_TAG);
    assert_non_null(ring->shared);
    assert_non_null(ring->private_);
    assert_int_equal(AeroVirtioSplitRingInit(&ring->ring, size, indirect, ring->shared,
                                             (ULONGLONG)MmGetPhysicalAddress(ring->shared).QuadPart,
                                             ring->private_),
                     STATUS_SUCCESS);
}

static inline void rig_ring_close(struct rig_ring *ring)
{
    MmFreeContiguousMemory(ring->shared);
    ExFreePoolWithTag(ring->private_, RIG_TAG);
}

#endif
