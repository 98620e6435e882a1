/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What samples are timed with: the time stamp counter where it is invariant, fenced on both sides so that
 * neither earlier work leaks out of a sample nor later work into it; else the host's clock. Set up once, by
 * clock_calibrate; then any thread.
 */
#ifndef BENCH_CLOCK_H
#define BENCH_CLOCK_H

#include "os.h"

struct bench_clock {
    bool tsc; /* ticks are the TSC's; else they are nanoseconds */
    double ns_per_tick;
    double tsc_mhz; /* 0 without TSC */
    /* What a reading takes is in each sample, and never subtracted. */
    double reading_ns;
    /* The smallest step that readings differ by: some CPUs count the TSC in steps of many ticks. */
    double step_ns;
};

extern struct bench_clock bench_clock;

/* Takes about measure_ns. */
void clock_calibrate(uint64_t measure_ns);

static inline uint64_t clock_now(void)
{
    uint32_t low, high;

    if (!bench_clock.tsc)
        return sim_os_now_ns();
    __asm__ volatile("lfence\n\trdtsc\n\tlfence" : "=a"(low), "=d"(high) : : "memory");
    return (uint64_t)high << 32 | low;
}

static inline uint64_t clock_ticks(uint64_t ns)
{
    return (uint64_t)((double)ns / bench_clock.ns_per_tick);
}

#endif
