/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The command line: what was asked for, or one line on what was wrong with it and what would be right.
 * Parsing touches nothing but its arguments; checking looks at this machine, the simulator's catalogues and
 * the image file.
 */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum bench_verb { VERB_RUN, VERB_LIST, VERB_HELP, VERB_VERSION };
enum bench_list { LIST_ALL, LIST_BENCHMARKS, LIST_DEVICES, LIST_QUIRKS };

#define OPTIONS_QUIRKS_MAX   16u
#define OPTIONS_SEED_DEFAULT 1u

struct bench_options {
    enum bench_verb verb;
    enum bench_list list;
    const char *filter; /* NULL: all */
    const char *json;   /* NULL: none */
    const char *report; /* a directory; NULL: none */
    const char *image;  /* NULL: one is made */
    const char *device; /* the model under the rows that take any */
    const char *quirks[OPTIONS_QUIRKS_MAX];
    size_t quirk_count;
    bool smoke;
    bool sweeps;
    uint32_t repetitions;
    uint64_t seed;
    int driver_cpu, device_cpu; /* -1: not pinned */
};

/*
 * Fills in defaults, then what the arguments say; an option that comes twice counts as it came last, quirks
 * add up. Strings stay the caller's. false with one line in error. driver_cpu and device_cpu are left at -1
 * unless asked for.
 */
bool options_parse(int argc, const char *const *argv, struct bench_options *options, char *error,
                   size_t error_bytes);

/*
 * Are there such a device, such quirks, such CPUs, such an image? Chooses CPUs where none were asked for: the
 * first two that this process may use, or none where it has but one. false with one line in error.
 */
bool options_check(struct bench_options *options, char *error, size_t error_bytes);

extern const char options_help[];

#endif
