/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Which benchmarks --filter asks for: see choose.h.
 */
#include "choose.h"

#include "pattern.h"
#include "suggest.h"

#include <string.h>

static const char *row_name(size_t index)
{
    const struct bench_row *row = bench_row_at(index);

    return row != NULL ? row->name : NULL;
}

bool choose_rows(const struct bench_options *options, struct bench_result *results, size_t max,
                 size_t *count_out, char *error, size_t error_bytes)
{
    bool sweeps = options->sweeps || options->smoke || options->report != NULL;
    const char *filter = options->filter;
    struct bench_pattern *pattern = NULL;
    char reason[400];
    size_t i, length;

    *count_out = 0;
    if (filter != NULL) {
        pattern = pattern_compile(filter, reason, sizeof reason);
        if (pattern == NULL) {
            snprintf(error, error_bytes, "--filter: %s", reason);
            return false;
        }
    }
    for (i = 0; bench_row_at(i) != NULL && *count_out < max; i++) {
        const struct bench_row *row = bench_row_at(i);

        if (pattern != NULL ? pattern_matches(pattern, row->name) : sweeps || !row->with.swept)
            results[(*count_out)++].row = row;
    }
    pattern_free(pattern);
    if (*count_out > 0)
        return true;
    snprintf(error, error_bytes, "--filter %.100s: it matches no benchmark", filter != NULL ? filter : "");
    length = strlen(error);
    suggest_names(filter, row_name, error, error_bytes);
    if (error[length] == '\0')
        snprintf(error + length, error_bytes - length, "; \"aero-bench list benchmarks\" shows them");
    return false;
}
