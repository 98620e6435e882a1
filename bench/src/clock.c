/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Chooses and calibrates the clock: see clock.h.
 */
#include "clock.h"

#include <cpuid.h>
#include <stdlib.h>

struct bench_clock bench_clock = {.ns_per_tick = 1.0};

static bool tsc_is_invariant(void)
{
    unsigned eax, ebx, ecx, edx;

    return __get_cpuid(0x80000007u, &eax, &ebx, &ecx, &edx) && (edx >> 8 & 1) != 0;
}

struct instant {
    uint64_t ticks, ns;
};

/*
 * Both clocks at one time: the tightest of some tries, so that an interruption between the readings doesn't
 * count.
 */
static struct instant read_both(void)
{
    struct instant best = {0, 0};
    uint64_t narrowest = UINT64_MAX, before, ns, after;
    int i;

    for (i = 0; i < 32; i++) {
        before = clock_now();
        ns = sim_os_now_ns();
        after = clock_now();
        if (after - before < narrowest) {
            narrowest = after - before;
            best.ticks = before + (after - before) / 2;
            best.ns = ns;
        }
    }
    return best;
}

static int compare(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

    return (a > b) - (a < b);
}

/* Readings come in batches here, since the clock may be coarser than what it costs to read it. */
static double measure_reading(void)
{
    uint64_t samples[101], start;
    int i, j;

    for (i = 0; i < 101; i++) {
        start = clock_now();
        for (j = 0; j < 100; j++)
            (void)clock_now();
        samples[i] = clock_now() - start;
    }
    qsort(samples, 101, sizeof samples[0], compare);
    return (double)samples[50] * bench_clock.ns_per_tick / 101;
}

/* The greatest common divisor of many differences. */
static double measure_step(void)
{
    uint64_t step = 0, before = clock_now(), now, a, b;
    int i;

    for (i = 0; i < 10000; i++) {
        now = clock_now();
        for (a = step, b = now - before; b != 0;) {
            uint64_t rest = a % b;

            a = b;
            b = rest;
        }
        step = a;
        before = now;
    }
    return (double)step * bench_clock.ns_per_tick;
}

void clock_calibrate(uint64_t measure_ns)
{
    struct instant first, last;

    bench_clock.tsc = tsc_is_invariant();
    if (bench_clock.tsc) {
        first = read_both();
        do {
            last = read_both();
        } while (last.ns - first.ns < measure_ns);
        bench_clock.ns_per_tick = (double)(last.ns - first.ns) / (double)(last.ticks - first.ticks);
        bench_clock.tsc_mhz = 1e3 / bench_clock.ns_per_tick;
    }
    bench_clock.reading_ns = measure_reading();
    bench_clock.step_ns = measure_step();
}
