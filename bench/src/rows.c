/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The catalogue: every benchmark, in the order in which they run. Names are paths; what stands behind the
 * last slashes are parameters ("ring/poll/256/batch:1"), which the row's function finds in `with`.
 */
#include "bench.h"

/* clang-format off */

/*
 * Sweeps. One macro a family: what stands in its brackets is what varies. Samples of a smoke run are few,
 * since there are many rows.
 */
#define SWEEP(NAME, ITEMS, SAMPLES, SUMMARY, ...) \
    {"ring/poll/" NAME, ring, ITEMS, SAMPLES, 2, true, {.swept = true, __VA_ARGS__}, SUMMARY}

#define SIZE(N) \
    SWEEP(#N, 1024, 10000, "the same on a ring of " #N ", at most 256 outstanding", \
          .queue_size = N, .publish = 32, .bytes = 13)
#define BATCH(N) \
    SWEEP("256/batch:" #N, 1024, 10000, "the same, published whenever " #N " chains are due", \
          .queue_size = 256, .publish = N, .bytes = 13, .exactly = true)
#define CHAIN(N) \
    SWEEP("256/chain:" #N, 512, 4000, "chains of " #N " descriptors, as many as the ring holds", \
          .queue_size = 256, .publish = 32, .bytes = 13, .chain = N)
#define TABLE(N) \
    SWEEP("256/chain:" #N "/indirect", 512, 4000, "256 chains of " #N " descriptors in indirect tables", \
          .queue_size = 256, .publish = 32, .bytes = 13, .chain = N, .indirect = true)
#define BYTES(N) \
    SWEEP("256/bytes:" #N, 1024, 10000, "buffers of " #N " bytes, which the device takes note of", \
          .queue_size = 256, .publish = 32, .bytes = N)
#define COPY(N, SAMPLES) \
    SWEEP("256/bytes:" #N "/copy", 64, SAMPLES, "buffers of " #N " bytes, which the device copies", \
          .queue_size = 256, .publish = 32, .bytes = N, .copy = true)
#define QUEUES(N) \
    SWEEP("256/queues:" #N, 1024, 10000, #N " queues of one device, in turn, 256 outstanding on each", \
          .queue_size = 256, .publish = 32, .bytes = 13, .queues = N)
#define DEVICES(N) \
    SWEEP("256/devices:" #N, 1024, 10000, #N " devices on one worker, in turn, 256 outstanding on each", \
          .queue_size = 256, .publish = 32, .bytes = 13, .devices = N)

