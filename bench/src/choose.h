/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Which benchmarks --filter asks for.
 */
#ifndef BENCH_CHOOSE_H
#define BENCH_CHOOSE_H

#include "table.h"

/*
 * Enters each row of the catalogue that the options ask for in results, in order, at most max of them: those
 * that match the filter; without one all, but sweeps only where they are asked for, or in a smoke run or a
 * report. false with one line in error: it is no expression that pattern.h knows, or nothing matches.
 */
bool choose_rows(const struct bench_options *options, struct bench_result *results, size_t max,
                 size_t *count_out, char *error, size_t error_bytes);

#endif
