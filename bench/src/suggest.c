/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Near names for who mistyped one: see suggest.h.
 */
#include "suggest.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/*
 * How many characters must be put in, taken out, changed or swapped with their neighbour to make one of the
 * other.
 */
static size_t edit_distance(const char *a, const char *b)
{
    enum { LIMIT = 64 };
    size_t rows[3][LIMIT + 1], length_a = strlen(a), length_b = strlen(b), i, j, cost;

    if (length_a > LIMIT || length_b > LIMIT)
        return SIZE_MAX;
    for (j = 0; j <= length_b; j++)
        rows[0][j] = j;
    for (i = 1; i <= length_a; i++) {
        size_t *above = rows[(i - 1) % 3], *row = rows[i % 3], *two_above = rows[(i + 1) % 3];

        row[0] = i;
        for (j = 1; j <= length_b; j++) {
            cost = above[j - 1] + (a[i - 1] != b[j - 1]);
            if (above[j] + 1 < cost)
                cost = above[j] + 1;
            if (row[j - 1] + 1 < cost)
                cost = row[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && two_above[j - 2] + 1 < cost)
                cost = two_above[j - 2] + 1;
            row[j] = cost;
        }
    }
    return rows[length_a % 3][length_b];
}

/* 0 is the same; SIZE_MAX is nothing like it. A name that holds the other is nearer than any misspelling. */
static size_t unlikeness_of_whole(const char *name, const char *candidate)
{
    size_t distance, length = strlen(name);

    if (length >= 3 && (strstr(candidate, name) != NULL || strstr(name, candidate) != NULL))
        return 1;
    distance = edit_distance(name, candidate);
    return distance <= 1 + length / 4 ? distance : SIZE_MAX;
}

/* Of the whole name or, a little less near, of one of its parts between slashes. */
static size_t unlikeness(const char *name, const char *candidate)
{
    size_t least = unlikeness_of_whole(name, candidate), one;
    char part[64];
    const char *at = candidate;

    if (strchr(candidate, '/') == NULL)
        return least;
    for (; *at != '\0'; at += at[strcspn(at, "/")] == '/' ? strcspn(at, "/") + 1 : strcspn(at, "/")) {
        snprintf(part, sizeof part, "%.*s", (int)strcspn(at, "/"), at);
        one = strlen(part) >= 3 ? unlikeness_of_whole(name, part) : SIZE_MAX;
        if (one < SIZE_MAX && one + 1 < least)
            least = one + 1;
    }
    return least;
}

void suggest_names(const char *name, const char *(*candidate)(size_t index), char *error, size_t error_bytes)
{
    const char *nearest[3] = {NULL, NULL, NULL}, *one;
    size_t distances[3] = {SIZE_MAX, SIZE_MAX, SIZE_MAX}, distance, used = strlen(error), i, j;

    for (i = 0; (one = candidate(i)) != NULL; i++) {
        distance = unlikeness(name, one);
        for (j = 0; j < 3; j++) {
            if (distance < distances[j]) {
                memmove(&nearest[j + 1], &nearest[j], (2 - j) * sizeof nearest[0]);
                memmove(&distances[j + 1], &distances[j], (2 - j) * sizeof distances[0]);
                nearest[j] = one;
                distances[j] = distance;
                break;
            }
        }
    }
    for (j = 0; j < 3 && nearest[j] != NULL && used < error_bytes; j++) {
        const char *before = j == 0 ? "; did you mean " : j == 2 || nearest[j + 1] == NULL ? " or " : ", ";

        used += (size_t)snprintf(error + used, error_bytes - used, "%s%s", before, nearest[j]);
    }
    if (nearest[0] != NULL && used < error_bytes)
        snprintf(error + used, error_bytes - used, "?");
}
