/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Guest memory as the rest of the core sees it: a short table of regions that never changes once a device has started,
 * so that any thread reads it without a lock.
 */
#ifndef SIM_MEMORY_H
#define SIM_MEMORY_H

#include "aero_sim.h"

struct sim_region {
    uint64_t gpa;
    uint64_t size; /* bytes; 0: an empty slot that holds nothing */
    uint8_t *host;
    bool owned;
};

/* The region that holds gpa, or NULL. */
const struct sim_region *sim_memory_find(const struct aero_sim_memory *memory, uint64_t gpa);

/* Copies length bytes from guest memory, over region borders; false where some of them are not mapped (DMA-2). */
bool sim_memory_copy_from(const struct aero_sim_memory *memory, uint64_t gpa, void *to, uint64_t length);

/* A device on this space has started: no more mapping. */
void sim_memory_freeze(struct aero_sim_memory *memory);

/* Does [gpa, gpa + length) lie in region? gpa + length may overflow; this may not. */
static inline bool sim_region_holds(const struct sim_region *region, uint64_t gpa, uint64_t length)
{
    uint64_t offset = gpa - region->gpa;

    return offset < region->size && length <= region->size - offset;
}

#endif
