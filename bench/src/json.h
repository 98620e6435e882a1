/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The figures in Google Benchmark's JSON schema, which its compare.py reads. What has no place in the schema
 * stands under keys of our own, which that tool ignores.
 */
#ifndef BENCH_JSON_H
#define BENCH_JSON_H

#include "table.h"

/* Writes all of it; the stream's error flag says whether that went well. */
void json_write(FILE *stream, const struct bench_session *session, const char *executable,
                const struct bench_result *results, size_t count);

/*
 * A JSON string, quotes and all: control characters, quotes and backslashes escaped, other bytes as they are.
 */
void json_write_string(FILE *stream, const char *text);

#endif
