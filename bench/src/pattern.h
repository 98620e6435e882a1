/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Regular expressions for --filter. MinGW-w64 has no <regex.h>, and a filter must mean the same on each host,
 * so here is the part of POSIX's extended syntax that names of benchmarks need:
 *     . [abc] [^a-z] * + ? | ( ) ^ $ and \ before a special character.
 * No {m,n}, no [:class:], no back-references.
 * As in grep -E an expression matches anywhere in the text. Matching takes time in proportion to the text.
 */
#ifndef BENCH_PATTERN_H
#define BENCH_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

struct bench_pattern;

/*
 * NULL with one line of reason in error: what isn't understood, and at which character (from 1), or no
 * memory.
 */
struct bench_pattern *pattern_compile(const char *expression, char *error, size_t error_bytes);
bool pattern_matches(const struct bench_pattern *pattern, const char *text);
void pattern_free(struct bench_pattern *pattern); /* NULL is ignored */

#endif
