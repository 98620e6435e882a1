/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the CPU says of itself (CPUID), which is the same on every host: model, hypervisor, caches, and how
 * two CPUs lie to each other. For the header and the JSON's context; nothing is measured here.
 */
#ifndef BENCH_MACHINE_H
#define BENCH_MACHINE_H

#include <stddef.h>
#include <stdint.h>

struct machine_cache {
    const char *type; /* "Data", "Instruction", "Unified" */
    uint32_t level;
    uint32_t bytes;
    uint32_t sharing; /* logical CPUs that share it */
};

#define MACHINE_CACHES_MAX 8

struct machine {
    char model[64];
    char hypervisor[16]; /* "" on bare metal, or where it doesn't say */
    size_t cache_count;
    struct machine_cache caches[MACHINE_CACHES_MAX];
};

struct machine machine_ask(void);

/*
 * How two CPUs that this process may use lie to each other, "two threads of one core" and so on; static text.
 * It runs a short thread on each to ask. Under a hypervisor it's what that pretends.
 */
const char *machine_relation(int cpu, int other);

#endif
