/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The mmio rows: single register accesses of a started device, as a driver makes them: READ_REGISTER_* and
 * WRITE_REGISTER_* on a virtual CPU. The device has been reset and acknowledged, and no more: so a write of
 * device_status changes nothing, and the worker has nothing to do.
 */
#include "rig.h"

#define ACKNOWLEDGED (VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER)

static bool open_acknowledged(struct rig *rig, struct bench_run *run)
{
    struct rig_options options = {.model = run->session->options.device, .spin_ns = 0};
    NTSTATUS status;

    if (!rig_open(rig, run, &options))
        return false;
    status = ReferenceMap(&rig->driver, &rig->location, &rig->resources, &rig->config);
    if (NT_SUCCESS(status)) {
        rig->driver.FailedIn = "AeroVirtioResetDevice";
        status = AeroVirtioResetDevice(&rig->driver.Transport);
    }
    if (!NT_SUCCESS(status))
        return rig_driver_fail(rig, status);
    AeroVirtioSetStatus(&rig->driver.Transport, ACKNOWLEDGED);
    return true;
}

/* A row: one expression for one access, batch times a sample. */
#define MMIO_ROW(NAME, ACCESS)                                                \
    bool NAME(struct bench_run *run)                                          \
    {                                                                         \
        struct rig rig;                                                       \
        bool ok = open_acknowledged(&rig, run);                               \
        volatile virtio_pci_common_cfg *cfg = rig.driver.Transport.CommonCfg; \
        uint64_t digest = 0;                                                  \
        uint32_t i;                                                           \
                                                                              \
        if (ok) {                                                             \
            bench_begin(run, rig.device);                                     \
            while (bench_more(run)) {                                         \
                uint64_t start = clock_now();                                 \
                                                                              \
                for (i = 0; i < run->batch; i++)                              \
                    ACCESS;                                                   \
                bench_sample(run, start, clock_now());                        \
            }                                                                 \
            run->digest += digest;                                            \
        }                                                                     \
        return rig_close(&rig, ok);                                           \
    }

MMIO_ROW(mmio_read8, digest += READ_REGISTER_UCHAR(&cfg->device_status))
MMIO_ROW(mmio_read16, digest += READ_REGISTER_USHORT(&cfg->num_queues))
MMIO_ROW(mmio_read32, digest += READ_REGISTER_ULONG(&cfg->device_feature))
MMIO_ROW(mmio_write8, WRITE_REGISTER_UCHAR(&cfg->device_status, ACKNOWLEDGED))
MMIO_ROW(mmio_write16, WRITE_REGISTER_USHORT(&cfg->queue_select, (USHORT)(i & 1)))
MMIO_ROW(mmio_write32, WRITE_REGISTER_ULONG(&cfg->device_feature_select, i & 1))
