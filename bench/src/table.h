/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What a person sees: the header, the table, and the progress line on a terminal.
 */
#ifndef BENCH_TABLE_H
#define BENCH_TABLE_H

#include "bench.h"
#include "histogram.h"
#include "stats.h"

/* One row's outcome over the repetitions so far. */
struct bench_result {
    const struct bench_row *row;
    struct bench_figures *figures; /* one a repetition that succeeded, in order */
    uint32_t count;
    struct histogram *histogram; /* of all repetitions, in ticks a sample; NULL: none is kept */
    char failure[256];           /* "" or why a repetition failed; the row isn't run again */
};

/* Compiler, CPU, pinning, clock, seed, and warnings about all that makes the figures worth less. */
void table_print_header(const struct bench_session *session);

void table_print_heading(const struct bench_session *session);
void table_print_row(const struct bench_session *session, const struct bench_result *result);
void table_print_footing(const struct bench_session *session);

/*
 * On standard error, where that is a terminal: what runs now. NULL wipes the line, as before anything else is
 * printed.
 */
void table_progress(const char *what, size_t done, size_t total);

/* The CPU's model, hypervisor and caches, and how many CPUs are usable, on one line. */
void table_cpu(char *text, size_t bytes);

/*
 * What makes the figures worth less, by index, a line each; false: no more of it. Load is asked for anew each
 * time.
 */
bool table_warning(const struct bench_options *options, size_t index, char *text, size_t bytes);

/* All repetitions of a row that didn't fail as the table shows them: medians, and the greatest maximum. */
struct bench_figures table_figures(const struct bench_result *result);

/* Figures as the table has them; exposed for tests. text is 16 bytes long or longer. */
void table_format_ns(double ns, char *text, size_t bytes);
void table_format_rate(double per_second, char *text, size_t bytes);
void table_format_ratio(double ratio, char *text, size_t bytes);

#endif
