/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The bench's statistics: percentiles by nearest rank for few and for many samples, batches, and aggregates
 * over repetitions.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../bench/src/stats.c"
#include "test_program.h"

#define NEAR 1e-9

static void assert_near(double value, double expected)
{
    double difference = value > expected ? value - expected : expected - value;

    assert_true(difference <= NEAR * (expected > 1 ? expected : 1));
}

/* ---- Ranks ---- */

static void test_stats_rank_of_one_sample_is_that_sample(void **state)
{
    assert_int_equal(stats_rank(1, 500), 0);
    assert_int_equal(stats_rank(1, 999), 0);
}

static void test_stats_rank_is_the_nearest_one(void **state)
{
    assert_int_equal(stats_rank(2, 500), 0);  /* ceil(1.0) is the first */
    assert_int_equal(stats_rank(3, 500), 1);  /* ceil(1.5) is the second */
    assert_int_equal(stats_rank(10, 900), 8); /* the ninth */
    assert_int_equal(stats_rank(10, 990), 9); /* ceil(9.9) */
    assert_int_equal(stats_rank(100, 990), 98);
    assert_int_equal(stats_rank(1000, 999), 998);
    assert_int_equal(stats_rank(1001, 999), 999);
}

static void test_stats_rank_stays_below_the_count_and_covers_its_share(void **state)
{
    static const unsigned shares[] = {500, 900, 990, 999};

    for (size_t n = 1; n < 3000; n++) {
        for (size_t i = 0; i < 4; i++) {
            size_t rank = stats_rank(n, shares[i]);

            assert_true(rank < n);
            assert_true((rank + 1) * 1000 >= n * shares[i]); /* so many samples are at most this one */
            assert_true(rank * 1000 < n * shares[i]);        /* and one fewer would be too few */
        }
    }
}

/* ---- Spreads ---- */

static void test_stats_spread_of_few_samples_ends_in_their_maximum(void **state)
{
    uint64_t ticks[] = {30, 10, 20};
    struct bench_spread spread = stats_spread(ticks, 3, 1.0, 1);

    assert_near(spread.p50, 20);
    assert_near(spread.p90, 30);
    assert_near(spread.p999, 30);
    assert_near(spread.max, 30);
}

static void test_stats_spread_of_a_thousand_samples_tells_p999_from_max(void **state)
{
    uint64_t ticks[1000];
    struct bench_spread spread;

    for (size_t i = 0; i < 1000; i++)
        ticks[i] = (i * 7919) % 1000 + 1; /* 1 to 1000, shuffled */
    spread = stats_spread(ticks, 1000, 1.0, 1);
    assert_near(spread.p50, 500);
    assert_near(spread.p90, 900);
    assert_near(spread.p99, 990);
    assert_near(spread.p999, 999);
    assert_near(spread.max, 1000);
}

static void test_stats_spread_of_batches_is_per_item_in_ns(void **state)
{
    uint64_t ticks[] = {4000, 2000};
    struct bench_spread spread = stats_spread(ticks, 2, 0.5, 100);

    assert_near(spread.p50, 10);
    assert_near(spread.max, 20);
}

static void test_stats_mean_counts_every_item(void **state)
{
    uint64_t ticks[] = {100, 300};

    assert_near(stats_mean_ns(ticks, 2, 2.0, 10), 40);
}

/* ---- Aggregates ---- */

static void test_stats_median_of_an_even_count_is_between_the_middle_two(void **state)
{
    static const double odd[] = {5, 1, 3}, even[] = {4, 1, 3, 2};

    assert_near(stats_median(odd, 3), 3);
    assert_near(stats_median(even, 4), 2.5);
}

static void test_stats_stddev_is_that_of_a_sample(void **state)
{
    static const double values[] = {2, 4, 4, 4, 5, 5, 7, 9}, same[] = {3, 3, 3}, tiny[] = {1e-6, 3e-6};

    assert_near(stats_stddev(values, 8), 2.1380899352993950774764278470380);
    assert_near(stats_stddev(same, 3), 0);
    assert_near(stats_stddev(values, 1), 0);
    assert_near(stats_stddev(tiny, 2) * 1e6, 1.4142135623730950488016887242097);
}

static void test_stats_fold_takes_each_column_by_itself(void **state)
{
    struct bench_figures figures[3] = {
        {.samples = 7, .batch = 2, .real_ns = 1, .items_per_second = 9, .spread = {.p50 = 30}},
        {.samples = 8, .batch = 2, .real_ns = 3, .items_per_second = 8, .spread = {.p50 = 10}},
        {.samples = 9, .batch = 2, .real_ns = 2, .items_per_second = 7, .spread = {.p50 = 20}},
    };
    struct bench_figures folded = stats_fold(figures, 3, stats_median);

    assert_int_equal(folded.samples, 7);
    assert_int_equal(folded.batch, 2);
    assert_near(folded.real_ns, 2);
    assert_near(folded.items_per_second, 8);
    assert_near(folded.spread.p50, 20);
}

static void test_stats_fold_keeps_absent_columns_absent(void **state)
{
    struct bench_figures figures[2];
    struct bench_figures folded;

    memset(figures, 0, sizeof figures);
    for (size_t i = 0; i < 2; i++)
        figures[i].items_per_second = figures[i].doorbells_per_item = figures[i].interrupts_per_item = -1;
    folded = stats_fold(figures, 2, stats_stddev); /* a deviation of -1 and -1 would be 0 */
    assert_true(folded.items_per_second < 0);
    assert_true(folded.doorbells_per_item < 0);
    assert_true(folded.interrupts_per_item < 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stats_rank_of_one_sample_is_that_sample),
        cmocka_unit_test(test_stats_rank_is_the_nearest_one),
        cmocka_unit_test(test_stats_rank_stays_below_the_count_and_covers_its_share),
        cmocka_unit_test(test_stats_spread_of_few_samples_ends_in_their_maximum),
        cmocka_unit_test(test_stats_spread_of_a_thousand_samples_tells_p999_from_max),
        cmocka_unit_test(test_stats_spread_of_batches_is_per_item_in_ns),
        cmocka_unit_test(test_stats_mean_counts_every_item),
        cmocka_unit_test(test_stats_median_of_an_even_count_is_between_the_middle_two),
        cmocka_unit_test(test_stats_stddev_is_that_of_a_sample),
        cmocka_unit_test(test_stats_fold_takes_each_column_by_itself),
        cmocka_unit_test(test_stats_fold_keeps_absent_columns_absent),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