static const struct bench_row rows[] = {
    /* name, function, items a sample, samples, samples of a smoke run, throughput?, parameters
       summary */
    {"limit/line", limit_line, 1000, 5000, 50, false, {0},
     "round trip between two threads, both flags in one cache line"},
    {"limit/two-lines", limit_two_lines, 10, 200000, 2000, false, {0},
     "the same, a cache line each way"},
    {"limit/wake", limit_wake, 1, 40000, 500, false, {0},
     "round trip between two threads that both sleep (futex, WaitOnAddress)"},
    {"limit/bare-ring", limit_bare_ring, 1024, 100000, 500, true,
     {.queue_size = 256, .publish = 32, .bytes = 13},
     "13-byte buffers through a split ring of nothing but bounds and in-flight checks, in 32s"},
    {"limit/pread", limit_pread, 1, 100000, 200, true, {.publish = 1, .bytes = 65536},
     "64 KiB of a cached file at random, read by one host call (pread, ReadFile)"},
    {"limit/pread-apart", limit_pread_apart, 1, 100000, 200, true, {.publish = 1, .bytes = 65536},
     "the same read by a thread on the device's CPU, asked and answered through a cache line each"},

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

    {"roundtrip/poll", roundtrip_poll, 10, 200000, 1000, false,
     {.queue_size = 256, .publish = 1, .bytes = 13},
     "one chain outstanding, both sides poll: from Add to reaped"},
    {"roundtrip/kick-isr-spin", roundtrip_kick_isr_spin, 1, 1000000, 5000, false,
     {.queue_size = 256, .publish = 1, .bytes = 13},
     "one chain outstanding: doorbell, INTx, ISR, DPC, event; both sides spin"},
    {"roundtrip/kick-isr-sleep", roundtrip_kick_isr_sleep, 1, 40000, 500, false,
     {.queue_size = 256, .publish = 1, .bytes = 13},
     "the same; both sides asleep in between"},

    {"ring/poll/256", ring, 1024, 100000, 500, true, {.queue_size = 256, .publish = 32, .bytes = 13},
     "13-byte readable buffers, ring kept full, both sides poll, published in up to 32"},
    {"ring/poll/256/batch:1", ring, 1024, 50000, 200, true,
     {.queue_size = 256, .publish = 1, .bytes = 13},
     "the same, published one by one as Linux's ringtest does"},
    {"ring/poll/256/fresh", ring, 1024, 50000, 200, true,
     {.queue_size = 256, .publish = 32, .bytes = 13, .fresh = true},
     "the same as ring/poll/256 with buffers that move: each descriptor is new, and its line travels"},
    {"ring/poll/256/indirect", ring, 512, 20000, 50, true,
     {.queue_size = 256, .publish = 32, .bytes = 13, .chain = 16, .indirect = true},
     "256 chains of 16 descriptors in indirect tables, as chain:16/indirect"},
    {"ring/kick/256/batch:32", ring, 1024, 50000, 200, true,
     {.queue_size = 256, .publish = 32, .bytes = 13, .exactly = true, .kick = true},
     "the same with a doorbell each 32, and an interrupt where none came back for a while"},
    {"driver/kick/256/batch:32", driver_kick, 1024, 50000, 200, true,
     {.queue_size = 256, .publish = 32, .bytes = 13},
     "the same by the reference driver: requests, locks, DPC, an interrupt whenever it has run dry"},

    {"blk/read/4096", blk_read, 1, 500000, 1000, true, {.publish = 1, .bytes = 4096},
     "virtio-blk IN of 4 KiB at random, one outstanding, interrupts, cached file"},
    {"blk/read/65536", blk_read, 1, 100000, 200, true, {.publish = 1, .bytes = 65536},
     "the same of 64 KiB, in segments of 4 KiB as the image job's"},
    {"blk/write/4096", blk_write, 1, 500000, 1000, true, {.publish = 1, .bytes = 4096},
     "virtio-blk OUT of 4 KiB at random, one outstanding, interrupts, no flush"},

    SIZE(2), SIZE(4), SIZE(8), SIZE(16), SIZE(32), SIZE(64), SIZE(128), SIZE(512), SIZE(1024), SIZE(2048),
    SIZE(4096), SIZE(8192), SIZE(16384), SIZE(32768),
    BATCH(2), BATCH(4), BATCH(8), BATCH(16), BATCH(32), BATCH(64), BATCH(128),
    CHAIN(1), CHAIN(2), CHAIN(4), CHAIN(8), CHAIN(16), CHAIN(32), CHAIN(64),
    TABLE(2), TABLE(4), TABLE(8), TABLE(16), TABLE(32), TABLE(64),
    BYTES(13), BYTES(64), BYTES(256), BYTES(1024), BYTES(1500), BYTES(4096), BYTES(65536),
    COPY(13, 100000), COPY(64, 100000), COPY(256, 100000), COPY(1024, 50000), COPY(1500, 50000),
    COPY(4096, 20000), COPY(65536, 1000),
    QUEUES(1), QUEUES(2), QUEUES(4), QUEUES(8), QUEUES(16), QUEUES(32), QUEUES(64),
    DEVICES(1), DEVICES(2), DEVICES(4), DEVICES(8), DEVICES(16), DEVICES(32), DEVICES(64), DEVICES(128),
    DEVICES(256),
};
/* clang-format on */

const struct bench_row *bench_row_at(size_t index)
{
    return index < sizeof rows / sizeof rows[0] ? &rows[index] : NULL;
}
