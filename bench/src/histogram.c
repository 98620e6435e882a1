/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Counts in buckets: see histogram.h. A value's bucket is its highest bit and the six bits behind that.
 */
#include "histogram.h"

#define FINE_BITS 6u /* HISTOGRAM_FINE is 2^6 */

size_t histogram_bucket(uint64_t value)
{
    unsigned shift;

    if (value < HISTOGRAM_FINE)
        return (size_t)value;
    shift = 63u - (unsigned)__builtin_clzll(value) - FINE_BITS;
    return (size_t)shift * HISTOGRAM_FINE + (size_t)(value >> shift);
}

uint64_t histogram_last(size_t bucket)
{
    unsigned shift = bucket < HISTOGRAM_FINE ? 0 : (unsigned)(bucket / HISTOGRAM_FINE) - 1;
    uint64_t first = (uint64_t)(bucket - (size_t)shift * HISTOGRAM_FINE) << shift;

    return first + (((uint64_t)1 << shift) - 1);
}

void histogram_add(struct histogram *histogram, const uint64_t *ticks, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++) {
        histogram->counts[histogram_bucket(ticks[i])]++;
        if (ticks[i] > histogram->max)
            histogram->max = ticks[i];
    }
    histogram->total += n;
}

uint64_t histogram_next(const struct histogram *histogram, size_t *bucket, uint64_t *value_out,
                        uint64_t below)
{
    uint64_t last;

    while (*bucket < HISTOGRAM_BUCKETS && histogram->counts[*bucket] == 0)
        ++*bucket;
    if (*bucket == HISTOGRAM_BUCKETS)
        return 0;
    last = histogram_last(*bucket);
    *value_out = last < histogram->max ? last : histogram->max;
    return below + histogram->counts[(*bucket)++];
}
