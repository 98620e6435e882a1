/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Percentiles and aggregates: see stats.h.
 */
#include "stats.h"

#include <stdlib.h>
#include <string.h>

size_t stats_rank(size_t n, unsigned permille)
{
    uint64_t rank = ((uint64_t)n * permille + 999) / 1000;

    return rank == 0 ? 0 : (size_t)rank - 1;
}

static int compare_ticks(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

    return (a > b) - (a < b);
}

struct bench_spread stats_spread(uint64_t *ticks, size_t n, double ns_per_tick, uint32_t batch)
{
    double scale = ns_per_tick / batch;
    struct bench_spread spread;

    qsort(ticks, n, sizeof *ticks, compare_ticks);
    spread.p50 = (double)ticks[stats_rank(n, 500)] * scale;
    spread.p90 = (double)ticks[stats_rank(n, 900)] * scale;
    spread.p99 = (double)ticks[stats_rank(n, 990)] * scale;
    spread.p999 = (double)ticks[stats_rank(n, 999)] * scale;
    spread.max = (double)ticks[n - 1] * scale;
    return spread;
}

double stats_mean_ns(const uint64_t *ticks, size_t n, double ns_per_tick, uint32_t batch)
{
    uint64_t sum = 0;
    size_t i;

    for (i = 0; i < n; i++)
        sum += ticks[i];
    return (double)sum * ns_per_tick / ((double)n * batch);
}

double stats_mean(const double *values, size_t n)
{
    double sum = 0;
    size_t i;

    for (i = 0; i < n; i++)
        sum += values[i];
    return sum / (double)n;
}

static int compare_doubles(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;

    return (a > b) - (a < b);
}

double stats_median(const double *values, size_t n)
{
    double sorted[BENCH_REPETITIONS_MAX];

    memcpy(sorted, values, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, compare_doubles);
    return n % 2 == 1 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

/*
 * Newton's method, to the last bit but one: it spares every program that includes this file the mathematics
 * library.
 */
static double square_root(double value)
{
    double root = value > 1 ? value : 1, better;

    if (value <= 0)
        return 0;
    while ((better = (root + value / root) / 2) < root)
        root = better;
    return root;
}

double stats_stddev(const double *values, size_t n)
{
    double mean = stats_mean(values, n), squares = 0;
    size_t i;

    if (n < 2)
        return 0;
    for (i = 0; i < n; i++)
        squares += (values[i] - mean) * (values[i] - mean);
    return square_root(squares / (double)(n - 1));
}

struct bench_figures stats_fold(const struct bench_figures *figures, size_t n,
                                double (*fold)(const double *values, size_t n))
{
    static const size_t columns[] = {
        offsetof(struct bench_figures, real_ns),
        offsetof(struct bench_figures, cpu_ns),
        offsetof(struct bench_figures, items_per_second),
        offsetof(struct bench_figures, doorbells_per_item),
        offsetof(struct bench_figures, interrupts_per_item),
        offsetof(struct bench_figures, spread.p50),
        offsetof(struct bench_figures, spread.p90),
        offsetof(struct bench_figures, spread.p99),
        offsetof(struct bench_figures, spread.p999),
        offsetof(struct bench_figures, spread.max),
    };
    struct bench_figures folded = figures[0];
    double values[BENCH_REPETITIONS_MAX];
    size_t column, i;

    for (column = 0; column < sizeof columns / sizeof columns[0]; column++) {
        for (i = 0; i < n; i++)
            values[i] = *(const double *)(const void *)((const char *)&figures[i] + columns[column]);
        *(double *)(void *)((char *)&folded + columns[column]) = fold(values, n);
    }
    /* "The row has none" is no number to compute with: a deviation of it would be a 0. */
    if (figures[0].items_per_second < 0)
        folded.items_per_second = -1;
    if (figures[0].doorbells_per_item < 0)
        folded.doorbells_per_item = folded.interrupts_per_item = -1;
    return folded;
}
