/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * How a row's samples lie, over all its repetitions, in bounded memory: counts in buckets whose width is at
 * most 1/64 of what they hold, exact below 128 ticks. For the report's distributions; the table's
 * percentiles come from the samples themselves. Any thread; it reads no clock.
 */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define HISTOGRAM_FINE    64u /* buckets an octave */
#define HISTOGRAM_BUCKETS (59u * HISTOGRAM_FINE)

struct histogram {
    uint64_t total;
    uint64_t max;                       /* the greatest sample, exact */
    uint32_t counts[HISTOGRAM_BUCKETS]; /* of a zeroed structure nothing is counted yet */
};

void histogram_add(struct histogram *histogram, const uint64_t *ticks, size_t n);

/* The bucket of a value, and the greatest value of a bucket. */
size_t histogram_bucket(uint64_t value);
uint64_t histogram_last(size_t bucket);

/*
 * Walks the buckets that hold anything. *bucket is 0 at first and belongs to the walk; below is what the
 * call before answered, 0 at first. Answers how many samples are at most *value_out, which is the greatest
 * value of the bucket (of the last one the greatest sample), or 0 past the last.
 */
uint64_t histogram_next(const struct histogram *histogram, size_t *bucket, uint64_t *value_out,
                        uint64_t below);

#endif
