/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Guest memory: regions of host memory at guest-physical addresses. One thread maps; after the first start any thread
 * reads the table, which no longer changes.
 */
#include "memory.h"

#include "os.h"

#include <stdlib.h>
#include <string.h>

#define PAGE_BYTES 4096u

struct aero_sim_memory {
    struct sim_region regions[AERO_SIM_REGIONS_MAX];
    uint32_t count;
    bool frozen;
};

enum aero_sim_status aero_sim_memory_create(struct aero_sim_memory **memory_out)
{
    if (!memory_out)
        return AERO_SIM_BAD_ARGUMENT;
    *memory_out = calloc(1, sizeof **memory_out);
    return *memory_out ? AERO_SIM_OK : AERO_SIM_NO_MEMORY;
}

static bool overlaps(const struct aero_sim_memory *memory, uint64_t gpa, uint64_t last)
{
    for (uint32_t i = 0; i < memory->count; i++) {
        const struct sim_region *region = &memory->regions[i];

        if (gpa <= region->gpa + (region->size - 1) && region->gpa <= last)
            return true;
    }
    return false;
}

enum aero_sim_status aero_sim_memory_map(struct aero_sim_memory *memory, uint64_t gpa, uint64_t size, void *host)
{
    struct sim_region *region;

    if (!memory || !size || gpa % PAGE_BYTES || size % PAGE_BYTES || (uintptr_t)host % PAGE_BYTES)
        return AERO_SIM_BAD_ARGUMENT;
    if (size - 1 > UINT64_MAX - gpa)
        return AERO_SIM_BAD_ARGUMENT;
    if (memory->frozen)
        return AERO_SIM_BAD_STATE;
    if (overlaps(memory, gpa, gpa + (size - 1)))
        return AERO_SIM_OVERLAP;
    if (memory->count == AERO_SIM_REGIONS_MAX)
        return AERO_SIM_LIMIT;
    if (size > SIZE_MAX) /* a 32-bit host */
        return AERO_SIM_NO_MEMORY;
    region = &memory->regions[memory->count];
    region->owned = !host;
    region->host = host ? host : sim_os_memory_map((size_t)size);
    if (!region->host)
        return AERO_SIM_NO_MEMORY;
    region->gpa = gpa;
    region->size = size;
    memory->count++;
    return AERO_SIM_OK;
}

const struct sim_region *sim_memory_find(const struct aero_sim_memory *memory, uint64_t gpa)
{
    for (uint32_t i = 0; i < memory->count; i++) {
        if (gpa - memory->regions[i].gpa < memory->regions[i].size)
            return &memory->regions[i];
    }
    return NULL;
}

bool sim_memory_copy_from(const struct aero_sim_memory *memory, uint64_t gpa, void *to, uint64_t length)
{
    uint8_t *next = to;

    while (length) {
        const struct sim_region *region = sim_memory_find(memory, gpa);
        uint64_t part;

        if (!region)
            return false;
        part = region->size - (gpa - region->gpa);
        if (part > length)
            part = length;
        memcpy(next, region->host + (gpa - region->gpa), (size_t)part);
        next += part;
        gpa += part; /* wraps to 0 only when the space ends here, and then the next find decides */
        length -= part;
        if (length && !gpa)
            return false;
    }
    return true;
}

void *aero_sim_memory_at(const struct aero_sim_memory *memory, uint64_t gpa, uint64_t length)
{
    const struct sim_region *region = memory ? sim_memory_find(memory, gpa) : NULL;

    if (!region || !sim_region_holds(region, gpa, length))
        return NULL;
    return region->host + (gpa - region->gpa);
}

void sim_memory_freeze(struct aero_sim_memory *memory)
{
    memory->frozen = true;
}

void aero_sim_memory_destroy(struct aero_sim_memory *memory)
{
    if (!memory)
        return;
    for (uint32_t i = 0; i < memory->count; i++) {
        if (memory->regions[i].owned)
            sim_os_memory_unmap(memory->regions[i].host, (size_t)memory->regions[i].size);
    }
    free(memory);
}
