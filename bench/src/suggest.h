/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Near names: what somebody who mistyped one may have meant.
 */
#ifndef BENCH_SUGGEST_H
#define BENCH_SUGGEST_H

#include <stddef.h>

/*
 * Appends "; did you mean X, Y or Z?" to error, with what is near to name among the candidates (up to three,
 * nearest first), or nothing. candidate(i) answers NULL past the last.
 */
void suggest_names(const char *name, const char *(*candidate)(size_t index), char *error, size_t error_bytes);

#endif
