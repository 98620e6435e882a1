/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What a row's samples come to: percentiles by nearest rank, mean, and mean, median and deviation over
 * repetitions. Pure arithmetic: it reads no clock and knows no benchmark. Any thread.
 */
#ifndef BENCH_STATS_H
#define BENCH_STATS_H

#include <stddef.h>
#include <stdint.h>

/* The percentiles that a table shows, in ns an item. */
struct bench_spread {
    double p50, p90, p99, p999, max;
};

/* The columns of one repetition of one row. Ratios are per item; -1: the row has none. */
struct bench_figures {
    uint32_t samples;
    uint32_t batch; /* items a sample */
    uint64_t items; /* samples * batch */
    double real_ns; /* mean, an item */
    double cpu_ns;  /* the driver thread's, an item; real_ns where the host doesn't tell */
    double items_per_second;
    double doorbells_per_item;
    double interrupts_per_item;
    struct bench_spread spread;
};

/*
 * Which of n sorted values is the percentile, by nearest rank: index ceil(n * permille / 1000) - 1. n is at
 * least 1.
 */
size_t stats_rank(size_t n, unsigned permille);

/*
 * Sorts ticks in place. Each sample is the time of batch items: percentiles are taken over samples, and
 * divided by batch. n and batch are at least 1.
 */
struct bench_spread stats_spread(uint64_t *ticks, size_t n, double ns_per_tick, uint32_t batch);

/* Mean time of one item in ns, over all samples. */
double stats_mean_ns(const uint64_t *ticks, size_t n, double ns_per_tick, uint32_t batch);

double stats_mean(const double *values, size_t n);
double stats_median(const double *values,
                    size_t n); /* of an even count the mean of the middle two; n up to 1000 */
double stats_stddev(const double *values, size_t n); /* of a sample (n - 1); 0 for n of 1 */

#define BENCH_REPETITIONS_MAX 1000u

/* Answers fold() of each column over n repetitions. samples, batch and items are the first one's. */
struct bench_figures stats_fold(const struct bench_figures *figures, size_t n,
                                double (*fold)(const double *values, size_t n));

#endif
