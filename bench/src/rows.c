/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The catalogue: every benchmark, in the order in which they run. Names are paths; what stands behind the
 * last slashes are parameters ("ring/poll/256/batch:1"), which the row's function finds in `with`.
 */
#include "bench.h"

/* clang-format off */
static const struct bench_row rows[] = {
    /* name, function, items a sample, samples, samples of a smoke run, throughput?, parameters
       summary */
    {"limit/line", limit_line, 1000, 5000, 50, false, {0},
     "round trip between two threads, both flags in one cache line"},
    {"limit/two-lines", limit_two_lines, 10, 200000, 2000, false, {0},
     "the same, a cache line each way"},
    {"limit/wake", limit_wake, 1, 40000, 500, false, {0},
     "round trip between two threads that both sleep (futex, WaitOnAddress)"},
    {"limit/bare-ring", limit_bare_ring, 1024, 100000, 500, true, {256, 32, 13},
     "13-byte buffers through a split ring of nothing but bounds and in-flight checks, in 32s"},
    {"limit/pread", limit_pread, 1, 100000, 200, true, {0, 1, 65536},
     "64 KiB of a cached file at random, read by one host call (pread, ReadFile)"},

    {"mmio/read8", mmio_read8, 1000, 100000, 200, false, {0},
     "READ_REGISTER_UCHAR of device_status"},
    {"mmio/read16", mmio_read16, 1000, 100000, 200, false, {0},
     "READ_REGISTER_USHORT of num_queues"},
    {"mmio/read32", mmio_read32, 1000, 100000, 200, false, {0},
     "READ_REGISTER_ULONG of device_feature"},
    {"mmio/write8", mmio_write8, 1000, 100000, 200, false, {0},
     "WRITE_REGISTER_UCHAR of device_status, the value that it has"},
    {"mmio/write16", mmio_write16, 1000, 100000, 200, false, {0},
     "WRITE_REGISTER_USHORT of queue_select"},
    {"mmio/write32", mmio_write32, 1000, 100000, 200, false, {0},
     "WRITE_REGISTER_ULONG of device_feature_select"},

    {"lifecycle/init", lifecycle_init, 1000, 50000, 200, false, {0},
     "AeroVirtioPciModernInitFromBar0"},
    {"lifecycle/negotiate", lifecycle_negotiate, 100, 20000, 100, false, {0},
     "AeroVirtioNegotiateFeatures: reset to FEATURES_OK"},
    {"lifecycle/setup-queue", lifecycle_setup_queue, 0, 200000, 2000, false, {0},
     "AeroVirtioQueryQueue and SetupQueue, a sample for all queues of the device"},
    {"lifecycle/full", lifecycle_full, 1, 1000000, 5000, false, {0},
     "reset to DRIVER_OK with queue 0, SplitRingInit included, memory allocated before"},

    {"config/read", config_read, 1000, 50000, 100, false, {0},
     "AeroVirtioReadDeviceConfig of 4 bytes, under the generation"},
    {"notify/doorbell", notify_doorbell, 1000, 50000, 100, false, {0},
     "AeroVirtioNotifyQueue, nothing available, worker awake: most find a bell pending"},
    {"isr/read", isr_read, 1000, 100000, 200, false, {0},
     "AeroVirtioReadIsr, nothing pending"},

    {"roundtrip/poll", roundtrip_poll, 10, 200000, 1000, false, {256, 1, 13},
     "one chain outstanding, both sides poll: from Add to reaped"},
    {"roundtrip/kick-isr-spin", roundtrip_kick_isr_spin, 1, 1000000, 5000, false, {256, 1, 13},
     "one chain outstanding: doorbell, INTx, ISR, DPC, event; both sides spin"},
    {"roundtrip/kick-isr-sleep", roundtrip_kick_isr_sleep, 1, 40000, 500, false, {256, 1, 13},
     "the same; both sides asleep in between"},

    {"ring/poll/256", ring_poll, 1024, 100000, 500, true, {256, 32, 13},
     "13-byte readable buffers, ring kept full, both sides poll, published in up to 32"},
    {"ring/poll/256/batch:1", ring_poll, 1024, 50000, 200, true, {256, 1, 13},
     "the same, published one by one as Linux's ringtest does"},
    {"ring/kick/256/batch:32", ring_kick, 1024, 50000, 200, true, {256, 32, 13},
     "the same with a doorbell each 32, and interrupts"},

    {"blk/read/4096", blk_read, 1, 500000, 1000, true, {0, 1, 4096},
     "virtio-blk IN of 4 KiB at random, one outstanding, interrupts, cached file"},
    {"blk/read/65536", blk_read, 1, 100000, 200, true, {0, 1, 65536},
     "the same of 64 KiB, in segments of 4 KiB as the image job's"},
    {"blk/write/4096", blk_write, 1, 500000, 1000, true, {0, 1, 4096},
     "virtio-blk OUT of 4 KiB at random, one outstanding, interrupts, no flush"},
};
/* clang-format on */

const struct bench_row *bench_row_at(size_t index)
{
    return index < sizeof rows / sizeof rows[0] ? &rows[index] : NULL;
}
